"""Estimates over seeds with 95% confidence intervals, of one task and over tasks; docs/statistics.md: their coverage.

An interval is over seeds, never over episodes: seeds are what a claim about an algorithm generalises over. T tasks, S
seeds, K thresholds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtri, stdtrit

CONFIDENCE = 0.95
"""Nominal coverage of each interval."""
FEWEST = 3
"""Number of seeds from which on there is an interval."""
UPPER = (1 + CONFIDENCE) / 2


class Estimate(NamedTuple):
    """An estimate from `n` seeds with its interval, whose ends are None where there are fewer than 3 seeds."""

    value: float
    low: float | None
    high: float | None
    n: int


class Aggregate(NamedTuple):
    """The estimates in tables of one number of each seed; `low` to `high` is the interval of `iqm`, the headline."""

    n: int
    """Number of seeds."""
    mean: float
    median: float
    iqm: float
    low: float | None
    high: float | None


def mean(values: Sequence[float] | np.ndarray) -> Estimate:
    """Return the mean of values `[S]`, one a seed, with Student's t interval (Student, 1908).

    The interval is exact for normal values, and too short for skewed ones and where some seeds fail.

    Raises:
        ValueError: there is no value, or one is not finite.
    """
    seeds = _numbers(values, ("seed",))
    n = len(seeds)
    if n < FEWEST:
        return Estimate(float(seeds.mean()), None, None, n)
    return _around(seeds.mean(), (seeds - seeds[0]).var(ddof=1) / n, n - 1, n)


def iqm(values: Sequence[float] | np.ndarray) -> Estimate:
    """Return the interquartile mean of values `[S]`, one a seed, with Tukey and McLaughlin's t interval.

    The mean of what is left when `S // 4` values are cut from either end (Agarwal et al., 2021, section 4; rliable's
    IQM); with three seeds that is the mean. The interval (Tukey and McLaughlin, 1963) has the standard error
    `sqrt(SSD / (h (h - 1)))`, where `h` values are left and `SSD` is the sum of squared deviations of all S values
    when those cut are replaced by the nearest that is left; and `h - 1` degrees of freedom.

    Raises:
        ValueError: there is no value, or one is not finite.
    """
    return _interquartile(_numbers(values, ("seed",))[None])


def aggregate(values_by_seed: Sequence[float] | np.ndarray) -> Aggregate:
    """Return what tables say of values `[S]`, one a seed (a run's return, say), online and offline alike.

    The median has no interval: of three seeds not even their whole range covers 95%.

    Raises:
        ValueError: there is no value, or one is not finite.
    """
    seeds = _numbers(values_by_seed, ("seed",))
    headline = iqm(seeds)
    return Aggregate(
        len(seeds), float(seeds.mean()), float(np.median(seeds)), headline.value, headline.low, headline.high
    )


def normalised(return_: float, low: float, high: float) -> float:
    """Return the score that is 0 at the return `low` and 100 at `high` (`EnvSpec.reference_returns`; Fu et al., 2020).

    Raises:
        ValueError: `high` is not above `low`, or a number is not finite.
    """
    if not (np.isfinite([return_, low, high]).all() and low < high):
        raise ValueError(f"return {return_}, reference returns {low} and {high}: expected finite, the second higher")
    return 100 * (return_ - low) / (high - low)


def over_tasks(scores: Sequence[Sequence[float]] | np.ndarray) -> Estimate:
    """Return the interquartile mean of all runs, scores `[T, S]`, with an interval over the S seeds of each task.

    The estimate is that of Agarwal et al. (2021, section 4). The interval is `iqm`'s, stratified: the tasks are
    fixed, so that the variance of the runs is within tasks (after those cut are replaced as there), and its degrees of
    freedom are Welch and Satterthwaite's, each task's one less than its runs among those left, as in Yuen (1974). With
    one task it is `iqm`. With two or three tasks, whose quartiles can fall between them, it can be far too short.

    Raises:
        ValueError: there is no score, one is not finite, or tasks differ in their number of seeds.
    """
    return _interquartile(_numbers(scores, ("task", "seed")))


def profile(scores: Sequence[Sequence[float]] | np.ndarray, thresholds: Sequence[float] | np.ndarray) -> np.ndarray:
    """Return the performance profile `[K]` of scores `[T, S]`: the share of runs above each threshold, mean over tasks.

    The run-score distribution of Agarwal et al. (2021), section 4.

    Raises:
        ValueError: there is no score or threshold, one is not finite, or tasks differ in their number of seeds.
    """
    levels = _numbers(thresholds, ("threshold",))
    return (_numbers(scores, ("task", "seed")) > levels[:, None, None]).mean((1, 2))


def improvement(x: Sequence[Sequence[float]] | np.ndarray, y: Sequence[Sequence[float]] | np.ndarray) -> Estimate:
    """Return the probability that a run of X scores higher than one of Y, mean over tasks; a tie counts one half.

    Takes scores `[T, Sx]` and `[T, Sy]` of the same tasks (Agarwal et al., 2021, section 4: each task's Mann-Whitney
    statistic). The estimate's `n` is the smaller number of seeds. The interval is Newcombe's score interval (2006, part
    2, method 5): all probabilities p whose distance from the estimate is at most 1.96 standard errors, with the
    variance that p gives, so that it has a width where every run of X beats every run of Y. That of a mean over tasks
    is a T-th of it, which is too much where tasks differ: there the interval is too wide, not too short.

    Raises:
        ValueError: there is no score, one is not finite, tasks differ in their number of seeds, or X and Y in tasks.
    """
    ours, theirs = _numbers(x, ("task", "seed")), _numbers(y, ("task", "seed"))
    if len(ours) != len(theirs):
        raise ValueError(f"{len(ours)} tasks and {len(theirs)}: expected scores of the same tasks")
    pairs = ours[:, :, None], theirs[:, None, :]
    value = float(((pairs[0] > pairs[1]) + 0.5 * (pairs[0] == pairs[1])).mean())
    m, n, tasks = ours.shape[1], theirs.shape[1], len(ours)
    if min(m, n) < FEWEST:
        return Estimate(value, None, None, min(m, n))

    def lower(estimate: float) -> float:
        """Return the lowest probability that agrees with an estimate; the highest is that of `1 - estimate`."""

        def excess(p: float) -> float:
            spread = 1 + ((m + n) / 2 - 1) * ((1 - p) / (2 - p) + p / (1 + p))
            return (p - estimate) ** 2 - ndtri(UPPER) ** 2 * p * (1 - p) * spread / (m * n * tasks)

        return float(brentq(excess, 0, min(estimate, 1 - 1e-9)))

    return Estimate(value, lower(value), 1 - lower(1 - value), min(m, n))


def _interquartile(scores: np.ndarray) -> Estimate:
    """Return the interquartile mean of scores `[T, S]` with the interval that `iqm` and `over_tasks` describe."""
    (tasks, seeds), runs = scores.shape, scores.size
    cut = runs // 4
    left = runs - 2 * cut
    middle = np.argsort(scores, axis=None, kind="stable")[cut : runs - cut]
    inside = scores.flat[middle]
    value = inside.mean()
    if seeds < FEWEST:
        return Estimate(float(value), None, None, seeds)
    winsorised = np.clip(scores, inside[0], inside[-1])
    spread = (winsorised - winsorised[:, :1]).var(1, ddof=1)  # [T]; exactly 0 where a task's runs are equal
    if not spread.any():
        return _around(value, 0.0, 1, seeds)
    kept = np.bincount(middle // seeds, minlength=tasks)
    freedom = 1 / ((spread / spread.sum()) ** 2 / np.maximum(kept - 1, 1)).sum()
    return _around(value, spread.mean() * (runs - 1) / (left * (left - 1)), freedom, seeds)


def _around(value: float, variance: float, freedom: float, n: int) -> Estimate:
    """Return the t interval around an estimate, of its variance and their degrees of freedom."""
    half = stdtrit(freedom, UPPER) * np.sqrt(variance)
    return Estimate(float(value), float(value - half), float(value + half), n)


def _numbers(values: Sequence[float] | Sequence[Sequence[float]] | np.ndarray, axes: tuple[str, ...]) -> np.ndarray:
    """Return finite numbers as an array with the axes that are named, or raise ValueError."""
    lengths = sorted({np.size(value) for value in values})
    if len(lengths) > 1:
        raise ValueError(f"tasks of {' and '.join(map(str, lengths))} seeds: expected as many of each")
    array = np.asarray(values, dtype=float)
    if array.ndim != len(axes) or not array.size:
        raise ValueError(f"shape {array.shape}: expected a number for each {' and '.join(axes)}")
    for place in np.argwhere(~np.isfinite(array)):
        where = ", ".join(f"{axis} {i}" for axis, i in zip(axes, place, strict=True))
        raise ValueError(f"{where} (from 0) is {array[tuple(place)]}: expected a finite number")
    return array
