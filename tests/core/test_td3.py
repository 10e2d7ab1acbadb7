import pytest
import torch

from safeloop.learners.settings import TD3Settings
from safeloop.learners.td3 import TD3
from safeloop.networks import q_values
from tests.core.test_sac import A, B, S, batch
from tests.core.toy import settings_of
from tests.models.test_ensemble import through_a_file


def make(seed=0, **settings):
    return TD3(S, A, *settings_of(TD3Settings, **settings), torch.Generator().manual_seed(seed))


def parameters(td3):
    return [p.clone() for net in (td3.actor, td3.critic, td3.actor_target, td3.target) for p in net.parameters()]


def test_value_is_the_smaller_critic_at_the_actors_action():
    td3, obs = make(), torch.randn(2, 4, S)
    flat, act = obs.view(-1, S), td3.act(obs, None).view(-1, A)
    both = q_values(td3.critic, flat, act)
    assert td3.value(obs).shape == (2, 4) and not torch.equal(*both)
    assert torch.allclose(td3.value(obs).flatten(), torch.minimum(*both))


def test_targets_are_the_smaller_target_critic_at_the_target_actors_noisy_action():
    td3, data = make(discount=0.9, target_noise=0.3, target_noise_clip=0.2), batch(terminated=0.0)
    for p in [*td3.actor_target.parameters(), *td3.target.parameters()]:
        p.data.add_(0.1)  # targets lag behind
    data = data._replace(terminated=torch.tensor([0.0, 1, 0, 0, 0, 0]))
    noise = (0.3 * torch.randn(B, A, generator=torch.Generator().manual_seed(7))).clamp(-0.2, 0.2)
    assert noise.abs().max() == pytest.approx(0.2)
    td3.generator.manual_seed(7)
    act = (torch.tanh(td3.actor_target(data.next_obs.unsqueeze(0))[0]) + noise).clamp(-1, 1)
    following = torch.minimum(*q_values(td3.target, data.next_obs, act))
    expected = data.reward + 0.9 * following * torch.tensor([1.0, 0, 1, 1, 1, 1])
    assert torch.allclose(td3.targets(data).target, expected)


def test_the_actor_and_the_targets_move_at_every_second_update():
    td3 = make(tau=0.25)
    before = parameters(td3)
    td3.update(batch())
    after = parameters(td3)
    n = len(list(td3.actor.parameters()))
    changed = [not torch.equal(a, b) for a, b in zip(before, after, strict=True)]
    assert not any(changed[:n]) and all(changed[n : 2 * n]) and not any(changed[2 * n :])
    td3.update(batch())
    for net, target in ((td3.actor, td3.actor_target), (td3.critic, td3.target)):
        start = before[:n] if net is td3.actor else before[n : 2 * n]
        for old, new, moved in zip(start, net.parameters(), target.parameters(), strict=True):
            assert not torch.equal(old, new) and torch.allclose(moved, 0.75 * old + 0.25 * new, atol=1e-6)


def test_the_value_of_a_constant_reward_is_its_geometric_sum():
    td3 = make(discount=0.5, tau=0.1, learning_rate=3e-3)
    data = batch(32, reward=1.0)
    data = data._replace(obs=torch.ones(32, S), next_obs=torch.ones(32, S))
    for _ in range(800):
        td3.update(data)
    assert td3.value(torch.ones(S)).item() == pytest.approx(2.0, abs=0.1)


def test_the_actor_climbs_the_critic():
    td3, data = make(learning_rate=3e-3), batch(1024, terminated=1.0)
    data = data._replace(reward=2 * data.act.sum(-1))
    for _ in range(300):
        td3.update(data)
    assert td3.act(data.obs, None).mean() > 0.8


def test_exploration_adds_noise_of_the_given_size_within_the_limits():
    td3, obs = make(exploration_noise=0.2), torch.zeros(4000, S)
    mean, drawn = td3.act(obs, None), td3.explore(obs, [torch.Generator().manual_seed(3)])
    assert (drawn - mean).std().item() == pytest.approx(0.2, rel=0.05) and drawn.abs().max() <= 1


def test_restored_learners_go_on_exactly():
    td3, other = make(), make(seed=5)
    td3.update(batch())
    other.restore(through_a_file(td3.checkpoint()))
    for _ in range(2):
        td3.update(batch())
        other.update(batch())
    assert all(torch.equal(a, b) for a, b in zip(parameters(td3), parameters(other), strict=True))
