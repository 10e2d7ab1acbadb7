"""Draw `curves.png`: return, and in environments with a cost also cost return, of training episodes over steps.

The module also draws `diagnostics.png`, the diagnostics of environments that report any, and `planning.png`, the
summaries of planned decisions, on request.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from safeloop.recording.reader import Recorded
from safeloop.report import named, style

PLANNING = (
    ("divergence", "distance between the planned action and the actor's", "L2 distance of the two actions"),
    ("usage", "weight that the planner gives to the actor's sequences", "share of all weights, 0 to 1"),
    ("model_error", "error of the models one step ahead, on new data", "root mean square (standard deviations)"),
    ("value_error", "value at the horizon minus the return that followed", "difference of returns"),
)
"""Columns of `plans.csv`, their titles, and the labels of their axes."""
SINGLE_EPISODES = 200
"""Largest number of episodes of a single seed that are drawn one by one; more would hide their mean."""
RETURN, COST = ("return_", "return"), ("cost_return", "cost return")


def draw(records: Sequence[Recorded], path: Path) -> None:
    """Draw all runs: one colour per algorithm, thin lines for single seeds or episodes, thick for mean or median."""
    settings = records[0].run.settings
    panels: list[tuple[str, str, float | None]] = [(*RETURN, None)]
    if settings.budget is not None:
        panels.append((*COST, settings.budget))
    panels += [(f"{COST[0]} {name}", f"{COST[1]} of {name}", limit) for name, limit in settings.budgets.items()]
    picture, *axes = style.figure(f"{settings.env}: training", len(panels))
    logarithmic = style.needs_log_axis(records)
    for axis, (column, name, limit) in zip(axes, panels, strict=True):
        for index, (algo, seeds) in enumerate(style.algorithms(records).items()):
            rows = [[(e.simulator_steps, named.value(e, column)) for e in r.episodes] for r in seeds]
            _algorithm(axis, index, algo, seeds, rows)
        axis.set_ylabel(f"{name} of an episode")
        told = f" (budget {limit:g})" if settings.budgets and limit is not None else ""
        axis.set_title(f"{name}, against simulator steps{told}", fontsize=11)
        style.step_axis(axis, logarithmic)
        if limit is not None:
            label = "budget" if settings.budgets else f"budget {limit:g}"
            budget = {"color": "black", "linewidth": 1.4, "linestyle": (0, (4, 3)), "label": label}
            axis.axhline(limit, **budget)
            style.from_zero(axis)
    style.legend_below(picture, axes[-1], caption=style.SMOOTHED)
    style.save(picture, path)


def draw_diagnostics(records: Sequence[Recorded], path: Path) -> None:
    """Draw one panel for each of the environment's diagnostics, in the same way as `draw`."""
    names = sorted({row.name for r in records for row in r.diagnostics})
    picture, *axes = style.figure(f"{records[0].run.settings.env}: diagnostics in training", len(names))
    for axis, name in zip(axes, names, strict=True):
        for index, (algo, seeds) in enumerate(style.algorithms(records).items()):
            rows = [[(d.simulator_steps, d.mean) for d in r.diagnostics if d.name == name] for r in seeds]
            _algorithm(axis, index, algo, seeds, rows)
        axis.set_ylabel(f"{name}: mean of an episode")
        axis.set_title(f"{name}, against simulator steps", fontsize=11)
        style.step_axis(axis, style.needs_log_axis(records))
    style.legend_below(picture, axes[0], caption=style.SMOOTHED)
    style.save(picture, path)


def draw_planning(records: Sequence[Recorded], path: Path) -> None:
    """Draw the planner's divergence from the actor, its use of the actor, and the errors of models and values."""
    picture, *axes = style.figure(
        f"{records[0].run.settings.env}: planning in training, against simulator steps", len(PLANNING)
    )
    for axis, (column, name, unit) in zip(axes, PLANNING, strict=True):
        for index, (algo, seeds) in enumerate(style.algorithms(records).items()):
            rows = [[(p.simulator_steps, getattr(p, column)) for p in r.plans] for r in seeds]
            kept = [[(s, v) for s, v in seed if math.isfinite(v)] for seed in rows]
            _algorithm(axis, index, algo, seeds, kept)
        axis.set_ylabel(unit)
        axis.set_title(name, fontsize=11)
        style.step_axis(axis, style.needs_log_axis(records))
    style.from_zero(axes[1])  # a weight lies between 0 and 1
    style.legend_below(picture, axes[2], caption=style.SMOOTHED)
    style.save(picture, path)


def _algorithm(
    axis: Any, index: int, algo: str, seeds: Sequence[Recorded], rows: Sequence[Sequence[tuple[int, float]]]
) -> None:
    """Draw one algorithm's seeds, each with its `(simulator steps, value)` by episode; seeds without any are left out.

    The thick line is the mean of a single seed, or the median of the seeds that finished.
    """
    shown = [(seed, found) for seed, found in zip(seeds, rows, strict=True) if found]
    if not shown:
        return
    seeds, look = [seed for seed, _ in shown], style.look(index)
    raw = [(np.array([s for s, _ in found]), np.array([v for _, v in found])) for _, found in shown]
    smooth = [(steps, style.running_mean(values)) for steps, values in raw]
    alone = len(raw) == 1
    for steps, values in raw if alone and len(raw[0][0]) <= SINGLE_EPISODES else smooth:
        axis.plot(steps, values, color=look["color"], linewidth=0.7, alpha=0.3)
    median = style.median_curve(smooth if alone else [smooth[place] for place in style.finished(seeds)])
    axis.plot(*median, linewidth=2.4, label=style.median_label(algo, seeds), **look)
