"""Simulate how often 95% intervals over seeds hold the true value: python analysis/interval_coverage.py OUT.csv

Draws many sets of seeds from returns whose true mean, interquartile mean and median are known. Writes for each
distribution, number of seeds, estimate and kind of interval the share of sets whose interval holds the truth, and the
mean width relative to that of a t interval from the same sets: of the mean, or of the probability of improvement.
Two minutes on one core. Each cell has random numbers of its own, so that other cells do not move it.
"""

import sys
import warnings
import zlib
from itertools import product

import numpy as np
from rows import write_table
from scipy import optimize, special, stats

from safeloop.report import statistics

SEEDS, SEEDS_OF_TASKS = (3, 4, 5, 10, 20), (3, 5, 10)
SETS, FEWER, RESAMPLES = 10_000, 1_000, 500
"""Sets of seeds in each cell, and for what takes longer; how often a bootstrap resamples a set."""
LOCATIONS = np.linspace(0.1, 1.0, 8)[:, None]
SPREADS = np.geomspace(0.02, 0.4, 8)[[5, 0, 7, 2, 4, 1, 6, 3], None]
"""True mean scores of eight tasks, and standard deviations over seeds, `[T, 1]`."""
EVEN = (np.arange(1_000_000) + 0.5) / 1_000_000


def failing(share):
    """Return the quantile function of returns around 1, and around 0 for the share of seeds that fails."""

    def quantile(u):
        fails = u < share
        return np.where(fails, 0, 1) + 0.1 * special.ndtri(np.where(fails, u / share, (u - share) / (1 - share)))

    return quantile


RETURNS = {
    "normal": special.ndtri,
    "lognormal": lambda u: np.exp(special.ndtri(u)),
    "2 in 10 fail": failing(0.2),
    "4 in 10 fail": failing(0.4),
}
"""Quantile functions of returns over seeds."""


def trimmed(values, axis=-1):
    return stats.trim_mean(values, 0.25, axis=axis)


def around(center, error, freedom):
    half = special.stdtrit(freedom, 0.975) * error
    return center - half, center + half


def ours(estimate):
    """Return the interval of one of our functions, for sets `[R, ...]` of seeds."""
    return lambda rng, *sets: np.array([estimate(*each)[1:3] for each in zip(*sets, strict=True)]).T


def scipys(statistic, method):
    """Return a bootstrap of SciPy's; where it has no ends, which BCa may not, the set is a miss."""

    def interval(rng, sets):
        options = {"n_resamples": RESAMPLES, "batch": 50, "vectorized": True, "axis": -1, "rng": rng}
        return stats.bootstrap((sets[:FEWER],), statistic, method=method, **options).confidence_interval

    return interval


def mean_and_error(sets):
    return sets.mean(-1), sets.std(-1, ddof=1) / np.sqrt(sets.shape[-1])


def iqm_and_error(sets):
    ordered, n = np.sort(sets, -1), sets.shape[-1]
    inside = ordered[..., n // 4 : n - n // 4]
    left = inside.shape[-1]
    winsorised = np.clip(ordered, inside[..., :1], inside[..., -1:])
    return inside.mean(-1), np.sqrt(winsorised.var(-1) * n / (left * (left - 1)))


def studentised(moments):
    """Return the bootstrap-t (Hall, 1988), which leaves out resamples of equal values."""

    def interval(rng, sets):
        found = []
        for each in sets[:FEWER]:
            center, error = moments(each)
            again, errors = moments(rng.choice(each, (RESAMPLES, len(each))))
            some = errors > 1e-12
            found.append(center - error * np.quantile((again - center)[some] / errors[some], (0.975, 0.025)))
        return np.array(found).T

    return interval


def scipys_trimmed(rng, sets):
    return np.array([stats.mstats.trimmed_mean_ci(each, (0.25, 0.25)) for each in sets[:FEWER]]).T


def order_statistics(rng, sets):
    """Return the narrowest pair of values that covers the median with 95%, or the whole range where none does."""
    ordered, n = np.sort(sets, -1), sets.shape[-1]
    out = max([k for k in range(n // 2) if 2 * stats.binom.cdf(k, n, 0.5) <= 0.05], default=0)
    return ordered[:, out], ordered[:, n - 1 - out]


def welch_mean(rng, sets):
    """Return the t interval of the mean over tasks, sets `[R, T, S]`, with Welch and Satterthwaite's freedom."""
    spread = sets.var(-1, ddof=1)
    total = spread.sum(-1)
    error = np.sqrt(total / sets.shape[-1]) / sets.shape[1]
    return around(sets.mean((1, 2)), error, (sets.shape[-1] - 1) * total**2 / (spread**2).sum(-1))


def resampled(rng, sets):
    """Return each task's seeds, resampled, of sets `[R, T, S]` one after the other."""
    for each in sets[:FEWER]:
        yield np.take_along_axis(each[None], rng.integers(0, each.shape[-1], (RESAMPLES, *each.shape)), -1)


def stratified(rng, sets):
    """Return the stratified percentile bootstrap of Agarwal et al. (2021)."""
    flat = (again.reshape(RESAMPLES, -1) for again in resampled(rng, sets))
    return np.array([np.quantile(trimmed(again), (0.025, 0.975)) for again in flat]).T


def wins(x, y):
    return (x[..., :, None] > y[..., None, :]).astype(float)  # [..., T, S, S]


def stratified_wins(rng, x, y):
    pairs = zip(resampled(rng, x), resampled(rng, y), strict=True)
    return np.array([np.quantile(wins(*pair).mean((-3, -2, -1)), (0.025, 0.975)) for pair in pairs]).T


def placements(rng, x, y):
    """Return a t interval of the probability of improvement, with the variance of DeLong et al. (1988)."""
    won = wins(x, y)
    parts = np.stack([won.mean(axis).var(-1, ddof=1) for axis in (-1, -2)], -1)  # [R, T, 2]
    n, total = x.shape[-1], parts.sum((1, 2))
    freedom = (n - 1) * total**2 / np.maximum((parts**2).sum((1, 2)), 1e-12)
    return around(won.mean((1, 2, 3)), np.sqrt(total / n) / x.shape[1], np.maximum(freedom, 1))


ONE_TASK = [
    ("mean", "Student t", ours(statistics.mean)),
    ("mean", "percentile bootstrap", scipys(np.mean, "percentile")),
    ("mean", "BCa bootstrap", scipys(np.mean, "BCa")),
    ("mean", "bootstrap-t", studentised(mean_and_error)),
    ("IQM", "Tukey-McLaughlin t", ours(statistics.iqm)),
    ("IQM", "SciPy's trimmed_mean_ci", scipys_trimmed),
    ("IQM", "percentile bootstrap", scipys(trimmed, "percentile")),
    ("IQM", "BCa bootstrap", scipys(trimmed, "BCa")),
    ("IQM", "bootstrap-t", studentised(iqm_and_error)),
    ("median", "order statistics", order_statistics),
    ("median", "percentile bootstrap", scipys(np.median, "percentile")),
]
OVER_TASKS = [
    ("mean", "Welch t", welch_mean),
    ("IQM", "stratified Tukey-McLaughlin t", ours(statistics.over_tasks)),
    ("IQM", "percentile bootstrap", stratified),
]
IMPROVEMENT = [
    ("placements t", placements),
    ("Newcombe score", ours(statistics.improvement)),
    ("percentile bootstrap", stratified_wins),
]
CHANCES = [(1, [0.5]), (1, [0.9]), (8, [0.5]), (8, [0.9]), (8, [0.1, 0.9])]
"""Numbers of tasks, and true probabilities of improvement, one task after the other."""


def shifted(quantile, probability):
    """Return by how much better returns must be to be higher than others with that probability."""
    some = quantile(EVEN[500::1000])
    return optimize.brentq(lambda by: (np.searchsorted(some, some + by) / len(some)).mean() - probability, -9, 9)


def compared(intervals, truths, sets, label):
    """Yield a row for each interval; widths are relative to the first's."""
    usual = None
    for estimate, method, interval in intervals:
        rng = np.random.default_rng(zlib.crc32(f"{label} {estimate} {method}".encode()))
        low, high = np.asarray(interval(rng, *sets))
        width = high - low
        usual = width if usual is None else usual
        holds = (low <= truths[estimate] + 1e-9) & (truths[estimate] - 1e-9 <= high)
        relative = np.nanmean(width) / usual[: len(width)].mean()
        yield *label, estimate, method, f"{holds.mean():.3f}", f"{relative:.2f}"


def drawn(label, quantile, *shape):
    return quantile(np.random.default_rng(zlib.crc32(str(label).encode())).random(shape))


def rows():
    """Yield the rows: of one task, then over tasks, then of probabilities of improvement."""
    for name, quantile in RETURNS.items():
        returns = quantile(EVEN)
        truths = {"mean": returns.mean(), "IQM": trimmed(returns), "median": np.median(returns)}
        for n in SEEDS:
            yield from compared(ONE_TASK, truths, [drawn((name, n, 1), quantile, SETS, n)], (name, n, 1))
    for name, quantile in RETURNS.items():
        standard = quantile(EVEN)
        center, scale = standard.mean(), standard.std()
        for tasks, n in product((2, 8), SEEDS_OF_TASKS):
            chosen = slice(None, None, 7 if tasks == 2 else 1)
            scores = LOCATIONS[chosen] + SPREADS[chosen] * (standard - center) / scale
            sets = (drawn((name, n, tasks), quantile, SETS, tasks, n) - center) / scale
            truths = {"mean": scores.mean(), "IQM": trimmed(scores, None)}
            yield from compared(OVER_TASKS, truths, [LOCATIONS[chosen] + SPREADS[chosen] * sets], (name, n, tasks))
    for name, quantile in RETURNS.items():
        for (tasks, chances), n in product(CHANCES, SEEDS_OF_TASKS):
            label = (name, n, tasks)
            estimate = f"improvement {' and '.join(map(str, chances))}"
            shifts = np.resize([shifted(quantile, chance) for chance in chances], tasks)[:, None]
            x, y = drawn((label, estimate), quantile, 2, FEWER, tasks, n)
            intervals = [(estimate, method, interval) for method, interval in IMPROVEMENT]
            yield from compared(intervals, {estimate: np.mean(chances)}, [x + shifts, y], label)


HEADER = ("distribution", "n", "tasks", "estimand", "method", "coverage", "width_relative_to_t")

if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    warnings.simplefilter("ignore", stats.DegenerateDataWarning)
    write_table(sys.argv[1], HEADER, rows())
