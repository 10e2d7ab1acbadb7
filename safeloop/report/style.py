"""Shared parts of the pictures: colours, line styles, the step axis, moving averages, writing a file."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from safeloop.files import write_atomically
from safeloop.recording.reader import Recorded

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""The Okabe-Ito colours that are readable as lines on white."""
LINES = ("-", "--", "-.", (0, (1, 1)), (0, (5, 1, 1, 1, 1, 1)), (0, (7, 2)), (0, (3, 1, 1, 1)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
WINDOW, SHARE = 10, 20
"""A moving average is over ten episodes, or over a twentieth of all where these are more."""
SMOOTHED = (
    f"Each curve shows, at each step, the mean of the latest {WINDOW} episodes; in a run of more than {WINDOW * SHARE} "
    f"episodes, of the latest {1 / SHARE:.0%}.\nThick lines: medians over seeds. Thin lines: single seeds, or single "
    "episodes where there is one seed."
)
"""The caption of pictures with smoothed curves."""


def algorithms(records: Iterable[Recorded]) -> dict[str, list[Recorded]]:
    """Return the records with episodes, by algorithm and variant; `safeloop` is first, so that it keeps its colour."""
    found: dict[str, list[Recorded]] = {}
    for recorded in sorted(records, key=lambda r: (r.run.settings.name != "safeloop", r.run.settings.name)):
        if recorded.episodes:
            found.setdefault(recorded.run.settings.name, []).append(recorded)
    return found


def look(index: int) -> dict[str, Any]:
    """Return colour and line style of the algorithm `index`; those with the same colour have different lines."""
    return {"color": COLOURS[index % len(COLOURS)], "linestyle": LINES[(index + index // len(COLOURS)) % len(LINES)]}


def running_mean(values: Sequence[float] | np.ndarray) -> np.ndarray:
    """Return the mean over the last values at each place (see `WINDOW`; fewer at the start): `[E] -> [E]`."""
    total = np.concatenate([[0.0], np.cumsum(np.asarray(values, float))])
    end = np.arange(1, len(total))
    start = np.maximum(end - max(WINDOW, len(values) // SHARE), 0)
    return (total[end] - total[start]) / (end - start)


def median_curve(curves: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Return the median over seeds of curves `(steps, values)`, as far as every seed has come; empty without any."""
    if not curves:
        return np.array([]), np.array([])
    first, last = max(steps[0] for steps, _ in curves), min(steps[-1] for steps, _ in curves)
    grid = np.unique(np.concatenate([steps[(steps >= first) & (steps <= last)] for steps, _ in curves]))
    if not len(grid):
        return np.array([]), np.array([])
    return grid, np.median([np.interp(grid, steps, values) for steps, values in curves], axis=0)


def finished(records: Sequence[Recorded]) -> list[int]:
    """Return the places of the runs that finished; medians are over these alone."""
    return [place for place, recorded in enumerate(records) if recorded.state == "finished"]


def median_label(algo: str, records: Sequence[Recorded]) -> str:
    """Return an algorithm's name in a legend, with the number of seeds in its median, the thick line."""
    done, of_all = len(finished(records)), len(records)
    if of_all == 1:
        return algo
    if done == of_all:
        return f"{algo} (median of {done} seeds)"
    return (
        f"{algo} (median of {done} finished of {of_all} seeds)" if done else f"{algo} ({of_all} seeds, none finished)"
    )


def needs_log_axis(records: Iterable[Recorded]) -> bool:
    """Return whether the runs' step totals differ by a factor of ten or more."""
    totals = [r.run.settings.steps for r in records if r.episodes]
    return bool(totals) and max(totals) >= 10 * min(totals)


def step_axis(axis: Any, logarithmic: bool) -> None:
    """Label and scale the axis of simulator steps."""
    axis.set_xlabel("simulator steps" + (" (logarithmic)" if logarithmic else ""))
    if logarithmic:
        axis.set_xscale("log")
    else:
        axis.xaxis.set_major_formatter(EngFormatter(sep=""))
        axis.set_xlim(left=0)


def from_zero(axis: Any) -> None:
    """Let the vertical axis begin just below 0, so that a curve at 0 is seen."""
    top = max(axis.get_ylim()[1], 1.0)
    axis.set_ylim(-0.03 * top, top)


def figure(title: str, panels: int = 2) -> tuple[Any, ...]:
    """Return a figure and its panels, each 600 x 500 pixels (one alone: 800): side by side, from four on in pairs."""
    across = 2 if panels > 3 else panels
    down = math.ceil(panels / across)
    picture = Figure(figsize=(max(8, 6 * across), 5 * down), dpi=100, layout="constrained")
    picture.suptitle(title, fontsize=13, fontweight="bold")
    axes = [picture.add_subplot(down, across, 1 + panel) for panel in range(panels)]
    for axis in axes:
        axis.grid(alpha=0.25, linewidth=0.6)
        axis.spines[["top", "right"]].set_visible(False)
    return picture, *axes


def legend_below(picture: Figure, *axes: Any, caption: str = "") -> None:
    """Draw one legend for these panels, below all panels and a caption, in as few rows as its width allows."""
    found = {label: handle for axis in axes for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    labels, handles = list(found), list(found.values())
    renderer = FigureCanvasAgg(picture).get_renderer()
    for rows in range(1, len(labels) + 1):
        columns = math.ceil(len(labels) / rows)
        options = {"ncols": columns, "frameon": False, "handlelength": 3.5, "title": caption, "title_fontsize": 9}
        legend = picture.legend(handles, labels, loc="outside lower center", **options)
        if columns == 1 or legend.get_window_extent(renderer).width <= picture.bbox.width:
            return
        legend.remove()


def save(picture: Figure, path: Path) -> None:
    """Write `picture` as PNG, atomically."""
    buffer = io.BytesIO()
    picture.savefig(buffer, format="png")
    write_atomically(path, buffer.getvalue())
