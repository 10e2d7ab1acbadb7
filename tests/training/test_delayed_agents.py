"""Planning agents under a delay: what they learn from, and what they plan from."""

from copy import deepcopy

import numpy as np
import pytest
import torch

from safeloop.algorithms.loop import safeloop
from safeloop.algorithms.poplin import safepoplin_p
from safeloop.errors import UsageError
from safeloop.protocols import Transition
from safeloop.registry import find_env
from safeloop.settings import build, kinds

SMALL = {
    "population": 5, "horizon": 2, "iterations": 1, "ensemble_size": 2, "layers": 1, "width": 8, "entity_width": 4,
    "batch_size": 8, "warmup": 8, "first_fit_steps": 2, "fit_steps": 2, "policy_width": 8, "elites": 2,
}  # fmt: skip
DELAY = {"action_delay": 2, "observation_delay": 1}


def resolved(algorithm, env, options, **changes):
    names = kinds(algorithm.info.settings)
    small = {name: value for name, value in SMALL.items() if name in names}
    if algorithm is safeloop:
        small.pop("elites")
    chosen = {**algorithm.info.presets["default"], **small, **changes}
    spec = find_env(env, options)
    return algorithm.resolve(build(algorithm.info.settings, chosen, owner=algorithm.info.name), spec), spec


def make(algorithm=safeloop, env="RCCarDrift", options=DELAY, **changes):
    found, spec = resolved(algorithm, env, options, **changes)
    env = spec.make()
    sizes = env.observation_space.shape[0], env.action_space.shape[0]
    return algorithm.build(found.settings, spec, *sizes, 0, "cpu"), env


def drive(agent, env, decisions, seed=0):
    """Drive an episode for so many decisions; the last one is told to end it."""
    obs, acts = np.array(env.reset(seed=seed)[0]), []
    for t in range(decisions):
        acts.append(agent.act(obs, t == 0))
        next_obs, reward, terminated, truncated, info = env.step(acts[-1])
        last = truncated or t == decisions - 1
        agent.observe(Transition(obs, acts[-1], reward, terminated, last, info, np.array(next_obs)))
        agent.update()
        obs = np.array(next_obs)
    return np.stack(acts)


@pytest.mark.parametrize("algorithm", [safeloop, safepoplin_p])
def test_under_a_known_delay_the_models_learn_from_what_happened(algorithm):
    agent, env = make(algorithm)
    acts = drive(agent, env, 100)
    twin = find_env("RCCarDrift").make()
    states = [np.array(twin.reset(seed=0)[0])]
    executed = np.concatenate((np.zeros_like(acts[:2]), acts[:-2]))
    states += [np.array(twin.step(act)[0]) for act in executed]
    data = agent.replay.data
    assert len(agent.replay) == 100
    assert np.array_equal(data.act[:100].numpy(), executed)
    assert np.allclose(data.obs[:100].numpy(), np.stack(states[:-1]), atol=1e-6)
    assert np.allclose(data.next_obs[:100].numpy(), np.stack(states[1:]), atol=1e-6)
    under_way = agent.planner.pending.under_way[0].numpy()
    assert np.array_equal(under_way, acts[-3:])


def test_an_ignored_delay_is_suffered():
    agent, env = make(delay="ignored")
    acts = drive(agent, env, 12)
    assert agent.planner.pending is None
    assert np.array_equal(agent.replay.data.act[:12].numpy(), acts)


@pytest.mark.parametrize(("env", "options"), [("RCCarDrift", DELAY), ("PointGoal1", DELAY)])
def test_a_resumed_agent_decides_as_an_uninterrupted_one(env, options):
    (one, first), (other, second) = make(env=env, options=options), make(env=env, options=options)
    drive(one, first, 12)
    state = deepcopy(one.checkpoint())
    drive(other, second, 9, seed=5)
    other.restore(state)
    assert np.array_equal(drive(one, first, 6, seed=1), drive(other, second, 6, seed=1))


def test_episodes_are_evaluated_together_as_alone():
    agent, env = make()
    drive(agent, env, 12)
    random = np.random.default_rng(0)
    obs = random.normal(size=(4, 3, env.observation_space.shape[0])).astype(np.float32)
    together = agent.policy(0)
    together.reset(3)
    found = np.stack([together.act(step) for step in obs])
    alone = agent.policy(0)
    for row in range(3):
        alone.reset(1)
        assert np.allclose(np.stack([alone.act(step[row : row + 1])[0] for step in obs]), found[:, row], atol=1e-5)
    together.keep([2])
    assert together.planner.pending.under_way.shape == (1, 3, found.shape[-1])
    assert torch.equal(together.planner.pending.under_way[0, -1], torch.as_tensor(found[-1, 2]))


def test_the_table_names_a_known_delay():
    assert "delay" in resolved(safeloop, "RCCarDrift", DELAY)[0].privileged
    assert "delay" not in resolved(safeloop, "RCCarDrift", DELAY, delay="ignored")[0].privileged
    assert "delay" not in resolved(safeloop, "RCCarDrift", {})[0].privileged


def test_a_simulator_has_no_delayed_states():
    with pytest.raises(UsageError, match=r"dynamics=simulator: a simulator plans from the present state"):
        resolved(safeloop, "PointGoal1", DELAY, dynamics="simulator", value="none", actor_fraction=0.0)
