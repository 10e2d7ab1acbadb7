import math

import pytest
import torch

from safeloop.data.replay import Batch
from safeloop.learners.sac import SAC
from safeloop.learners.settings import SACSettings
from safeloop.networks import q_values
from tests.core.toy import settings_of
from tests.models.test_ensemble import through_a_file

B, S, A = 6, 5, 3


def make(seed=0, layer_norm=False, **settings):
    generator = torch.Generator().manual_seed(seed)
    return SAC(S, A, *settings_of(SACSettings, **settings), generator, layer_norm=layer_norm)


def batch(n=B, terminated=0.0, reward=None):
    g = torch.Generator().manual_seed(1)
    return Batch(
        torch.randn(n, S, generator=g), torch.rand(n, A, generator=g) * 2 - 1,
        torch.randn(n, generator=g) if reward is None else torch.full((n,), reward),
        torch.zeros(n), torch.full((n,), terminated), torch.zeros(n), torch.randn(n, S, generator=g),
    )  # fmt: skip


def test_log_probability_is_that_of_a_tanh_squashed_gaussian():
    sac, obs = make(), torch.randn(B, S)
    act, log_prob = sac.actor.sample(obs, [torch.Generator().manual_seed(2)])
    mean, log_std = sac.actor._gaussian(obs)
    gaussian = torch.distributions.Normal(mean, log_std.exp())
    squashed = torch.distributions.TransformedDistribution(gaussian, torch.distributions.TanhTransform())
    assert torch.allclose(log_prob, squashed.log_prob(act).sum(-1), atol=1e-3)


def test_value_is_the_smaller_critic_at_the_actors_mean():
    sac, obs = make(), torch.randn(2, 4, S)
    value = sac.value(obs)
    assert value.shape == (2, 4)
    act = torch.tanh(sac.actor._gaussian(obs.view(-1, S))[0])
    both = sac.critic(torch.cat((obs.view(-1, S), act), -1).expand(2, -1, -1))[..., 0]
    assert torch.allclose(value.flatten(), torch.minimum(both[0], both[1]))
    assert not torch.equal(both[0], both[1])


def test_next_values_count_the_entropy_or_the_reward_alone():
    soft, plain = (make(initial_temperature=5.0, backup_entropy=counts) for counts in (True, False))
    obs, same = torch.randn(B, S), torch.Generator()
    same.set_state(plain.generator.get_state())
    act, log_prob = plain.actor.sample(obs, [same])
    expected = q_values(plain.target, obs, act).amin(0)
    assert torch.allclose(plain.next_value(obs), expected)
    assert torch.allclose(soft.next_value(obs), expected - 5.0 * log_prob, atol=1e-5)


def test_layer_norm_bounds_what_critics_say_of_far_actions():
    obs, act = torch.randn(B, S), 1e4 * torch.randn(B, A)
    usual, normed = (make(layer_norm=on).critic for on in (False, True))
    assert q_values(usual, obs, act).abs().amax() > 30
    bound = math.sqrt(32) * normed.weights[-1].norm(dim=1) + normed.biases[-1].abs()[:, 0]  # a layer has norm sqrt(32)
    assert (q_values(normed, obs, act).abs() <= bound).all()
    h = torch.cat((obs, act), -1)
    for weight, bias in zip(normed.weights[:-1], normed.biases[:-1], strict=True):
        h = h @ weight[1] + bias[1]
        h = ((h - h.mean(1, keepdim=True)) / (h.var(1, unbiased=False, keepdim=True) + 1e-5).sqrt()).relu()
    expected = (h @ normed.weights[-1][1] + normed.biases[-1][1])[:, 0]
    assert torch.allclose(q_values(normed, obs, act)[1], expected, atol=1e-4)


def test_termination_cuts_the_bootstrap():
    sac = make(discount=0.9)
    data = batch(64, terminated=1.0, reward=2.0)
    for _ in range(400):
        sac.update(data)
    q = sac.critic(torch.cat((data.obs, data.act), -1).expand(2, -1, -1))[..., 0]
    assert q.mean().item() == pytest.approx(2.0, abs=0.2)


def test_the_value_of_a_constant_reward_is_its_geometric_sum():
    # One state, one reward: Q = r / (1 - gamma) without entropy; the temperature is held at about 0.
    sac = make(discount=0.5, tau=0.1, initial_temperature=1e-8, learning_rate=3e-3)
    data = batch(32, reward=1.0)
    data = data._replace(obs=torch.ones(32, S), next_obs=torch.ones(32, S))
    for _ in range(500):
        sac.update(data)
    assert sac.value(torch.ones(S)).item() == pytest.approx(2.0, abs=0.1)


def test_polyak_is_the_weight_on_the_new_critic():
    sac = make(tau=0.25)
    old = [p.clone() for p in sac.target.parameters()]
    sac.update(batch())
    for before, target, critic in zip(old, sac.target.parameters(), sac.critic.parameters(), strict=True):
        assert torch.allclose(target, 0.75 * before + 0.25 * critic, atol=1e-6)


def test_temperature_falls_while_entropy_is_above_its_target():
    sac = make()
    before = sac.log_temperature.item()
    for _ in range(5):
        sac.update(batch())
    _, log_prob = sac.actor.sample(batch().obs, [torch.Generator()])
    assert -log_prob.mean() > sac.target_entropy and sac.log_temperature.item() < before


def test_the_actor_climbs_the_critic():
    sac = make(learning_rate=3e-3)
    data = batch(1024, terminated=1.0)
    data = data._replace(reward=2 * data.act.sum(-1))
    for _ in range(300):
        sac.update(data)
    assert sac.actor.mean(data.obs).mean() > 0.8


def test_restored_learners_go_on_exactly():
    sac, other = make(), make(seed=5)
    sac.update(batch())
    other.restore(through_a_file(sac.checkpoint()))
    for each in (sac, other):
        each.update(batch())
    for name in ("actor", "critic", "target"):
        for a, b in zip(getattr(sac, name).parameters(), getattr(other, name).parameters(), strict=True):
            assert torch.equal(a, b)
    assert math.isclose(sac.log_temperature.item(), other.log_temperature.item())
