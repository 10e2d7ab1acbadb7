"""All recorded numbers of a folder of runs, as pandas frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from safeloop.recording import reader
from safeloop.recording.reader import Recorded
from safeloop.recording.tally import UNKNOWN
from safeloop.report import aggregates, rows


@dataclass(frozen=True)
class Results:
    """The results in a folder. A missing number is NaN; in text columns a missing text is "" or None."""

    runs: pd.DataFrame
    """One row a run, with the columns of `summary.csv` and the run's folder in `path`."""
    aggregates: pd.DataFrame
    """One row an algorithm and task, with the columns of `aggregates.csv`."""
    episodes: pd.DataFrame
    """One row a training episode: env, dataset, algo and seed, then the columns of `episodes.csv`."""
    evaluations: pd.DataFrame
    """One row an evaluation episode: env, dataset, algo and seed, then the columns of `evaluations.csv`."""


def results(folders: Sequence[Path]) -> Results:
    """Return the results of environments' folders. Raises `UsageError` where a run is damaged."""
    runs, groups = list[dict[str, Any]](), list[dict[str, Any]]()
    episodes, evaluations = list[dict[str, Any]](), list[dict[str, Any]]()
    for folder in folders:
        records = [reader.read(run) for run in reader.runs_under(folder)]
        paths = {(r.run.settings.name, r.run.settings.seed): str(r.run.path) for r in records}
        runs += [{**rows.columns(row), "path": paths[row.algo, row.seed]} for row in rows.rows(records)]
        groups += [aggregates.columns(group) for group in aggregates.aggregates(records)]
        for r in records:
            episodes += _labelled(r, r.episodes)
            evaluations += _labelled(r, [*r.evaluations, *r.policy_alone])
    return Results(*(_frame(lines) for lines in (runs, groups, episodes, evaluations)))


def _frame(lines: list[dict[str, Any]]) -> pd.DataFrame:
    """Return a frame of the lines; a column in which nothing was recorded is of numbers, all NaN."""
    found = pd.DataFrame(lines)
    empty = [name for name in found if found[name].isna().all()]
    return found.astype(dict.fromkeys(empty, float))


def _labelled(recorded: Recorded, episodes: Sequence[Any]) -> list[dict[str, Any]]:
    """Return episodes as rows with the run's environment, dataset, algorithm and seed."""
    s = recorded.run.settings
    run = {"env": s.env, "dataset": s.dataset, "algo": s.name, "seed": s.seed}
    found = []
    for episode in episodes:
        values = {name.rstrip("_"): value for name, value in asdict(episode).items()}
        values |= {f"cost_return_{name}": cost for name, cost in values.pop("costs")}
        values["longest_run"] = None if values["longest_run"] == UNKNOWN else values["longest_run"]
        found.append({**run, **values})
    return found
