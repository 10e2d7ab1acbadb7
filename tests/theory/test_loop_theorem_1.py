"""LOOP's Theorem 1 (CoRL 2021, Eq. 5 and 39): a lookahead with an approximate model, values and planner."""

import numpy as np
import pytest

from tests.theory.adversaries import fork, risky_or_safe, two_doors, wait_or_go
from tests.theory.tabular import (
    SLACK,
    A,
    H,
    Lookahead,
    best_sequences,
    evaluate,
    lookahead,
    optimal_values,
    plan_return,
    random_lookahead,
    random_plan,
    repeat,
    repeat_sequences,
)

HORIZONS = (1, 2, 4, 7)


def returns_apart(case: Lookahead, with_t=True):
    """Return C: the most by which a plan's returns in model and MDP differ (Eq. 36), or as the statement prints it."""
    steps, discount = np.arange(len(case.plan)), case.mdp.discount
    visits = (discount**steps * (steps if with_t else 1)).sum() * case.mdp.rewards.max()
    return case.model_error * (visits + discount ** len(steps) * len(steps) * case.values.max())


def bound(case, with_t=True, replans=False):
    """Return the right side of Eq. 5. Where each decision is planned anew, 1 - gamma takes the place of 1 - gamma^H."""
    discount, horizon = case.mdp.discount, len(case.plan)
    per_plan = 2 * (returns_apart(case, with_t) + discount**horizon * case.value_error) + case.plan_error
    return per_plan / (1 - discount ** (1 if replans else horizon))


CASES = [
    pytest.param(random_lookahead(seed, horizon, discount, m, v, p), id=f"random-{seed}-{horizon}")
    for seed in range(10)
    for horizon in HORIZONS
    for discount, m, v, p in [((0.7, 0.95)[seed % 2], (0.01, 0.2, 0.9)[seed % 3], (0.02, 2)[seed % 2], seed % 4 / 10)]
]
CASES += [pytest.param(fork(h, 0.9, 1e-3, 0.04, 0.03), id=f"fork-{h}") for h in (1, 3, 5)]
CASES += [
    pytest.param(fork(5, 0.9, 1e-3, 0.0, 0.0), id="fork-model"),
    pytest.param(fork(5, 0.9, 0.0, 0.04, 0.0), id="fork-value"),
    pytest.param(fork(5, 0.9, 0.0, 0.0, 0.03), id="fork-plan"),
    pytest.param(fork(100, 0.95, 1e-4, 0.0, 0.0), id="fork-long"),
    pytest.param(risky_or_safe(100, 0.95, 0.01), id="risky"),
    pytest.param(wait_or_go(3, 0.9), id="wait"),
]


@pytest.mark.parametrize("case", CASES)
def test_the_lookahead_policy_loses_at_most_theorem_1_with_the_factor_t(case):
    assert case.loss <= bound(case) + SLACK


@pytest.mark.parametrize("case", CASES)
def test_a_plan_s_returns_in_model_and_mdp_differ_by_at_most_c(case):
    for plan in (case.plan, random_plan(np.random.default_rng(0), len(case.plan), *case.mdp.rewards.shape)):
        one, other = (plan_return(m, plan, case.values) for m in (case.mdp, case.model))
        assert np.abs(one - other).max() <= returns_apart(case) + SLACK


@pytest.mark.parametrize(
    "errors",
    [(1e-3, 0.0, 0.0), (0.0, 0.04, 0.0), (0.0, 0.0, 0.03), (1e-4, 0.04, 0.03)],
    ids=["model", "value", "plan", "all"],
)
@pytest.mark.parametrize("horizon", [2, 5])
def test_some_lookahead_loses_nearly_the_whole_bound(horizon, errors):
    case = fork(horizon, 0.9, *errors)
    assert (case.model_error, case.value_error, case.plan_error) == pytest.approx(errors, abs=1e-7)
    assert case.loss > 0.95 * bound(case)


def test_the_statement_without_the_factor_t_is_false():
    case = risky_or_safe(100, 0.95, 0.01)
    assert (case.value_error, case.plan_error) == (0, 0) and case.model_error == pytest.approx(0.01)
    assert (case.loss, bound(case, with_t=False), bound(case)) == pytest.approx((3.17, 0.64, 7.60), abs=0.005)
    long = fork(100, 0.95, 1e-4, 0.0, 0.0)
    assert long.loss > 10 * bound(long, with_t=False)
    for horizon in (2, 3, 4, 5):  # with few decisions the sum without t is the larger one
        case = fork(horizon, 0.8, 1e-5, 0.0, 0.0)
        assert (case.loss > bound(case, with_t=False)) == (horizon >= 4)


@pytest.mark.parametrize("case", CASES)
def test_planning_anew_at_each_decision_loses_at_most_the_bound_with_one_minus_gamma(case):
    assert case.replanning_loss <= bound(case, replans=True) + SLACK


def test_the_theorem_is_false_for_the_policy_that_plans_anew_at_each_decision():
    # Equation 3 defines this policy; the proof redefines it as one that executes its plans.
    case = wait_or_go(3, 0.9)
    assert (case.model_error, case.plan_error) == (0, 0)
    assert (case.replanning_loss, bound(case)) == pytest.approx((10.0, 3.69), abs=0.005)
    assert case.replanning_loss > 0.99 * bound(case, replans=True)
    assert case.loss <= bound(case)


def test_the_theorem_is_false_for_sequences_of_actions_where_chance_decides():
    # All three errors are nothing here, and so is the bound.
    mdp = two_doors(0.9)
    values = optimal_values(mdp)
    sequences = best_sequences(mdp, values, horizon=2)
    executed, anew = repeat_sequences(mdp, sequences), evaluate(mdp, np.eye(3)[sequences[:, 0]])
    for reached in (executed, anew):
        assert (values - reached)[0] == pytest.approx(0.3 * 0.9 / (1 - 0.9**2))
    plan = np.eye(3)[lookahead(mdp, values, 2).argmax(-1)]
    assert repeat(mdp, plan) == pytest.approx(values)


@pytest.mark.parametrize("seed", range(5))
def test_sequences_of_actions_lose_at_most_the_bounds_in_a_deterministic_mdp(seed):
    case = random_lookahead(seed, H, model_error=0.05 * (seed + 1), deterministic=True)
    sequences = best_sequences(case.model, case.values, H)
    executed, anew = repeat_sequences(case.mdp, sequences), evaluate(case.mdp, np.eye(A)[sequences[:, 0]])
    assert case.plan_error == 0
    assert (case.optimal - executed).max() <= bound(case) + SLACK
    assert (case.optimal - anew).max() <= bound(case, replans=True) + SLACK
