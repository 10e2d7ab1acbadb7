"""The folder of a study, in which settings of an algorithm are chosen (`experiments/tuning.py`).

OUT/<env>/tuning/<algo>/     <algo> without a variant
    study.json                          what was asked for                      written once
    trials.csv                          one row a trial                         replaced atomically
    best.json                           the settings of the best trial          replaced atomically
    <env>/<algo>-trial-<N>/seed-<S>/    the runs of trial N, as any (`run.py`)
"""

from __future__ import annotations

import csv
import fcntl
import io
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safeloop.errors import UsageError
from safeloop.recording.run import RunSettings

TUNING, STUDY, TRIALS, BEST = "tuning", "study.json", "trials.csv", "best.json"
FIRST_SEED = 1000
"""The first seed of a study; `--seeds N`, which has the seeds below N, can't reach it."""


def directory(folder: Path, algo: str) -> Path:
    """Return the folder of an algorithm's study, where `folder` is that of its environment, `OUT/<env>`."""
    return folder / TUNING / re.sub("[: ]", "-", algo)


def terms(study: Path) -> dict[str, Any]:
    """Return the terms that a study was begun on. Raises `UsageError` where `study.json` is damaged."""
    try:
        found = json.loads((study / STUDY).read_text())
        if not isinstance(found, dict) or not isinstance(found["seeds"], int):
            raise ValueError
    except (OSError, ValueError, KeyError):
        raise UsageError(f"{study / STUDY} is damaged: restore it, or move {study} away") from None
    return found


def rows(study: Path) -> list[dict[str, str]]:
    """Return the rows of a study's `trials.csv`, all values as texts; none where it is not there.

    Raises `UsageError` where it is damaged.
    """
    file = study / TRIALS
    try:
        found = list(csv.DictReader(io.StringIO(file.read_text(), newline="")))
        if any(None in row or None in row.values() for row in found):
            raise ValueError
        if [row["trial"] for row in found] != [str(number) for number in range(len(found))]:
            raise ValueError
        if any(not {"state", "reason"} <= row.keys() for row in found):
            raise ValueError
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, csv.Error):
        raise UsageError(f"{file} is damaged: restore it, or move {study} away") from None
    return found


def check_seed(folder: Path, asked: RunSettings) -> None:
    """Raise `UsageError` where the settings of an algorithm were chosen on a seed that is asked for.

    `folder` is `OUT/<env>`.
    """
    study = directory(folder, asked.algo)
    if (study / STUDY).exists() and FIRST_SEED <= asked.seed < FIRST_SEED + terms(study)["seeds"]:
        raise UsageError(
            f"--seed {asked.seed}: settings of {asked.algo} were chosen on it ({study}), so it is not reported; "
            "use others"
        )


@contextmanager
def alone(study: Path) -> Iterator[None]:
    """Hold a study's folder for this process. Raises `UsageError` where another holds it, or it can't be written."""
    try:
        study.mkdir(parents=True, exist_ok=True)
        lock = open(study / ".lock", "w")  # noqa: SIM115  (closed below: faults of the block are not faults of the lock)
    except OSError as error:
        raise UsageError(f"can't write {study}: {error.strerror}; choose another folder with --out") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(f"{study} is in use by another process: wait for it or stop it") from None
        yield
