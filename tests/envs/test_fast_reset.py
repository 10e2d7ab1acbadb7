"""The world that is compiled once equals the one that Safety-Gymnasium compiles at every reset."""

from __future__ import annotations

import numpy as np
import pytest
from stock import make_stock, model_arrays

from safeloop_envs import safety_gymnasium
from safeloop_envs.navigation import NavigationEnv


@pytest.fixture(params=["PointGoal2", "CarButton1", "PointCircle2", "DoggoPush2", "RacecarRun0"])
def pair(request: pytest.FixtureRequest) -> tuple[NavigationEnv, object]:
    return safety_gymnasium.spec(request.param, observation="task").make(), make_stock(request.param)


def test_moved_model_equals_the_recompiled_model_in_every_array(pair) -> None:
    ours, stock = pair
    for seed in (3, 4):
        ours.reset(seed=seed)
        stock.reset(seed=seed)
        moved, recompiled = model_arrays(ours._model), model_arrays(stock.unwrapped.task.model)
        assert moved.keys() == recompiled.keys()
        for name, array in moved.items():
            np.testing.assert_array_equal(array, recompiled[name], err_msg=name)
        for _ in range(3):  # moves gremlins away from where the next episode finds them
            ours.step(np.ones(ours.action_space.shape))


def test_reset_gives_the_stock_layout_state_and_observation(pair) -> None:
    ours, stock = pair
    for seed in (3, None, 4):
        observation, _ = ours.reset(seed=seed)
        expected, _ = stock.reset(seed=seed)
        task, stock_task = ours._task, stock.unwrapped.task
        assert task.world_info.layout.keys() == stock_task.world_info.layout.keys()
        for name, position in task.world_info.layout.items():
            np.testing.assert_array_equal(position, stock_task.world_info.layout[name])
        np.testing.assert_array_equal(ours._data.qpos, stock_task.data.qpos)
        np.testing.assert_array_equal(ours._data.mocap_pos, stock_task.data.mocap_pos)
        np.testing.assert_array_equal(observation, expected.astype(np.float32))


@pytest.mark.parametrize("name", ["PointGoal1", "PointButton1", "CarGoal2"])
def test_a_seed_determines_the_episode_whatever_happened_before(name: str) -> None:
    def episode(env) -> list[np.ndarray]:
        rng = np.random.default_rng(0)
        observations = [env.reset(seed=7)[0]]
        for _ in range(30):
            observations.append(env.step(rng.uniform(-1, 1, env.action_space.shape))[0])
        return observations

    fresh, used = safety_gymnasium.spec(name).make(), safety_gymnasium.spec(name).make()
    for seed in (1, None):
        used.reset(seed=seed)
        for _ in range(50):
            used.step(np.ones(used.action_space.shape))
    np.testing.assert_array_equal(episode(fresh), episode(used))


def test_resets_without_a_seed_give_new_layouts() -> None:
    env = safety_gymnasium.spec("PointGoal1").make()
    first, second = env.reset(seed=1)[0], env.reset()[0]
    assert not np.array_equal(first, second)


def test_first_resets_without_a_seed_differ_between_environments() -> None:
    spec = safety_gymnasium.spec("PointGoal0")
    assert not np.array_equal(spec.make().reset()[0], spec.make().reset()[0])
