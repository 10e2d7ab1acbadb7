"""POLO's Lemma 2 (2018, Eq. 4): a plan that ends with approximate values, in a known MDP."""

import numpy as np
import pytest

from tests.theory.adversaries import fork, two_doors, wait_or_go
from tests.theory.tabular import (
    SLACK,
    best_sequences,
    evaluate,
    optimal_values,
    random_lookahead,
    repeat_sequences,
)

HORIZONS = (1, 2, 4, 6)


def bound(case, replans=False):
    """Return the right side of Eq. 4. Where each decision is planned anew, 1 - gamma takes the place of 1 - gamma^H."""
    discount, horizon = case.mdp.discount, len(case.plan)
    return 2 * discount**horizon * case.value_error / (1 - discount ** (1 if replans else horizon))


def losses(case):
    """Return the most that the best sequence of actions loses where it is executed whole, and where it is made anew."""
    sequences = best_sequences(case.mdp, case.values, len(case.plan))
    anew = evaluate(case.mdp, np.eye(case.mdp.rewards.shape[1])[sequences[:, 0]])
    return [(case.optimal - reached).max() for reached in (repeat_sequences(case.mdp, sequences), anew)]


def drawn(seed, horizon, deterministic):
    discount, error = (0.6, 0.95)[seed % 2], (0.1, 1.0, 10.0)[seed % 3]
    return random_lookahead(seed, horizon, discount, 0.0, error, deterministic=deterministic)


@pytest.mark.parametrize("horizon", HORIZONS)
@pytest.mark.parametrize("seed", range(12))
def test_a_sequence_executed_whole_in_a_deterministic_mdp_loses_at_most_lemma_2(seed, horizon):
    case = drawn(seed, horizon, deterministic=True)
    assert losses(case)[0] <= bound(case) + SLACK


@pytest.mark.parametrize("horizon", HORIZONS)
@pytest.mark.parametrize("seed", range(12))
def test_a_plan_that_reacts_and_is_executed_whole_loses_at_most_lemma_2_in_any_mdp(seed, horizon):
    case = drawn(seed, horizon, deterministic=False)
    assert case.loss <= bound(case) + SLACK


@pytest.mark.parametrize("horizon", HORIZONS)
def test_some_sequence_executed_whole_loses_all_of_lemma_2(horizon):
    case = fork(horizon, 0.9, fall=0.0, value_error=0.5, plan_error=0.0)
    assert 0.999 * bound(case) < losses(case)[0] <= bound(case) + SLACK


def test_lemma_2_is_false_for_a_planner_that_plans_anew_at_each_decision():
    case = wait_or_go(3, 0.9)
    whole, anew = losses(case)
    assert (whole, anew, bound(case)) == pytest.approx((1.0, 10.0, 3.69), abs=0.005)
    for horizon in HORIZONS[1:]:  # with one decision both planners are the same
        case = wait_or_go(horizon, 0.9)
        whole, anew = losses(case)
        assert whole <= bound(case) < anew


@pytest.mark.parametrize("horizon", HORIZONS)
def test_planning_anew_at_each_decision_loses_at_most_the_bound_with_one_minus_gamma(horizon):
    for seed in range(12):
        case = drawn(seed, horizon, deterministic=True)
        assert losses(case)[1] <= bound(case, replans=True) + SLACK
        case = drawn(seed, horizon, deterministic=False)
        assert case.replanning_loss <= bound(case, replans=True) + SLACK
    case = wait_or_go(horizon, 0.9)
    assert 0.999 * bound(case, replans=True) < losses(case)[1] <= bound(case, replans=True) + SLACK


def test_a_sequence_that_can_not_react_loses_even_with_exact_values():
    mdp = two_doors(0.9)
    values = optimal_values(mdp)
    reached = repeat_sequences(mdp, best_sequences(mdp, values, horizon=2))
    assert (values - reached).max() == pytest.approx(0.3 * 0.9 / (1 - 0.9**2))
