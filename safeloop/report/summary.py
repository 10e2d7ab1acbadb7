"""The table of a comparison: one row per run, and a median row where an algorithm has several seeds.

A median is over the seeds that finished, the same ones in every column, because a seed that crashed early has few
violations for that reason alone.
"""

from __future__ import annotations

import csv
import io
import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from safeloop.errors import UsageError
from safeloop.files import write_atomically
from safeloop.recording.reader import Recorded
from safeloop.recording.run import RunSettings
from safeloop.registry import find_algorithm, find_env
from safeloop.settings import build, flat, kinds

LAST = 10
"""Number of last episodes whose means are the training return and cost."""


@dataclass(frozen=True)
class Row:
    """One row of `summary.csv`; `None` where there is nothing to report yet."""

    algo: str
    """The algorithm's name, with the variant where the run has one."""
    seed: str
    """The seed, or `median` over those of the seeds above it that finished."""
    state: str
    """The run's state; for a median, the number of seeds that finished."""
    privileged: str
    """The privileged information that the algorithm used besides its samples."""
    settings: str
    """The preset, and the settings that differ from it."""
    steps: float | None
    """Simulator steps trained."""
    episodes: float | None
    training_return: float | None
    training_cost_return: float | None
    violations: float | None
    """Simulator steps with a cost, in the whole training."""
    violation_rate: float | None
    """Violations per simulator step."""
    evaluation_return: float | None
    evaluation_cost_return: float | None
    evaluation_episodes: float | None
    within_budget: str
    """Whether the evaluation's cost return is at most the budget, yes or no; for a median, the number of such seeds."""
    training_minutes: float | None
    evaluation_minutes: float | None
    """Minutes of all evaluations; None where they were not recorded."""
    diagnostics: dict[str, float]
    """The environment's diagnostics by name, a column each: means over the last training episodes."""


def _mean(values: Sequence[float]) -> float | None:
    return statistics.fmean(values) if values else None


def row(recorded: Recorded) -> Row:
    """Return the row of one run, from its tables alone."""
    settings, episodes, final = recorded.run.settings, recorded.episodes, recorded.last_evaluation
    violations, length = sum(e.violations for e in episodes), sum(e.length for e in episodes)
    cost = _mean([e.cost_return for e in final])
    return Row(
        algo=settings.name,
        seed=str(settings.seed),
        state=recorded.state,
        privileged=settings.privileged or "nothing",
        settings=changed(settings),
        steps=episodes[-1].simulator_steps if episodes else 0,
        episodes=len(episodes),
        training_return=_mean([e.return_ for e in episodes[-LAST:]]),
        training_cost_return=_mean([e.cost_return for e in episodes[-LAST:]]),
        violations=violations,
        violation_rate=violations / length if length else None,
        evaluation_return=_mean([e.return_ for e in final]),
        evaluation_cost_return=cost,
        evaluation_episodes=len(final),
        within_budget="" if cost is None or settings.budget is None else ("yes" if cost <= settings.budget else "no"),
        training_minutes=episodes[-1].wall_seconds / 60 if episodes else 0.0,
        evaluation_minutes=recorded.evaluation_minutes,
        diagnostics={
            name: statistics.fmean([d.mean for d in recorded.diagnostics if d.name == name][-LAST:])
            for name in sorted({d.name for d in recorded.diagnostics})
        },
    )


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


def rows(records: Iterable[Recorded]) -> list[Row]:
    """Return all rows, algorithm by algorithm: each seed, then the median where there are several seeds."""
    by_algo: dict[str, list[Row]] = {}
    for recorded in records:
        by_algo.setdefault(recorded.run.settings.name, []).append(row(recorded))
    result: list[Row] = []
    for group in by_algo.values():
        result += [*group, *([_median(group)] if len(group) > 1 else [])]
    return result


def _median(group: list[Row]) -> Row:
    finished = [r for r in group if r.state == "finished"]
    names = sorted(set.intersection(*(set(r.diagnostics) for r in finished)) if finished else ())
    judged = [r.within_budget for r in finished if r.within_budget]
    texts = {name: sorted({getattr(r, name) for r in group}) for name in ("privileged", "settings")}
    others = ("algo", "seed", "state", "within_budget", "diagnostics", *texts)
    numbers = [f.name for f in fields(Row) if f.name not in others]
    values: dict[str, Any] = {
        "seed": "median",
        "state": f"{len(finished)} of {len(group)} finished",
        "within_budget": f"{judged.count('yes')} of {len(judged)}" if judged else "",
        **{name: " | ".join(found) for name, found in texts.items()},
        **{name: median([getattr(r, name) for r in finished]) for name in numbers},
        "diagnostics": {name: statistics.median(r.diagnostics[name] for r in finished) for name in names},
    }
    return replace(group[0], **values)


def median(values: Sequence[float | None]) -> float | None:
    """Return the median, or None where there are no values or one of them is missing."""
    known = [value for value in values if value is not None]
    return statistics.median(known) if known and len(known) == len(values) else None


def terms(records: Sequence[Recorded]) -> list[str]:
    """Return lines with the terms of the comparison."""
    settings = records[0].run.settings
    lines, costs = [], settings.budget is not None
    if costs:
        lines.append(
            f"Budget: cost return {settings.budget:g} per episode; in budget: evaluation cost at most the budget."
        )
    try:
        spec = find_env(settings.env, settings.env_options)
        lines.append(
            f"Environment: {spec.id} ({spec.suite}), action repeat {spec.action_repeat}, episodes of "
            f"{spec.episode_steps} simulator steps, {'a cost of 1: ' * costs}{spec.cost_meaning}."
        )
    except UsageError:
        lines.append(f"Environment: {settings.env} (not installed here).")
    if settings.env_options:
        lines.append("Environment options: " + ", ".join(f"{k}={v}" for k, v in settings.env_options.items()) + ".")
    known = {r.run.settings.name: r.run.settings.privileged or "nothing" for r in records}
    lines.append(
        "Privileged information, used besides the samples: "
        + "; ".join(f"{name}: {text}" for name, text in known.items())
        + "."
    )
    planners = list(dict.fromkeys(r.run.settings.name for r in records if _plans_under_threshold(r.run.settings.algo)))
    if planners:
        lines.append(
            f"Note: {', '.join(planners)}: the planner keeps the cost within its horizon under a threshold; baselines "
            "train with the budget as their cost limit; all are judged by the budget."
        )
    beyond = {
        (r.run.settings.name, r.run.settings.steps, r.episodes[-1].simulator_steps)
        for r in records
        if r.episodes and r.episodes[-1].simulator_steps > r.run.settings.steps
    }
    if beyond:
        found = "; ".join(f"{name} {asked:,} asked for, {done:,} taken" for name, asked, done in sorted(beyond))
        lines.append(f"Steps: training ends with a whole episode or epoch: {found}.")
    lines.append(
        f"Training return{' and cost' * costs}: mean of the last {LAST} episodes. Evaluation: mean of the last "
        "evaluation's episodes. Minutes: of training; eval minutes: of all evaluations."
        + " Violations: simulator steps with a cost, in the whole training."
        * costs
    )
    return lines


def _plans_under_threshold(algo: str) -> bool:
    try:
        return find_algorithm(algo).info.constrained
    except UsageError:
        return False


def _number(value: float | None, digits: int = 2) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


COSTS = ("cost", "violations", "eval cost", "in budget")
"""Headings that are left out in environments without a cost."""


def cells(r: Row, costs: bool) -> dict[str, str]:
    """Return a row as short texts under short headings, for people."""
    found = {
        "algorithm": r.algo,
        "seed": r.seed,
        "state": r.state,
        "steps": _number(r.steps, 0),
        "episodes": _number(r.episodes, 0),
        "return": _number(r.training_return),
        "cost": _number(r.training_cost_return),
        "violations": _number(r.violations, 0) + (f" ({r.violation_rate:.2%})" if r.violation_rate is not None else ""),
        "eval return": _number(r.evaluation_return),
        "eval cost": _number(r.evaluation_cost_return),
        "eval episodes": _number(r.evaluation_episodes, 0),
        "in budget": r.within_budget or "-",
        "minutes": _number(r.training_minutes, 1),
        "eval minutes": _number(r.evaluation_minutes, 1),
        **{name: _number(value) for name, value in r.diagnostics.items()},
    }
    return {head: text for head, text in found.items() if costs or head not in COSTS}


def _filled(table: list[dict[str, str]]) -> tuple[list[str], list[dict[str, str]]]:
    """Return all headings, and the lines with a dash under each heading that they lack."""
    heads = list(dict.fromkeys(h for line in table for h in line))
    return heads, [{h: line.get(h, "-") for h in heads} for line in table]


def text(records: Sequence[Recorded]) -> str:
    """Return the table for a terminal, with its terms below."""
    settings = records[0].run.settings
    lines = aligned([cells(r, settings.budget is not None) for r in rows(records)])
    return "\n".join([settings.env, "", *lines, "", *terms(records)])


def aligned(table: list[dict[str, str]]) -> list[str]:
    """Return the lines of a table with aligned columns: numbers to the right, words to the left."""
    heads, table = _filled(table)
    width = {h: max(len(h), *(len(line[h]) for line in table)) for h in heads}
    words = {h for h in heads if any(line[h][:1].isalpha() for line in table)}

    def pad(h: str, value: str) -> str:
        return value.ljust(width[h]) if h in words else value.rjust(width[h])

    lines = ["  ".join(pad(h, h) for h in heads), "  ".join("-" * width[h] for h in heads)]
    return [line.rstrip() for line in [*lines, *("  ".join(pad(h, line[h]) for h in heads) for line in table)]]


def markdown_table(table: list[dict[str, str]]) -> list[str]:
    """Return the lines of a table in Markdown."""
    heads, table = _filled(table)
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    return lines + ["| " + " | ".join(line[h].replace("|", "\\|") for h in heads) + " |" for line in table]


def write_csv(path: Path, table: list[dict[str, Any]]) -> None:
    """Write a table, atomically; its columns are those of all lines together."""
    out = io.StringIO()
    writer = csv.DictWriter(out, list(dict.fromkeys(k for line in table for k in line)), lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: round(v, 6) if isinstance(v, float) else v for k, v in line.items()} for line in table)
    write_atomically(path, out.getvalue().encode())


def markdown(records: Sequence[Recorded]) -> str:
    """Return the text of `summary.md`."""
    settings = records[0].run.settings
    costs = settings.budget is not None
    table = [{**cells(r, costs), "privileged": r.privileged, "settings": r.settings} for r in rows(records)]
    lines = [f"# {settings.env}", "", *markdown_table(table)]
    return "\n".join([*lines, "", *(f"- {line}" for line in terms(records))]) + "\n"


def write(folder: Path, records: Sequence[Recorded]) -> None:
    """Write `summary.csv` and `summary.md` into `folder`."""
    table = []
    for r in rows(records):
        values = asdict(r)
        values |= values.pop("diagnostics")
        table.append(values)
    write_csv(folder / "summary.csv", table)
    write_atomically(folder / "summary.md", markdown(records).encode())
