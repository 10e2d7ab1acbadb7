"""POPLIN's distillation: losses by hand, and policies that come near to what was planned."""

import math
from copy import deepcopy

import pytest
import torch

from safeloop.learners.distillation import Distillation, Planned, cloning_loss, discriminator_loss
from safeloop.learners.flat_policy import FlatPolicy
from safeloop.learners.settings import DistillationSettings

S, A, N = 3, 2, 200


def distillation(seed=0, variance=0.01, **changes):
    policy = FlatPolicy([S, 8, A], torch.Generator().manual_seed(seed), "cpu", last=1.0)
    settings = DistillationSettings(**changes)
    return Distillation(policy, settings, variance, torch.Generator().manual_seed(seed))


def planned(seed=1, size=8 * S + 8 + 8 * A + A):
    g = torch.Generator().manual_seed(seed)
    obs = torch.randn(N, S, generator=g)
    act = torch.tanh(obs @ torch.randn(S, A, generator=g))
    return Planned(obs, act, 0.1 + 0.5 * torch.randn(N, size, generator=g))


def test_the_cloning_loss_by_hand():
    policy = distillation().policy
    with torch.no_grad():
        policy.weights.zero_()
    act = torch.tensor([[0.3, -0.4], [0.0, 1.0]])
    assert cloning_loss(policy, torch.randn(2, S), act).item() == pytest.approx((0.09 + 0.16 + 1.0) / 2)


def test_the_discriminators_loss_by_hand():
    real, made = torch.tensor([1.0, -2.0]), torch.tensor([0.5])

    def chance(x):
        return 1 / (1 + math.exp(-x))

    expected = -(math.log(chance(1.0)) + math.log(chance(-2.0))) / 2 - math.log(1 - chance(0.5))
    entropy = sum(-p * math.log(p) - (1 - p) * math.log(1 - p) for p in map(chance, (1.0, -2.0, 0.5))) / 3
    assert discriminator_loss(real, made, 0.0).item() == pytest.approx(expected, abs=1e-6)
    assert discriminator_loss(real, made, 0.3).item() == pytest.approx(expected - 0.3 * entropy, abs=1e-6)


def test_a_cloned_policy_acts_as_was_planned():
    made, plans = distillation(distilled_steps=500), planned()
    before = cloning_loss(made.policy, plans.obs, plans.act).item()
    made.distil(plans)
    assert cloning_loss(made.policy, plans.obs, plans.act).item() < 0.05 < before
    torch.testing.assert_close(made.policy.mean, plans.obs.mean(0))


@pytest.mark.parametrize("averaged", ["added", "replaced"])
def test_an_average_is_of_the_noise_on_the_weights(averaged):
    made, plans = distillation(distillation="avg", averaged=averaged), planned()
    before = made.policy.weights.detach().clone()
    made.distil(plans)
    mean = plans.noise.mean(0)
    torch.testing.assert_close(made.policy.weights.detach(), mean if averaged == "replaced" else before + mean)


def test_a_gan_comes_near_to_the_planned_actions():
    made, plans = distillation(distillation="gan", distilled_steps=1500, variance=1e-4), planned()
    before = cloning_loss(made.policy, plans.obs, plans.act).item()
    made.distil(plans)
    assert cloning_loss(made.policy, plans.obs, plans.act).item() < 0.4 * before


@pytest.mark.parametrize("kind", ["bc", "gan", "avg"])
def test_a_restored_distillation_goes_on_as_it_would_have(kind):
    one, two = (distillation(distillation=kind, distilled_steps=5, seed=seed) for seed in (0, 1))
    one.distil(planned())
    two.restore(deepcopy(one.checkpoint()))
    for each in (one, two):
        each.distil(planned(seed=2))
    assert torch.equal(one.policy.weights, two.policy.weights) and torch.equal(one.policy.scale, two.policy.scale)


@pytest.mark.parametrize(
    "changes", [{"policy_width": 0}, {"distilled_steps": 0}, {"policy_learning_rate": 0.0}, {"entropy_penalty": -1.0}]
)
def test_settings_that_can_not_be_are_refused(changes):
    with pytest.raises(ValueError, match=next(iter(changes))):
        DistillationSettings(**changes)
