"""Choose a planner's settings: some of the paper's grid, tried on a seed that is not reported (CoRL 2021, C.3).

What is learned does not depend on them, so one run is trained, and only evaluated with each.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from safeloop.activity import tracked
from safeloop.algorithms.table_4 import GRID, TRIAL
from safeloop.errors import UsageError
from safeloop.experiments import prepare
from safeloop.experiments.executor import execute
from safeloop.experiments.local import LocalExecutor
from safeloop.experiments.progress import display, heartbeat
from safeloop.recording.reader import open_run
from safeloop.recording.run import Run, RunSettings
from safeloop.recording.tables import Table
from safeloop.registry import find_algorithm, find_env
from safeloop.training.evaluation import evaluate


def candidates(count: int) -> list[dict[str, Any]]:
    """`count` different points of the grid, drawn at random, the same in each call."""
    points = [dict(zip(GRID, values, strict=True)) for values in itertools.product(*GRID.values())]
    if not 1 <= count <= len(points):
        raise UsageError(f"--sweep {count}: expected 1 to {len(points)}, of which the paper's grid consists")
    return random.Random(0).sample(points, count)


@dataclass(frozen=True)
class Trial:
    """One setting that was tried, as a row of `sweep.csv`: means over the evaluation's episodes."""

    horizon: int
    pessimism: float
    inverse_temperature: float
    actor_noise: float
    episodes: int
    return_: float
    cost_return: float

    @property
    def point(self) -> dict[str, Any]:
        """Its settings."""
        return {name: getattr(self, name) for name in GRID}


def choose(run: Run, count: int, episodes: int) -> dict[str, Any]:
    """Return the settings of the best return (of those within the budget, where any is) over `episodes` of the run.

    Tried are the run's own and `count` points of the grid. Each goes to the run's `sweep.csv` when it is done; those
    that are there are not tried again.
    """
    settings, table = run.settings, Table(run.path / "sweep.csv", Trial)
    spec, algorithm = find_env(settings.env, settings.env_options), find_algorithm(settings.algo)
    known = table.read()
    table.keep(known)
    own = {name: settings.algo_settings[name] for name in GRID}
    tried: list[Trial] = []
    points = [own, *(point for point in candidates(count) if point != own)]
    for point in tracked(points, "trying settings", "settings"):
        trial = next((each for each in known if each.point == point and each.episodes == episodes), None)
        if trial is None:
            policy = algorithm.load_with(run, point, settings.seed)  # type: ignore[attr-defined]
            rows = list(evaluate(policy, spec, episodes, settings.seed))
            means = fmean(r.return_ for r in rows), fmean(r.cost_return for r in rows)
            trial = Trial(**point, episodes=episodes, return_=means[0], cost_return=means[1])
            table.append(trial)
        tried.append(trial)
    budget = settings.budget
    within = [each for each in tried if budget is None or each.cost_return <= budget]
    return max(within or tried, key=lambda each: each.return_).point


def tuned(
    out: Path,
    asked: Sequence[RunSettings],
    dataset: Path,
    given: Iterable[str],
    count: int,
    quiet: bool,
) -> list[RunSettings]:
    """Return the runs asked for, those that plan with chosen settings, as the variant `tuned`.

    `given` are the names of the settings that the user gave. Raises `UsageError` where one of them is to be chosen.
    """
    candidates(count)
    if both := [name for name in given if name.split(".")[-1] in GRID]:
        raise UsageError(f"--set {both[0]}: --sweep chooses it; leave one of the two out")
    if any(each.seed == TRIAL[1] for each in asked):
        raise UsageError(f"--seed {TRIAL[1]}: --sweep {count} tries settings on it, and it is not reported; use others")
    plain = [each for each in asked if not find_algorithm(each.algo).info.tunable]
    if len(plain) == len(asked):
        raise UsageError(f"--sweep {count}: the paper's grid is not of {asked[0].algo}'s settings; leave it out")
    if plain:
        prepare.prepare(out, plain, dataset)  # what can't be is told before anything is trained
    result: list[RunSettings] = []
    for algo in dict.fromkeys(settings.algo for settings in asked):
        mine = [settings for settings in asked if settings.algo == algo]
        if mine[0] in plain:
            result += mine
            continue
        trial = replace(mine[0], variant=TRIAL[0], seed=TRIAL[1], eval_episodes=0)
        if failures := execute(prepare.prepare(out, [trial], dataset), LocalExecutor(1), display(quiet)):
            raise UsageError(f"the run that settings are tried on failed: {failures[0].reason}")
        with heartbeat(f"{algo}: settings", quiet):
            best = choose(open_run(Run.directory(out, trial)), count, max(1, mine[0].eval_episodes))
        display(quiet).note(f"{algo}: settings: {', '.join(f'{key}={value:g}' for key, value in best.items())}")
        for each in mine:
            result.append(replace(each, variant=each.variant or "tuned", algo_settings={**each.algo_settings, **best}))
    return result
