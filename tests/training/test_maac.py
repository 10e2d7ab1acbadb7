"""MAAC's agent: it learns along the gradient through models, which stay as they are, and goes on from a checkpoint."""

import math
from copy import deepcopy

import numpy as np
import pytest
import torch

from safeloop.algorithms.maac import maac, maac_mpc, safemaac, steve, svg1
from safeloop.errors import UsageError
from safeloop.protocols import Transition
from safeloop.registry import find_env
from safeloop.settings import build, kinds

SMALL = {
    "ensemble_size": 2, "layers": 1, "width": 16, "hidden": 16, "batch_size": 16, "warmup": 20, "fit_every": 25,
    "fit_steps": 5, "first_fit_steps": 10, "rollouts": 4, "updates_per_decision": 1,
}  # fmt: skip


def make(algorithm=maac, env="InvertedPendulum", seed=0, **changes):
    spec = find_env(env, {})
    small = {name: value for name, value in SMALL.items() if name in kinds(algorithm.info.settings)}
    asked = {**algorithm.info.presets["default"], **small, **changes}
    settings = algorithm.resolve(build(algorithm.info.settings, asked, owner="maac"), spec).settings
    env = spec.make()
    return algorithm.build(settings, spec, env.observation_space.shape[0], env.action_space.shape[0], seed, "cpu"), env


def drive(agent, env, decisions, seed=0):
    """The actions of so many decisions, episode after episode."""
    acts, done, episode = [], True, 0
    for _ in range(decisions):
        if done:
            obs, t0, episode = np.array(env.reset(seed=seed + episode)[0]), True, episode + 1
        act = agent.act(obs, t0)
        found, reward, terminated, truncated, info = env.step(act)
        agent.observe(Transition(obs, act, reward, terminated, truncated, {"cost": 0.0, **info}, np.array(found)))
        agent.update()
        obs, t0, done = np.array(found), False, terminated or truncated
        acts.append(act)
    return np.stack(acts)


def weights(net):
    return torch.cat([p.detach().flatten() for p in net.parameters()])


@pytest.mark.parametrize("targets", ["steve", "expanded", "plain"])
def test_it_learns_and_leaves_the_models_to_their_fits(targets):
    agent, env = make(critic_targets=targets, gradient_bound=1.0)
    drive(agent, env, 30)
    assert agent.fitted and agent.objective.horizon == 3
    actor, models = weights(agent.learner.actor), weights(agent.ensemble)
    agent.learn(agent.replay.sample(16, agent.generator))
    assert not torch.equal(actor, weights(agent.learner.actor)) and torch.equal(models, weights(agent.ensemble))
    assert all(p.requires_grad for p in agent.ensemble.parameters())
    found = agent.measured()
    assert found["gradient_norm"] > 0 and ("longest_lookahead" in found) == (targets == "steve")
    assert agent.measured() == {}


def test_a_resumed_agent_acts_as_an_uninterrupted_one():
    (one, env), (other, again) = make(), make()
    drive(one, env, 60)
    state = deepcopy(one.checkpoint())
    expected = drive(one, env, 40, seed=7)
    other.restore(state)
    assert np.array_equal(drive(other, again, 40, seed=7), expected) and math.isfinite(expected.sum())


def test_steve_is_sac_with_its_targets_on_real_data():
    agent, env = make(steve)
    drive(agent, env, 60)
    assert agent.objective.horizon == 0 and not len(agent.imagined) and agent.measured()["longest_lookahead"] > 0
    assert len(make()[0].imagined) == 0
    agent, env = make()
    drive(agent, env, 60)
    assert len(agent.imagined) > 0


def test_svg_keeps_the_densities_of_actions_and_goes_on_from_a_checkpoint():
    (one, env), (other, again) = make(svg1, "HalfCheetah"), make(svg1, "HalfCheetah")
    drive(one, env, 60)
    assert one.log_prob[:20].tolist() == pytest.approx([-6 * math.log(2)] * 20) and one.log_prob[20:60].std() > 0
    assert one.measured()["gradient_norm"] > 0 and not one.log_prob[60:].any()
    state = deepcopy(one.checkpoint())
    expected = drive(one, env, 40, seed=7)
    other.restore(state)
    assert np.array_equal(drive(other, again, 40, seed=7), expected)


@pytest.mark.parametrize(("changes", "horizon"), [({}, 2), ({"around": "actions", "search": "arc", "elites": None}, 4)])
def test_it_plans_in_evaluation_from_its_policy(changes, horizon):
    small = {"population": 7, "iterations": 2, "horizon": horizon, "initial_variance": 1e-8, "elites": 3}
    agent, env = make(maac_mpc, **{**small, **changes})
    drive(agent, env, 60)
    policy, alone = agent.policy(0), agent.alone()
    policy.reset(2)
    seen = np.stack([env.reset(seed=i)[0] for i in range(2)])
    found, mean = policy.act(seen), alone.act(seen)
    assert found.shape == (2, 1)
    if not changes:  # the search hardly moves from the policy's actions
        assert np.allclose(found, mean, atol=1e-3) and np.abs(found).max() > 1e-3


def test_planning_in_evaluation_changes_nothing_in_training():
    (one, env), (other, again) = make(maac), make(maac_mpc)
    assert np.array_equal(drive(one, env, 60), drive(other, again, 60))


def test_around_the_policy_the_search_is_cem():
    with pytest.raises(UsageError, match="around=policy is a search by cem"):
        make(maac_mpc, search="arc", elites=None)


def test_goals_that_jump_are_refused():
    with pytest.raises(UsageError, match="can't be imagined"):
        make(env="PointGoal1")


def test_under_a_budget_the_price_of_cost_follows_the_episodes():
    agent, env = make_safe()
    drive(agent, env, 30)
    assert agent.fitted and agent.price == 1 and not agent.warming_up
    before = weights(agent.learner.actor)
    agent.learn(agent.replay.sample(16, agent.generator))
    assert not torch.equal(before, weights(agent.learner.actor))

    def episode(costs):
        """Store an episode of decisions with these costs."""
        agent.cost_return = 0.0
        for i, cost in enumerate(costs):
            last = i == len(costs) - 1
            agent.observe(Transition(np.zeros(26), np.zeros(2), 0.0, False, last, {"cost": cost}, np.zeros(26)))

    episode([20.0, 0.0, 30.0])
    assert agent.price == pytest.approx(1 + 0.02 * (50 - 25)) and agent.cost_return == 0
    agent.budget = 1e6
    episode([1.0, 2.0])
    assert agent.price == 0 and agent.measured()["price"] == pytest.approx(1.5 / 2)


def make_safe(seed=0):
    spec = find_env("PointGoal1", {})
    asked = {**safemaac.info.presets["default"], **SMALL}
    settings = safemaac.resolve(build(safemaac.info.settings, asked, owner="safemaac"), spec).settings
    assert settings.pathwise.critic_targets == "plain" and settings.branches.real_fraction == 1
    env = spec.make()
    sizes = env.observation_space.shape[0], env.action_space.shape[0]
    return safemaac.build(settings, spec, *sizes, seed, "cpu", budgets=[25.0]), env


def test_a_resumed_agent_under_a_budget_acts_as_an_uninterrupted_one():
    (one, env), (other, again) = make_safe(), make_safe()
    drive(one, env, 50)
    state = deepcopy(one.checkpoint())
    expected = drive(one, env, 15, seed=7)
    other.restore(state)
    assert np.array_equal(drive(other, again, 15, seed=7), expected)


def test_under_a_budget_there_must_be_a_cost():
    with pytest.raises(UsageError, match="has no cost"):
        make(safemaac, "InvertedPendulum")
