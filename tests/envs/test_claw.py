"""The claw that turns a valve: its limits and rewards by hand, its episodes, and its simulator."""

from importlib.util import find_spec

import numpy as np
import pytest
import torch

from safeloop.errors import UsageError
from safeloop.registry import find_env
from safeloop_envs.claw import ClawSimulator
from safeloop_envs.physics import Path

A, S = 9, 21
pytestmark = pytest.mark.skipif(find_spec("robel") is None, reason="robel, which has Claw's model files, is missing")


@pytest.fixture(scope="module")
def env():
    return find_env("Claw", {}).make()


@pytest.fixture(scope="module")
def task(env):
    return env.task


def driven(env, decisions, seed):
    """The full states `[decisions + 1, F]`, actions, rewards and observations of an episode's first decisions."""
    random, (obs, _) = np.random.default_rng(seed), env.reset(seed=seed)
    states, actions, rewards, seen, action = [env.get_state()], [], [], [obs], np.zeros(A)
    for _ in range(decisions):
        action = 0.7 * action + 0.8 * random.normal(size=A)
        obs, reward, *_ = env.step(action)
        actions.append(action)
        states.append(env.get_state())
        rewards.append(reward)
        seen.append(obs)
    return np.stack(states), np.stack(actions), np.array(rewards), np.stack(seen)


def test_actions_are_scaled_to_the_actuators_and_limited_by_speed_and_angle(task):
    act = np.array([1, 1, -1, 0.5, -0.5, 0.2, -1, 0, 1])
    desired = task.control(act)
    assert np.allclose(desired, [0.48, 1.57, -1.57, 0.24, -0.785, 0.314, -0.48, 0, 1.57])
    angles = np.array([0, -1, 1.35, 0.3, -0.8, 1, 0.6, -0.45, 1.9])
    # 5 rad/s reach 0.5 rad in the 0.1 s of a decision
    wanted = [0.48, -0.5, 0.85, 0.24, -0.785, 0.5, 0.1, 0, 1.57]
    assert np.allclose(task.limited(desired, angles), wanted)
    assert np.allclose(task.limited(np.full(2, 1.57), np.array([2.4, -2.4])), [np.pi / 2, -np.pi / 2])


def test_a_decision_asks_for_the_limited_angles(env):
    env.reset(seed=0)
    env.step(np.tile([0.5, 1, -1], 3))
    assert np.allclose(env.data.ctrl, np.tile([0.24, -0.5, 0.85], 3))
    here = env.data.qpos[:9].copy()
    env.step(np.full(A, 9.0))  # as if it were 1
    assert np.allclose(env.data.ctrl, np.minimum(np.tile([0.48, 1.57, 1.57], 3), here + 0.5))
    assert env.data.time == pytest.approx(0.2)


def reward(task, angle, goal):
    qpos = np.full((2, 1 + 2 * task.substeps, 10), np.nan)
    qpos[:, task.substeps :: task.substeps, 9] = angle
    found = task.judge(Path(qpos, qpos, qpos, qpos, np.ones(2, bool)), np.zeros((2, 2, A)), np.full((2, 1), goal))
    assert found.reward.shape == (2, 2) and found.cost is found.terminated is None
    assert (found.reward == found.reward[0, 0]).all()
    return found.reward[0, 0]


@pytest.mark.parametrize("kind, small, both", [("published", 1, 11), ("program", 2, 20)])
def test_the_reward_is_the_distance_with_bonuses_near_the_goal(task, monkeypatch, kind, small, both):
    monkeypatch.setattr(task, "kind", kind)
    for way in (1, -1):
        assert reward(task, way * 0.5, way * 2.0) == pytest.approx(-15)
        assert reward(task, 2.0 + way * 0.2501, 2.0) == pytest.approx(-2.501)
        assert reward(task, 2.0 + way * 0.2499, 2.0) == pytest.approx(-2.499 + small)
        assert reward(task, 2.0 + way * 0.1001, 2.0) == pytest.approx(-1.001 + small)
        assert reward(task, 2.0 + way * 0.0999, 2.0) == pytest.approx(-0.999 + both)
        assert reward(task, way * 3.0, way * -3.0) == pytest.approx(-10 * (2 * np.pi - 6))  # across the half turn
    assert reward(task, 0.0, 0.25) == pytest.approx(-2.5) and reward(task, 0.0, 0.1) == pytest.approx(-1 + small)
    assert reward(task, 2.0 - 2 * np.pi, 2.0) == pytest.approx(both)  # the valve's joint turns once either way


@pytest.mark.parametrize("kind", ["published", "program"])
def test_the_known_reward_is_that_of_the_next_observation(kind):
    spec = find_env("Claw", {"reward": kind})
    env = spec.make()
    *_, rewards, seen = driven(env, 6, seed=2)
    obs = torch.as_tensor(seen)
    assert torch.allclose(spec.reward(obs[:-1], None, obs[1:]), torch.as_tensor(rewards).float(), atol=1e-4)
    near = torch.zeros(2, 1, S)
    near[..., 18], near[..., 20] = torch.tensor([[-3.1], [-3.0]]), 3.1
    bonus = {"published": 11, "program": 20}[kind], {"published": 1, "program": 2}[kind]
    away = 2 * np.pi - 6.2, 2 * np.pi - 6.1
    wanted = [[-10 * angle + extra] for angle, extra in zip(away, bonus, strict=True)]
    assert torch.allclose(spec.reward(torch.full_like(near, 9), None, near), torch.tensor(wanted), atol=1e-4)


def test_the_observation_is_joints_valve_and_goal(env):
    env.reset(seed=1)
    for _ in range(3):
        obs, *_ = env.step(np.linspace(-1, 1, A))
    d = env.data
    assert [env.model.joint(i).name for i in (0, 3, 8, 9)] == ["FFJ10", "MFJ20", "THJ32", "valve_OBJRx"]
    assert env.observation_space.shape == obs.shape == (S,) and env.action_space.shape == (A,)
    wanted = np.concatenate((d.qpos[:9], d.qvel[:9], d.qpos[9:], d.qvel[9:], env._own))
    assert np.array_equal(obs, wanted.astype(np.float32)) and np.abs(obs).min() > 0


def test_it_begins_with_bent_fingers_and_a_goal_on_the_other_side_of_a_quarter_turn(env):
    starts = np.stack([env.reset(seed=seed)[0] for seed in range(200)])
    assert np.allclose(starts[:, :9], np.tile([0, -1, 1.35], 3)) and (starts[:, 9:18] == 0).all()
    valve, goal = starts[:, 18], starts[:, 20]
    assert np.abs(valve).max() <= np.pi / 4 and valve.min() < -0.7 and valve.max() > 0.7 and (starts[:, 19] == 0).all()
    assert np.abs(goal).min() >= np.pi / 2 and 3.1 < np.abs(goal).max() <= np.pi and 60 < (goal > 0).sum() < 140
    assert np.abs(goal).min() < 1.62 and np.abs(np.corrcoef(valve, goal)[0, 1]) < 0.3


def test_an_episode_has_40_decisions_and_its_seed_decides_it(env):
    first, again, other = (driven(env, 40, seed) for seed in (3, 3, 4))
    assert all(np.array_equal(one, two) for one, two in zip(first, again, strict=True))
    assert not np.allclose(first[2], other[2]) and (first[3][:, 20] == first[3][0, 20]).all()
    env.reset(seed=3)
    for i in range(40):
        *_, terminated, truncated, info = env.step(first[1][i])
        assert truncated == (i == 39) and not terminated and info == {"simulator_steps": 1}
    with pytest.raises(RuntimeError, match="reset"):
        env.step(np.zeros(A))


def test_a_simulator_repeats_an_episode_bit_for_bit(env):
    drives = [driven(env, 30, seed) for seed in (5, 6, 7)]
    actions = np.stack([d[1] for d in drives])
    for first in (0, 12):
        starts = np.stack([d[0][first] for d in drives])
        for threads in (1, 2):
            simulator = find_env("Claw", {}).simulator(threads)
            found = simulator.rollout(starts, actions[:, first:])
            size = simulator.physics.size
            for row, (states, _, rewards, seen) in enumerate(drives):
                assert np.array_equal(found.state[row, :, :size], states[first:, :size])
                assert np.array_equal(found.state[row, :, -1], states[first:, -1])
                assert np.array_equal(found.reward[row], rewards[first:])
                assert np.array_equal(simulator.observe(found.state[row]), seen[first:])
            assert found.valid.all() and (found.cost == 0).all() and found.terminated is found.event is None
    assert max(np.ptp(seen[:, 18]) for *_, seen in drives) > 0.2  # a finger has turned the valve


def test_a_rollout_that_diverges_is_not_valid(task):
    simulator = ClawSimulator(task)
    states = np.zeros((2, simulator.own + 1))
    states[1, 11] = 1e9  # a joint's velocity
    assert simulator.rollout(states, np.zeros((2, 3, A))).valid.tolist() == [True, False]


def test_the_second_claw_of_the_file_is_left_out(task):
    assert task.model.nq == task.model.nv == 10 and task.model.nu == A


def test_options_that_can_not_be_are_refused():
    assert find_env("Claw", {}).options == {"reward": "published"}
    with pytest.raises(UsageError, match="reward=sparse: expected one of published, program"):
        find_env("Claw", {"reward": "sparse"})
    with pytest.raises(UsageError, match="Claw has no setting 'action_repeat'; nearest: reward"):
        find_env("Claw", {"action_repeat": 2})


def test_without_robel_the_command_is_said(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    command = r"-m pip install uv==[\d.]+ && .* -m uv pip install .*--no-deps robel==0\.1\.2"
    with pytest.raises(UsageError, match=command):
        find_env("Claw", {}).make()


def test_frames_show_claw_valve_and_goal():
    env = find_env("Claw", {}).make(render_mode="rgb_array")
    env.reset(seed=0)
    before = np.array(env.render())
    env._own = env._own - np.sign(env._own) * np.pi / 2
    moved = np.array(env.render())
    for _ in range(5):
        env.step(np.ones(A))
    after = np.array(env.render())
    env.close()
    assert before.shape == (480, 480, 3) and before.dtype == np.uint8 and before.std() > 10
    green = [np.argwhere((f[..., 1] > 120) & (f[..., 0] < 80) & (f[..., 2] < 80)) for f in (before, moved)]
    assert min(map(len, green)) > 10 and np.abs(green[0].mean(0) - green[1].mean(0)).max() > 10
    assert (moved != after).any()
    assert find_env("Claw", {}).make().render() is None
