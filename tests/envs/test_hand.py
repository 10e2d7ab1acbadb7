"""The hand that turns a dice: Eq. 8 by hand, goals that change unseen, and its simulator."""

import mujoco
import numpy as np
import pytest

from safeloop.registry import find_env
from safeloop_envs.hand import EVERY, Hand, apart, matrix, orientation
from safeloop_envs.physics import Path

A, S = 24, 69


def driven(decisions, seed=0):
    env, random, action = find_env("HandReorient", {}).make(), np.random.default_rng(seed), np.zeros(A)
    env.reset(seed=seed)
    goals = [env._own]
    for _ in range(decisions):
        action = 0.9 * action + 0.2 * random.normal(size=A)
        env.step(action)
        goals.append(env._own)
    return env, np.stack(goals), random


def test_angles_and_matrices_of_quaternions():
    random = np.random.default_rng(0)
    one, expected = orientation(random), np.zeros(9)
    mujoco.mju_quat2Mat(expected, one)
    assert np.allclose(matrix(one[None])[0], expected.reshape(3, 3))
    quarter, half = np.array([np.cos(0.2), 0, np.sin(0.2), 0]), np.array([1.0, 0, 0, 0])
    assert apart(quarter, half) == apart(-quarter, half) == pytest.approx(0.4)
    assert apart(half, half) == 0


def test_the_reward_is_that_of_the_paper():
    task = Hand()
    qpos = np.tile(task.model.qpos0, (2, 1 + 2 * task.substeps, 1))
    qpos[:, 5:, -7:-4] = task.place + np.array([0.01, -0.02, 0.03])
    qpos[:, 10:, -4:] = [np.cos(0.3), np.sin(0.3), 0, 0]
    path = Path(qpos, qpos, np.zeros((2, 11, task.model.nv)), qpos, np.ones(2, bool))
    reward = task.judge(path, np.zeros((2, 2, A)), np.array([[1.0, 0, 0, 0]] * 2)).reward
    assert np.allclose(reward, [[-0.5 * 0.06, -0.5 * 0.06 - 0.05 * 0.6]] * 2)


def test_the_dice_begins_at_rest_on_the_palm_in_random_orientations():
    env = find_env("HandReorient", {}).make()
    starts = [(env.reset(seed=seed)[0], env._own) for seed in (0, 0, 1, 2)]
    assert starts[0][0].shape == (S,) and np.array_equal(starts[0][0], starts[1][0])
    assert not np.allclose(starts[0][1], starts[2][1])
    for obs, goal in starts:
        assert np.linalg.norm(goal) == pytest.approx(1) and np.abs(obs[48:51]).max() < 0.6
    low, high = env.model.actuator_ctrlrange.T
    middle, half = (low + high) / 2, (high - low) / 2
    for _ in range(50):
        *_, terminated, _, _ = env.step((env.task._curled - middle) / half)
    assert env.data.qpos[-5] > 0.2 and not terminated and np.abs(env.data.qvel).max() < 1


def test_the_goal_changes_every_75_decisions_and_no_rollout_sees_it():
    env, goals, random = driven(EVERY - 5)
    simulator, state = find_env("HandReorient", {}).simulator(1), env.get_state()
    actions = random.uniform(-1, 1, (12, A))
    found = simulator.rollout(state[None], actions[None])
    seen, after = [], []
    for action in actions:
        obs, reward, *_ = env.step(action)
        seen.append(reward)
        after.append(env.get_state())
    size = simulator.physics.size
    assert np.array_equal(found.state[0, 1:, :size], np.stack(after)[:, :size]) and found.valid.all()
    assert np.array_equal(found.reward[0, :5], seen[:5]) and not np.allclose(found.reward[0, 5:], seen[5:])
    assert np.array_equal(simulator.observe(after[-1][None])[0], obs)
    assert (goals == goals[0]).all() and not np.allclose(env._own, goals[0])


def test_a_goal_is_part_of_a_state_that_is_put_back():
    env, goals, _ = driven(EVERY + 3)
    other = find_env("HandReorient", {}).make()
    other.reset(seed=8, options={"state": env.get_state()})
    assert np.array_equal(other._own, goals[-1])
    assert other.step(np.zeros(A))[1] == env.step(np.zeros(A))[1]
