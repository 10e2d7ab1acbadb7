"""Choose a planner's settings: some of the paper's grid, tried on a seed that is not reported (CoRL 2021, C.3).

What is learned does not depend on them, so one run is trained, and only evaluated with each.
"""

from __future__ import annotations

import csv
import itertools
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

from safeloop import launch
from safeloop.cmdp import UsageError
from safeloop.evaluation import evaluate
from safeloop.offline.settings import GRID, TRIAL
from safeloop.processes import execute
from safeloop.registry import find_algorithm, find_env
from safeloop.report.progress import Quiet
from safeloop.report.records import open_run
from safeloop.runs import Run, RunSettings, write_atomically


def candidates(count: int) -> list[dict[str, Any]]:
    """`count` different points of the grid, drawn at random, the same in each call."""
    points = [dict(zip(GRID, values, strict=True)) for values in itertools.product(*GRID.values())]
    if not 1 <= count <= len(points):
        raise UsageError(f"--sweep {count}: expected 1 to {len(points)}, of which the paper's grid consists")
    return random.Random(0).sample(points, count)


def choose(run: Run, count: int, episodes: int, table: Path, note: Callable[[int], None]) -> dict[str, Any]:
    """The settings of the best return (of those within the budget, where any is) over `episodes` of the run.

    Tried are the run's own and `count` points of the grid. Each goes to `table` as a row when it is done; those that
    are there are not tried again. `note` is told how many are done.
    """
    settings = run.settings
    spec, algorithm = find_env(settings.env, settings.env_options), find_algorithm(settings.algo)
    columns = [*GRID, "episodes", "return", "cost_return"]
    if table.exists():  # a row that a kill cut short is no row
        whole = table.read_text()
        write_atomically(table, whole[: whole.rfind("\n") + 1].encode())
    done = list(csv.DictReader(table.open())) if table.exists() else []
    tried = {tuple(float(row[name]) for name in GRID): row for row in done if int(row["episodes"]) == episodes}
    own = {name: settings.algo_settings[name] for name in GRID}
    points = [own, *(point for point in candidates(count) if point != own)]
    for number, point in enumerate(points):
        if tuple(point.values()) not in tried:
            policy = algorithm.load_with(run, point, settings.seed)  # type: ignore[attr-defined]
            rows = list(evaluate(policy, spec, episodes, settings.seed))
            values = {"episodes": episodes, "return": fmean(r.return_ for r in rows),
                      "cost_return": fmean(r.cost_return for r in rows)}  # fmt: skip
            with table.open("a", newline="") as file:
                writer = csv.DictWriter(file, columns, lineterminator="\n")
                if not file.tell():
                    writer.writeheader()
                writer.writerow({**point, **{k: round(v, 4) for k, v in values.items()}})
            tried[tuple(point.values())] = {k: str(v) for k, v in values.items()}
        note(number + 1)
    mine = [(point, tried[tuple(point.values())]) for point in points]
    budget = settings.budget
    within = [each for each in mine if budget is None or float(each[1]["cost_return"]) <= budget]
    best, _ = max(within or mine, key=lambda each: float(each[1]["return"]))
    return {**best, "horizon": int(best["horizon"])}


def tuned(
    out: Path,
    asked: Sequence[RunSettings],
    dataset: Path,
    given: Iterable[str],
    count: int,
    show: Callable[[], Quiet],
) -> list[RunSettings]:
    """The runs asked for, those that plan with chosen settings, as the variant `tuned`.

    `given` are the names of the settings that the user gave. Raises `UsageError` where one of them is to be chosen.
    """
    candidates(count)
    if both := [name for name in given if name.split(".")[-1] in GRID]:
        raise UsageError(f"--set {both[0]}: --sweep chooses it; leave one of the two out")
    if any(each.seed == TRIAL[1] for each in asked):
        raise UsageError(f"--seed {TRIAL[1]}: --sweep {count} tries settings on it, and it is not reported; use others")
    plain = [each for each in asked if not getattr(find_algorithm(each.algo), "sweeps", False)]
    if len(plain) == len(asked):
        raise UsageError(f"--sweep {count}: the paper's grid is not of {asked[0].algo}'s settings; leave it out")
    if plain:
        launch.prepare(out, plain, dataset)  # what can't be is told before anything is trained
    result: list[RunSettings] = []
    for algo in dict.fromkeys(settings.algo for settings in asked):
        mine = [settings for settings in asked if settings.algo == algo]
        if mine[0] in plain:
            result += mine
            continue
        trial = replace(mine[0], variant=TRIAL[0], seed=TRIAL[1], eval_episodes=0)
        if failures := execute(launch.prepare(out, [trial], dataset), 1, show()):
            raise UsageError(f"the run that settings are tried on failed: {failures[0].reason}")
        run, name = open_run(Run.directory(out, trial)), f"{algo}: settings"
        with show() as bar:
            bar.begin(name, count + 1, True)
            episodes, table = max(1, mine[0].eval_episodes), run.path / "sweep.csv"
            best = choose(run, count, episodes, table, partial(_tell, bar, name))
            bar.end(name, ", ".join(f"{key}={value:g}" for key, value in best.items()))
        for each in mine:
            result.append(replace(each, variant=each.variant or "tuned", algo_settings={**each.algo_settings, **best}))
    return result


def _tell(bar: Quiet, name: str, done: int) -> None:
    bar.update(name, {"steps": done, "doing": "tried"})
