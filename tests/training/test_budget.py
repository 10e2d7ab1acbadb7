"""Planning agents whose threshold follows costs towards the run's budget."""

from copy import deepcopy

import numpy as np
import pytest
import torch

from safeloop.algorithms.loop import loop, safeloop
from safeloop.algorithms.poplin import safepoplin_p
from safeloop.errors import UsageError
from safeloop.protocols import Transition
from safeloop.registry import find_env
from safeloop.settings import build, kinds

SMALL = {
    "population": 5, "horizon": 2, "iterations": 1, "elites": 3, "ensemble_size": 2, "layers": 1, "width": 8,
    "batch_size": 8, "warmup": 4, "first_fit_steps": 2, "fit_steps": 2, "policy_width": 8,
}  # fmt: skip


def asked(algorithm, **changes):
    names = kinds(algorithm.info.settings)
    small = {name: value for name, value in SMALL.items() if name in names}
    if algorithm is not safepoplin_p:
        small.pop("elites")
    chosen = {**algorithm.info.presets["default"], **small, **changes}
    return build(algorithm.info.settings, chosen, owner=algorithm.info.name)


def make(algorithm=safeloop, budget=15.0, **changes):
    spec = find_env("RCCarDrift", {})
    settings = algorithm.resolve(asked(algorithm, **changes), spec).settings
    env = spec.make()
    sizes = env.observation_space.shape[0], env.action_space.shape[0]
    return algorithm.build(settings, spec, *sizes, 0, "cpu", budgets=[budget]), env


def episode(agent, env, cost, length=6):
    """Drive an episode of so many decisions, each with this cost."""
    obs = np.array(env.reset(seed=0)[0])
    for t in range(length):
        act = agent.act(obs, t == 0)
        next_obs, reward, _, _, info = env.step(act)
        last = t == length - 1
        agent.observe(Transition(obs, act, reward, False, last, {**info, "cost": cost}, np.array(next_obs)))
        agent.update()
        obs = np.array(next_obs)


@pytest.mark.parametrize("algorithm", [safeloop, safepoplin_p])
def test_the_threshold_of_planning_in_training_and_evaluation_follows_the_budget(algorithm):
    agent, env = make(algorithm, constraint="adaptive", warmup=5)
    episode(agent, env, cost=50.0)  # of random decisions
    assert agent.measured() == {"threshold": pytest.approx(0.02)}
    episode(agent, env, cost=0.0)
    level = agent.measured()["threshold"]
    assert level == pytest.approx(0.02 * np.exp(0.25 * 15 / 20))
    policy = agent.policy(0)
    policy.reset()
    for search in (agent.planner.search, policy.planner.search):
        assert search.constraint.threshold.item() == search.weighting.constraint.threshold.item() == level


def test_a_fixed_threshold_stays():
    agent, env = make()
    for _ in range(2):
        episode(agent, env, cost=0.0)
    assert agent.threshold is None and agent.measured() == {}
    assert agent.planner.search.constraint.threshold == 0.02


def test_a_resumed_agent_has_the_threshold_of_an_uninterrupted_one():
    (one, env), (other, again) = make(constraint="adaptive", warmup=1), make(constraint="adaptive", warmup=1)
    episode(one, env, cost=1.0)
    state = deepcopy(one.checkpoint())
    episode(one, env, cost=4.0)
    episode(other, again, cost=9.0)
    other.restore(state)
    episode(other, again, cost=4.0)
    assert one.measured() == other.measured() != {"threshold": 0.02}


def test_without_a_constraint_nothing_can_follow_a_budget():
    spec = find_env("RCCarDrift", {})
    with pytest.raises(UsageError, match=r"constraint=adaptive: loop keeps no constraint; use safeloop"):
        loop.resolve(asked(loop, constraint="adaptive"), spec)
    with pytest.raises(UsageError, match=r"threshold=0: constraint=adaptive begins at a threshold above 0"):
        asked(safeloop, constraint="adaptive", threshold=0.0)


@pytest.mark.parametrize("cost", ["known", "learned"])
def test_the_cost_after_the_horizon_is_learned_and_planned_with(cost):
    agent, env = make(cost_value="behaviour", cost=cost)
    episode(agent, env, cost=1.0)
    state = agent.checkpoint()
    obs = agent.replay.data.obs[:3]
    found = agent.parts.cost_value(obs)
    assert (found >= 0).all() and torch.equal(found, agent.behaviour_cost.value(obs))
    assert agent.planner.search.objective.cost_value is not None
    batch = agent.replay.sample(4, torch.Generator().manual_seed(0))
    own = agent.behaviour_cost.costs(batch)
    assert torch.equal(own, torch.ones(4)) if cost == "learned" else (own != 1).all()
    other, again = make(cost_value="behaviour", cost=cost)
    other.restore(deepcopy(state))
    episode(agent, env, cost=0.0)
    episode(other, again, cost=0.0)
    assert torch.equal(agent.parts.cost_value(obs), other.parts.cost_value(obs))
    assert not torch.equal(agent.parts.cost_value(obs), found)


@pytest.mark.parametrize("algorithm", [loop, safepoplin_p])
def test_a_value_of_cost_is_for_planners_of_sequences_under_a_constraint(algorithm):
    with pytest.raises(UsageError, match=r"cost_value=behaviour: it is for planners of action sequences under a"):
        algorithm.resolve(asked(algorithm, cost_value="behaviour"), find_env("RCCarDrift", {}))
