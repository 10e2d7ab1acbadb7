"""CRR, PLAS and MBOP against closed forms."""

import math

import numpy as np
import pytest
import torch

from safeloop.learners.crr import CRR, weights
from safeloop.learners.mbop import MBOP, truncated_returns
from safeloop.learners.plas import PLAS
from safeloop.learners.settings import CRRSettings, LearnerSettings, PLASSettings
from safeloop.networks import q_values
from tests.core.test_sac import A, B, S, batch
from tests.core.toy import settings_of
from tests.models.test_ensemble import through_a_file


def crr(**changes):
    return CRR(S, A, *settings_of(CRRSettings, **changes), torch.Generator().manual_seed(0))


def plas(pretraining=0, **changes):
    return PLAS(S, A, *settings_of(PLASSettings, **changes), pretraining, torch.Generator().manual_seed(0))


def mbop(ensemble_size=5, **changes):
    return MBOP(S, A, ensemble_size, LearnerSettings(**changes), torch.Generator().manual_seed(0))


def test_weights_are_exponential_up_to_twenty_or_binary():
    advantage = torch.tensor([-2.0, 0.0, 1.0, 100.0])
    assert torch.allclose(weights(advantage, "exp", 0.5), torch.tensor([math.exp(-4), 1.0, math.exp(2), 20.0]))
    assert weights(advantage, "binary", 0.5).tolist() == [0, 0, 1, 1]


def test_the_log_density_is_a_gaussians_and_finite_at_the_bounds():
    actor, obs = crr().actor, torch.randn(B, S)
    mean, log_std = actor.gaussian(obs)
    act = torch.ones(B, A)
    expected = torch.distributions.Normal(mean, log_std.exp()).log_prob(act).sum(-1)
    assert torch.allclose(actor.log_prob(obs, act), expected, atol=1e-4) and expected.isfinite().all()
    assert (mean.abs() <= 1).all() and (log_std <= 0).all() and (log_std >= -5).all()


def test_an_advantage_is_over_the_mean_of_m_actions_of_the_actor():
    learner, data, m = crr(samples=3), batch(), 3
    learner.generator.manual_seed(5)
    found = learner.advantage(data)
    g = torch.Generator().manual_seed(5)
    mean, log_std = learner.actor.gaussian(data.obs)
    drawn = torch.randn(m * B, A, generator=g).view(m, B, A)
    others = [
        torch.minimum(*q_values(learner.critic, data.obs, (mean + log_std.exp() * z).clamp(-1, 1))) for z in drawn
    ]
    expected = torch.minimum(*q_values(learner.critic, data.obs, data.act)) - sum(others) / m
    assert torch.allclose(found, expected, atol=1e-5)


def test_crr_imitates_the_better_of_two_actions_and_knows_its_value():
    # One state, two actions, in equal parts: +0.5 pays 1, -0.5 pays 0; the episode ends.
    n = 256
    good = torch.arange(n) % 2 == 0
    data = batch(n, terminated=1.0)._replace(
        obs=torch.zeros(n, S), act=torch.where(good, 0.5, -0.5).unsqueeze(1).expand(n, A), reward=good.float()
    )
    learner = crr(learning_rate=1e-2, tau=0.05, advantage_temperature=0.1)
    for _ in range(400):
        learner.update(data)
    assert torch.allclose(learner.act(torch.zeros(1, S), None), torch.full((1, A), 0.5), atol=0.1)
    assert learner.value(torch.zeros(2, 1, S)).shape == (2, 1)
    assert learner.value(torch.zeros(1, S)).item() == pytest.approx(1.0, abs=0.15)


def test_crrs_target_is_the_smaller_target_critic_at_the_target_actors_action():
    learner, data = crr(discount=0.9), batch(terminated=0.0)
    for p in [*learner.actor_target.parameters(), *learner.target.parameters()]:
        p.data.add_(0.1)
    data = data._replace(terminated=torch.tensor([0.0, 1, 0, 0, 0, 0]))
    learner.generator.manual_seed(3)
    act = learner.actor_target.sample(data.next_obs, [torch.Generator().manual_seed(3)])
    following = torch.minimum(*q_values(learner.target, data.next_obs, act))
    expected = data.reward + 0.9 * following * torch.tensor([1.0, 0, 1, 1, 1, 1])
    assert torch.allclose(learner.targets(data).target, expected)


def test_latent_actions_keep_within_their_limit_and_decoded_ones_in_the_action_space():
    learner, obs = plas(latent_limit=1.5), 100 * torch.randn(50, S)
    for p in learner.actor.parameters():
        p.data.mul_(10)
    z = learner.latent(learner.actor, obs)
    assert z.shape == (50, 2 * A) and z.abs().max().item() == pytest.approx(1.5, abs=1e-3)
    assert (learner.act(obs, None).abs() <= 1).all()
    assert torch.allclose(learner.act(obs, None), learner.autoencoder.decode(obs, z), atol=1e-5)


def test_plass_target_mixes_the_smaller_and_the_larger_critic():
    learner, data = plas(discount=0.9, minimum_weight=0.75), batch(terminated=0.0)
    for p in [*learner.actor_target.parameters(), *learner.target.parameters()]:
        p.data.add_(0.1)
    act = learner.autoencoder.decode(data.next_obs, learner.latent(learner.actor_target, data.next_obs))
    one, other = q_values(learner.target, data.next_obs, act)
    expected = data.reward + 0.9 * (0.75 * torch.minimum(one, other) + 0.25 * torch.maximum(one, other))
    assert torch.allclose(learner.targets(data).target, expected, atol=1e-6)


def test_the_autoencoders_divergence_is_that_of_gaussians():
    learner, data = plas(), batch()
    mean, log_std = learner.autoencoder.encode(data.obs, data.act)
    code = torch.distributions.Normal(mean, log_std.exp())
    divergence = torch.distributions.kl_divergence(code, torch.distributions.Normal(0.0, 1.0)).mean()
    learner.generator.manual_seed(3)
    z = mean + log_std.exp() * torch.randn(B, 2 * A, generator=torch.Generator().manual_seed(3))
    missed = (learner.autoencoder.decode(data.obs, z) - data.act).square().mean()
    learner.generator.manual_seed(3)
    found = learner.autoencoder.loss(data, 0.5, learner.generator)
    assert torch.allclose(found, missed + 0.5 * divergence, atol=1e-5)
    assert torch.allclose(learner.autoencoder.divergence(data.obs, data.act).mean(), divergence, atol=1e-6)


def test_the_autoencoder_learns_first_and_then_stays_as_it_is():
    learner, data = plas(pretraining=2), batch()
    state = lambda net: [p.clone() for p in net.parameters()]  # noqa: E731
    moved = lambda before, net: [not torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True)]  # noqa: E731
    for autoencoder, rest in ((True, False), (True, False), (False, True)):
        before = [state(net) for net in (learner.autoencoder, learner.actor, learner.critic)]
        learner.update(data)
        assert all(moved(before[0], learner.autoencoder)) == autoencoder
        assert any(moved(before[1], learner.actor)) == rest and any(moved(before[2], learner.critic)) == rest


def test_plas_acts_as_the_dataset_does_where_that_pays_best():
    # All actions of the data lie at 0.3 or 0.7 in every component; 0.7 pays.
    n = 256
    good = torch.rand(n, generator=torch.Generator().manual_seed(0)) < 0.5
    act = torch.where(good, 0.7, 0.3).unsqueeze(1).expand(n, A).contiguous()
    data = batch(n, terminated=1.0)._replace(obs=torch.zeros(n, S), act=act, reward=good.float())
    learner = plas(pretraining=600, learning_rate=3e-3, actor_learning_rate=3e-3, kl_weight=0.02, latent_limit=1.0)
    for _ in range(1400):
        learner.update(data)
    found = learner.act(torch.zeros(1, S), None)
    assert (found > 0.6).all() and (found < 0.85).all()  # not 1, though the critics say that more is better


def test_truncated_returns_are_sums_within_the_episode():
    reward, ends = np.array([1.0, 2, 3, 4, 5, 6, 7]), np.array([0, 0, 0, 1, 0, 0, 1], bool)
    g, h, never = 0.5, 2, np.zeros(7, bool)
    expected = [1 + g * 2, 2 + g * 3, 3 + g * 4, 4, 5 + g * 6, 6 + g * 7, 7]
    assert np.allclose(truncated_returns(reward, ends, never, h, g), expected)
    whole = [1 + 1 + 0.75 + 0.5, 2 + 1.5 + 1, 3 + 2, 4, 5 + 3 + 1.75, 6 + 3.5, 7]
    assert np.allclose(truncated_returns(reward, ends, never, 100, g), whole)


def test_a_truncated_return_is_unknown_where_the_time_limit_cut_it_off():
    reward = np.array([1.0, 2, 3, 4, 5, 6, 7])
    first, last = np.array([0, 0, 0, 1, 0, 0, 0], bool), np.array([0, 0, 0, 0, 0, 0, 1], bool)
    g, h, nan = 0.5, 2, np.nan
    ended = [1 + g * 2, 2 + g * 3, 3 + g * 4, 4]
    assert np.allclose(
        truncated_returns(reward, first, last, h, g), [*ended, 5 + g * 6, 6 + g * 7, nan], equal_nan=True
    )
    cut = [1 + g * 2, 2 + g * 3, 3 + g * 4, nan, 5 + g * 6, 6 + g * 7, 7]
    assert np.allclose(truncated_returns(reward, last, first, h, g), cut, equal_nan=True)
    cut_in_a_piece = truncated_returns(reward[:6], first[:6], last[:6], 3, g)  # the last row is a piece's end
    assert np.allclose(cut_in_a_piece, [2.75, 4.5, 5, 4, nan, nan], equal_nan=True)


def test_mbop_learns_the_mean_action_and_the_return_that_it_is_told():
    data = batch(64)._replace(obs=torch.zeros(64, S), act=torch.full((64, A), 0.4), reward=torch.full((64,), 3.0))
    learner = mbop(3, learning_rate=1e-2, hidden=16)
    for _ in range(500):
        learner.update(data)
    assert torch.allclose(learner.act(torch.zeros(2, 5, S), None), torch.full((2, 5, A), 0.4), atol=0.02)
    assert torch.allclose(learner.value(torch.zeros(2, 5, S)), torch.full((2, 5), 3.0), atol=0.1)


def test_mbops_value_learns_nothing_from_what_is_not_known():
    one, other = (mbop(3, learning_rate=1e-2, hidden=16) for _ in range(2))
    data = batch(8)
    unknown = data._replace(reward=torch.where(torch.arange(8) % 2 == 0, data.reward, torch.nan))
    for _ in range(3):
        one.update(unknown)
        other.update(unknown._replace(obs=torch.where(unknown.reward.isnan().unsqueeze(1), -data.obs, data.obs)))
    assert one.value(data.obs).isfinite().all() and torch.allclose(one.value(data.obs), other.value(data.obs))
    assert not torch.allclose(one.act(data.obs, None), other.act(data.obs, None))  # each action is imitated


@pytest.mark.parametrize("make", [crr, plas, mbop])
def test_a_restored_learner_goes_on_as_the_kept_one(make):
    first, second, data = make(), make(), batch()
    for _ in range(3):
        first.update(data)
    second.restore(through_a_file(first.checkpoint()))
    for learner in (first, second):
        learner.update(data)
    assert torch.equal(first.act(data.obs, None), second.act(data.obs, None))
    assert torch.equal(first.value(data.obs), second.value(data.obs))


@pytest.mark.parametrize("make", [crr, plas, mbop])
def test_a_value_is_of_a_state_and_the_actors_action_in_that_very_state(make):
    # The published program repeats states and actions in different orders (32 of 2,800 pairs fit).
    learner, obs = make(), torch.randn(3, 7, S)
    each = torch.stack([learner.value(row.view(1, S))[0] for row in obs.view(-1, S)])
    assert torch.allclose(learner.value(obs).flatten(), each, atol=1e-6)
    if not isinstance(learner, MBOP):
        pairs = obs.view(-1, S), learner.act(obs.view(-1, S), None)
        assert torch.allclose(each, torch.minimum(*q_values(learner.critic, *pairs)), atol=1e-6)
