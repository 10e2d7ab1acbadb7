"""Count the settings that were tried before those of a run were chosen, by `safeloop tune` or `--sweep`."""

from __future__ import annotations

import csv
from pathlib import Path

from safeloop.algorithms.table_4 import TRIAL
from safeloop.errors import UsageError
from safeloop.recording import studies
from safeloop.recording.run import Run


def settings_tried(run: Run) -> int | None:
    """Return the number of settings that were tried beside the run, where its own are among them; otherwise None.

    Raises `UsageError` where the table of trials is damaged.
    """
    settings, folder = run.settings, run.path.parents[1]
    if settings.dataset:
        tried = _rows(folder / f"{settings.algo}-{TRIAL[0]}" / f"seed-{TRIAL[1]}" / "sweep.csv")
    else:
        tried = studies.rows(studies.directory(folder, settings.algo))
    own = {name: str(value) for name, value in settings.algo_settings.items()}
    points = [{name: value for name, value in row.items() if name in own} for row in tried]
    return len(tried) if any(point and point.items() <= own.items() for point in points) else None


def _rows(file: Path) -> list[dict[str, str]]:
    try:
        with open(file, newline="") as text:
            return list(csv.DictReader(text))
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError, csv.Error):
        raise UsageError(f"{file} is damaged: restore it or start a new run") from None
