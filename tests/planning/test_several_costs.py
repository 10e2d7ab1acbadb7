"""Several costs under one planner: each keeps to its own threshold. Checked against a brute-force planner."""

from itertools import product

import pytest
import torch

from safeloop.cmdp import Constraint
from safeloop.models.trajectories import Outcome
from safeloop.planning.objective import Scores
from safeloop.planning.weighting import compared, feasible, feasible_first
from tests.core.toy import A, H, LinearModel, P, make_planner, score

K, B, N, C = 3, 2, 7, 4
GAMMA = 0.9


class Costly(LinearModel):
    """The toy with C costs: the distances of s_0 from C places."""

    places = torch.tensor([0.0, 0.5, -1.0, 2.0])

    def outcome(self, obs, act, next_obs):
        found = super().outcome(obs, act, next_obs)
        return found._replace(cost=(next_obs[..., :1] - self.places).abs())


def test_costs_are_maxima_over_models_of_each_ones_sum():
    drift, generator = torch.tensor([0.0, 0.2, -0.3]), torch.Generator().manual_seed(0)
    obs, actions = torch.randn(B, A, generator=generator), torch.rand(B, N, H, A, generator=generator) - 0.5
    found = score(Costly(drift), obs, actions, generators=[generator], discount=GAMMA, particles=P)
    assert found.costs.shape == (B, N, C)
    for b, n, c in product(range(B), range(N), range(C)):
        sums = []
        for d in drift:
            s, total = obs[b, 0].item(), 0.0
            for t in range(H):
                s += actions[b, n, t, 0].item() + d.item()
                total += GAMMA**t * abs(s - Costly.places[c].item())
            sums.append(total)
        assert found.costs[b, n, c].item() == pytest.approx(max(sums), rel=1e-5)


def test_with_one_cost_all_stays_as_it_was():
    returns, costs = torch.randn(B, N), torch.rand(B, N)
    one, several = Scores(returns, costs), Scores(returns, costs.unsqueeze(2))
    for least in (1, N):
        constraint = Constraint(0.4, min_feasible=least)
        alike = Constraint(torch.tensor([0.4]), min_feasible=least)
        assert torch.equal(feasible(one, constraint), feasible(several, alike))
        assert torch.equal(feasible_first(one, constraint).argsort(1), feasible_first(several, alike).argsort(1))
    assert torch.equal(compared(one, constraint), costs)


def test_feasible_candidates_keep_all_thresholds_and_come_first():
    costs = torch.tensor([[[1.0, 5.0], [3.0, 1.0], [1.9, 3.9], [0.0, 0.0]]])
    scores = Scores(torch.tensor([[9.0, 8.0, 2.0, 1.0]]), costs)
    constraint = Constraint(torch.tensor([2.0, 4.0]), min_feasible=2)
    assert feasible(scores, constraint).tolist() == [[False, False, True, True]]
    assert feasible_first(scores, constraint).tolist() == [[-torch.inf, -torch.inf, 2.0, 1.0]]


def test_where_they_conflict_the_sum_in_units_of_their_thresholds_counts():
    costs = torch.tensor([[[4.0, 0.0], [0.0, 30.0], [3.0, 10.0]]])  # 2, 3 and 2.5 thresholds
    scores = Scores(torch.tensor([[1.0, 9.0, 5.0]]), costs)
    constraint = Constraint(torch.tensor([2.0, 10.0]), min_feasible=1)
    assert feasible_first(scores, constraint).tolist() == [[-2.0, -3.0, -2.5]]
    priced = Constraint(torch.tensor([2.0, 10.0]), min_feasible=1, penalty=10.0)
    assert feasible_first(scores, priced).tolist() == [[-19.0, -21.0, -20.0]]


@pytest.mark.parametrize("thresholds", [[0.8, 0.5], [0.25, 9.0], [9.0, 0.25], [9.0, 9.0]])
def test_the_plan_is_that_of_a_brute_force_planner(thresholds):
    """One decision from 0: reward a_0 + a_1, costs |a_0| and |a_1|; the best feasible action is a threshold, or 1."""

    class Pair(LinearModel):
        def outcome(self, obs, act, next_obs):
            return Outcome(act[..., :2].sum(-1), act[..., :2].abs(), None, None)

    constraint = Constraint(torch.tensor(thresholds), min_feasible=1)
    planner = make_planner(
        Pair(torch.zeros(K)), constraint, act_dim=2, horizon=1, population=3000, iterations=6, noise_narrowed=False,
        initial_variance=0.5,
    )  # fmt: skip
    grid = torch.linspace(-1, 1, 81)
    pairs = torch.cartesian_prod(grid, grid)
    kept = pairs[(pairs.abs() <= torch.tensor(thresholds)).all(1)]
    best = kept[kept.sum(1).argmax()]
    plan = planner.plan(torch.zeros(1, 2), True)
    assert torch.allclose(plan.action[0], best, atol=0.06)


def test_a_candidate_that_is_not_finite_has_no_finite_cost():
    drift = torch.zeros(K)
    actions = torch.zeros(1, 2, H, A)
    actions[0, 1, 2, 0] = torch.nan
    found = score(Costly(drift), torch.zeros(1, A), actions, generators=[torch.Generator()], discount=GAMMA)
    assert found.costs[0, 0].isfinite().all() and (found.costs[0, 1] == torch.inf).all()


def test_a_value_of_cost_is_that_of_the_first_of_several():
    actions, generator = torch.zeros(1, N, H, A), torch.Generator()
    options = {"generators": [generator], "discount": GAMMA}
    plain = score(Costly(torch.zeros(K)), torch.ones(1, A), actions, **options)
    ended = score(Costly(torch.zeros(K)), torch.ones(1, A), actions, cost_value=lambda s: 3 * s[..., 0], **options)
    assert torch.allclose(ended.costs[..., 0], plain.costs[..., 0] + GAMMA**H * 3)
    assert torch.equal(ended.costs[..., 1:], plain.costs[..., 1:])
