"""Environments under a delay: actions and observations that are a number of decisions late."""

from dataclasses import replace

import gymnasium
import numpy as np
import pytest

from safeloop.cmdp import Delay
from safeloop.delay import delayed
from safeloop.errors import UsageError
from safeloop.registry import find_env


def path(env, acts, seed=0):
    """The observations of actions, the first one's too, and rewards and costs."""
    seen, numbers = [np.array(env.reset(seed=seed)[0])], []
    for act in acts:
        obs, reward, terminated, truncated, info = env.step(act)
        seen.append(np.array(obs))
        numbers.append((reward, info.get("cost", 0.0), terminated, truncated))
        if terminated or truncated:
            break
    return seen, numbers


@pytest.mark.parametrize("delay", [(2, 0), (0, 3), (2, 1)])
@pytest.mark.parametrize("name", ["RCCarDrift", "Hopper"])  # the latter's episodes end by termination
def test_a_delayed_environment_is_its_undelayed_twin_with_shifted_actions_and_observations(name, delay):
    options = dict(zip(("action_delay", "observation_delay"), delay, strict=True))
    spec = find_env(name, options)
    env, (a, o) = spec.make(), delay
    acts = list(np.random.default_rng(0).uniform(-1, 1, (120, *env.action_space.shape)).astype(np.float32))
    true, numbers = path(find_env(name).make(), [np.zeros_like(acts[0])] * a + acts)
    seen, obs, arrived, found = [], env.reset(seed=0)[0], [], []
    for act in acts:
        seen.append(obs)
        obs, reward, terminated, truncated, info = env.step(act)
        found.append((reward, info.get("cost", 0.0), terminated, truncated))
        arrived += info["arrived"]
        if terminated or truncated:
            break
    assert found == numbers[: len(found)] and (terminated or truncated)
    assert all(np.array_equal(x, true[max(0, t - o)]) for t, x in enumerate(seen))
    assert np.array_equal(obs, true[len(found)])  # all has arrived at the end
    assert len(arrived) == len(found)
    executed = [np.zeros_like(acts[0])] * a + acts
    for t, each in enumerate(arrived):
        assert np.array_equal(each.obs, true[t]) and np.array_equal(each.next_obs, true[t + 1])
        assert np.array_equal(each.act, executed[t])
        assert (each.reward, each.info["cost"], each.terminated, each.truncated) == found[t]


def test_the_spec_and_the_options_of_a_run_tell_the_delay():
    spec = find_env("PointGoal1", {"observation_delay": "3"})
    assert spec.delay == Delay(0, 3) and spec.options["observation_delay"] == 3 and "action_delay" not in spec.options
    assert spec.delay.decisions == 3
    assert find_env("PointGoal1", {"action_delay": 0}).delay is None
    assert find_env("PointGoal1", spec.options).delay == spec.delay


@pytest.mark.parametrize("value", [-1, "x", 1.5, 101])
def test_a_delay_that_is_no_whole_number_is_refused(value):
    with pytest.raises(UsageError, match=r"--env-set action_delay"):
        find_env("RCCarDrift", {"action_delay": value})


def test_a_cost_that_follows_from_those_of_simulator_steps_arrives_too():
    class OnlyCosts(gymnasium.Wrapper):
        """An environment that tells the costs of simulator steps, and not their sum."""

        def step(self, action):
            *found, _ = self.env.step(action)
            return *found, {"costs": [0.5, 1.5]}

    plain = find_env("RCCarDrift")
    env = delayed(replace(plain, make=lambda: OnlyCosts(plain.make())), Delay(0, 1)).make()
    env.reset(seed=0)
    for _ in range(2):
        info = env.step(np.zeros(env.action_space.shape, np.float32))[-1]
    assert [each.info["cost"] for each in info["arrived"]] == [2.0]
