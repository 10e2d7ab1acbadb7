"""The tasks of PETS and POPLIN: their published rewards on random transitions, and what differs from Gymnasium's."""

import warnings

import mujoco
import numpy as np
import pytest

from safeloop.errors import UsageError
from safeloop.registry import find_env
from safeloop_envs.pets_arms import ELBOW, WRIST, reacher_model
from safeloop_envs.poplin import TASKS

N = 40


def driven(name, seed=3, steps=N):
    """Random transitions `[steps, .]` of an episode, and its environment at their end."""
    env, random = find_env(name, {}).make(), np.random.default_rng(seed)
    obs, _ = env.reset(seed=seed)
    rows = []
    for _ in range(steps):
        act = random.uniform(-1, 1, env.action_space.shape)
        after, reward, *_ = env.step(act)
        rows.append((obs, act, reward, after))
        obs = after
    return (*(np.array(x, float) for x in zip(*rows, strict=True)), env)


PUBLISHED = {
    "PetsCheetah": lambda s, a, n: n[0] - 0.1 * np.square(a).sum(),
    "PetsReacher3D": lambda s, a, n: -np.square(n[-3:] - n[7:10]).sum() - 0.01 * np.square(20 * a).sum(),
    "PetsPusher": lambda s, a, n: (
        -0.5 * np.abs(s[14:17] - s[17:20]).sum() - 1.25 * np.abs(s[20:] - s[17:20]).sum() - 0.1 * np.square(2 * a).sum()
    ),
    "PoplinSwimmer": lambda s, a, n: s[-1] - 0.0001 * np.square(a).sum(),
    "PoplinPendulum": lambda s, a, n: -(s[0] + 0.1 * abs(s[1]) + 0.1 * s[2] ** 2 + 0.001 * (2 * a[0]) ** 2),
    "PoplinCartpole": lambda s, a, n: np.cos(s[2]) - 0.01 * s[0] ** 2,
    "PoplinAcrobot": lambda s, a, n: -np.cos(np.arctan2(s[1], s[0])) - np.cos(
        np.arctan2(s[1], s[0]) + np.arctan2(s[3], s[2])
    ),
    "PoplinInvertedPendulum": lambda s, a, n: -(s[1] ** 2),
}  # fmt: skip


@pytest.mark.parametrize("name", TASKS)
def test_rewards_are_the_published_ones(name):
    obs, act, reward, after, _ = driven(name)
    wanted = [PUBLISHED[name](*row) for row in zip(obs, act, after, strict=True)]
    assert np.allclose(reward, wanted, atol=1e-5) and np.ptp(reward) > 1e-3


@pytest.mark.parametrize("name", TASKS)
def test_episodes_end_by_their_length_alone_and_silently(name):
    env = find_env(name, {}).make()
    env.reset(seed=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for i in range(TASKS[name].episode_steps):
            _, _, terminated, truncated, _ = env.step(np.full(env.action_space.shape, 0.9))
            assert not terminated and truncated == (i == TASKS[name].episode_steps - 1)
    with pytest.raises(RuntimeError, match="reset"):
        env.step(np.zeros(env.action_space.shape))


def rotation(axis, angle):
    """The matrix of a rotation about the x-, y- or z-axis."""
    c, s = np.cos(angle), np.sin(angle)
    i, j = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    found = np.eye(3)
    found[i, i] = found[j, j] = c
    found[i, j], found[j, i] = -s, s
    return found


def test_the_place_of_the_fingers_follows_from_the_angles():
    model = reacher_model()
    data, random = mujoco.MjData(model), np.random.default_rng(0)
    for _ in range(5):
        angles = random.uniform(-1, 1, 7)
        data.qpos[:7], data.qpos[7:] = angles, (0.3, 0.1, -0.2)
        mujoco.mj_forward(model, data)
        place, turned = np.array([0, -0.188, 0]), np.eye(3)
        links = zip("zyxyxyx", angles, [(0.1, 0, 0), (0, 0, 0), ELBOW, (0, 0, 0), WRIST, (0, 0, 0), (0.16828, 0, 0)],
                    strict=True)  # fmt: skip
        for axis, angle, length in links:
            turned = turned @ rotation(axis, angle)
            place = place + turned @ length
        assert np.allclose(data.sensordata, place)
        assert np.allclose(data.body("target").xpos, (0.3, 0.1, -0.2))  # its joints are its place


def test_the_cheetah_shows_its_speed_over_the_decision():
    obs, _, _, after, env = driven("PetsCheetah")
    assert obs[0, 0] == 0 and np.abs(obs[0, 1:]).max() < 0.01
    assert env._stock.data.qpos[0] == pytest.approx(0.05 * after[:, 0].sum(), abs=0.01)
    assert np.allclose(after[-1, 1:], env._stock._get_obs(), atol=1e-5)


def test_the_swimmer_shows_the_speed_of_its_head():
    env = find_env("PoplinSwimmer", {}).make()
    env.reset(seed=3)
    data, random = env._stock.data, np.random.default_rng(3)

    def head():
        mujoco.mj_kinematics(env._stock.model, data)
        return (data.body("torso").xpos + data.body("torso").xmat.reshape(3, 3) @ (1.5, 0, 0))[0]

    for _ in range(N):
        before, root = head(), data.qpos[0]
        obs, *_ = env.step(random.uniform(-1, 1, 2))
        assert obs[-1] == pytest.approx((head() - before) / 0.04, abs=1e-5)
    assert abs(obs[-1] - (data.qpos[0] - root) / 0.04) > 0.1  # the stock speed is another


@pytest.mark.parametrize(
    ("name", "act", "choice"),
    [("PoplinCartpole", 0.0, 0), ("PoplinCartpole", 0.01, 1), ("PoplinAcrobot", -0.34, 0), ("PoplinAcrobot", 0.0, 1),
     ("PoplinAcrobot", 0.34, 2)],
)  # fmt: skip
def test_actions_choose_among_discrete_ones(name, act, choice, monkeypatch):
    env, chosen = find_env(name, {}).make(), []
    env.reset(seed=0)
    step = env._stock.step
    monkeypatch.setattr(env._stock, "step", lambda action: (chosen.append(action), step(action))[1])
    env.step(np.array([act]))
    assert chosen == [choice]


def test_the_object_and_the_arm_begin_where_the_program_puts_them():
    starts = np.array([find_env("PetsPusher", {}).make().reset(seed=seed)[0] for seed in range(20)])
    assert np.abs(starts[:, 17:19] - (0.6, -0.3)).max() < 0.1 and starts[:, 17].std() > 0.01
    assert np.ptp(starts[:, 20:], 0).max() < 1e-6 and np.abs(starts[:, 7:14]).max() <= 0.005
    targets = np.array([find_env("PetsReacher3D", {}).make().reset(seed=seed)[0][7:10] for seed in range(20)])
    assert np.abs(targets.mean(0) - (0, 0.25, 0)).max() < 0.1 and (targets.std(0) > 0.05).all()


@pytest.mark.parametrize("name", ["PetsReacher3D", "PetsCheetah", "PoplinInvertedPendulum"])
def test_frames_are_drawn(name):
    env = find_env(name, {}).make(render_mode="rgb_array")
    env.reset(seed=0)
    frame = env.render()
    assert frame.shape == (480, 480, 3) and frame.std() > 5
    env.close()


def test_bad_input_is_refused_in_one_line(monkeypatch):
    with pytest.raises(UsageError, match="no options, got action_repeat"):
        find_env("PetsCheetah", {"action_repeat": 2})
    with pytest.raises(UsageError, match="render_mode must be"):
        find_env("PoplinPendulum", {}).make(render_mode="human")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match="pip install pygame"):
        find_env("PoplinPendulum", {}).make(render_mode="rgb_array")
