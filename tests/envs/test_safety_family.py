"""The Safety-Gymnasium family: its names, options and the contract that its environments keep."""

from __future__ import annotations

import pickle
import subprocess
import sys

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from safeloop.errors import UsageError
from safeloop_envs import safety_gymnasium
from safeloop_envs.actions import ActionRange
from safeloop_envs.family import CATALOGUE
from safeloop_envs.shim import import_safety_gymnasium


def test_catalogue_is_the_registry_of_navigation_and_velocity_tasks() -> None:
    import_safety_gymnasium()
    from safety_gymnasium.utils.registration import safe_registry

    other = ("Vision", "Debug", "Race", "Fading")
    tasks = {id for id in safe_registry if not any(word in id.removeprefix("SafetyRacecar") for word in other)}
    assert {task.full_id for task in CATALOGUE.values()} == tasks


def test_episode_lengths_are_those_of_the_registry() -> None:
    import_safety_gymnasium()
    for task in CATALOGUE.values():
        assert gymnasium.spec(task.full_id).max_episode_steps == task.episode_steps


def test_short_names_and_full_ids_give_the_same_spec() -> None:
    assert safety_gymnasium.canonical("SafetyPointGoal1-v0") == "PointGoal1"
    assert safety_gymnasium.canonical("SafetyAntVelocity-v1") == "AntVelocity"
    assert safety_gymnasium.canonical("AntVelocity-v0") == "AntVelocity-v0"
    assert safety_gymnasium.canonical("CartPole-v1") is None
    assert safety_gymnasium.spec("SafetyCarGoal1-v0").id == "CarGoal1"
    assert all(safety_gymnasium.spec(name).id == name for name in safety_gymnasium.names())


@pytest.mark.parametrize("name", ["PointGaol1", "pointgoal1", "SafetyPointGoal1-v7"])
def test_unknown_name_lists_the_nearest(name: str) -> None:
    with pytest.raises(UsageError, match="nearest: PointGoal1"):
        safety_gymnasium.spec(name)


@pytest.mark.parametrize(
    ("name", "options", "remedy"),
    [
        ("PointGoal1", {"lidar": True}, "PointGoal1 has no setting 'lidar'; nearest: "),
        ("PointGoal1", {"observation": "pixels"}, "observation=pixels: expected paper or task"),
        ("PointButton1", {"observation": "paper"}, "observation=paper: expected task or positions"),
        ("DoggoGoal1", {"observation": "paper"}, "observation=paper: expected task$"),
        ("PointGoal1", {"action_repeat": "0"}, "action_repeat=0: expected at least 1"),
        ("PointCircle1", {"action_repeat": 501}, "action_repeat=501: expected at most 500"),
        ("PointGoal1", {"action_repeat": 2.5}, "action_repeat=2.5: expected a whole number"),
    ],
)
def test_wrong_option_names_the_valid_ones(name: str, options: dict, remedy: str) -> None:
    with pytest.raises(UsageError, match=remedy):
        safety_gymnasium.spec(name, **options)


def test_options_may_be_texts() -> None:
    assert safety_gymnasium.spec("PointGoal1", action_repeat="1").options == {
        "observation": "paper",
        "action_repeat": 1,
    }


def test_specs_say_what_is_known_and_what_ends_episodes() -> None:
    goal, button, ant = map(safety_gymnasium.spec, ("PointGoal1", "PointButton1", "AntVelocity"))
    assert goal.known() == {"cost": True, "reward": True}
    assert button.known() == {"cost": False, "reward": False}
    assert safety_gymnasium.spec("PointGoal1", observation="task").known() == {"cost": False, "reward": False}
    assert safety_gymnasium.spec("PointGoal0").known() == {"cost": False, "reward": True}
    assert (goal.action_repeat, goal.episode_steps, goal.terminates, goal.has_events) == (
        5,
        1000,
        False,
        True,
    )
    assert (ant.action_repeat, ant.episode_steps, ant.terminates, ant.has_events) == (1, 1000, True, False)
    assert goal.options == {"observation": "paper", "action_repeat": 5}


LIDAR_TASKS = [n for n, t in CATALOGUE.items() if t.kind != "Velocity" and (t.robot == "Point" or t.kind == "Circle")]


@pytest.mark.parametrize("name", LIDAR_TASKS)
def test_specs_name_the_lidars_of_the_tasks_own_observation(name: str) -> None:
    spec = safety_gymnasium.spec(name, observation="task")
    env = spec.make()
    env.reset(seed=0)
    found, start = {}, 0
    for sensor, space in env._task.obs_info.obs_space_dict.spaces.items():
        found[sensor] = tuple(range(start, start := start + int(np.prod(space.shape))))
    env.close()
    rings = {sensor: bins for sensor, bins in found.items() if sensor.endswith("_lidar")}
    if not rings:
        assert spec.lidars is None
        return
    assert spec.lidars is not None
    assert spec.lidars.rings == tuple(rings.values())
    assert spec.lidars.robot == tuple(index for sensor, bins in found.items() if sensor not in rings for index in bins)
    if spec.lidars.goal is None:
        assert "goal_lidar" not in rings
    else:
        assert spec.lidars.rings[spec.lidars.goal] == rings["goal_lidar"]


def test_only_the_tasks_own_observation_has_lidars() -> None:
    assert safety_gymnasium.spec("PointGoal1").lidars is None
    assert safety_gymnasium.spec("PointGoal1", observation="task").parts is not None
    assert safety_gymnasium.spec("AntVelocity").parts is None


def test_spec_survives_pickling() -> None:
    spec = pickle.loads(pickle.dumps(safety_gymnasium.spec("PointGoal2")))
    assert spec.id == "PointGoal2"
    assert spec.cost is not None


@pytest.mark.parametrize("name", ["PointGoal1", "CarGoal2", "PointButton1", "RacecarCircle1", "HumanoidVelocity"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_environment_passes_gymnasiums_checker(name: str) -> None:
    env = safety_gymnasium.spec(name).make()
    check_env(env, skip_render_check=True)
    assert env.observation_space.dtype == env.action_space.dtype == np.float32
    assert (env.action_space.low == -1).all()
    assert (env.action_space.high == 1).all()


@pytest.mark.parametrize(("name", "repeat", "length"), [("PointGoal1", 5, 1000), ("PointRun0", 3, 500)])
def test_episode_is_truncated_at_the_tasks_own_length(name: str, repeat: int, length: int) -> None:
    env = safety_gymnasium.spec(name, action_repeat=repeat).make()
    env.reset(seed=0)
    total, truncated = 0, False
    while not truncated:
        _, _, terminated, truncated, info = env.step(np.zeros(2))
        assert not terminated
        total += info["simulator_steps"]
    assert total == length
    assert info["simulator_steps"] == (length % repeat or repeat)
    with pytest.raises(RuntimeError, match="call reset"):
        env.step(np.zeros(2))


def test_action_repeat_sums_reward_cost_and_violations() -> None:
    single, repeated = (safety_gymnasium.spec("PointGoal1", action_repeat=k).make() for k in (1, 5))
    single.reset(seed=11)
    repeated.reset(seed=11)
    rng, partial_violation = np.random.default_rng(0), False
    for _ in range(200):
        action = rng.uniform(-1, 1, 2)
        steps = [single.step(action) for _ in range(5)]
        observation, reward, _, _, info = repeated.step(action)
        np.testing.assert_array_equal(observation, steps[-1][0])
        assert reward == sum(step[1] for step in steps)
        assert info["cost"] == sum(step[4]["cost"] for step in steps)
        assert info["violations"] == sum(step[4]["violations"] for step in steps)
        assert info["simulator_steps"] == 5
        partial_violation |= 0 < info["violations"] < 5
    assert partial_violation


@pytest.mark.parametrize("name", ["PointGoal1", "SwimmerVelocity"])
def test_actions_beyond_the_bounds_are_clipped_and_non_finite_ones_refused(name: str) -> None:
    env = safety_gymnasium.spec(name).make()
    env.reset(seed=0)
    beyond, beyond_reward, *_ = env.step(np.array([7.0, -3.0]))
    env.reset(seed=0)
    clipped, clipped_reward, *_ = env.step(np.array([1.0, -1.0]))
    np.testing.assert_array_equal(beyond, clipped)
    assert beyond_reward == clipped_reward
    for bad in ([np.nan, 0.0], [np.inf, 0.0]):
        with pytest.raises(ValueError, match="must be finite"):
            env.step(np.array(bad))
    with pytest.raises(ValueError, match="shape"):
        env.step(np.zeros(3))


def test_actions_map_linearly_to_the_simulators_bounds() -> None:
    actions = ActionRange(np.array([[-20.0, 20.0], [-0.4, 0.4], [0.0, 1.0]]))
    np.testing.assert_array_equal(actions.control(np.array([1.0, -1.0, 0.0])), [20.0, -0.4, 0.5])
    np.testing.assert_array_equal(actions.control(np.array([-0.5, 9.0, -9.0])), [-10.0, 0.4, 0.0])


def test_importing_and_describing_needs_no_simulator() -> None:
    code = (
        "import sys, safeloop_envs as e; e.safety_gymnasium.spec('PointGoal1');"
        "sys.exit(int('safety_gymnasium' in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
