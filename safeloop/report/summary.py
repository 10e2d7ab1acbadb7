"""Tables of a comparison: estimates over seeds, then each run, apart by the privileged information of the algorithms.

`summary.csv` has one row a run, `aggregates.csv` one row an algorithm, `summary.md` and the terminal both of them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from safeloop.errors import UsageError
from safeloop.recording.reader import Recorded
from safeloop.recording.run import RunSettings
from safeloop.registry import find_algorithm, find_env
from safeloop.report import aggregates, named, offline, published, rows
from safeloop.report.aggregates import Group
from safeloop.report.rows import LAST, Row
from safeloop.report.tables import (
    MISSING,
    aligned,
    csv_text,
    interval,
    markdown,
    number,
    percent,
    without_empty,
    write_texts,
    yes_or_no,
)

Cells = list[dict[str, str]]
"""A table for people: lines of texts under short headings."""


def over_seeds(group: Group) -> dict[str, str]:
    """Return an algorithm's line over its seeds: estimates with intervals, tails of all evaluation episodes."""
    evaluation: Any = group.evaluation
    finished, n = len(group.finished), len(group.rows)
    estimate = {name: interval(group.estimates.get(name)) for name in aggregates.ESTIMATED}
    within = MISSING if group.within is None else f"{group.within} of {finished}"
    return {
        "algorithm": group.first.algo,
        "seeds": str(n) if finished == n else f"{finished} of {n}",
        "eval return": estimate["evaluation_return"],
        "score": estimate["score"],
        "eval cost": estimate["evaluation_cost_return"],
        "CVaR": number(evaluation and evaluation.cvar),
        "over budget": percent(evaluation and evaluation.over_budget),
        "longest run": number(evaluation and evaluation.longest_run, 0),
        "seeds in budget": within,
        "violations per 1,000": estimate["violations_per_1000"],
        "steps to budget": estimate["steps_to_budget"],
        **({} if group.tried is None else {"settings tried": number(group.tried, 0)}),
    }


def each_run(r: Row) -> dict[str, str]:
    """Return a run's line."""
    return {
        "algorithm": r.algo,
        "seed": str(r.seed),
        "state": r.state,
        "gradient steps" if r.dataset else "steps": number(r.steps, 0),
        "return": number(r.training_return),
        "cost": number(r.training_cost_return),
        "violations": number(r.violations, 0),
        "per 1,000": number(r.violations_per_1000),
        "steps to budget": number(r.steps_to_budget, 0),
        "episodes": number(r.evaluation_episodes, 0),
        "eval return": number(r.evaluation_return),
        "score": number(r.score),
        "eval cost": number(r.evaluation_cost_return),
        "CVaR": number(r.evaluation_cvar),
        "over budget": percent(r.evaluation_over_budget),
        "longest run": number(r.evaluation_longest_run, 0),
        "in budget": yes_or_no(r.within_budget),
        "minutes": number(r.training_minutes, 1),
        "eval minutes": number(r.evaluation_minutes, 1),
        **({} if r.settings_tried is None else {"settings tried": number(r.settings_tried, 0)}),
        **{name: number(value) for name, value in r.diagnostics.items()},
    }


def each_cost(r: Row) -> Cells:
    """Return a line for each of a run's named costs."""
    return [
        {
            "algorithm": r.algo, "seed": str(r.seed), "named cost": each.name, "budget": number(each.budget, 0),
            "cost": number(each.training_cost_return), "eval cost": number(each.evaluation_cost_return),
            "CVaR": number(each.evaluation_cvar), "over budget": percent(each.evaluation_over_budget),
            "in budget": yes_or_no(each.within_budget),
        }
        for each in r.costs
    ]  # fmt: skip


def sections(records: Sequence[Recorded]) -> dict[str, list[Group]]:
    """Return the groups by privileged information: algorithms that had different ones are never one ranking."""
    found: dict[str, list[Group]] = {}
    for group in aggregates.aggregates(records):
        found.setdefault(group.text("privileged"), []).append(group)
    return found


def tables(groups: Sequence[Group]) -> dict[str, Cells]:
    """Return the tables of some groups by title; that over seeds only where an algorithm has several."""
    found = {}
    if any(len(group.rows) > 1 for group in groups):
        found["Over seeds"] = without_empty([over_seeds(group) for group in groups])
    found["Each run"] = without_empty([each_run(r) for group in groups for r in group.rows])
    if costs := [line for group in groups for r in group.rows for line in each_cost(r)]:
        found["Costs by name"] = without_empty(costs)
    return found


def failures(records: Sequence[Recorded], told: Collection[tuple[str, int]] = ()) -> list[str]:
    """Return a line for each run that failed, with its reason, but for the algorithms and seeds `told` elsewhere."""
    failed = [r for r in rows.rows(records) if r.reason and (r.algo, r.seed) not in told]
    return [f"{r.algo} seed {r.seed} failed: {r.reason}" for r in failed]


def terms(records: Sequence[Recorded]) -> list[str]:
    """Return lines with the terms of the comparison."""
    settings = records[0].run.settings
    return [*_task(settings), *_planners(records), *_beyond(records), *_meanings(records)]


def _task(settings: RunSettings) -> list[str]:
    """Return lines with the dataset, environment and budget."""
    lines, costs = [], settings.budget is not None
    if settings.dataset:
        data = settings.data
        cost = f", mean cost return {data['cost_return']:g}" if "cost_return" in data else ""
        lines.append(
            f"Dataset: {data['transitions']:,} transitions in {data['episodes']:,} episodes or pieces, mean return "
            f"{data['return']:g}{cost} (fingerprint {data['fingerprint']})."
        )
    try:
        spec = find_env(settings.env, settings.env_options)
        lines.append(
            f"Environment: {spec.id} ({spec.suite}), action repeat {spec.action_repeat}, episodes of "
            f"{spec.episode_steps} simulator steps{f', a cost of 1: {spec.cost_meaning}' * costs}."
        )
        if spec.reference_returns:
            low, high = spec.reference_returns
            lines.append(f"Score: 0 is a return of {low:g}, 100 of {high:g}; {spec.references or 'its references'}.")
    except UsageError:
        lines.append(f"Environment: {settings.env} (not installed here).")
    if settings.env_options:
        lines.append("Environment options: " + ", ".join(f"{k}={v}" for k, v in settings.env_options.items()) + ".")
    if costs:
        lines.append(f"Budget: cost return {settings.budget:g} per episode; in budget: the evaluation's mean cost.")
    return [*lines, *named.terms(settings)]


def _planners(records: Sequence[Recorded]) -> list[str]:
    """Return lines about algorithms that plan under a threshold, where there are any."""
    if records[0].run.settings.budget is None:
        return []
    planning = [r.run.settings for r in records if _plans_under_threshold(r.run.settings.algo)]
    follows = {each.name: each.algo_settings.get("constraint") == "adaptive" for each in planning}
    fixed, adaptive = (", ".join(n for n, found in follows.items() if found == which) for which in (False, True))
    lines = []
    if fixed:
        lines.append(
            f"Note: {fixed}: the planner keeps the cost within its horizon under a threshold; baselines train "
            "with the budget as their cost limit; all are judged by the budget."
        )
    if adaptive:
        lines.append(
            f"Note: {adaptive}: the planner's threshold follows the costs of training episodes towards the budget "
            "(constraint=adaptive)."
        )
    if records[0].run.settings.budgets:
        others = ", ".join(dict.fromkeys(s.name for s in (r.run.settings for r in records) if s.name not in follows))
        lines += [f"Note: {others}: knows one cost, that without a name."] * bool(others)
    return lines


def _beyond(records: Sequence[Recorded]) -> list[str]:
    """Return a line about runs that took more steps than were asked for, where there are any."""
    beyond = {
        (r.run.settings.name, r.run.settings.steps, r.episodes[-1].simulator_steps)
        for r in records
        if r.episodes and r.episodes[-1].simulator_steps > r.run.settings.steps
    }
    if not beyond:
        return []
    found = "; ".join(f"{name} {asked:,} asked for, {done:,} taken" for name, asked, done in sorted(beyond))
    return [f"Steps: training ends with a whole episode or epoch: {found}."]


def _meanings(records: Sequence[Recorded]) -> list[str]:
    """Return lines with the meanings of the columns."""
    settings = records[0].run.settings
    costs = " and cost" * (settings.budget is not None)
    training = "" if settings.dataset else f"Return{costs}: mean of the last {LAST} training episodes. "
    lines = [
        f"{training}Eval return{costs}: mean of the last evaluation's episodes. Minutes: of training; eval minutes: of "
        "all evaluations."
    ]
    if len(records) > 1:
        lines.append(
            "Over seeds: interquartile mean of the seeds that finished, with its 95% interval from three seeds on "
            "(docs/statistics.md)."
        )
    if costs:
        lines.append(
            "Violations: simulator steps with a cost, in the whole training. CVaR: mean cost return of the worst tenth "
            "of the evaluation episodes; over budget: share of these episodes above the budget; longest run: simulator "
            "steps in a row with a cost; over seeds, of all their episodes together. Steps to budget: simulator steps "
            "of training until the budget was first kept for ten episodes in a row."
        )
    return lines


def _plans_under_threshold(algo: str) -> bool:
    try:
        return find_algorithm(algo).info.constrained
    except UsageError:
        return False


def others(env: str) -> Cells:
    """Return published results of others for an environment, which were not run by us."""
    return [
        {
            "algorithm": each.algo, "observation": each.observation, "privileged information": each.privileged,
            "return": number(each.return_), "cost": number(each.cost_return), "budget": number(each.budget, 0),
            "steps": number(each.steps, 0), "episodes cut at a violation": "yes" if each.episodes_cut else "no",
            "source": each.source + (f"; {each.note}" if each.note else ""),
        }
        for each in published.of(env)
    ]  # fmt: skip


def text(records: Sequence[Recorded], told: Collection[tuple[str, int]] = ()) -> str:
    """Return the tables for a terminal, with their terms below and failures that are not `told` elsewhere."""
    lines = [records[0].run.settings.folder, ""]
    for privileged, groups in sections(records).items():
        lines += [f"Privileged information: {privileged}", ""]
        for title, table in tables(groups).items():
            lines += [title, *aligned(table), ""]
    for table in offline.tables(records):
        lines += ["Gain from planning", *aligned(table), ""]
    return "\n".join([*lines, *failures(records, told), *terms(records)])


def page(records: Sequence[Recorded]) -> str:
    """Return the text of `summary.md`."""
    settings = records[0].run.settings
    lines = [f"# {settings.folder}", ""]
    for privileged, groups in sections(records).items():
        lines += [f"## Privileged information: {privileged}", ""]
        for title, table in tables(groups).items():
            lines += [f"{title}:", "", *markdown(table), ""]
        lines += [*(f"- {g.first.algo}: settings {g.text('settings')}" for g in groups), ""]
    for table in offline.tables(records):
        lines += ["## Gain from planning", "", *markdown(table), ""]
    if not settings.dataset and (table := others(settings.env)):
        lines += ["## Published by others, not run by us", "", *markdown(table), ""]
    return "\n".join([*lines, "## Terms", "", *(f"- {line}" for line in failures(records) + terms(records))]) + "\n"


def texts(records: Sequence[Recorded]) -> dict[str, str]:
    """Return the contents of `summary.csv`, `aggregates.csv` and `summary.md`, by name."""
    return {
        "summary.csv": csv_text([rows.columns(r) for r in rows.rows(records)]),
        "aggregates.csv": csv_text([aggregates.columns(group) for group in aggregates.aggregates(records)]),
        "summary.md": page(records),
    }


def write(folder: Path, records: Sequence[Recorded]) -> None:
    """Write `summary.csv`, `aggregates.csv` and `summary.md` into `folder`."""
    write_texts(folder, texts(records))
