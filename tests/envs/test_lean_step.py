"""The lean step equals Safety-Gymnasium's own: same seed and actions, no difference at all."""

from __future__ import annotations

import numpy as np
import pytest
from stock import make_stock, seek_goal, stock_decision

from safeloop_envs import safety_gymnasium


@pytest.mark.parametrize(
    ("name", "goals", "costs"),
    [
        ("PointGoal1", 5, 10),
        ("CarGoal1", 2, 1),
        ("PointGoal2", 2, 10),
        ("PointButton1", 2, 10),
        ("PointCircle1", 0, 1),
        ("PointPush2", 0, 0),
        ("AntGoal1", 0, 0),
    ],
)
def test_episode_equals_stock_exactly(name: str, goals: int, costs: int) -> None:
    ours, stock = safety_gymnasium.spec(name, observation="task").make(), make_stock(name)
    rng = np.random.default_rng(0)
    ours.reset(seed=5)
    stock.reset(seed=5)
    met_total, cost_total, ended = 0, 0.0, False
    while not ended:
        action = seek_goal(stock.unwrapped.task, rng)
        observation, reward, terminated, truncated, info = ours.step(action)
        expected, stock_reward, cost, stock_terminated, stock_truncated, met = stock_decision(stock, action, 5)
        np.testing.assert_array_equal(observation, expected)
        np.testing.assert_array_equal(ours._data.qpos, stock.unwrapped.task.data.qpos)
        assert reward == stock_reward
        assert info["cost"] == info["violations"] == cost
        assert (terminated, truncated) == (stock_terminated, stock_truncated)
        assert info.get("event", met) == met
        met_total, cost_total, ended = met_total + met, cost_total + cost, terminated or truncated
    assert met_total >= goals
    assert cost_total >= costs


def test_a_slow_vase_is_judged_by_the_stock_arithmetic() -> None:
    env = safety_gymnasium.spec("PointGoal2").make()
    env.reset(seed=0)
    task, data = env._task, env._data
    moves = env._every_check[-1]
    first = task.model.body_dofadr[task.model.body("vase3").id]
    for speed, expected in ((0.0, False), (0.99999e-4, False), (1.00001e-4, True), (1.0, True)):
        data.qvel[:] = 0.0
        data.qvel[first] = speed
        assert moves() is expected
        assert bool(task.vases.cal_cost()["cost_vases_velocity"] > 0) is expected
