"""All pictures and tables of a folder of runs."""

from __future__ import annotations

from pathlib import Path

from safeloop.errors import UsageError
from safeloop.files import REMEDIES
from safeloop.recording import reader
from safeloop.recording.reader import Recorded
from safeloop.report import curves, offline, summary, violations


def write(folder: Path, planning: bool = False) -> list[Recorded]:
    """Write pictures and tables of the environment's folder into it, and return the runs that they show.

    With `planning`, this includes `planning.png`, where any run planned.
    """
    reader.check_same_terms(folder)
    found = [reader.read(run) for run in reader.runs_under(folder)]
    if not found:
        raise UsageError(f"{folder} holds no runs any more: nothing to draw")
    try:
        summary.write(folder, found)
        if found[0].run.settings.dataset:
            offline.write(folder, found)
            return found
        if any(recorded.episodes for recorded in found):
            curves.draw(found, folder / "curves.png")
            if found[0].run.settings.budget is not None:
                violations.draw(found, folder / "violations.png")
        if any(recorded.diagnostics for recorded in found):
            curves.draw_diagnostics(found, folder / "diagnostics.png")
        if planning and any(recorded.plans for recorded in found):
            curves.draw_planning(found, folder / "planning.png")
    except OSError as error:
        raise UsageError(
            f"can't write the pictures and tables in {folder}: {error.strerror}: "
            f"{REMEDIES.get(error.errno or 0, 'remove the fault')}, then `safeloop plot {folder}`"
        ) from None
    return found
