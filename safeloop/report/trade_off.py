"""Draw return against cost of one trained policy under several budgets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from safeloop.recording.rows import EvaluationEpisode
from safeloop.report import style


def draw(points: Sequence[tuple[float, Sequence[EvaluationEpisode]]], title: str, path: Path) -> None:
    """Write a picture of mean return and cost for each budget, with standard errors over its episodes."""
    picture, axis = style.figure(title, 1)
    for i, (budget, episodes) in enumerate(sorted(points, key=lambda point: point[0])):
        returns, costs = (np.array([getattr(e, name) for e in episodes]) for name in ("return_", "cost_return"))
        errors = [x.std(ddof=1) / np.sqrt(len(x)) if len(x) > 1 else 0.0 for x in (costs, returns)]
        colour = style.look(i)["color"]
        axis.axvline(budget, color=colour, linestyle=":", linewidth=1.2)
        axis.errorbar(
            costs.mean(), returns.mean(), xerr=errors[0], yerr=errors[1], fmt="o", color=colour, capsize=3,
            label=f"budget {budget:g} (dotted line)",
        )  # fmt: skip
    axis.set_xlabel("cost return of an episode")
    axis.set_ylabel("return of an episode")
    axis.set_xlim(left=min(-0.5, axis.get_xlim()[0]))
    style.legend_below(picture, axis, caption="Means over evaluation episodes, bars: standard errors.")
    style.save(picture, path)
