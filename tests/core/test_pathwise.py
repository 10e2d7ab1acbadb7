"""MAAC's gradient: against SAC, finite differences and a closed form; STEVE's weights and targets by hand."""

import math

import pytest
import torch

from safeloop.cmdp import zero_cost
from safeloop.data.replay import Batch
from safeloop.learners.pathwise import Pathwise, SafePathwise
from safeloop.learners.steve import steve, weighed
from safeloop.learners.svg import OneStep
from safeloop.models.ensemble import Ensemble
from safeloop.models.full import Heads
from safeloop.models.trajectories import Outcome
from safeloop.models.world import World
from safeloop.networks import q_values
from tests.core.test_sac import A, B, S, batch, make


class Linear:
    """Model k: s' = C s + D a + k / 10 + noise, reward -|s|^2 - |a|^2; it may end or meet an event where s_0 > 1."""

    def __init__(self, k=3, noise=0.0, ends=False, jumps=False):
        g = torch.Generator().manual_seed(9)
        self.ensemble_size, self.noise, self.ends, self.jumps = k, noise, ends, jumps
        self.c, self.d = 0.4 * torch.randn(S, S, generator=g).double(), torch.randn(A, S, generator=g).double()

    def start(self, start):
        return start, start

    def step(self, obs, act, generators):
        shift = torch.arange(self.ensemble_size).view(-1, 1, 1) / 10
        following = obs @ self.c.to(obs) + act @ self.d.to(obs) + shift
        if self.noise:
            following = following + self.noise * torch.randn(following.shape, generator=generators[0])
        reward = -obs.square().sum(-1) - act.square().sum(-1)
        there = torch.sigmoid(4 * following[..., 0])
        outcome = Outcome(reward, 0 * reward, there if self.ends else None, there if self.jumps else None)
        return following, following, outcome


def doubled(**settings):
    sac = make(**settings)
    for net in (sac.actor, sac.critic, sac.target):
        net.double()
    return sac


@pytest.mark.parametrize("samples", [1, 4])
def test_without_a_horizon_the_update_is_sacs_to_the_last_digit(samples):
    one, other = make(discount=0.9), make(discount=0.9)
    for _ in range(3):
        one.update(batch())
        other.update(batch(), objective=Pathwise(other, Linear(), 0, samples))
    same = [torch.equal(x, y) for x, y in zip(one.actor.parameters(), other.actor.parameters(), strict=True)]
    assert all(same) == (samples == 1) and math.isfinite(other.gradient_norm) and math.isnan(one.gradient_norm)


@pytest.mark.parametrize("horizon", [0, 1, 4])
@pytest.mark.parametrize("model", [Linear(noise=0.3), Linear(2, ends=True), Linear(jumps=True)])
def test_the_gradient_is_that_of_finite_differences(horizon, model):
    sac, obs = doubled(discount=0.9, hidden=8), torch.randn(B, S, dtype=torch.float64)
    objective, weights = Pathwise(sac, model, horizon, samples=5), list(sac.actor.parameters())

    def value():
        sac.generator.manual_seed(3)
        found, log_prob = objective(obs)
        assert found.shape == (B,) and log_prob.shape == (5 * B,)
        return found.sum()

    gradients = torch.autograd.grad(value(), weights)
    for weight, gradient in zip(weights, gradients, strict=True):
        for place in ((0, 0, 1 % weight.shape[2]), (0, weight.shape[1] - 1, weight.shape[2] - 1)):
            found = []
            for step in (1e-6, -1e-6):
                with torch.no_grad():
                    weight[place] += step
                    found.append(value().item())
                    weight[place] -= step
            assert gradient[place].item() == pytest.approx((found[0] - found[1]) / 2e-6, rel=1e-4, abs=1e-5)


def test_the_gradient_of_a_linear_policy_is_that_of_the_closed_form(monkeypatch):
    horizon, gamma, rho, start = 5, 0.9, 1.0, 0.7
    theta = torch.tensor(-0.3, dtype=torch.float64, requires_grad=True)
    sac = doubled(discount=gamma)
    monkeypatch.setattr(sac.actor, "sample", lambda obs, generators, parts: (theta * obs, 0 * obs[..., 0]))
    monkeypatch.setattr(sac, "worth", lambda obs: (-3 * obs[:, 0].square(), 0 * obs[:, 0]))

    class Integrator(Linear):
        def step(self, obs, act, generators):
            following = obs + act
            reward = -(obs.square() + rho * act.square()).sum(-1)
            return following, following, Outcome(reward, 0 * reward, None, None)

    found, _ = Pathwise(sac, Integrator(k=2), horizon, samples=3)(torch.full((4, 1), start, dtype=torch.float64))
    (gradient,) = torch.autograd.grad(found.mean(), theta)
    t, g = theta.item(), 1 + theta.item()  # s_t = g^t s_0
    worth = -sum(gamma**i * (1 + rho * t**2) * g ** (2 * i) for i in range(horizon)) - 3 * (gamma * g**2) ** horizon
    slope = -sum(
        gamma**i * (2 * rho * t * g ** (2 * i) + (1 + rho * t**2) * 2 * i * g ** (2 * i - 1)) for i in range(horizon)
    )
    slope -= 3 * gamma**horizon * 2 * horizon * g ** (2 * horizon - 1)
    assert found.detach().tolist() == pytest.approx([start**2 * worth] * 4)
    assert gradient.item() == pytest.approx(start**2 * slope)


def test_the_actors_gradient_is_bounded_and_left_out_where_it_is_not_finite():
    free, bound, broken = make(), make(), make()
    objective = lambda sac, factor: lambda obs: (factor * sac.worth(obs)[0], sac.worth(obs)[1])  # noqa: E731
    free.update(batch(), objective=objective(free, 1.0))
    bound.update(batch(), objective=objective(bound, 1.0), bound=1e-9)
    assert bound.gradient_norm == free.gradient_norm > 1e-3
    grads = [p.grad for p in bound.actor.parameters()]
    assert torch.cat([g.flatten() for g in grads]).norm().item() <= 1.1e-9
    before = [p.clone() for p in broken.actor.parameters()]
    broken.update(batch(), objective=objective(broken, math.inf))
    assert all(torch.equal(x, y) for x, y in zip(before, broken.actor.parameters(), strict=True))
    assert not math.isfinite(broken.gradient_norm)


def test_steve_weighs_lookaheads_by_the_inverse_of_their_variance():
    candidates = torch.zeros(2, 2, 3, 1)  # two critics, two models, three lookaheads
    candidates[:, :, 0, 0] = torch.tensor([[1.0, 3.0], [1.0, 3.0]])  # mean 2, variance 1
    candidates[:, :, 1, 0] = torch.tensor([[5.0, 5.0], [9.0, 9.0]])  # mean 7, variance 4
    candidates[:, :, 2, 0] = torch.tensor([[0.0, 2.0], [2.0, 4.0]])  # mean 2, variance 2
    found = weighed(candidates)
    assert found.weights[:, 0].tolist() == pytest.approx([4 / 7, 1 / 7, 2 / 7])
    assert found.target.item() == pytest.approx(2 * 4 / 7 + 7 / 7 + 2 * 2 / 7)
    candidates[:, :, 1] = 6.0
    assert weighed(candidates).target.item() == pytest.approx(6, abs=1e-5)  # all the weight: there is no variance


@pytest.mark.parametrize("ends", [False, True])
def test_steves_candidates_are_those_of_a_loop(ends, monkeypatch):
    horizon, gamma, data = 2, 0.9, batch(terminated=0.0)
    sac, model = make(discount=gamma, initial_temperature=0.5), Linear(3, ends=ends)
    monkeypatch.setattr(sac.actor, "sample", lambda obs, g, parts: (0.1 * obs[:, :A], obs[:, 1]))
    seen = []
    looking = lambda candidates: seen.append(candidates) or weighed(candidates)  # noqa: E731
    monkeypatch.setattr("safeloop.learners.steve.weighed", looking)
    targets, weights = steve(sac, model, data, horizon)
    assert seen[0].shape == (2, 3, horizon + 1, B) and weights.sum().item() == pytest.approx(1)
    for c, k, i in ((0, 0, 0), (1, 2, 1), (0, 1, 2)):
        state, total, going = data.next_obs, torch.zeros(B), torch.ones(B)
        for t in range(i):
            act = 0.1 * state[:, :A]
            _, following, outcome = model.step(state.expand(3, -1, -1), act.expand(3, -1, -1), [])
            total = total + gamma**t * going * (outcome.reward[k] - 0.5 * state[:, 1])
            going = going * (1 - outcome.terminated[k]) if ends else going
            state = following[k]
        value = q_values(sac.target, state, 0.1 * state[:, :A])[c] - 0.5 * state[:, 1]
        expected = data.reward + gamma * (total + gamma**i * going * value)
        assert torch.allclose(seen[0][c, k, i], expected, atol=1e-4)
    assert torch.equal(targets.target, weighed(seen[0]).target) and targets.weight.all()


def test_collapsed_all_of_the_weight_is_on_the_shortest_lookahead():
    sac, data = make(discount=0.9), batch()
    _, weights = steve(sac, Linear(3), data, 2, collapsed=True)
    assert weights.tolist() == pytest.approx([1, 0, 0], abs=0.01)
    free = steve(sac, Linear(3), data, 2)[1]
    assert free[1:].sum() > 0.01
    ended = Batch(*data[:4], torch.ones(B), *data[5:])
    assert torch.allclose(steve(sac, Linear(3), ended, 2)[0].target, data.reward, atol=1e-5)


def test_svgs_values_are_the_real_ones_and_its_gradient_is_that_of_differences():
    data = Batch(*(x.double() for x in batch(7)))
    sac, generator = doubled(discount=0.9, hidden=8), torch.Generator().manual_seed(5)
    models = Ensemble(S, A, ensemble_size=3, sizes=[8], heads=Heads(), generator=generator).double()
    models.delta_std.fill_(0.5)
    noise = models.noise_of(*rows(data))
    before, acts, after = rows(data)
    assert torch.allclose(models.step(before, acts, None, noise)[0], after) and noise.std() > 0.1
    drawn, log_prob = sac.actor.drawn_with(data.obs, sac.actor.noise_of(data.obs, data.act))
    assert torch.allclose(drawn, data.act, atol=1e-6)

    old = log_prob.detach() + torch.linspace(-3, 3, 7)
    world = World(models.requires_grad_(False), cost=zero_cost, noise=False)
    objective, weights = OneStep(sac, world, data, old, bound=10.0), list(sac.actor.parameters())
    sac.generator.manual_seed(3)
    found, _ = objective(data.obs)
    gradients = torch.autograd.grad(found.sum(), weights)
    with torch.no_grad():  # what the gradient takes as given
        of_actor, ratio = sac.actor.noise_of(data.obs, data.act), (log_prob - old).exp().clamp(max=10.0)
    assert ratio.max() == 10 and ratio.min() < 0.1

    @torch.no_grad()
    def value():
        sac.generator.manual_seed(3)
        sac.actor.sample(data.obs, [sac.generator])  # for the temperature
        act, log_prob = sac.actor.drawn_with(data.obs, of_actor)
        acts = act[TWICE].view(3, 3, A)
        following, memory = models.step(before, acts, None, noise)
        reward = world.outcome(before, acts, following, memory).reward.flatten()[:7]
        worth = reward + 0.9 * sac.worth(following.flatten(0, 1))[0][:7] - sac.temperature * log_prob
        return (ratio * worth).sum()

    assert value().item() == pytest.approx(found.sum().item())
    for weight, gradient in zip(weights, gradients, strict=True):
        place, both = (0, weight.shape[1] - 1, 1 % weight.shape[2]), []
        for step in (1e-3, -1e-3):
            weight.data[place] += step
            both.append(value().item())
            weight.data[place] -= step
        assert gradient[place].item() == pytest.approx(
            (both[0] - both[1]) / 2e-3, rel=5e-3, abs=1e-3
        )  # models are in float32


TWICE = torch.arange(9) % 7
"""Rows of a batch of seven for three models, the first two of them twice."""


def rows(data):
    """States, actions and next states of the batch, by models."""
    return (x[TWICE].view(3, 3, -1) for x in (data.obs, data.act, data.next_obs))


@pytest.mark.parametrize("horizon", [0, 3])
@pytest.mark.parametrize("jumps", [False, True])
def test_under_a_budget_the_gradient_is_that_of_return_less_the_price_of_the_worst_models_cost(horizon, jumps):
    class Costly(Linear):
        def step(self, obs, act, generators):
            following, seen, outcome = super().step(obs, act, generators)
            return following, seen, outcome._replace(cost=torch.sigmoid(following[..., 0]))

    sac, obs, model = doubled(discount=0.9, hidden=8), torch.randn(B, S, dtype=torch.float64), Costly(jumps=jumps)
    critic = lambda states, acts: states[:, 1].square() + acts.square().sum(-1)  # noqa: E731
    objective = SafePathwise(sac, model, horizon, 2, critic, lambda: 3.0, lambda: torch.tensor(0.7))
    weights = list(sac.actor.parameters())

    def value():
        sac.generator.manual_seed(3)
        found, log_prob = objective(obs)
        assert found.shape == (B,) and log_prob.shape == (2 * B,)
        return found.sum()

    gradients = torch.autograd.grad(value(), weights)
    for weight, gradient in zip(weights, gradients, strict=True):
        place, both = (0, weight.shape[1] - 1, 1 % weight.shape[2]), []
        for step in (1e-6, -1e-6):
            with torch.no_grad():
                weight[place] += step
                both.append(value().item())
                weight[place] -= step
        assert gradient[place].item() == pytest.approx((both[0] - both[1]) / 2e-6, rel=1e-4, abs=1e-5)

    sac.generator.manual_seed(3)
    rows = obs.repeat(2, 1)
    returns, costs = torch.zeros(3, 2 * B, dtype=torch.float64), torch.zeros(3, 2 * B, dtype=torch.float64)
    state, pursuing = rows.expand(3, -1, -1), torch.ones_like(returns)
    for t in range(horizon):
        act, log_prob = sac.actor.sample(state.flatten(0, 1), [sac.generator], 3)
        state, _, outcome = model.step(state, act.view(3, 2 * B, A), [])
        reward = outcome.reward - sac.temperature * log_prob.view(3, -1)
        if jumps:
            reward = reward + 0.9 * 0.7 * outcome.event
        returns, costs = returns + 0.9**t * pursuing * reward, costs + 0.9**t * outcome.cost
        pursuing = pursuing * (1 - outcome.event) if jumps else pursuing
    models = 3 if horizon else 1
    act, log_prob = sac.actor.sample(state[:models].flatten(0, 1), [sac.generator], models)
    worth = q_values(sac.critic, state[:models].flatten(0, 1), act).amin(0) - sac.temperature * log_prob
    returns = returns[:models] + 0.9**horizon * pursuing[:models] * worth.view(models, -1)
    costs = costs[:models] + 0.9**horizon * critic(state[:models].flatten(0, 1), act).view(models, -1)
    expected = (returns.mean(0) - 3 * costs.amax(0)) / 4
    assert torch.allclose(objective_of(objective, sac, obs), expected.view(2, B).mean(0))


def objective_of(objective, sac, obs):
    sac.generator.manual_seed(3)
    return objective(obs)[0]
