"""Estimates over seeds: closed forms, textbook numbers, rliable's point estimates, and how often intervals cover."""

import csv
import re
import sys
from math import sqrt
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from scipy import stats

from safeloop.report import statistics
from safeloop.report.statistics import Aggregate, Estimate

DOCS = Path(__file__).parents[2] / "docs"


def drawn(*shape):
    return np.random.default_rng(5).normal(size=shape)


@pytest.mark.parametrize("estimate", [statistics.mean, statistics.iqm])
def test_two_seeds_have_no_interval_and_three_have_one(estimate):
    assert estimate([4.0]) == Estimate(4.0, None, None, 1)
    assert estimate([4.0, 6.0]) == Estimate(5.0, None, None, 2)
    value, low, high, n = estimate([4.0, 6.0, 5.0])
    assert (value, n) == (5.0, 3) and low < 5.0 < high


def test_the_mean_of_three_has_the_t_interval_of_the_textbook():
    half = 4.302653 / sqrt(3)  # t(0.975, 2), and a standard deviation of 1
    assert statistics.mean([2.0, 4.0, 3.0]) == pytest.approx((3.0, 3 - half, 3 + half, 3), abs=1e-6)


def test_the_iqm_has_the_interval_of_tukey_and_mclaughlin():
    # sorted 1 2 4 6 20: 1 and 20 cut, winsorised 2 2 4 6 6 with a sum of squares of 16, three left: t(0.975, 2)
    half = 4.302653 * sqrt(16 / (3 * 2))
    assert statistics.iqm([20.0, 2.0, 6.0, 1.0, 4.0]) == pytest.approx((4.0, 4 - half, 4 + half, 5), abs=1e-5)


def test_the_iqm_of_three_seeds_is_their_mean():
    assert statistics.iqm([1.0, 2.0, 6.0]) == pytest.approx(statistics.mean([1.0, 2.0, 6.0]))


def test_an_aggregate_has_the_iqm_s_interval():
    values = [20.0, 2.0, 6.0, 1.0, 4.0]
    headline = statistics.iqm(values)
    assert statistics.aggregate(values) == Aggregate(5, 6.6, 4.0, 4.0, headline.low, headline.high)
    assert statistics.aggregate([3.0, 1.0]) == Aggregate(2, 2.0, 2.0, 2.0, None, None)


@pytest.mark.parametrize("estimate", [statistics.mean, statistics.iqm])
@pytest.mark.parametrize("n", [3, 4, 5, 10])
def test_equal_seeds_have_an_interval_of_no_width(estimate, n):
    found = estimate([0.1] * n)
    assert found.low == found.value == found.high == pytest.approx(0.1)


@pytest.mark.parametrize("bad", [np.nan, np.inf, None])
def test_a_value_that_is_not_finite_is_named(bad):
    for estimate in (statistics.mean, statistics.iqm, statistics.aggregate):
        with pytest.raises(ValueError, match=r"seed 2 \(from 0\) is (nan|inf): expected a finite number"):
            estimate([1.0, 2.0, bad])
    good, scores = [[1.0, 2.0, 3.0]] * 2, [[1.0, 2.0, 3.0], [1.0, bad, 3.0]]
    for call in (
        lambda: statistics.over_tasks(scores),
        lambda: statistics.profile(scores, [0.0]),
        lambda: statistics.improvement(scores, good),
        lambda: statistics.improvement(good, scores),
    ):
        with pytest.raises(ValueError, match=r"task 1, seed 1 \(from 0\) is (nan|inf)"):
            call()


def test_a_shape_that_is_not_expected_is_named():
    with pytest.raises(ValueError, match=r"shape \(0,\): expected a number for each seed"):
        statistics.aggregate([])
    with pytest.raises(ValueError, match="expected a number for each task and seed"):
        statistics.over_tasks([1.0, 2.0])
    with pytest.raises(ValueError, match="tasks of 2 and 3 seeds: expected as many of each"):
        statistics.over_tasks([[1.0, 2.0, 3.0], [1.0, 2.0]])
    with pytest.raises(ValueError, match="1 tasks and 2: expected scores of the same tasks"):
        statistics.improvement([[1.0]], [[1.0], [2.0]])


def test_a_score_is_0_and_100_at_the_reference_returns():
    assert [statistics.normalised(r, -20.0, 180.0) for r in (-20.0, 30.0, 180.0, 380.0)] == [0.0, 25.0, 100.0, 200.0]
    for wrong in ((1.0, 2.0, 2.0), (1.0, 3.0, 2.0), (np.nan, 0.0, 1.0)):
        with pytest.raises(ValueError, match="expected finite, the second higher"):
            statistics.normalised(*wrong)


def test_one_task_alone_is_the_iqm_of_its_seeds():
    for n in (2, 3, 5, 10):
        values = drawn(n).round(1)
        assert statistics.over_tasks([values]) == statistics.iqm(values)


def test_the_interval_over_tasks_is_of_the_spread_within_tasks():
    # 0 0 0 | 1 2 3 4 5 6 | 9 9 9: three cut from either end; the winsorised variances are 0 1 1 0
    scores = [[0.0, 0.0, 0.0], [3.0, 1.0, 2.0], [4.0, 5.0, 6.0], [9.0, 9.0, 9.0]]
    half = 2.776445 * sqrt((2 / 4) * 11 / (6 * 5))  # 2 + 2 degrees of freedom
    assert statistics.over_tasks(scores) == pytest.approx((3.5, 3.5 - half, 3.5 + half, 3), abs=1e-6)
    constant = statistics.over_tasks([[0.1] * 3, [5.0] * 3])
    assert constant.low == constant.value == constant.high


def test_a_profile_is_the_share_of_runs_above_each_threshold():
    scores = [[0.1, 0.5, 0.9], [0.5, 0.5, 0.7]]
    assert statistics.profile(scores, [0.0, 0.1, 0.5, 0.8, 1.0]) == pytest.approx([1, 5 / 6, 2 / 6, 1 / 6, 0])


def test_ties_count_one_half_in_the_probability_of_improvement():
    assert statistics.improvement([[1.0, 2.0, 3.0]], [[2.0, 2.0, 2.0]]).value == 0.5
    x, y = [[1.0, 3.0], [5.0, 5.0]], [[2.0, 3.0, 0.0], [5.0, 6.0, 7.0]]
    value = (3.5 / 6 + 1 / 6) / 2
    assert statistics.improvement(x, y) == Estimate(pytest.approx(value), None, None, 2)
    assert statistics.improvement(y, x) == Estimate(pytest.approx(1 - value), None, None, 2)


def test_the_interval_of_an_improvement_is_newcombe_s():
    value, low, high, n = statistics.improvement([[1.0, 5.0, 6.0, 7.0]], [[2.0, 3.0, 4.0]])
    assert (value, n) == (0.75, 3)
    for p in (low, high):  # Newcombe, 2006, part 2, method 5: (p - estimate)^2 = z^2 V(p)
        variance = p * (1 - p) * (1 + 2.5 * (1 - p) / (2 - p) + 2.5 * p / (1 + p)) / 12
        assert abs(p - value) == pytest.approx(1.959964 * sqrt(variance), abs=1e-6)
    assert low < value < high


def test_an_algorithm_that_always_wins_has_an_interval_too_and_the_loser_its_mirror_image():
    x, y = drawn(4, 3) + 100, drawn(4, 3)
    better, worse = statistics.improvement(x, y), statistics.improvement(y, x)
    assert (better.value, better.high, worse.value, worse.low) == (1.0, 1.0, 0.0, 0.0)
    assert 0.5 < better.low < 0.95 and worse.high == pytest.approx(1 - better.low)
    assert statistics.improvement(x[:1], y[:1]).low < better.low  # one task says less than four


def test_point_estimates_are_those_of_rliable():
    metrics = pytest.importorskip("rliable.metrics")
    for tasks, n in ((1, 3), (1, 5), (1, 10), (8, 3), (8, 5), (3, 7)):
        x, y = drawn(2, tasks, n).round(1)  # rounded, so that there are ties
        assert statistics.over_tasks(x).value == pytest.approx(metrics.aggregate_iqm(x.T))
        assert statistics.improvement(x, y).value == pytest.approx(metrics.probability_of_improvement(x.T, y.T))
        found = statistics.aggregate(x[0])
        assert found.iqm == pytest.approx(metrics.aggregate_iqm(x[:1].T))
        assert found.mean == pytest.approx(metrics.aggregate_mean(x[:1].T))
        assert found.median == pytest.approx(metrics.aggregate_median(x[:1]))  # over seeds: as rliable's over tasks


def test_profiles_are_those_of_rliable(monkeypatch):
    pytest.importorskip("rliable")
    pytest.importorskip("absl")
    arch, bootstrap = ModuleType("arch"), ModuleType("arch.bootstrap")  # for its bootstrap alone
    arch.bootstrap, bootstrap.IIDBootstrap, bootstrap.IndependentSamplesBootstrap = bootstrap, object, object
    monkeypatch.setitem(sys.modules, "arch", arch)
    monkeypatch.setitem(sys.modules, "arch.bootstrap", bootstrap)
    from rliable import library

    scores, thresholds = drawn(8, 5).round(1), np.linspace(-2, 2, 41).round(1)
    assert statistics.profile(scores, thresholds) == pytest.approx(library.score_distributions(scores.T, thresholds))


@pytest.mark.parametrize("n", [3, 5, 10, 20])
def test_the_headline_interval_covers_92_to_97_percent_of_normal_returns(n):
    found = [statistics.aggregate(values) for values in drawn(5000, n)]
    assert 0.92 < np.mean([each.low <= 0.0 <= each.high for each in found]) < 0.97


@pytest.mark.parametrize("n", [3, 5])
def test_the_interval_over_eight_tasks_is_not_too_short(n):
    levels, spreads = np.linspace(-1.0, 1.0, 8)[:, None], np.array([1, 2, 5, 9, 9, 5, 2, 1])[:, None] / 10
    found = [statistics.over_tasks(levels + spreads * each) for each in drawn(3000, 8, n)]
    assert 0.92 < np.mean([each.low <= 0.0 <= each.high for each in found]) < 0.99


def test_the_interval_of_an_improvement_covers():
    shift = sqrt(2) * stats.norm.ppf(0.8)
    found = [statistics.improvement(x + shift, y) for x, y in drawn(1500, 2, 8, 3)]
    assert 0.92 < np.mean([each.low <= 0.8 <= each.high for each in found]) < 0.98


def simulated(**wanted):
    """Yield the rows of the table behind docs/statistics.md with the values that are given."""
    for row in csv.DictReader((DOCS / "statistics/coverage.csv").open()):
        if all(row[name] == value for name, value in wanted.items()):
            yield row


def percent(rows):
    return [f"{100 * float(row['coverage']):.0f}" for row in rows]


def test_the_page_has_the_numbers_of_the_simulation():
    text = (DOCS / "statistics.md").read_text()
    table = [[cell.strip() for cell in line.split("|")[1:-1]] for line in re.findall(r"^\|.*\|$", text, re.MULTILINE)]
    (_, _, _, *distributions, last), _, *lines = table
    assert last == "width, normal" and len(distributions) == 4 and len(lines) > 10
    for tasks, estimate, method, *cells in lines:
        found = [row for row in simulated(tasks=tasks, estimand=estimate, method=method) if row["n"] != "4"]
        wanted = [percent(row for row in found if row["distribution"] == name) for name in distributions]
        wanted.append([f"{float(r['width_relative_to_t']):.1f}" for r in found if r["distribution"] == "normal"])
        assert cells == [", ".join(each) for each in wanted], (tasks, estimate, method)


def test_the_page_says_what_the_simulation_says():
    text = (DOCS / "statistics.md").read_text().replace("\n", " ")

    def span(rows):
        found = sorted(percent(rows), key=int)
        return f"{found[0]}% to {found[-1]}%"

    def one_task(estimate, method, *distributions):
        rows = simulated(tasks="1", estimand=estimate, method=method)
        return [row for row in rows if row["distribution"] in distributions]

    def improvement(tasks):
        rows = simulated(tasks=tasks, method="Newcombe score")
        return span(row for row in rows if "and" not in row["estimand"])

    ours = "Tukey-McLaughlin t"
    some = [{row["n"] for row in one_task("IQM", ours, "normal")}, {"3", "4", "5", "10", "20"}]
    assert some[0] == some[1]
    for method in {row["method"] for row in simulated(tasks="1", estimand="IQM")}:
        within = all(0.92 <= float(row["coverage"]) <= 0.97 for row in one_task("IQM", method, "normal"))
        assert within == (method == ours), method
    others = ("lognormal", "2 in 10 fail")
    assert f"it covers {span(one_task('IQM', ours, *others))}, where Student's t interval of the mean covers" in text
    assert f"of the mean covers {span(one_task('mean', 'Student t', *others))}." in text
    (four,) = simulated(distribution="normal", n="4", tasks="1", method=ours)
    assert f"the interval is {float(four['width_relative_to_t']):.1f} times as wide as the mean's" in text
    (median,) = simulated(distribution="normal", n="3", tasks="1", method="order statistics")
    assert f"the whole range of three seeds holds it in {percent([median])[0]}% of cases" in text
    eight = simulated(tasks="8", method="stratified Tukey-McLaughlin t")
    assert f"it covers {span(eight)} with eight tasks" in text
    assert f"It covers {improvement('1')} on one task and {improvement('8')} on eight alike" in text
