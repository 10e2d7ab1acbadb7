"""Draw the figures of the page with Bokeh: curves over steps, cost against return, tails, performance profiles.

A renderer has the tag `algo N`, the place of its algorithm on the page, by which the page's filters find it; what is
black has the tag `ink`: the page draws it white where the reader's screen is dark.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Literal

import numpy as np
from bokeh.models import (
    BasicTicker,
    BoxZoomTool,
    ColumnDataSource,
    DataRange1d,
    HoverTool,
    Line,
    MultiLine,
    NumeralTickFormatter,
    Range1d,
    ResetTool,
    SaveTool,
    Scatter,
    Step,
)
from bokeh.models.annotations import Span
from bokeh.plotting import figure

from safeloop.recording.reader import Recorded
from safeloop.report import statistics, style
from safeloop.report.safety import WORST

POINTS, SEED_POINTS = 400, 200
"""Largest number of points of a median curve, and of a seed's; with more the file would be large."""
DASHES = ((), (10, 5), (10, 4, 2, 4), (2, 3), (12, 3, 2, 3, 2, 3), (18, 5), (6, 3, 2, 3, 2, 3))
"""Dash patterns in pixels, in the order of `style.LINES`."""
MARKERS = ("circle", "square", "triangle", "diamond", "inverted_triangle", "star", "hex")
MARKED = 8
"""Markers on a curve."""
INK = "#000000"
"""The colour that is white where the reader's screen is dark."""
NONE_YET = 0.5
"""The place of 0 on a logarithmic axis of counts."""

Curve = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Look:
    """The colour, dash pattern and marker of an algorithm, the same on the whole page."""

    place: int
    colour: str
    dash: tuple[int, ...]
    marker: str

    @property
    def line(self) -> dict[str, Any]:
        """The options of its thick lines."""
        return {"line_color": self.colour, "line_width": 2.5, "line_dash": list(self.dash)}

    @property
    def point(self) -> dict[str, Any]:
        """The options of its markers."""
        return {"marker": self.marker, "line_color": self.colour, "fill_color": self.colour}

    def draw(self, plot: Any, data: dict[str, Any], glyph: type, **options: Any) -> Any:
        """Draw the columns x and y in a figure, and return the renderer, which has the tags of this algorithm."""
        tags = [f"algo {self.place}", *(["ink"] if self.colour == INK else [])]
        where = {"xs": "x", "ys": "y"} if glyph is MultiLine else {"x": "x", "y": "y"}
        return plot.add_glyph(ColumnDataSource(data), glyph(**where, **options), tags=tags)


@dataclass(frozen=True)
class Algorithm:
    """An algorithm in a figure."""

    name: str
    look: Look
    records: Sequence[Recorded]
    """Its runs."""
    cvar: float | None = None
    """Mean cost of the worst tenth of the evaluation episodes of its finished seeds, as tables have it."""


@dataclass(frozen=True)
class Drawn:
    """A figure, with what is written beside it."""

    plot: Any
    title: str
    caption: str
    """A description of the figure, in sentences."""


def look(place: int) -> Look:
    """Return the look of the algorithm at a place; those with the same colour differ in dash pattern and marker."""
    colours = len(style.COLOURS)
    other = (place + place // colours) % len(DASHES)
    return Look(place, style.COLOURS[place % colours], DASHES[other], MARKERS[other])


def thinned(number: int, most: int = POINTS, logarithmic: bool = False) -> np.ndarray:
    """Return at most `most` places of a row of `number`, the first and the last among them.

    They are evenly spread; half of them on the scale of a logarithmic axis, where that is asked for.
    """
    if number <= most or not logarithmic:
        found = np.linspace(0, number - 1, min(number, most))
    else:
        found = np.concatenate([np.linspace(0, number - 1, most // 2), np.geomspace(1, number, most - most // 2) - 1])
    return np.unique(found.round().astype(int))


def over_steps(
    algorithms: Sequence[Algorithm],
    curves: Sequence[Sequence[Curve]],
    label: str,
    *,
    steps: str = "simulator steps",
    logarithmic: bool = False,
    budget: float | None = None,
    counts: bool = False,
) -> Any:
    """Return a figure of curves over steps, of each seed (thin), and of the median of finished seeds (thick).

    `curves` are those of each algorithm's runs, `(steps, values)`; with a `budget`, and for `counts`, the axis begins
    at 0. Counts that differ much have a logarithmic one.
    """
    highest = [float(values.max()) for found in curves for _, values in found if len(values)]
    log_counts = counts and max(highest) > 10 * (min(highest) + 1)
    scales = {"x_axis_type": "log" if logarithmic else "linear", "y_axis_type": "log" if log_counts else "linear"}
    plot = _empty(f"{steps}{' (logarithmic)' * logarithmic}", f"{label}{' (logarithmic)' * log_counts}", **scales)
    plot.xaxis.formatter = NumeralTickFormatter(format="0,0")
    if not logarithmic:
        plot.xaxis.ticker = BasicTicker(desired_num_ticks=4)  # as many as there is room for on a phone
    plot.y_range = DataRange1d(only_visible=True)
    if log_counts:
        curves = [[(x, np.maximum(y, NONE_YET)) for x, y in found] for found in curves]
        plot.y_range = Range1d(start=0.8 * NONE_YET, end=1.5 * max(highest))
    elif counts or budget is not None:
        top = 1.05 * max([*highest, budget or 1.0])
        plot.y_range = Range1d(start=-0.03 * top, end=top)
    thick, thin = [], []
    for algorithm, drawn in zip(algorithms, curves, strict=True):
        pairs = [(r, curve) for r, curve in zip(algorithm.records, drawn, strict=True) if len(curve[0])]
        if not pairs:
            continue
        records, found = [r for r, _ in pairs], [curve for _, curve in pairs]
        alone = len(found) == 1
        if not alone:
            thin.append(_thin(plot, algorithm, records, found, logarithmic))
        middle = found[0] if alone else style.median_curve([found[place] for place in style.finished(records)])
        if len(middle[0]):
            thick.append(_thick(plot, algorithm, style.median_label(algorithm.name, records), middle, logarithmic))
    if budget is not None:
        _level(plot, budget, "width")
    _hover(plot, thin, [("", "@algo, seed @seed"), (steps, "$snap_x{0,0}"), (label, "$snap_y{0,0.[00]}")])
    _hover(plot, thick, [("", "@algo"), (steps, "@x{0,0}"), (label, "@y{0,0.[00]}")])
    return plot


def _thin(
    plot: Any, algorithm: Algorithm, records: Sequence[Recorded], curves: Sequence[Curve], logarithmic: bool
) -> Any:
    """Draw the curves of single seeds."""
    kept = [thinned(len(steps), SEED_POINTS, logarithmic) for steps, _ in curves]
    data = {
        "x": [_whole(steps[at]) for (steps, _), at in zip(curves, kept, strict=True)],
        "y": [_short(values[at]) for (_, values), at in zip(curves, kept, strict=True)],
        "algo": [algorithm.name] * len(curves),
        "seed": [_seed(r) for r in records],
    }
    mine = algorithm.look
    return mine.draw(plot, data, MultiLine, line_color=mine.colour, line_alpha=0.4)


def _thick(plot: Any, algorithm: Algorithm, label: str, curve: Curve, logarithmic: bool) -> Any:
    """Draw the curve of an algorithm, with its marker at a few places."""
    at = thinned(len(curve[0]), POINTS, logarithmic)
    data: dict[str, Any] = {"x": _whole(curve[0][at]), "y": _short(curve[1][at]), "algo": [label] * len(at)}
    x = np.log10(data["x"]) if logarithmic else data["x"]
    few = np.unique(np.searchsorted(x, np.linspace(x[0], x[-1], MARKED)))
    mine = algorithm.look
    mine.draw(plot, {"x": data["x"][few], "y": data["y"][few]}, Scatter, size=8, **mine.point)
    return mine.draw(plot, data, Line, **mine.line)


def trade(algorithms: Sequence[Algorithm], budget: float) -> Drawn | None:
    """Return the figure of cost against return in the last evaluation; None where there was none."""
    plot = _empty("cost return of an episode", "return of an episode")
    ends = _ends(algorithms)
    if not ends:
        return None
    small, large, costs, means = [], [], [], [budget]
    for algorithm, records in ends:
        episodes = [(_seed(r), e.cost_return, e.return_) for r in records for e in r.last_evaluation]
        costs += [cost for _, cost, _ in episodes]
        small.append(_points(plot, algorithm, episodes, None))
        seeds = [
            (_seed(r), fmean(e.cost_return for e in r.last_evaluation), fmean(e.return_ for e in r.last_evaluation))
            for r in records
        ]
        means += [cost for _, cost, _ in seeds]
        large.append(_points(plot, algorithm, seeds, records))
    _level(plot, budget, "height")
    note = _clip(plot, "x_range", costs, means)
    _hover(plot, small, [("", "@algo, seed @seed, an episode"), ("cost", "@x{0,0.[00]}"), ("return", "@y{0,0.[00]}")])
    _hover(plot, large, [("", "@algo, seed @seed, mean"), ("cost", "@x{0,0.[00]}"), ("return", "@y{0,0.[00]}")])
    return Drawn(
        plot, "Return against cost return, last evaluation",
        "Small points: episodes. Large points: the mean of each seed, hollow where the run did not finish. The best "
        f"place is the upper left corner; to the right of the dashed line the cost is over the budget.{note}",
    )  # fmt: skip


def returns(algorithms: Sequence[Algorithm]) -> Drawn | None:
    """Return the figure of returns in the last evaluation, for tasks without a cost; None where there was none."""
    plot = _empty("", "return of an episode")
    ends = _ends(algorithms)
    if not ends:
        return None
    small, large = [], []
    for place, (algorithm, records) in enumerate(ends):
        across = [place + 0.6 * ((n + 0.5) / len(records) - 0.5) for n in range(len(records))]
        episodes = [
            (_seed(r), x, e.return_) for x, r in zip(across, records, strict=True) for e in r.last_evaluation
        ]  # fmt: skip
        small.append(_points(plot, algorithm, episodes, None))
        seeds = [
            (_seed(r), x, fmean(e.return_ for e in r.last_evaluation)) for x, r in zip(across, records, strict=True)
        ]
        large.append(_points(plot, algorithm, seeds, records))
    plot.xaxis.visible = plot.xgrid.visible = False
    plot.x_range = Range1d(start=-0.6, end=len(ends) - 0.4)
    _hover(plot, small, [("", "@algo, seed @seed, an episode"), ("return", "@y{0,0.[00]}")])
    _hover(plot, large, [("", "@algo, seed @seed, mean"), ("return", "@y{0,0.[00]}")])
    caption = "Small points: episodes. Large points: the mean of each seed, hollow where the run did not finish."
    return Drawn(plot, "Return, last evaluation", caption)


def tails(algorithms: Sequence[Algorithm], budget: float) -> Drawn | None:
    """Return the figure of evaluation episodes from the costliest to the cheapest; None where no finished seed has any.

    The episodes are those of the last evaluation, of all finished seeds together.
    """
    plot = _empty("share of the episodes, the costliest first (%)", "cost return of an episode")
    found, costs, means = [], [], [budget]
    for algorithm in algorithms:
        done = [algorithm.records[place] for place in style.finished(algorithm.records)]
        ranked = np.sort([e.cost_return for r in done for e in r.last_evaluation])[::-1]
        if not len(ranked):
            continue
        at = thinned(len(ranked))
        data = {
            "x": _short(np.append(100 * at / len(ranked), 100.0)), "y": _short(np.append(ranked[at], ranked[-1])),
            "algo": [algorithm.name] * (len(at) + 1),
        }  # fmt: skip
        mine = algorithm.look
        found.append(mine.draw(plot, data, Step, mode="after", **mine.line))
        costs += ranked.tolist()
        if algorithm.cvar is not None:
            means.append(algorithm.cvar)
            mine.draw(plot, {"x": [50 * WORST], "y": [algorithm.cvar]}, Scatter, size=11, **mine.point)
    if not found:
        return None
    plot.x_range = Range1d(start=-2, end=102)
    plot.add_layout(Span(location=100 * WORST, dimension="height", line_dash=[2, 4], line_width=1.5, tags=["ink"]))
    _level(plot, budget, "width")
    note = _clip(plot, "y_range", costs, means)
    _hover(plot, found, [("", "@algo"), ("cost", "@y{0,0.[00]}"), ("from", "@x{0.[0]} % of the episodes on")])
    return Drawn(
        plot, "Tail of the cost, last evaluation",
        "All episodes of the finished seeds, sorted by cost. Left of the dotted line is the worst tenth; the marker "
        "there is its mean (CVaR). The share of episodes over budget is where a curve crosses the dashed line."
        f"{note}",
    )  # fmt: skip


def profiles(algorithms: Sequence[tuple[str, Look]], scores: Sequence[Sequence[Sequence[float]]]) -> Any:
    """Return the figure of performance profiles, from the scores of each algorithm's runs by task.

    The height is the mean over tasks of the share of runs above a score (`statistics.profile`).
    """
    plot = _empty("normalised return", "share of runs above it")
    every = [score for found in scores for runs in found for score in runs]
    levels = np.unique([*every, min(0.0, *every) - 1, max(100.0, *every)])
    lines = []
    for (name, mine), found in zip(algorithms, scores, strict=True):
        above = np.mean([statistics.profile([runs], levels) for runs in found], axis=0)
        data = {"x": _short(levels), "y": _short(above), "algo": [name] * len(levels)}
        lines.append(mine.draw(plot, data, Step, mode="after", **mine.line))
    plot.y_range = Range1d(start=-0.02, end=1.02)
    _hover(plot, lines, [("", "@algo"), ("normalised return", "@x{0.[0]}"), ("share of runs above", "@y{0.[00]}")])
    return plot


def _empty(x: str, y: str, **options: Any) -> Any:
    """Return a figure without anything in it, as wide as there is room, without a background of its own."""
    plot = figure(
        x_axis_label=x or None, y_axis_label=y, height=330, min_width=250, sizing_mode="stretch_width",
        tools=[BoxZoomTool(), ResetTool(), SaveTool()], toolbar_location="above", background_fill_color=None,
        border_fill_color=None, outline_line_color=None, **options,
    )  # fmt: skip
    plot.toolbar.logo, plot.toolbar.active_drag = None, None  # a finger that scrolls the page begins on a figure too
    plot.yaxis.formatter = NumeralTickFormatter(format="0,0.[00]")
    plot.axis.axis_label_text_font_style, plot.axis.axis_label_text_font_size = "normal", "13px"
    plot.axis.major_label_text_font_size, plot.min_border_right = "12px", 24
    return plot


def _ends(algorithms: Sequence[Algorithm]) -> list[tuple[Algorithm, list[Recorded]]]:
    """Return the algorithms with their runs that were evaluated."""
    found = [(each, [r for r in each.records if r.last_evaluation]) for each in algorithms]
    return [(each, records) for each, records in found if records]


def _points(
    plot: Any, algorithm: Algorithm, points: Sequence[tuple[str, float, float]], means: Sequence[Recorded] | None
) -> Any:
    """Draw points `(seed, x, y)`: small ones, or those of the runs' means large, hollow where a run is unfinished."""
    seed, x, y = zip(*(points[place] for place in thinned(len(points))), strict=True)
    data = {"x": _short(x), "y": _short(y), "algo": [algorithm.name] * len(x), "seed": list(seed)}
    mine = algorithm.look
    if means is None:
        return mine.draw(plot, data, Scatter, size=5, fill_alpha=0.45, line_alpha=0, **mine.point)
    data["fill"] = [1.0 if means[place].state == "finished" else 0.0 for place in thinned(len(points))]
    return mine.draw(plot, data, Scatter, size=13, line_width=1.5, fill_alpha="fill", **mine.point)


def _seed(recorded: Recorded) -> str:
    """Return the seed of a run, with its state where it is not finished."""
    seed = str(recorded.run.settings.seed)
    return seed if recorded.state == "finished" else f"{seed} ({recorded.state.partition(':')[0]})"


def _level(plot: Any, budget: float, dimension: Literal["width", "height"]) -> None:
    plot.add_layout(Span(location=budget, dimension=dimension, line_dash=[5, 4], line_width=1.5, tags=["ink"]))


def _clip(plot: Any, axis: str, costs: Sequence[float], means: Sequence[float]) -> str:
    """Let an axis end where single episodes would stretch it far beyond all means, and return the sentence about it."""
    edge, most = 2 * max(means), max(costs, default=0.0)
    end = edge if most > 1.5 * edge else max(1.05 * max(most, *means), 1.0)
    setattr(plot, axis, Range1d(start=-0.03 * end, end=end))
    if end != edge:
        return ""
    beyond = sum(cost > edge for cost in costs)
    verb = "lies" if beyond == 1 else "lie"
    return f" {beyond} of {len(costs)} episodes {verb} beyond the axis, up to {most:,.0f}."


def _hover(plot: Any, renderers: Sequence[Any], tooltips: list[tuple[str, str]]) -> None:
    if renderers:
        plot.add_tools(HoverTool(renderers=list(renderers), tooltips=tooltips, line_policy="nearest", visible=False))


def _whole(values: Any) -> np.ndarray:
    return np.asarray(values, np.int32)


def _short(values: Any) -> np.ndarray:
    return np.asarray(values, np.float32)
