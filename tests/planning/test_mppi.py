"""MPPI against the closed form, and the parts of the search that ARC does not use."""

import pytest
import torch

from safeloop.cmdp import Constraint
from safeloop.models.trajectories import Outcome
from safeloop.planning.objective import Objective, Scores
from safeloop.planning.spaces import ActionSequences
from safeloop.planning.weighting import Softmax, effective_size
from tests.core.toy import A, B, H, K, LinearModel, N, P, S, make_planner


class Bowl:
    """The reward of step t is `-|a - target_t|^2 / 2`; every model alike."""

    ensemble_size = K

    def __init__(self, target):
        self.target, self.t = target, 0

    def start(self, start):
        self.t = 0
        return start, start

    def step(self, carry, act, generators):
        reward = -(act - self.target[self.t]).square().sum(-1) / 2
        self.t += 1
        return carry, carry, Outcome(reward, torch.zeros_like(reward), None, None)


def test_mppi_is_the_exponentially_weighted_mean_in_closed_form():
    # exp(-|a - target|^2 / (2 eta)) times the Gaussian N(0, v) is a Gaussian of mean target * v / (v + eta).
    target = 0.2 * torch.randn(H, 2, generator=torch.Generator().manual_seed(1))
    variance, inverse_temperature = 0.02, 40.0
    p = make_planner(
        Bowl(target), act_dim=2, search="mppi", population=40_000, actor_fraction=0.0, iterations=7, momentum=0.5,
        initial_variance=variance, inverse_temperature=inverse_temperature, discount=1.0,
    )  # fmt: skip
    found = p.plan(torch.zeros(1, S), t0=True).mean[0]
    expected = target * variance / (variance + 1 / inverse_temperature)
    assert torch.allclose(found, expected, atol=0.01) and (expected.abs() > 0.03).any()


def test_mppi_goes_on_around_its_last_solution_with_the_same_variance():
    # Around the mean m the closed form is m + (target - m) * v / (v + eta): every decision comes closer by a share.
    target = torch.full((H, 2), 0.2)
    p = make_planner(
        Bowl(target), act_dim=2, search="mppi", population=40_000, actor_fraction=0.0, initial_variance=0.02,
        inverse_temperature=50.0, discount=1.0,
    )  # fmt: skip
    first = p.plan(torch.zeros(1, S), t0=True).mean[0, 1]
    second = p.plan(torch.zeros(1, S), t0=False).mean[0, 0]
    assert torch.allclose(first, torch.full((2,), 0.1), atol=0.01)
    assert torch.allclose(second, torch.full((2,), 0.15), atol=0.01)


def test_mppis_noise_is_correlated_and_not_narrowed_near_the_limits():
    p = make_planner(
        LinearModel(torch.zeros(K)), search="mppi", population=20_000, actor_fraction=0.0, noise_correlation=0.7,
        initial_variance=1e-3,
    )  # fmt: skip
    p.mean = torch.full((1, H, A), 0.95)
    drawn = p.search.space.draw(p.mean, torch.full_like(p.mean, 1e-3), 20_000, p.generators)[0]
    assert drawn.max() <= 1 and drawn[:, 0].min() < 0.95 - 0.07  # more than two deviations below
    inside = p.search.space.draw(torch.zeros(1, H, A), torch.full((1, H, A), 1e-3), 20_000, p.generators)[0]
    together = torch.corrcoef(inside[:, :, 0].T)
    steps = torch.arange(H)
    assert torch.allclose(together, 0.7 ** (steps.view(-1, 1) - steps).abs().float(), atol=0.03)


@pytest.mark.parametrize("search", ["arc", "cem", "mppi"])
def test_a_plan_hands_back_the_last_candidates_and_their_weights(search):
    fraction, seeds = 0.25, range(B)
    p = make_planner(
        Bowl(torch.zeros(H, A)), search=search, population=20, actor_fraction=fraction, iterations=1, momentum=0.0,
        actor=lambda obs, generators: torch.full((len(obs), A), 0.125), seeds=seeds,
    )  # fmt: skip
    plan = p.plan(torch.zeros(B, S), t0=True)
    assert plan.candidates.shape == (B, 25, H, A) and plan.weights.shape == (B, 25)
    assert torch.allclose(plan.weights.sum(1), torch.ones(B))
    assert (plan.candidates[:, 20:] == 0.125).all()  # the actor's are last
    assert torch.allclose(plan.mean, (plan.weights[..., None, None] * plan.candidates).sum(1), atol=1e-6)


def test_a_value_of_cost_ends_the_cost_alone_and_survives_events():
    drift = torch.tensor([0.0, 0.5, -0.25])
    obs, actions = torch.zeros(1, S), torch.zeros(1, N, H, A)
    actions[0, :, 0, 0] = torch.linspace(-1, 1, N)

    def scores(model, cost_value):
        objective = Objective(model, 0.9, particles=P, cost_value=cost_value)
        return objective(obs, ActionSequences(H, A), actions, [torch.Generator()])

    without, ended = (scores(LinearModel(drift), value) for value in (None, lambda s: s[..., 0].abs()))
    assert torch.equal(without.returns, ended.returns)
    plain = LinearModel(drift)
    final = torch.stack([actions[0, :, 0, 0] + H * d for d in drift])  # [K, N]
    each = torch.stack([_costs(actions[0, :, 0, 0], d) for d in drift]) + 0.9**H * final.abs()
    assert plain.ensemble_size == K and torch.allclose(ended.costs[0], each.amax(0), atol=1e-5)
    reached = scores(LinearModel(drift, event_at=-9.0), lambda s: s[..., 0].abs())  # an event in every step
    assert torch.allclose(reached.costs, ended.costs)  # costs go on after events
    over = scores(LinearModel(drift, end_at=-9.0), lambda s: s[..., 0].abs())  # a termination in every step
    assert (over.costs < ended.costs).all()


def _costs(first, drift):
    """The discounted cost within the horizon of `s_0 = first + t * drift` after t steps."""
    return sum(0.9**t * (first + (t + 1) * drift).abs() for t in range(H))


def test_a_constraint_may_see_beyond_the_horizon_by_a_value_of_cost():
    # Nothing costs within the horizon; what s_0 reaches costs later. The reward pushes s_0 up.
    class Push(LinearModel):
        def outcome(self, obs, act, next_obs):
            return Outcome(act[..., 0], torch.zeros_like(act[..., 0]), None, None)

    def reached(cost_value):
        p = make_planner(
            Push(torch.zeros(K)), Constraint(0.01), iterations=10, actor=lambda s, g: torch.zeros_like(s),
            cost_value=cost_value,
        )  # fmt: skip
        return p.plan(torch.zeros(1, S), t0=True).mean[0, :, 0].sum().item()

    assert reached(None) > 3
    assert reached(lambda s: (s[..., 0] - 0.5).clamp(min=0)) < 0.6


def test_standardised_weights_by_hand_are_the_same_for_any_scale_of_scores():
    returns = torch.tensor([[1.0, 3.0, 5.0, -torch.inf], [0.0, 0.0, 0.0, 0.0]])
    weights = Softmax(2.0, standardised=True)(Scores(returns, torch.zeros(2, 4)))
    z = torch.tensor([-1.0, 0.0, 1.0]) * (3 / 2) ** 0.5  # standard deviation sqrt(8/3) of 1, 3, 5
    torch.testing.assert_close(weights[0, :3], torch.softmax(2 * z, 0), atol=1e-5, rtol=0)
    assert weights[0, 3] == 0 and torch.allclose(weights[1], torch.full((4,), 0.25))
    again = Softmax(2.0, standardised=True)(Scores(100 * returns - 7, torch.zeros(2, 4)))
    torch.testing.assert_close(weights, again, atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [1.5, 4.0, 6.5])
def test_weights_of_a_given_effective_size(size):
    returns = torch.randn(3, 7, generator=torch.Generator().manual_seed(0)) * torch.tensor([[1.0], [100.0], [1e-3]])
    weights = Softmax(1.0, size=size)(Scores(returns, torch.zeros(3, 7)))
    torch.testing.assert_close(effective_size(weights), torch.full((3,), size), atol=1e-2, rtol=0)
    torch.testing.assert_close(weights.sum(1), torch.ones(3))
    assert torch.equal(weights.argsort(1), returns.argsort(1))


def test_weights_of_a_size_have_as_many_candidates_as_there_are():
    returns = torch.tensor([[1.0, 2.0, -torch.inf, 3.0]])
    weights = Softmax(1.0, size=9.0)(Scores(returns, torch.zeros(1, 4)))
    torch.testing.assert_close(weights, torch.tensor([[1 / 3, 1 / 3, 0.0, 1 / 3]]), atol=1e-3, rtol=0)
    equal = Softmax(1.0, size=1.0)(Scores(torch.tensor([[2.0, 2.0, 1.0]]), torch.zeros(1, 3)))
    torch.testing.assert_close(equal, torch.tensor([[0.5, 0.5, 0.0]]), atol=1e-3, rtol=0)


def test_standardised_weights_where_nothing_is_finite_are_nan():
    scores = Scores(torch.full((1, 3), -torch.inf), torch.zeros(1, 3))
    assert Softmax(2.0, standardised=True)(scores).isnan().all()


def test_standardised_weights_put_feasible_candidates_first():
    scores = Scores(torch.tensor([[1.0, 2.0, 9.0]]), torch.tensor([[0.0, 0.0, 5.0]]))
    weights = Softmax(2.0, Constraint(1.0, min_feasible=2), standardised=True)(scores)
    torch.testing.assert_close(
        weights, torch.softmax(2 * torch.tensor([[-1.0, 1.0, -torch.inf]]), 1), atol=1e-4, rtol=0
    )


def test_the_effective_size_is_the_number_of_equal_weights():
    weights = torch.tensor([[0.25, 0.25, 0.25, 0.25], [0.5, 0.5, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0]])
    assert effective_size(weights).tolist() == [4.0, 2.0, 1.0]


def test_mppi_scores_its_last_solution_too():
    p = make_planner(LinearModel(torch.zeros(K)), search="mppi", population=5, actor_fraction=0.0)
    p.mean = torch.full((1, H, A), 0.25)
    plan = p.plan(torch.zeros(1, S), t0=False)
    assert torch.equal(plan.candidates[0, 0], p.search.space.shift(torch.full((1, H, A), 0.25))[0])
    assert (plan.candidates[0, 1:] != plan.candidates[0, 0]).any(-1).all()
