"""LOOP's Corollary 1 (CoRL 2021, Eq. 41): a model whose error is known where the data are."""

import numpy as np
import pytest

from tests.theory.adversaries import unseen_edge
from tests.theory.tabular import (
    SLACK,
    H,
    S,
    greedy,
    lookahead,
    plan_return,
    random_lookahead,
    random_plan,
    total_variation,
    under,
)


def mean_model_error(case, data):
    """Return the model's error in the mean over the data: the largest over starts and decisions of a plan."""
    errors = total_variation(case.mdp.transitions, case.model.transitions)
    visits, found = np.eye(len(errors)), 0.0
    for _ in case.plan:
        found = max(found, (visits @ (data * errors).sum(-1)).max())
        visits = visits @ under(case.mdp, data)[1]
    return found


def returns_apart(case, data, *plans):
    """Return C without the distance of visits eps_i, for plans that may differ from the data's policy."""
    steps, discount = np.arange(len(case.plan)), case.mdp.discount
    apart = max(total_variation(plan, data).max() for plan in plans)
    visits = (discount**steps * steps).sum() * case.mdp.rewards.max()
    last = discount ** len(steps) * len(steps) * case.values.max()
    return (mean_model_error(case, data) + apart) * (visits + last)


def near(rng, plan, share):
    """Return the policy of the first decision, mixed with a random one."""
    return (1 - share) * plan[0] + share * random_plan(rng, 1, *plan.shape[1:])[0]


@pytest.mark.parametrize("horizon", [1, 2, H, 7])
@pytest.mark.parametrize("share", [0.02, 0.3])
@pytest.mark.parametrize("seed", range(5))
def test_a_plan_near_the_data_returns_nearly_the_same_in_model_and_mdp(seed, share, horizon):
    rng = np.random.default_rng(seed)
    case = random_lookahead(seed, horizon, model_error=(0.02, 0.5)[seed % 2])
    data = random_plan(rng, 1)[0]
    plan = (1 - share) * data + share * random_plan(rng, horizon)
    one, other = (plan_return(m, plan, case.values) for m in (case.mdp, case.model))
    assert np.abs(one - other).max() <= returns_apart(case, data, plan) + SLACK


@pytest.mark.parametrize("horizon", [1, 2, H, 7])
@pytest.mark.parametrize("seed", range(10))
def test_the_lookahead_policy_loses_at_most_corollary_1_without_the_distance_of_visits(seed, horizon):
    case = random_lookahead(seed, horizon, model_error=(0.02, 0.5)[seed % 2], value_error=(0.01, 1)[seed % 2])
    data = near(np.random.default_rng(seed), case.plan, 0.5)
    best = greedy(lookahead(case.mdp, case.values, horizon))
    per_plan = 2 * (returns_apart(case, data, case.plan, best) + case.mdp.discount**horizon * case.value_error)
    assert case.plan_error == 0 and case.loss <= per_plan / (1 - case.mdp.discount**horizon) + SLACK


def test_a_plan_that_leaves_the_data_reaches_the_bound():
    case, data = unseen_edge(H, 0.9, chance=1e-3)
    assert mean_model_error(case, data) == 0 and case.model_error == 1
    one, other = (plan_return(m, case.plan, case.values) for m in (case.mdp, case.model))
    assert 0.99 * returns_apart(case, data, case.plan) < (other - one)[0] <= returns_apart(case, data, case.plan)
    # Two returns are compared, that of the best plan and that of the plan; here the first is exact.
    best = greedy(lookahead(case.mdp, case.values, H))
    limit = 2 * returns_apart(case, data, case.plan, best) / (1 - 0.9**H)
    assert case.plan_error == case.value_error == 0 and 0.49 * limit < case.loss <= limit


def test_no_data_are_near_two_deterministic_plans_that_differ():
    # So eps_pi is at least 1/2 wherever a deterministic plan is not the best one, and the bound is coarse.
    for seed in range(5):
        rng = np.random.default_rng(seed)
        one, other = (greedy(random_plan(rng)) for _ in range(2))
        apart = [max(total_variation(p, d).max() for p in (one, other)) for d in random_plan(rng, 20, S)]
        assert (one != other).any() and min(apart) >= 0.5
