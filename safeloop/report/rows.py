"""One row a run: the numbers of `summary.csv`, computed from the run's tables alone."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from statistics import fmean
from typing import Any

from safeloop.algorithms.table_4 import TRIAL
from safeloop.errors import UsageError
from safeloop.recording.reader import Recorded
from safeloop.recording.run import RunSettings
from safeloop.registry import find_algorithm, find_env
from safeloop.report.named import NamedCost, named
from safeloop.report.safety import kept, safety
from safeloop.report.statistics import normalised
from safeloop.report.tried import settings_tried
from safeloop.settings import build, flat, kinds

LAST = 10
"""Number of last episodes whose means are the training return and cost."""


@dataclass(frozen=True)
class Row:
    """One run, as a row of `summary.csv`; None where there is nothing to report, or nothing was recorded."""

    env: str
    dataset: str
    """The dataset that the run learned from; "" for a run that learned while acting."""
    algo: str
    """The algorithm's name, with the variant where the run has one."""
    seed: int
    state: str
    """`new`, `running`, `interrupted`, `finished` or `failed`."""
    reason: str
    """Why it failed."""
    privileged: str
    """The privileged information that the algorithm used besides its samples."""
    settings: str
    """The preset, and the settings that differ from it."""
    settings_tried: int | None
    """Settings that were tried on other seeds, where the run's were chosen among them (`safeloop tune`, `--sweep`)."""
    steps: int
    """Simulator steps trained; gradient steps of a dataset."""
    episodes: int | None
    """Training episodes."""
    training_return: float | None
    """Mean return of the last ten training episodes, as of `training_cost_return`."""
    training_cost_return: float | None
    training_cvar: float | None
    """Mean cost return of the worst tenth of all training episodes."""
    training_over_budget: float | None
    """Share of all training episodes whose cost return is above the budget."""
    training_longest_run: int | None
    """Largest number of simulator steps in a row with a cost, in the whole training."""
    violations: int | None
    """Simulator steps with a cost, in the whole training."""
    violations_per_1000: float | None
    """Violations per 1,000 simulator steps of training."""
    steps_to_budget: int | None
    """Simulator steps of training until the budget was first kept for ten episodes in a row, these included."""
    violations_to_budget: int | None
    """Violations of training until then."""
    evaluated_at: int | None
    """Steps of training at the last evaluation, which the columns below are about."""
    evaluation_episodes: int
    evaluation_return: float | None
    evaluation_cost_return: float | None
    evaluation_cvar: float | None
    evaluation_over_budget: float | None
    evaluation_longest_run: int | None
    evaluation_violations: int | None
    evaluation_violations_per_1000: float | None
    within_budget: bool | None
    """Whether the evaluation's mean cost return is at most the budget."""
    score: float | None
    """The evaluation's return, normalised: 0 and 100 are the task's reference returns."""
    training_minutes: float
    evaluation_minutes: float | None
    """Minutes of all evaluations."""
    costs: list[NamedCost]
    """The costs that have names, whose numbers have a column each."""
    diagnostics: dict[str, float]
    """Further numbers by name, a column each: the environment's diagnostics, means over the last training episodes; and
    where the last evaluation has episodes of the policy alone, their mean return (and cost return)."""


def row(recorded: Recorded) -> Row:
    """Return the row of one run."""
    settings, episodes, final = recorded.run.settings, recorded.episodes, recorded.last_evaluation
    budget, updates = settings.budget, recorded.updates
    trained: Any = None if budget is None else safety(episodes, budget)
    evaluated: Any = None if budget is None else safety(final, budget)
    reached: Any = None if budget is None else kept(episodes, budget)
    found, cost = _mean([e.return_ for e in final]), _mean([e.cost_return for e in final])
    state, _, reason = recorded.state.partition(": ")
    progress: Sequence[Any] = updates if settings.dataset else episodes
    return Row(
        env=settings.env, dataset=settings.dataset, algo=settings.name, seed=settings.seed, state=state, reason=reason,
        privileged=settings.privileged or "nothing", settings=changed(settings),
        settings_tried=settings_tried(recorded.run),
        steps=progress[-1].simulator_steps if progress else 0,
        episodes=None if settings.dataset else len(episodes),
        training_return=_mean([e.return_ for e in episodes[-LAST:]]),
        training_cost_return=None if budget is None else _mean([e.cost_return for e in episodes[-LAST:]]),
        training_cvar=trained and trained.cvar,
        training_over_budget=trained and trained.over_budget,
        training_longest_run=trained and trained.longest_run,
        violations=trained and trained.violations,
        violations_per_1000=trained and trained.violations_per_1000,
        steps_to_budget=reached and reached[0],
        violations_to_budget=reached and reached[1],
        evaluated_at=final[0].simulator_steps if final else None,
        evaluation_episodes=len(final),
        evaluation_return=found,
        evaluation_cost_return=evaluated and evaluated.cost_return,
        evaluation_cvar=evaluated and evaluated.cvar,
        evaluation_over_budget=evaluated and evaluated.over_budget,
        evaluation_longest_run=evaluated and evaluated.longest_run,
        evaluation_violations=evaluated and evaluated.violations,
        evaluation_violations_per_1000=evaluated and evaluated.violations_per_1000,
        within_budget=None if budget is None or cost is None else cost <= budget,
        score=score(settings, found),
        training_minutes=progress[-1].wall_seconds / 60 if progress else 0.0,
        evaluation_minutes=recorded.evaluation_minutes,
        costs=named(recorded, LAST),
        diagnostics={
            **{
                name: fmean([d.mean for d in recorded.diagnostics if d.name == name][-LAST:])
                for name in sorted({d.name for d in recorded.diagnostics})
            },
            **_policy_alone(recorded, budget is not None),
        },
    )  # fmt: skip


def _policy_alone(recorded: Recorded, has_cost: bool) -> dict[str, float]:
    """Return the numbers of the policy alone in the last evaluation, where there are any."""
    if not (final := recorded.last_policy_alone):
        return {}
    cost = {"policy_cost_return": fmean(e.cost_return for e in final)} if has_cost else {}
    return {"policy_return": fmean(e.return_ for e in final), **cost}


def rows(records: Iterable[Recorded]) -> list[Row]:
    """Return a row of each run, an algorithm before those that plan on top of it.

    Runs that tried settings of offline planners are left out.
    """
    return [row(r) for r in sorted(records, key=_place) if (r.run.settings.variant, r.run.settings.seed) != TRIAL]


def columns(of: Row) -> dict[str, Any]:
    """Return a row's values by column, those of named costs and each diagnostic in columns of their own.

    `settings_tried` is there where it is known.
    """
    found = {f.name: getattr(of, f.name) for f in fields(of) if f.name not in ("costs", "diagnostics")}
    if of.settings_tried is None:
        del found["settings_tried"]
    for cost in of.costs:
        found |= cost.columns
    return {**found, **of.diagnostics}


def score(settings: RunSettings, value: float | None) -> float | None:
    """Return the normalised score of a return; None where the task has no reference returns."""
    try:
        references = find_env(settings.env, settings.env_options).reference_returns
    except UsageError:
        return None
    return None if references is None or value is None else normalised(value, *references)


def changed(settings: RunSettings) -> str:
    """Return the preset, and each setting that differs from it: `"default; horizon=4"`."""
    asked = settings.algo_settings
    try:
        algorithm, spec = find_algorithm(settings.algo), find_env(settings.env, settings.env_options)
        info, names = algorithm.info, kinds(algorithm.info.settings)
        usual, own = (
            json.loads(
                json.dumps(flat(algorithm.resolve(build(info.settings, values, owner=info.name), spec).settings))
            )
            for values in (info.presets[settings.preset], {k: v for k, v in asked.items() if k in names})
        )
    except (UsageError, KeyError):
        return settings.preset
    values = {k: own.get(k, v) for k, v in asked.items()}
    return "; ".join([settings.preset, *(f"{k}={v}" for k, v in values.items() if k not in usual or usual[k] != v)])


def base_of(algo: str) -> str:
    """Return the algorithm on top of which `algo` plans; "" where there is none, or `algo` is not known here."""
    try:
        return find_algorithm(algo).info.base
    except UsageError:
        return ""


def _place(recorded: Recorded) -> tuple[str, bool, str, int]:
    settings = recorded.run.settings
    base = base_of(settings.algo)
    return base or settings.algo, bool(base), settings.name, settings.seed


def _mean(values: Sequence[float]) -> float | None:
    return fmean(values) if values else None
