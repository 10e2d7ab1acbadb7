"""Everything that is drawn and tabulated for a folder of runs."""

from __future__ import annotations

from pathlib import Path

from safeloop.cmdp import UsageError
from safeloop.report import collect, curves, summary, violations
from safeloop.report.collect import Recorded


def write(folder: Path, planning: bool = False) -> list[Recorded]:
    """Write pictures and tables of the environment's folder into it, and return what they show.

    With `planning` also `planning.png`, where any run planned.
    """
    collect.check_same_terms(folder)
    records = [collect.read(run) for run in collect.runs_under(folder)]
    try:
        summary.write(folder, records)
        if any(recorded.episodes for recorded in records):
            curves.draw(records, folder / "curves.png")
            if records[0].run.settings.budget is not None:
                violations.draw(records, folder / "violations.png")
        if any(recorded.diagnostics for recorded in records):
            curves.draw_diagnostics(records, folder / "diagnostics.png")
        if planning and any(recorded.plans for recorded in records):
            curves.draw_planning(records, folder / "planning.png")
    except OSError as error:
        raise UsageError(f"can't write the pictures and tables in {folder}: {error.strerror}") from None
    return records
