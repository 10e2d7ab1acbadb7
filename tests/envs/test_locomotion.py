"""Locomotion and the pen: gymnasium's environments with the suite's contract, and their terminations as models."""

import gymnasium
import numpy as np
import pytest
import torch

from safeloop.errors import UsageError
from safeloop_envs import locomotion
from safeloop_envs.locomotion import TASKS

STOCK = [name for name in TASKS if name not in ("Swimmer", "PenGoal")]  # MuJoCo 3 refuses these two's files


@pytest.mark.parametrize("name", STOCK)
@pytest.mark.parametrize("repeat", [1, 3])
def test_episode_equals_stock_exactly(name, repeat):
    env = locomotion.spec(name, action_repeat=repeat).make()
    stock = gymnasium.make(TASKS[name].full_id, disable_env_checker=True)
    size, bound = env.observation_space.shape[0], stock.action_space.high
    rng, steps, ended = np.random.default_rng(0), 0, False
    np.testing.assert_array_equal(env.reset(seed=5)[0], stock.reset(seed=5)[0][:size].astype(np.float32))
    while not ended and steps < 300:
        action = rng.uniform(-1, 1, env.action_space.shape)
        total, here = 0.0, 0
        while here < repeat and not ended:
            observation, reward, terminated, truncated, _ = stock.step(np.float64(bound) * action)
            total, here, ended = total + reward, here + 1, terminated or truncated
        seen, reward, *ends, info = env.step(action)
        np.testing.assert_array_equal(seen, observation[:size].astype(np.float32))
        assert (reward, ends) == (total, [terminated, truncated])
        assert info == {"cost": 0.0, "violations": 0, "simulator_steps": here, "costs": [0.0] * here}
        steps += here


@pytest.mark.parametrize("name", TASKS)
def test_known_terminations_are_the_simulators(name):
    spec = locomotion.spec(name)
    env, rng, fell = spec.make(), np.random.default_rng(1), 0
    for episode in range(6):
        obs, _ = env.reset(seed=episode)
        terminated = truncated = False
        for _ in range(250):
            if terminated or truncated:
                break
            action = np.clip(rng.normal(0, 1, env.action_space.shape), -1, 1)
            following, _, terminated, truncated, _ = env.step(action)
            known = spec.terminated(*map(torch.as_tensor, (obs, action, following))) if spec.terminated else False
            assert bool(known) == terminated
            obs = following
        fell += terminated
    assert (fell > 0) == spec.terminates
    env.close()


def test_terminations_are_batched_and_a_state_that_is_not_finite_ends():
    terminated = locomotion.spec("Hopper").terminated
    obs = torch.zeros(2, 3, 11)
    obs[..., 0] = 1.2
    obs[0, 1, 5], obs[1, 2, 1], obs[1, 0, 7] = torch.nan, 0.3, -101.0
    assert terminated(obs, torch.zeros(2, 3, 3), obs).tolist() == [[False, True, False], [True, False, True]]


@pytest.mark.parametrize(
    ("name", "column", "hidden", "inside", "beyond"),
    [
        ("Hopper", 0, 1, (0.71, 9.0), (0.69,)), ("Hopper", 1, 1, (-0.19, 0.19), (-0.21, 0.21)),
        ("Walker2d", 0, 1, (0.81, 1.99), (0.79, 2.01)), ("Walker2d", 1, 1, (-0.99, 0.99), (-1.01, 1.01)),
        ("Ant", 0, 2, (0.21, 0.99), (0.19, 1.01)), ("Humanoid", 0, 2, (1.01, 1.99), (0.99, 2.01)),
    ],
)  # fmt: skip
def test_the_bounds_of_terminations_are_the_simulators(name, column, hidden, inside, beyond):
    spec, stock = locomotion.spec(name), gymnasium.make(TASKS[name].full_id).unwrapped
    obs, _ = spec.make().reset(seed=0)
    stock.reset(seed=0)
    for value in (*inside, *beyond):
        seen = torch.as_tensor(obs).clone()
        seen[column] = stock.data.qpos[column + hidden] = value  # the first positions are not observed
        ended = bool(spec.terminated(seen, torch.zeros(1), seen))
        assert ended == (value in beyond) == (not stock.is_healthy)


def test_swimmer_moves_without_contacts():
    env = locomotion.spec("Swimmer").make()
    env.reset(seed=0)
    total = sum(env.step(np.array([np.sin(0.5 * t), np.cos(0.5 * t)]))[1] for t in range(200))
    assert env._stock.data.ncon == 0 and abs(total) > 0.1


def test_goals_of_the_pen_are_from_the_narrow_range():
    env = locomotion.spec("PenGoal").make()
    goals = []
    for seed in range(40):
        obs, _ = env.reset(seed=seed)
        goals.append(obs[36:39])  # direction of the target
    again, _ = env.reset(seed=39)
    np.testing.assert_array_equal(again, obs)
    from gymnasium_robotics.utils.rotations import euler2quat, quat2mat

    middle = quat2mat(euler2quat(np.array([0.7, 0.7, 0.0])))[:, 2]
    angles = np.arccos(np.clip(np.array(goals) @ middle, -1, 1))
    assert 0.02 < np.median(angles) < 0.3 and angles.max() < 0.6
    assert env.step(np.zeros(24))[0].shape == (45,)


def test_humanoids_observation_is_that_of_its_joints_unless_all_is_asked_for():
    for options, size in (({}, 45), ({"observation": "task"}, 376)):
        spec = locomotion.spec("Humanoid", **options)
        assert spec.make().reset(seed=0)[0].shape == (size,)
        assert spec.options["observation"] == ("task" if options else "truncated")


def test_what_can_not_be_is_told():
    with pytest.raises(UsageError, match="Hopper: observation=truncated: expected task"):
        locomotion.spec("Hopper", observation="truncated")
    with pytest.raises(UsageError, match="action_repeat=0: expected at least 1"):
        locomotion.spec("Hopper", action_repeat="0")
    with pytest.raises(UsageError, match="no setting 'speed'; nearest: observation, action_repeat"):
        locomotion.spec("Hopper", speed=3)
    with pytest.raises(UsageError, match="nearest: Hopper"):
        locomotion.spec("Hoper")
    assert locomotion.canonical("Ant-v4") == "Ant" and locomotion.canonical("AntVelocity") is None
    assert (locomotion.spec("Ant").budget, locomotion.spec("Ant").suite) == (
        None,
        f"Gymnasium {gymnasium.__version__} MuJoCo, v4",
    )


def test_ant_shows_positions_and_velocities_alone():
    """The truncated observation of Janner et al. (2019) and CoRL 2021: 13 positions without x and y, 14 velocities."""
    env = gymnasium.make(TASKS["Ant"].full_id, disable_env_checker=True)
    data = env.unwrapped.data
    stock = env.reset(seed=2)[0]
    expected = np.concatenate((data.qpos[2:], data.qvel)).astype(np.float32)
    assert expected.shape == (27,) and (stock.astype(np.float32) == expected).all()
    assert (locomotion.spec("Ant").make().reset(seed=2)[0] == expected).all()


@pytest.mark.parametrize("name", ["Hopper", "Walker2d", "HalfCheetah"])
def test_clipped_numbers_are_the_stock_environments(name):
    env = gymnasium.make(TASKS[name].full_id, disable_env_checker=True).unwrapped
    env.reset(seed=0)
    env.set_state(env.data.qpos, np.full_like(env.data.qvel, 50.0))
    clipped = locomotion.spec(name).clipped
    assert clipped == {i: 10.0 for i, number in enumerate(env._get_obs()) if number == 10.0}
    assert len(clipped) == (0 if name == "HalfCheetah" else len(env.data.qvel))
