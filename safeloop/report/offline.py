"""The gain from planning on top of an algorithm that learned from a dataset, and a picture of such runs.

As in CoRL 2021, Table 1, this is the improvement of LOOP over its base, the algorithm that it plans on top of.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safeloop.recording.reader import Recorded
from safeloop.recording.run import RunSettings
from safeloop.report.aggregates import Group, aggregates, median
from safeloop.report.rows import Row, base_of
from safeloop.report.tables import csv_text, number, without_empty, write_texts


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


def improvements(records: Sequence[Recorded]) -> list[Improvement]:
    """Return a line for each algorithm whose base is there too, with the same variant or none, and learned alike."""
    groups, found = {group.first.algo: group.finished for group in aggregates(records)}, []
    settings = {r.run.settings.name: r.run.settings for r in records}
    for name, group in groups.items():
        own = settings[name]
        plain = base_of(own.algo)
        among = [each for each in (f"{plain} {own.variant}", plain) if each in groups]
        base = next((each for each in among if _learned_alike(settings[each], own)), "")
        under, over = (
            {(r.seed, r.evaluated_at): r for r in rows if r.evaluation_return is not None}
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


def gains(i: Improvement) -> dict[str, str]:
    """Return an improvement as short texts under short headings."""
    return {
        "base": i.base, "with planning": i.algo, "seeds": str(i.seeds),
        "base return": number(i.base_return), "return": number(i.return_),
        "base score": number(i.base_score), "score": number(i.score), "gain": f"{i.gain:+,.1f}",
        "improvement": f"{i.improvement:+.1f}%",
    }  # fmt: skip


def tables(records: Sequence[Recorded]) -> list[list[dict[str, str]]]:
    """Return the table of improvements in a list, empty where there are none."""
    found = [gains(i) for i in improvements(records)]
    return [without_empty(found)] if found else []


def texts(records: Sequence[Recorded]) -> dict[str, str]:
    """Return the content of `improvement.csv` by its name, or nothing where there are no improvements."""
    found = [{k.rstrip("_"): v for k, v in asdict(i).items()} for i in improvements(records)]
    return {"improvement.csv": csv_text(found)} if found else {}


def write(folder: Path, records: Sequence[Recorded]) -> None:
    """Write `improvement.csv` and `returns.png` into `folder`, where there is anything to show."""
    write_texts(folder, texts(records))
    if any(r.evaluations for r in records):
        draw(records, folder / "returns.png")


def draw(records: Sequence[Recorded], path: Path) -> None:
    """Draw each algorithm's last evaluation, a point per seed and a bar at their median, and the dataset's mean.

    The median is over the seeds that finished; the points of other seeds are hollow.
    """
    from safeloop.report import style

    settings, groups = records[0].run.settings, aggregates(records)
    costs = settings.budget is not None
    picture, *axes = style.figure(f"{settings.folder}: learned from the dataset alone", 1 + costs)
    quantities = [("evaluation_return", "return", "return")]
    if costs:
        quantities.append(("evaluation_cost_return", "cost return", "cost_return"))
    for axis, (name, label, of_data) in zip(axes, quantities, strict=True):
        for index, group in enumerate(groups):
            _points(axis, index, group, name)
        if of_data in settings.data:
            axis.axhline(settings.data[of_data], color="grey", linewidth=1.2, linestyle=":", label="dataset's mean")
        axis.set_xticks(range(len(groups)), [group.first.algo for group in groups], rotation=20, ha="right")
        axis.set_xlim(-0.6, len(groups) - 0.4)
        axis.set_title(f"{label} in the last evaluation, for each algorithm", fontsize=11)
        axis.set_ylabel(f"mean {label} (point: seed, bar: median)")
    if costs:
        axes[1].axhline(settings.budget, color="black", linewidth=1.4, linestyle=(0, (4, 3)), label="budget")
        style.from_zero(axes[1])
    style.legend_below(picture, axes[-1])
    style.save(picture, path)


def _points(axis: Any, index: int, group: Group, name: str) -> None:
    """Draw an algorithm's seeds and their median in a column of numbers."""
    from safeloop.report import style

    colour, marker = style.look(index)["color"], style.MARKERS[index % len(style.MARKERS)]
    for r in group.rows:
        if (value := getattr(r, name)) is not None:
            axis.plot([index], [value], marker, color=colour, alpha=0.7,
                      fillstyle="full" if r.state == "finished" else "none")  # fmt: skip
    if (middle := group.median(name)) is not None:
        axis.hlines(middle, index - 0.25, index + 0.25, color=colour, linewidth=3)
