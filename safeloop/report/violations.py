"""Draw `violations.png`: cumulative violations during training, and cost against return at its end."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from safeloop.recording.reader import Recorded
from safeloop.report import style
from safeloop.report.summary import LAST


def draw(records: Sequence[Recorded], path: Path) -> None:
    """Draw cumulative violations against steps, and each algorithm's cost against its return."""
    settings = records[0].run.settings
    assert settings.budget is not None
    picture, left, right = style.figure(f"{settings.env}: safety")
    found = style.algorithms(records)
    totals = [sum(e.violations for e in r.episodes) for seeds in found.values() for r in seeds]
    for index, (algo, seeds) in enumerate(found.items()):
        _cumulative(left, index, algo, seeds)
        _trade(right, index, seeds)
    left.set_title("violations in training, against simulator steps", fontsize=11)
    left.set_ylabel("simulator steps with a cost, so far")
    if totals and max(totals) > 10 * (min(totals) + 1):
        left.set_yscale("symlog", linthresh=1)
        left.set_ylabel("simulator steps with a cost, so far (logarithmic)")
        left.set_ylim(bottom=-0.3)
    else:
        style.from_zero(left)
    style.step_axis(left, style.needs_log_axis(records))
    _clip_far_costs(right, settings.budget, found)
    right.axvline(
        settings.budget, color="black", linewidth=1.4, linestyle=(0, (4, 3)), label=f"budget {settings.budget:g}"
    )
    right.set_title("return against cost return, after training", fontsize=11)
    right.set_ylabel("return of an episode")
    hollow = "" if all(r.state == "finished" for seeds in found.values() for r in seeds) else "; hollow: unfinished"
    caption = (
        "Left: thick lines are medians over seeds, thin lines single seeds. Right: the episodes of the last evaluation "
        f"(small) and their mean for each seed (large{hollow})."
    )
    style.legend_below(picture, left, right, caption=caption)
    style.save(picture, path)


def _clip_far_costs(axis: Any, budget: float, found: dict[str, list[Recorded]]) -> None:
    """Label the cost axis, and end it where single episodes would stretch it far beyond every seed's mean."""
    axis.set_xlabel("cost return of an episode")
    ends = [[e.cost_return for e in _ends(r)] for seeds in found.values() for r in seeds]
    costs = [cost for each in ends for cost in each]
    edge = 2 * max(budget, *(statistics.fmean(each) for each in ends if each), 0.0)
    if costs and max(costs) > 1.5 * edge:
        axis.set_xlim(-0.03 * edge, edge)
        beyond = sum(cost > edge for cost in costs)
        are = "lies" if beyond == 1 else "lie"
        far = f"{beyond} of {len(costs)} episodes {are} beyond the axis, up to {max(costs):.0f}"
        axis.set_xlabel(f"cost return of an episode ({far})")


def _ends(recorded: Recorded) -> Sequence[Any]:
    """Return the episodes at the end of a run: those of its last evaluation, or the last of its training."""
    return recorded.last_evaluation or recorded.episodes[-LAST:]


def _cumulative(axis: Any, index: int, algo: str, seeds: list[Recorded]) -> None:
    curves = [
        (np.array([e.simulator_steps for e in r.episodes]), np.cumsum([e.violations for e in r.episodes]))
        for r in seeds
    ]
    look, middle = style.look(index), curves[0]
    if len(seeds) > 1:
        middle = style.median_curve([curves[place] for place in style.finished(seeds)])
        for steps, values in curves:
            axis.plot(steps, values, color=look["color"], linewidth=0.7, alpha=0.4)
    mark = {"marker": style.MARKERS[index % len(style.MARKERS)], "markevery": (0.08, 0.15), "markersize": 5}
    axis.plot(*middle, linewidth=2.4, label=style.median_label(algo, seeds), **look, **mark)


def _trade(axis: Any, index: int, seeds: list[Recorded]) -> None:
    """Draw each seed's last episodes (small) and their mean (large; hollow for an unfinished seed)."""
    colour = style.COLOURS[index % len(style.COLOURS)]
    marker = style.MARKERS[index % len(style.MARKERS)]
    for recorded in seeds:
        ends = _ends(recorded)
        costs, returns = [e.cost_return for e in ends], [e.return_ for e in ends]
        axis.scatter(costs, returns, s=14, alpha=0.35, linewidths=0, color=colour, marker=marker)
        filled = recorded.state == "finished"
        axis.scatter(
            statistics.fmean(costs), statistics.fmean(returns), s=110, marker=marker, linewidths=0.8 if filled else 1.6,
            facecolors=colour if filled else "none", edgecolors="black" if filled else colour,
        )  # fmt: skip
