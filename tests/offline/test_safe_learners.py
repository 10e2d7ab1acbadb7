"""BC-Lagrangian and CPQ against closed forms, and on a dataset of two arms of which one is costly."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import safeloop
from safeloop.data.datasets import read
from safeloop.data.episodes import discounted_budget, discounted_returns
from safeloop.errors import UsageError
from safeloop.experiments.specify import Request, fitting_env, specify
from safeloop.learners import cpq as module
from safeloop.learners.bc import BC
from safeloop.learners.bc_lag import BCLag
from safeloop.learners.cpq import CPQ
from safeloop.learners.settings import BCLagSettings, BCSettings, CPQSettings
from safeloop.networks import q_values
from safeloop.recording.run import Run
from safeloop.registry import find_algorithm, find_env
from safeloop.training import offline as training
from tests.core.test_sac import A, B, S, batch
from tests.core.toy import settings_of
from tests.models.test_ensemble import through_a_file
from tests.offline.conftest import killed_at, small, specified
from tests.offline.test_cloning import priced

NAMES = ("bc-lag", "cpq")


def bc_lag(threshold=1.0, **changes):
    return BCLag(S, A, *settings_of(BCLagSettings, **changes), threshold, torch.Generator().manual_seed(0))


def cpq(threshold=1.0, **changes):
    return CPQ(S, A, *settings_of(CPQSettings, **changes), threshold, torch.Generator().manual_seed(0))


def constant(critic, *values):
    """Have each of a critic's networks say its value everywhere."""
    with torch.no_grad():
        for p in critic.parameters():
            p.zero_()
        critic.biases[-1].copy_(torch.tensor(values).view(-1, 1, 1))


def arms(n=256):
    """One state, episodes of one decision: three of four times +0.5, which pays 1 and costs 1, else -0.5, 0.4 and 0."""
    costly = torch.arange(n) % 4 != 0
    act = torch.where(costly, 0.5, -0.5).unsqueeze(1).expand(n, A).contiguous()
    reward = torch.where(costly, 1.0, 0.4)
    return batch(n, terminated=1.0)._replace(obs=torch.zeros(n, S), act=act, reward=reward, cost=costly.float())


def test_a_budget_is_the_discounted_cost_of_an_episode_that_spends_it_evenly():
    even = sum(0.9**t * 6.0 / 4 for t in range(4))
    assert discounted_budget(6.0, 0.9, 4) == pytest.approx(even)
    assert discounted_budget(6.0, 1.0, 4) == 6.0 and discounted_budget(6.0, 0.0, 4) == 1.5


def test_the_multiplier_rises_by_its_rate_times_the_violation_and_not_below_0():
    learner, data = bc_lag(threshold=2.0, multiplier_rate=0.1, learning_rate=1e-12), batch()
    constant(learner.critic, 4.5, 1.0)  # the larger counts
    for k in (1, 2):
        learner.update(data)
        assert learner.multiplier.item() == pytest.approx(k * 0.1 * (4.5 - 2.0))
    constant(learner.critic, 1.5, 1.0)
    learner.update(data)
    assert learner.multiplier.item() == pytest.approx(0.5 - 0.1 * 0.5)
    learner.raise_multiplier(torch.tensor([-100.0, -50.0]))
    assert learner.multiplier.item() == 0.0


def test_cost_targets_are_of_the_larger_critic_at_the_target_actors_action_and_end_with_the_episode():
    learner, data = bc_lag(discount=0.9), batch()
    for p in [*learner.actor_target.parameters(), *learner.target.parameters()]:
        p.data.add_(0.1)
    data = data._replace(cost=torch.arange(B).float(), terminated=(torch.arange(B) == 2).float())
    act = torch.tanh(learner.actor_target(data.next_obs.unsqueeze(0))[0])
    following = torch.maximum(*q_values(learner.target, data.next_obs, act))
    expected = torch.arange(B) + 0.9 * following * torch.tensor([1.0, 1, 0, 1, 1, 1])
    assert torch.allclose(learner.targets(data).target, expected)


def test_without_a_violation_it_is_behaviour_cloning():
    learner, data = bc_lag(threshold=1e6, learning_rate=3e-3), batch()
    clone = BC(S, A, BCSettings(3e-3, learner.shared.hidden), torch.Generator().manual_seed(0))
    for _ in range(5):
        learner.update(data)
        clone.update(data)
    assert learner.multiplier.item() == 0.0
    assert torch.equal(learner.act(data.obs, None), clone.act(data.obs, None))


def test_of_two_arms_the_clone_takes_the_costly_side_and_under_the_multiplier_the_safe_one():
    clone = bc_lag(threshold=1e6, learning_rate=3e-3)
    learner = bc_lag(threshold=0.2, learning_rate=3e-3, multiplier_rate=0.03)
    for _ in range(800):
        for each in (clone, learner):
            each.update(arms())
    assert clone.act(torch.zeros(1, S), None).mean() == pytest.approx(0.25, abs=0.05)  # the mean of the arms
    found = learner.act(torch.zeros(1, S), None)
    assert (found < 0).all() and learner.multiplier > 0
    assert learner.cost_value(torch.zeros(1, S)).item() == pytest.approx(0.2, abs=0.1)


def said(monkeypatch, *values):
    """Have networks say these values `[2, B]` of any pairs, each given with its network."""
    told = {id(net): torch.tensor(each) for net, each in values}
    monkeypatch.setattr(module, "q_values", lambda net, obs, act: told[id(net)])


def test_cpqs_target_keeps_the_next_value_only_where_the_cost_value_is_within_the_threshold(monkeypatch):
    """Two transitions: the first one's next action is within the threshold, the second one's is not."""
    learner = cpq(threshold=1.0, discount=0.5)
    data = batch(2)._replace(reward=torch.tensor([1.0, 3.0]), cost=torch.tensor([0.0, 2.0]))
    said(monkeypatch, (learner.target, [[8.0, 5.0], [6.0, 7.0]]), (learner.cost_target, [[0.9, 0.2], [0.4, 1.1]]))
    returns, costs = learner.targets(data)  # the lower value and the larger cost count
    assert torch.allclose(returns.target, torch.tensor([1.0 + 0.5 * 6.0, 3.0]))
    assert torch.allclose(costs.target, torch.tensor([0.5 * 0.9, 2.0 + 0.5 * 1.1]))
    ended, _ = learner.targets(data._replace(terminated=torch.ones(2)))
    assert ended.target.tolist() == [1.0, 3.0]


def test_the_actors_loss_is_minus_the_safe_value_and_the_cost_beyond_the_threshold(monkeypatch):
    for recovery, expected in ((0.0, [-6.0, 0.0]), (2.0, [-6.0, 2.0 * 0.5])):
        learner = cpq(threshold=1.0, recovery=recovery)
        said(monkeypatch, (learner.critic, [[8.0, 5.0], [6.0, 7.0]]), (learner.cost_critic, [[0.9, 0.2], [0.4, 1.5]]))
        assert learner.actor_loss(torch.zeros(2, S)).item() == pytest.approx(sum(expected) / 2)
    assert find_algorithm("cpq").info.presets["paper"] == {"recovery": 0.0}


def test_actions_count_as_outside_where_their_code_is_farther_from_the_prior_than_the_datas_are():
    learner, data = cpq(samples=3, inside=0.5), batch()
    divergence = learner.autoencoder.divergence(data.obs, data.act)
    obs, act, outside = learner.outside(data)
    assert obs.shape == (3 * B, S) and act.shape == (3 * B, A) and torch.equal(obs[B : 2 * B], data.obs)
    expected = learner.autoencoder.divergence(obs, act) > divergence.quantile(0.5)
    assert torch.equal(outside.bool(), expected) and 0 < outside.sum() < 3 * B


def test_alpha_follows_what_the_cost_value_of_actions_outside_lacks_within_its_limits():
    learner = cpq(threshold=2.0, outside_scale=1.5, penalty_rate=0.1, penalty_limit=0.5)
    learner.raise_penalty(torch.tensor(0.5))
    assert learner.penalty.item() == pytest.approx(0.1 * (3.0 - 0.5))
    learner.raise_penalty(torch.tensor(-50.0))
    assert learner.penalty.item() == pytest.approx(0.5)
    learner.raise_penalty(torch.tensor(50.0))
    assert learner.penalty.item() == 0.0


def test_the_cost_value_of_actions_outside_the_data_is_raised_and_that_of_the_data_is_learned():
    """All actions are at 0.3 and cost nothing; the actor is held at -0.9, which the data lack."""
    n = 64
    data = batch(n, terminated=1.0)._replace(
        obs=torch.zeros(n, S), act=torch.full((n, A), 0.3) + 0.02 * batch(n).act, cost=torch.zeros(n)
    )
    found = {}
    for rate in (0.0, 0.05):
        learner = cpq(threshold=2.0, penalty_rate=rate, learning_rate=3e-3, samples=2)
        learner.optimizers[1] = torch.optim.SGD(learner.actor.parameters(), lr=0.0)
        with torch.no_grad():
            for p in learner.actor.parameters():
                p.zero_()
            learner.actor.net.biases[-1][..., :A] = -1.5
            learner.actor.net.biases[-1][..., A:] = -5.0
        for _ in range(400):
            learner.update(data)
        obs = torch.zeros(1, S)
        there = torch.full((1, A), 0.3)
        found[rate] = [q_values(learner.cost_critic, obs, act).amax().item() for act in (learner.act(obs, None), there)]
        assert (learner.outside(data)[2].mean() > 0.9) or rate == 0.0
    assert found[0.0][0] < 1.0 and found[0.05][0] > 2.0  # beyond the threshold
    assert abs(found[0.05][1]) < 0.3


@pytest.mark.parametrize(("threshold", "low", "high"), [(0.2, -0.7, 0.0), (1e3, 0.4, 1.0)])
def test_of_two_arms_cpq_takes_the_safe_side_and_with_a_large_budget_the_one_that_pays_more(threshold, low, high):
    settings = settings_of(CPQSettings, learning_rate=3e-3, samples=2)
    learner, data = CPQ(S, 1, *settings, threshold, torch.Generator().manual_seed(0)), arms(64)
    for _ in range(400):
        learner.update(data._replace(act=data.act[:, :1]))
    assert low <= learner.act(torch.zeros(1, S), None).item() <= high


@pytest.mark.parametrize("make", [bc_lag, cpq])
def test_a_restored_learner_goes_on_as_the_kept_one(make):
    first, second = make(threshold=0.01), make(threshold=0.01)
    data = batch()._replace(cost=torch.ones(B))
    for _ in range(3):
        first.update(data)
    second.restore(through_a_file(first.checkpoint()))
    for learner in (first, second):
        learner.update(data)
    assert torch.equal(first.act(data.obs, None), second.act(data.obs, None))
    one, other = (torch.cat([p.flatten() for p in (x.critic if make is bc_lag else x.cost_critic).parameters()])
                  for x in (first, second))  # fmt: skip
    assert torch.equal(one, other)
    weights = [x.multiplier if make is bc_lag else x.penalty for x in (first, second)]
    assert torch.equal(*weights) and weights[0] > 0


def run_of(name, data, folder, **asked):
    env, options = fitting_env(data, None, ())
    request = Request([name], eval_episodes=1, settings=small(name), **asked)
    return Run.create(folder, specify(request, env, options, data)[0])


@pytest.mark.parametrize("name", NAMES)
def test_a_killed_run_ends_as_an_uninterrupted_one_and_has_the_runs_budget(name, point, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "CHECKPOINT_EVERY", 10)
    data = priced(read(point), [3.0, 9.0, 2.0, 0.0, 9.0, 3.5], 70)
    algorithm, seen = find_algorithm(name), []
    whole, killed = (run_of(name, data, tmp_path / each, steps=25, budget=8.0) for each in ("whole", "killed"))
    algorithm.train_on(data, whole)
    with killed_at(15, monkeypatch, lambda agent: seen.append(agent.learner.threshold)):
        algorithm.train_on(data, killed)
    algorithm.train_on(data, killed)
    assert set(seen) == {discounted_budget(8.0, 0.99, 200)}  # 1,000 simulator steps, 5 a decision
    assert killed.evaluations.read() == whole.evaluations.read()
    one, other = (run.load_checkpoint()["agent"]["learner"]["critic"] for run in (whole, killed))
    assert all(torch.equal(one[key], other[key]) for key in one)
    policy = safeloop.load(killed.path)
    policy.reset(3)
    assert (abs(policy.act(data.obs[:3])) <= 1).all()


def test_cpq_learns_of_rewards_that_are_at_least_0_and_reports_the_returns_of_these(point):
    data, spec = read(point), find_env("PointGoal1")
    settings = find_algorithm("cpq").info.settings()
    build = find_algorithm("cpq").build
    lowest = float(data.reward.min())
    agent = build(settings, spec, data.obs.shape[1], 2, 0, "cpu", data, 10, budget=25.0)
    assert lowest < 0 and torch.allclose(agent.replay.data.reward, torch.from_numpy(data.reward - lowest))
    raised = replace(data, reward=data.reward - lowest)
    assert np.allclose(agent.returns, discounted_returns(raised, 0.99))
    agent = build(settings, spec, data.obs.shape[1], 2, 0, "cpu", replace(data, reward=abs(data.reward)), 10, budget=1)
    assert torch.equal(agent.replay.data.reward, torch.from_numpy(abs(data.reward)))


@pytest.mark.parametrize("name", NAMES)
def test_a_dataset_without_costs_is_refused(name, point, pendulum):
    data = read(point)
    env, options = fitting_env(data, None, ())
    with pytest.raises(UsageError, match=f"costs is missing, and {name} keeps a cost within a limit"):
        specify(Request([name], steps=10), env, options, replace(data, cost=None))
    with pytest.raises(UsageError, match=f"InvertedPendulum has no cost, and {name} keeps a cost within a limit"):
        specified(pendulum, name)
