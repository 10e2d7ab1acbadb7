"""`curves.png`: return and cost return of the training episodes against simulator steps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from safeloop.report import style
from safeloop.report.collect import Recorded

PANELS = (("return_", "return"), ("cost_return", "cost return"))


def draw(records: Sequence[Recorded], path: Path) -> None:
    """Draw all runs: one colour an algorithm, thin single seeds or episodes, thick their mean or median."""
    settings = records[0].run.settings
    picture, *axes = style.figure(f"{settings.env}: training")
    logarithmic = style.needs_log_axis(records)
    for axis, (column, name) in zip(axes, PANELS, strict=True):
        for index, (algo, seeds) in enumerate(style.algorithms(records).items()):
            _algorithm(axis, index, algo, seeds, column)
        axis.set_ylabel(f"{name} of an episode (mean of {style.WINDOW})")
        axis.set_title(name, fontsize=11)
        style.step_axis(axis, logarithmic)
    axes[1].axhline(
        settings.budget,
        color="black",
        linewidth=1.4,
        linestyle=(0, (4, 3)),
        label=f"budget {settings.budget:g}",
    )
    style.from_zero(axes[1])
    style.legend_below(picture, axes[1])
    style.save(picture, path)


def _algorithm(axis: Any, index: int, algo: str, seeds: list[Recorded], column: str) -> None:
    look = style.look(index)
    raw = [
        (
            np.array([e.simulator_steps for e in r.episodes]),
            np.array([getattr(e, column) for e in r.episodes]),
        )
        for r in seeds
    ]
    smooth = [(steps, style.running_mean(values)) for steps, values in raw]
    for steps, values in raw if len(seeds) == 1 else smooth:
        axis.plot(steps, values, color=look["color"], linewidth=0.7, alpha=0.3)
    steps, values = smooth[0] if len(seeds) == 1 else style.median_curve(smooth)
    label = algo if len(seeds) == 1 else f"{algo} (median of {len(seeds)} seeds)"
    axis.plot(steps, values, linewidth=2.4, label=label, **look)
