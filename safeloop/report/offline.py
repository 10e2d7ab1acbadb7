"""Tables and a picture of runs that learn from one dataset, with the improvement by planning.

As in CoRL 2021, Table 1, this is the improvement of LOOP over its base, the algorithm that it plans on top of.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from safeloop.algorithms.table_4 import TRIAL
from safeloop.errors import UsageError
from safeloop.files import write_atomically
from safeloop.recording.reader import Recorded
from safeloop.recording.run import RunSettings
from safeloop.registry import find_algorithm, find_env
from safeloop.report.summary import aligned, changed, markdown_table, median, write_csv


@dataclass(frozen=True)
class Row:
    """One row of `summary.csv`: a run's last evaluation."""

    algo: str
    seed: str
    """The seed, or `median` over those of the seeds above it that finished."""
    state: str
    privileged: str
    settings: str
    gradient_steps: float | None
    evaluated_at: float | None
    """Gradient steps at the evaluation."""
    evaluation_return: float | None
    evaluation_cost_return: float | None
    score: float | None
    """Normalised return (D4RL): 0 for a random policy, 100 for an expert; None where there are no references."""
    evaluation_episodes: float | None
    training_minutes: float | None
    """Minutes of training, including the models' fit."""
    evaluation_minutes: float | None
    """Minutes of all evaluations; None where they were not recorded."""


@dataclass(frozen=True)
class Improvement:
    """The gain from planning: medians over the seeds that finished with and without it."""

    base: str
    algo: str
    seeds: int
    base_return: float
    return_: float
    base_score: float | None
    score: float | None
    gain: float
    """Median of the seeds' own gains, in score, or in return where there is no score."""
    improvement: float
    """The gain in per cent of the base's median."""


def score(settings: Any, value: float | None) -> float | None:
    """Return the normalised score of a return."""
    try:
        references = find_env(settings.env, settings.env_options).reference_returns
    except UsageError:
        references = None
    if references is None or value is None:
        return None
    low, high = references
    return 100 * (value - low) / (high - low)


def row(recorded: Recorded) -> Row:
    """Return the row of one run, from its tables alone."""
    settings, final, updates = recorded.run.settings, recorded.last_evaluation, recorded.updates
    value = statistics.fmean(e.return_ for e in final) if final else None
    cost = statistics.fmean(e.cost_return for e in final) if final and settings.budget is not None else None
    return Row(
        settings.name, str(settings.seed), recorded.state, settings.privileged or "nothing", changed(settings),
        updates[-1].simulator_steps if updates else 0, final[0].simulator_steps if final else 0,
        value, cost, score(settings, value), len(final),
        updates[-1].wall_seconds / 60 if updates else 0.0, recorded.evaluation_minutes,
    )  # fmt: skip


def by_algorithm(records: Sequence[Recorded]) -> dict[str, list[Row]]:
    """Return rows by algorithm and variant, a base before its planner; runs for trying settings are left out."""
    found: dict[str, list[Row]] = {}
    for recorded in sorted(records, key=_place):
        settings = recorded.run.settings
        if (settings.variant, settings.seed) != TRIAL:
            found.setdefault(settings.name, []).append(row(recorded))
    return found


def _place(recorded: Recorded) -> tuple[str, bool, str]:
    settings = recorded.run.settings
    base = _base(settings.algo)
    return base or settings.algo, bool(base), settings.name


NUMBERS = (
    "gradient_steps", "evaluated_at", "evaluation_return", "evaluation_cost_return", "score", "evaluation_episodes",
    "training_minutes", "evaluation_minutes",
)  # fmt: skip
"""Columns that have a median over seeds."""


def rows(records: Sequence[Recorded]) -> list[Row]:
    """Return all rows, algorithm by algorithm: each seed, then the median where there are several."""
    result: list[Row] = []
    for group in by_algorithm(records).values():
        result += group
        if len(group) > 1:
            finished = _finished(group)
            numbers: dict[str, Any] = {name: median([getattr(r, name) for r in finished]) for name in NUMBERS}
            state = f"{len(finished)} of {len(group)} finished"
            result.append(replace(group[0], **numbers, seed="median", state=state))
    return result


def _finished(group: Sequence[Row]) -> list[Row]:
    return [r for r in group if r.state == "finished"]


def improvements(records: Sequence[Recorded]) -> list[Improvement]:
    """Return a line for each algorithm whose base is there too, with the same variant or none, and learned alike."""
    groups, found = by_algorithm(records), []
    settings = {r.run.settings.name: r.run.settings for r in records}
    for name, group in groups.items():
        own = settings[name]
        plain = _base(own.algo)
        among = [each for each in (f"{plain} {own.variant}", plain) if each in groups]
        base = next((each for each in among if _learned_alike(settings[each], own)), "")
        under, over = (
            {(r.seed, r.evaluated_at): r for r in _finished(rows) if r.evaluation_return is not None}
            for rows in (groups.get(base, []), group)
        )
        both = [(under[at], r) for at, r in over.items() if at in under]
        if both:
            found.append(_improvement(base, name, both))
    return found


def _improvement(base: str, name: str, both: Sequence[tuple[Row, Row]]) -> Improvement:
    """Return the line of an algorithm and its base, from each seed's pair of rows."""
    returns = [(low.evaluation_return, high.evaluation_return) for low, high in both]
    scores = [(low.score, high.score) for low, high in both]
    pairs: Any = scores if all(None not in pair for pair in scores) else returns
    gain, start = statistics.median(high - low for low, high in pairs), statistics.median(low for low, _ in pairs)
    (low_return, high_return), (low_score, high_score) = (map(median, zip(*x, strict=True)) for x in (returns, scores))
    assert low_return is not None and high_return is not None
    change = 100 * gain / abs(start) if start else float("nan")
    return Improvement(base, name, len(both), low_return, high_return, low_score, high_score, gain, change)


def _learned_alike(base: RunSettings, other: RunSettings) -> bool:
    """Return whether a learner and the planner on top of it learned with the same settings, for as many steps."""
    return base.steps == other.steps and base.algo_settings.items() <= other.algo_settings.items()


def _base(name: str) -> str:
    """Return the base on top of which the algorithm `name` plans; "" where it is not known here."""
    try:
        return find_algorithm(name).info.base
    except UsageError:
        return ""


def _number(value: float | None, digits: int = 1) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def cells(r: Row) -> dict[str, str]:
    """Return a row as short texts under short headings, for people."""
    return {
        "algorithm": r.algo, "seed": r.seed, "state": r.state, "gradient steps": _number(r.gradient_steps, 0),
        "return": _number(r.evaluation_return), "cost": _number(r.evaluation_cost_return), "score": _number(r.score),
        "episodes": _number(r.evaluation_episodes, 0), "minutes": _number(r.training_minutes),
        "eval minutes": _number(r.evaluation_minutes),
    }  # fmt: skip


def gains(i: Improvement) -> dict[str, str]:
    """Return an improvement as short texts."""
    return {
        "base": i.base, "with planning": i.algo, "seeds": str(i.seeds),
        "base return": _number(i.base_return), "return": _number(i.return_),
        "base score": _number(i.base_score), "score": _number(i.score), "gain": f"{i.gain:+,.1f}",
        "improvement": f"{i.improvement:+.1f}%",
    }  # fmt: skip


def terms(records: Sequence[Recorded]) -> list[str]:
    """Return lines with the terms of the comparison."""
    settings = records[0].run.settings
    data, budget = settings.data, settings.budget
    cost = f", cost return {data['cost_return']:g}" if "cost_return" in data else ""
    known = {name: group[0].privileged for name, group in by_algorithm(records).items()}
    lines = [
        f"Dataset: {data['transitions']:,} transitions in {data['episodes']:,} episodes or pieces, mean return "
        f"{data['return']:g}{cost} (fingerprint {data['fingerprint']}). Environment: {settings.env}.",
        "Return"
        + ", cost" * (budget is not None)
        + ": mean of the last evaluation's episodes. Minutes: of training; eval minutes: of all evaluations."
        + " Score: 100 is D4RL's expert, 0 its random policy." * (score(settings, 0.0) is not None),
        "Privileged information, used besides the dataset: "
        + "; ".join(f"{name}: {text}" for name, text in known.items())
        + ".",
    ]
    return lines if budget is None else [*lines, f"Budget: cost return {budget:g} per episode."]


def _tables(records: Sequence[Recorded]) -> list[list[dict[str, str]]]:
    """Return the rows and, where there are any, the improvements; columns that no row fills are left out."""
    tables = [[cells(r) for r in rows(records)], [gains(i) for i in improvements(records)]]
    for table in tables:
        for head in list(table[0]) if table else []:
            if all(line[head] == "-" for line in table):
                for line in table:
                    del line[head]
    return [table for table in tables if table]


def text(records: Sequence[Recorded]) -> str:
    """Return the tables for a terminal, with their terms below."""
    parts = [line for table in _tables(records) for line in (*aligned(table), "")]
    return "\n".join([records[0].run.settings.folder, "", *parts, *terms(records)])


def markdown(records: Sequence[Recorded]) -> str:
    """Return the text of `summary.md`."""
    lines = [f"# {records[0].run.settings.folder}", ""]
    for table in _tables(records):
        lines += [*markdown_table(table), ""]
    return "\n".join([*lines, *(f"- {line}" for line in terms(records))]) + "\n"


def write(folder: Path, records: Sequence[Recorded]) -> None:
    """Write `summary.csv`, `improvement.csv`, `summary.md` and `returns.png` into `folder`."""
    for name, table in (("summary.csv", rows(records)), ("improvement.csv", improvements(records))):
        if table:
            lines = [{k.rstrip("_"): v for k, v in asdict(r).items()} for r in table]  # type: ignore[call-overload]
            write_csv(folder / name, lines)
    write_atomically(folder / "summary.md", markdown(records).encode())
    if any(r.evaluations for r in records):
        draw(records, folder / "returns.png")


def draw(records: Sequence[Recorded], path: Path) -> None:
    """Draw each algorithm's last evaluation, a point per seed and a bar at their median, and the dataset's mean.

    The median is over the seeds that finished; the points of other seeds are hollow.
    """
    from safeloop.report import style

    settings = records[0].run.settings
    costs = settings.budget is not None
    picture, *axes = style.figure(f"{settings.folder}: learned from the dataset alone", 1 + costs)
    quantities = [("evaluation_return", "return", "return")]
    if costs:
        quantities.append(("evaluation_cost_return", "cost return", "cost_return"))
    groups = by_algorithm(records)
    for axis, (name, label, of_data) in zip(axes, quantities, strict=True):
        for index, group in enumerate(groups.values()):
            colour, marker = style.look(index)["color"], style.MARKERS[index % len(style.MARKERS)]
            for r in group:
                if (value := getattr(r, name)) is not None:
                    fill = "full" if r.state == "finished" else "none"
                    axis.plot([index], [value], marker, color=colour, fillstyle=fill, alpha=0.7)
            if (middle := median([getattr(r, name) for r in _finished(group)])) is not None:
                axis.hlines(middle, index - 0.25, index + 0.25, color=colour, linewidth=3)
        if of_data in settings.data:
            axis.axhline(settings.data[of_data], color="grey", linewidth=1.2, linestyle=":", label="dataset's mean")
        axis.set_xticks(range(len(groups)), list(groups), rotation=20, ha="right")
        axis.set_xlim(-0.6, len(groups) - 0.4)
        axis.set_ylabel(f"{label} of an episode (point: seed, bar: median)")
    if costs:
        axes[1].axhline(settings.budget, color="black", linewidth=1.4, linestyle=(0, (4, 3)), label="budget")
        style.from_zero(axes[1])
    style.legend_below(picture, axes[-1])
    style.save(picture, path)
