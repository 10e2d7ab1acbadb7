"""One rollout: against a closed form, with a carry of its own, differentiable, all at once as step by step."""

import pytest
import torch

from safeloop.models.ensemble import Ensemble
from safeloop.models.full import Heads
from safeloop.models.trajectories import Outcome, rollout, survival
from safeloop.models.world import World
from tests.core.toy import LinearModel

K, M, H, S, A = 3, 5, 4, 2, 2


def linear_controller(t, obs):
    return -0.5 * obs + t


def test_a_rollout_follows_its_controller_in_every_model():
    drift, start = torch.tensor([0.0, 0.5, -1.0]), torch.randn(K, M, S, generator=torch.Generator().manual_seed(0))
    found = rollout(LinearModel(drift), start, linear_controller, H, [])
    assert found.obs.shape == (K, H + 1, M, S) and found.act.shape == (K, H, M, A)
    expected = start
    for t in range(H):  # s' = s - s / 2 + t + drift, paid for with the sum of s, at the cost of |s'_0|
        assert torch.allclose(found.obs[:, t], expected, atol=1e-6)
        assert torch.allclose(found.act[:, t], -0.5 * expected + t, atol=1e-6)
        assert torch.allclose(found.outcome.reward[:, t], expected.sum(-1), atol=1e-5)
        expected = 0.5 * expected + t + drift.view(K, 1, 1)
        assert torch.allclose(found.outcome.cost[:, t], expected[..., 0].abs(), atol=1e-5)
    assert torch.allclose(found.obs[:, H], expected, atol=1e-6)
    assert found.outcome.terminated is None and found.outcome.event is None


def test_the_carry_is_the_models_own():
    class Hidden:
        """What is seen is the first number of a state that nobody else looks into."""

        ensemble_size = 1

        def start(self, start):
            return {"state": torch.tensor([start, 10.0])}, torch.full((1, 1, 1), start)

        def step(self, carry, act, generators):
            state = carry["state"] * torch.tensor([1.0, 2.0])
            state = torch.stack((state.sum(), state[1]))
            seen = state[:1].view(1, 1, 1)
            return {"state": state}, seen, Outcome(seen[..., 0], act[..., 0], None, None)

    found = rollout(Hidden(), 1.0, lambda t, obs: torch.full((1, 1, 1), 7.0), 3, [])
    assert found.obs.flatten().tolist() == [1, 1 + 20, 21 + 40, 61 + 80]
    assert found.outcome.reward.flatten().tolist() == [21, 61, 141] and (found.outcome.cost == 7).all()


def world(noise, expected=False):
    heads = Heads(event=True, terminated=True, violated=True)
    ensemble = Ensemble(S, A, ensemble_size=K, sizes=[16, 16], heads=heads, generator=torch.Generator().manual_seed(0))
    return World(ensemble, noise=noise, expected=expected)


@pytest.mark.parametrize("noise", [False, True])
def test_judging_all_steps_at_once_changes_nothing(noise):
    model, start = world(noise), torch.randn(K, 2 * M, S)
    model.cost = lambda obs, act, next_obs: obs[..., 0] + 2 * act[..., 1] + 3 * next_obs[..., 1]
    generators = lambda: [torch.Generator().manual_seed(seed) for seed in (1, 2)]  # noqa: E731
    whole = rollout(model, start, linear_controller, H, generators())
    model.rollout = None
    steps = rollout(model, start, linear_controller, H, generators())
    for a, b in zip((*whole[:2], *whole.outcome), (*steps[:2], *steps.outcome), strict=True):
        assert a.shape == b.shape and torch.allclose(a, b, atol=1e-5)
    assert not torch.allclose(whole.obs[:, 1, :M], whole.obs[:, 1, M:])


def test_gradients_flow_to_the_actions_unless_they_are_switched_off():
    model, start = world(noise=False), torch.randn(K, M, S)
    plan = torch.randn(H, A, requires_grad=True)

    def returned(plan):
        return rollout(model, start, lambda t, _: plan[t].expand(K, M, A), H, []).outcome.reward.sum()

    (gradient,) = torch.autograd.grad(returned(plan), plan)
    with torch.no_grad():
        assert not returned(plan).requires_grad
        for t, i in ((0, 0), (1, 1), (H - 1, 0)):
            step = torch.zeros(H, A)
            step[t, i] = 1e-2
            slope = (returned(plan + step) - returned(plan - step)) / 2e-2
            assert gradient[t, i].item() == pytest.approx(slope.item(), abs=2e-2)
    assert gradient.abs().min() > 0


def test_an_unjudged_rollout_moves_alike():
    model, start = world(noise=True), torch.randn(K, M, S)
    generators = [torch.Generator().manual_seed(1) for _ in range(2)]
    found = [rollout(model, start, linear_controller, H, [g], g is generators[0]) for g in generators]
    assert torch.equal(found[0].obs, found[1].obs) and torch.equal(found[0].act, found[1].act)


def test_survival_is_the_product_of_what_did_not_happen_before():
    chance = torch.tensor([0.5, 0.25, 1.0]).view(1, 3, 1)
    assert survival(chance, chance).flatten().tolist() == [1.0, 0.5, 0.375, 0.0]
    assert survival(None, chance).flatten().tolist() == [1.0] * 4


@torch.no_grad()
def test_by_expectation_every_model_goes_on_from_the_mean_of_all_predictions():
    one, start = world(noise=False, expected=True), torch.randn(1, M, S).expand(K, -1, -1)
    act = 0.3 * torch.randn(K, H, M, A)
    found = rollout(one, start, lambda t, obs: act[:, t], H, [])
    obs = start
    for t in range(H):
        own, _ = one.ensemble.step(obs, act[:, t], None)
        assert own.std(0).max() > 1e-4
        obs = own.mean(0).expand(K, -1, -1)
        torch.testing.assert_close(found.obs[:, t + 1], obs)
    carry, _ = one.start(start)
    torch.testing.assert_close(one.step(carry, act[:, 0], [])[1], found.obs[:, 1])
