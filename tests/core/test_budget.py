"""The threshold that follows what episodes cost."""

import math

import numpy as np
import pytest
import torch

from safeloop.cmdp import Constraint
from safeloop.planning.budget import AdaptiveThreshold
from safeloop.planning.objective import Scores
from safeloop.planning.settings import BudgetSettings
from safeloop.planning.weighting import feasible


def made(*budgets, start=0.5, horizon=12, **settings):
    return AdaptiveThreshold(BudgetSettings(constraint="adaptive", **settings).filled(start, horizon), budgets, start)


def test_an_episode_moves_the_threshold_by_its_error():
    follows = made(20.0, threshold_rate=0.3, threshold_scale=4.0)
    for cost, ended in ((3.0, False), (5.0, True)):
        follows.follow([cost], ended)
    assert follows.threshold.item() == pytest.approx(0.5 * math.exp(0.3 * (20 - 8) / 24))


def test_an_episode_with_a_random_decision_moves_nothing_and_leaves_nothing():
    follows = made(20.0)
    follows.follow([300.0], False, at_random=True)
    follows.follow([0.0], True)
    assert follows.threshold.item() == 0.5
    follows.follow([20.0 - 25], True)
    assert follows.threshold.item() == pytest.approx(0.5 * math.exp(0.25))


@pytest.mark.parametrize("budget", [5.0, 25.0])
@pytest.mark.parametrize("noise", [0.0, 0.6])
def test_where_cost_is_a_known_function_of_the_threshold_the_mean_cost_becomes_the_budget(budget, noise):
    """An episode costs 4 d0^0.8 on average, so that d0 becomes (budget / 4)^1.25: 1.32 and 9.9."""
    random, follows = np.random.default_rng(0), made(budget, horizon=40, threshold_rate=0.1)
    costs, levels = [], []
    for _ in range(4000):
        factor = random.lognormal(-(noise**2) / 2, noise)  # of mean 1
        costs.append(4 * follows.threshold.item() ** 0.8 * factor)
        follows.follow([costs[-1]], True)
        levels += follows.levels
    assert np.mean(costs[1000:]) == pytest.approx(budget, rel=1e-6 if noise == 0 else 0.02)
    assert math.exp(np.mean(levels[1000:])) == pytest.approx((budget / 4) ** 1.25, rel=1e-6 if noise == 0 else 0.05)


def test_an_error_that_lasts_is_not_stored_up():
    follows = made(25.0, horizon=3)
    for _ in range(500):
        follows.follow([0.0], True)
    assert follows.threshold.item() == pytest.approx(3.0)
    follows.follow([55.0], True)  # off by as much as the budget and the scale together
    assert follows.threshold.item() == pytest.approx(3 * math.exp(-0.25))
    for _ in range(500):
        follows.follow([1000.0], True)
    assert follows.threshold.item() == pytest.approx(0.05)


def test_a_budget_of_0_asks_for_the_smallest_threshold():
    follows = made(0.0, least_threshold=0.2)
    for cost in (0.0, 40.0, 0.0):
        follows.follow([cost], True)
    assert follows.threshold.item() == pytest.approx(0.2)


def test_planners_that_hold_the_threshold_see_it_move():
    follows = made(25.0)
    constraint = Constraint(follows.threshold)
    scores = Scores(torch.zeros(1, 3), torch.tensor([[0.3, 0.55, 2.0]]))
    assert feasible(scores, constraint).tolist() == [[True, False, False]]
    follows.follow([0.0], True)
    assert feasible(scores, constraint).tolist() == [[True, True, False]]


def test_each_of_several_costs_has_a_threshold_that_follows_its_own_budget():
    follows = made(20.0, 0.0, 8.0, threshold_rate=0.3, threshold_scale=4.0)
    held = follows.threshold
    follows.follow([3.0, 1.0, 0.0], False)
    follows.follow([5.0, 0.0, 8.0], True)
    expected = [math.exp(0.3 * 12 / 24), math.exp(-0.3 * 1 / 4), 1.0]
    assert held.tolist() == pytest.approx([0.5 * each for each in expected])
    scores = Scores(torch.zeros(1, 3), torch.tensor([[[0.55, 0.3, 0.4], [0.55, 0.3, 0.6], [0.1, 0.45, 0.1]]]))
    assert feasible(scores, Constraint(held)).tolist() == [[True, False, True]]


def test_it_goes_on_from_its_state():
    one, other = made(25.0, 3.0), made(25.0, 3.0)
    one.follow([7.0, 0.0], True)
    one.follow([3.0, 9.0], False)
    other.load_state_dict(one.state_dict())
    for follows in (one, other):
        follows.follow([30.0, 1.0], True)
    assert one.threshold.tolist() == other.threshold.tolist() != [0.5, 0.5]


def test_bounds_that_are_not_given_follow_the_start_and_the_horizon():
    c = BudgetSettings().filled(0.5, 12)
    assert (c.least_threshold, c.largest_threshold) == (0.05, 12)
    c = BudgetSettings(largest_threshold=0.01).filled(0.5, 12)
    assert (c.least_threshold, c.largest_threshold) == (0.01, 0.01)
    assert made(25.0, largest_threshold=0.1).threshold.item() == pytest.approx(0.1)
    with pytest.raises(ValueError, match=r"least_threshold=2: expected at most largest_threshold=1"):
        BudgetSettings(least_threshold=2.0, largest_threshold=1.0)
