"""The picture of the returns that a planner expects around a plan."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from safeloop.planning.surface import Surface
from safeloop.report import style

CAPTION = (
    "The surface shows the returns that the models expect, on the plane of the candidates' first two principal "
    "components through the plan.\nCandidates lie beside the plane, and are drawn at their nearest place in it."
)


def draw(surfaces: Mapping[str, Surface], title: str, path: Path) -> None:
    """Draw a panel for each surface, named by the space that was searched."""
    picture, *axes = style.figure(title, len(surfaces))
    for axis, (name, found) in zip(axes, surfaces.items(), strict=True):
        _panel(picture, axis, name, found)
    style.legend_below(picture, *axes, caption=CAPTION)
    style.save(picture, path)


def _panel(picture: Any, axis: Any, name: str, found: Surface) -> None:
    x, y = (each.numpy() for each in found.axes)
    grid = np.ma.masked_invalid(found.grid.numpy())
    surface = axis.contourf(x, y, grid, levels=20, cmap="cividis")
    picture.colorbar(surface, ax=axis, label="expected return of the plan")
    for i, points in enumerate(found.points):
        shade = "#ffffff" if i == 0 else style.COLOURS[1] if i == len(found.points) - 1 else style.COLOURS[5]
        axis.scatter(*points.T.numpy(), s=14, marker=style.MARKERS[i % len(style.MARKERS)], color=shade,
                     edgecolors="black", linewidths=0.4, label=f"candidates, iteration {i + 1}")  # fmt: skip
    axis.plot(0, 0, "*", markersize=15, color="black", markeredgecolor="white", linestyle="none", label="the plan")
    axis.grid(False)
    axis.set_title(f"{name}: {math.prod(found.size):,} numbers", fontsize=11)
    for which, share, label in zip("xy", found.shares, ("first", "second"), strict=True):
        getattr(axis, f"set_{which}label")(f"{label} principal component ({share:.0%} of the variance)")
