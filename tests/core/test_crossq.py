import copy
from itertools import pairwise

import pytest
import torch

from safeloop.learners.crossq import CrossQ
from safeloop.learners.settings import CrossQSettings, LearnerSettings, SACSettings
from safeloop.networks import q_values
from tests.core.test_sac import A, B, S, batch
from tests.core.toy import settings_of
from tests.models.test_ensemble import through_a_file

SOFT = ("initial_temperature", "backup_entropy")


def make(seed=0, **settings):
    soft = SACSettings(**{name: settings.pop(name) for name in SOFT if name in settings})
    shared, own = settings_of(CrossQSettings, **{"critic_width": 24, **settings})
    return CrossQ(S, A, shared, soft, own, torch.Generator().manual_seed(seed))


def state(learner):
    """Copies of all weights and statistics, and the temperature."""
    nets = {name: copy.deepcopy(getattr(learner, name).state_dict()) for name in ("actor", "critic")}
    return {f"{net}.{name}": value for net, found in nets.items() for name, value in found.items()} | {
        "temperature": learner.log_temperature.detach().clone()
    }


def changed(before, after):
    """Names of the parts that have changed: networks' weights, their statistics, the temperature."""
    return {
        name.partition(".")[0] + " statistics" * name.endswith(("mean", "variance"))
        for name, value in before.items()
        if not torch.equal(value, after[name])
    }


def test_widths_and_adam_are_the_papers_but_for_the_default_width():
    crossq = make(hidden=32, critic_width=48)
    assert [w.shape for w in crossq.critic.weights] == [(2, S + A, 48), (2, 48, 48), (2, 48, 1)]
    assert [w.shape[1:] for w in crossq.actor.net.weights] == [(S, 32), (32, 32), (32, 2 * A)]
    filled = LearnerSettings().filled("crossq")
    assert (filled.learning_rate, LearnerSettings().filled("td3").learning_rate) == (1e-3, 3e-4)
    assert LearnerSettings(learning_rate=0.1).filled("crossq").learning_rate == 0.1
    adam = [each.param_groups[0] for each in crossq.optimizers]
    assert [each["betas"] for each in adam] == [(0.5, 0.999), (0.5, 0.999), (0.9, 0.999)]
    assert not hasattr(crossq, "target")


def test_errors_are_those_of_one_joint_pass_with_targets_of_its_second_half():
    crossq = make(discount=0.9, initial_temperature=0.7)
    crossq.update(batch())  # so that running statistics are no longer those at first
    data = batch()._replace(terminated=torch.tensor([0.0, 1, 0, 0, 0, 0]))
    same, twin = torch.Generator(), copy.deepcopy(crossq.critic)
    same.set_state(crossq.generator.get_state())
    drawn, log_prob = crossq.actor.sample(data.next_obs, [same])
    pairs = torch.cat((torch.cat((data.obs, data.act), 1), torch.cat((data.next_obs, drawn), 1)))  # [2B, S + A]
    both = twin.on_batch(pairs.expand(2, -1, -1), corrected=False)[..., 0]
    worth = torch.minimum(*both[:, B:]) - 0.7 * log_prob
    target = (data.reward + 0.9 * torch.tensor([1.0, 0, 1, 1, 1, 1]) * worth).detach()
    found = crossq.errors(data)
    assert torch.allclose(found, both[:, :B] - target, atol=1e-5)
    for net, loss in ((crossq.critic, found), (twin, both[:, :B] - target)):
        net.zero_grad()
        loss.square().sum().backward()
        assert net.weights[0].grad.abs().max() > 0
    gradients = zip(crossq.critic.parameters(), twin.parameters(), strict=True)
    assert all(torch.allclose(a.grad, b.grad, atol=1e-4) for a, b in gradients)  # none through the targets


def test_targets_may_leave_the_entropy_out():
    soft, plain = (make(initial_temperature=5.0, backup_entropy=counts) for counts in (True, False))
    same = torch.Generator()
    same.set_state(plain.generator.get_state())
    _, log_prob = plain.actor.sample(batch().next_obs, [same])
    difference = plain.errors(batch()) - soft.errors(batch())
    assert torch.allclose(difference, -5.0 * soft.shared.discount * log_prob.expand(2, -1), atol=1e-4)


def test_value_is_the_smaller_critic_at_the_actors_mean_by_running_statistics():
    crossq, obs = make(), torch.randn(2, 4, S)
    for _ in range(3):
        crossq.update(batch())
    before = state(crossq)
    flat = obs.view(-1, S)
    both = q_values(crossq.critic, flat, crossq.act(flat, None))
    assert crossq.value(obs).shape == (2, 4) and not torch.equal(*both)
    assert torch.allclose(crossq.value(obs).flatten(), torch.minimum(*both), atol=1e-6)
    assert torch.allclose(crossq.value(obs[0, 0]), crossq.value(obs)[0, 0], atol=1e-5)  # whatever stands beside it
    crossq.explore(obs, [torch.Generator()])
    assert changed(before, state(crossq)) == set()


def test_the_actor_and_the_temperature_move_at_every_third_update():
    crossq, seen = make(), [state(make())]
    for _ in range(6):
        crossq.update(batch())
        seen.append(state(crossq))
    critics, others = {"critic", "critic statistics"}, {"actor", "actor statistics", "temperature"}
    moved = [changed(*pair) for pair in pairwise(seen)]
    assert moved == [critics, critics, critics | others] * 2


def test_batches_are_renormalised_after_as_many_updates_of_each_network(monkeypatch):
    crossq, seen = make(renormalise_after=4, policy_delay=2), {"critic": [], "actor": []}
    for name, net in (("critic", crossq.critic), ("actor", crossq.actor.net)):
        on_batch, found = net.on_batch, seen[name]
        monkeypatch.setattr(net, "on_batch", lambda x, c, on=on_batch, found=found: (found.append(c), on(x, c))[1])
    for _ in range(12):
        crossq.update(batch())
    assert seen == {"critic": [False] * 4 + [True] * 8, "actor": [False] * 4 + [True] * 2}


def test_the_value_of_a_constant_reward_is_its_geometric_sum():
    """By plain batch statistics at first, then by renormalised ones; values swing, so these are means of many."""
    data, found = batch(64, reward=1.0), []
    for seed in range(4):
        crossq = make(
            seed, discount=0.3, backup_entropy=False, learning_rate=0.01, statistics_momentum=0.1,
            renormalise_after=250,
        )  # fmt: skip
        for i in range(500):
            crossq.update(data)
            if i >= 400 and i % 10 == 0:
                found.append(crossq.value(data.obs).mean().item())
    assert sum(found) / len(found) == pytest.approx(1 / 0.7, abs=0.12)


def test_the_actor_climbs_the_critic():
    crossq, data = make(learning_rate=0.01, statistics_momentum=0.1), batch(128, terminated=1.0)
    data = data._replace(reward=2 * data.act.sum(-1))
    for _ in range(150):
        crossq.update(data)
    assert crossq.act(data.obs, None).mean() > 0.8


def test_restored_learners_go_on_exactly():
    """Over a border of plain and renormalised batches, and one of the policy's delay."""
    crossq, other = (make(seed, renormalise_after=6) for seed in (0, 5))
    for _ in range(4):
        crossq.update(batch())
    other.restore(through_a_file(crossq.checkpoint()))
    for _ in range(5):
        crossq.update(batch(9))
        other.update(batch(9))
    assert changed(state(crossq), state(other)) == set() and crossq.updates == other.updates == 9
    assert torch.equal(crossq.value(batch().obs), other.value(batch().obs))
