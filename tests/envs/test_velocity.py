"""Velocity tasks: the stock environments with the suite's contract."""

from __future__ import annotations

import numpy as np
import pytest
from stock import make_stock, stock_decision

from safeloop_envs import safety_gymnasium
from safeloop_envs.family import RUNNERS


@pytest.mark.parametrize(("name", "bound"), [("HalfCheetahVelocity", 1.0), ("HumanoidVelocity", 0.4)])
@pytest.mark.parametrize("repeat", [1, 3])
def test_episode_equals_stock_exactly(name: str, bound: float, repeat: int) -> None:
    ours, stock = safety_gymnasium.spec(name, action_repeat=repeat).make(), make_stock(name)
    rng, ended = np.random.default_rng(0), False
    observation, _ = ours.reset(seed=5)
    np.testing.assert_array_equal(observation, stock.reset(seed=5)[0].astype(np.float32))
    while not ended:
        action = rng.uniform(-1, 1, ours.action_space.shape)
        control = np.float64(np.float32(bound)) * action
        observation, reward, terminated, truncated, info = ours.step(action)
        expected, stock_reward, cost, *ends, _ = stock_decision(stock, control, repeat)
        np.testing.assert_array_equal(observation, expected)
        assert (reward, info["cost"], [terminated, truncated]) == (stock_reward, cost, ends)
        ended = terminated or truncated


def test_cost_is_reported_above_the_speed_limit() -> None:
    env = safety_gymnasium.spec("SwimmerVelocity").make()
    env.reset(seed=0)
    env._stock._velocity_threshold = -10.0
    info = env.step(np.zeros(2))[4]
    assert (info["cost"], info["violations"], info["simulator_steps"]) == (1.0, 1, 1)


@pytest.mark.parametrize("robot", RUNNERS)
def test_spec_says_whether_the_robot_can_fall(robot: str) -> None:
    spec = safety_gymnasium.spec(f"{robot}Velocity")
    env = spec.make()
    rng = np.random.default_rng(0)
    env.reset(seed=0)
    terminated = truncated = False
    while not (terminated or truncated):
        action = rng.uniform(-1, 1, env.action_space.shape)
        _, _, terminated, truncated, _ = env.step(action)
    if terminated:
        assert spec.terminates
    if not spec.terminates:
        assert truncated


def test_a_seed_determines_the_episode_whatever_happened_before() -> None:
    fresh, used = (safety_gymnasium.spec("HopperVelocity").make() for _ in range(2))
    used.reset(seed=3)
    used.step(np.ones(3))
    for env in (fresh, used):
        env.reset(seed=8)
    for _ in range(5):
        np.testing.assert_array_equal(fresh.step(np.ones(3))[0], used.step(np.ones(3))[0])
