"""Frames without a display."""

from __future__ import annotations

import numpy as np
import pytest

from safeloop.errors import UsageError
from safeloop_envs import locomotion, safety_gymnasium
from safeloop_envs.rendering import choose_backend


@pytest.mark.parametrize(("name", "size"), [("PointGoal1", 256), ("HopperVelocity", 480)])
def test_frames_are_images_that_change_as_the_robot_moves(name: str, size: int) -> None:
    env = safety_gymnasium.spec(name).make(render_mode="rgb_array")
    env.reset(seed=0)
    first = env.render()
    for _ in range(5):
        env.step(np.ones(env.action_space.shape))
    second = env.render()
    env.close()
    assert first.dtype == np.uint8
    assert first.shape == second.shape == (size, size, 3)
    assert first.std() > 5
    assert not np.array_equal(first, second)


def test_rendering_does_not_change_the_episode() -> None:
    plain = safety_gymnasium.spec("PointGoal1").make()
    rendered = safety_gymnasium.spec("PointGoal1").make(render_mode="rgb_array")
    plain.reset(seed=0)
    rendered.reset(seed=0)
    for _ in range(5):
        rendered.render()
        np.testing.assert_array_equal(plain.step(np.ones(2))[0], rendered.step(np.ones(2))[0])
    rendered.close()


@pytest.mark.parametrize(("family", "name"), [(locomotion, "HalfCheetah"), (safety_gymnasium, "HalfCheetahVelocity")])
def test_the_camera_follows_a_robot_that_runs_away(family, name: str) -> None:
    env = family.spec(name).make(render_mode="rgb_array")
    env.reset(seed=0)
    for metres in (0.0, 40.0):
        env._stock.data.qpos[0] = metres
        env.step(np.zeros(6))
        red, _, blue = np.moveaxis(env.render().astype(int), -1, 0)
        assert np.sum(red - blue > 40) > 2000  # the robot is brown, all else grey or green
    env.close()


def test_a_new_episode_is_rendered_anew() -> None:
    env = safety_gymnasium.spec("PointGoal1").make(render_mode="rgb_array")
    frames = []
    for seed in (0, 1, 0):
        env.reset(seed=seed)
        frames.append(env.render())
    env.close()
    assert not np.array_equal(frames[0], frames[1])
    np.testing.assert_array_equal(frames[0], frames[2])


def test_without_a_render_mode_there_is_no_frame() -> None:
    env = safety_gymnasium.spec("PointGoal0").make()
    env.reset(seed=0)
    assert env.render() is None


def test_unknown_render_mode_names_the_valid_ones() -> None:
    with pytest.raises(UsageError, match="must be None or 'rgb_array'"):
        safety_gymnasium.spec("PointGoal0").make(render_mode="human")


def test_backend_is_chosen_only_without_a_display(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    choose_backend()
    assert "MUJOCO_GL" not in os.environ
    monkeypatch.delenv("DISPLAY")
    choose_backend()
    assert os.environ["MUJOCO_GL"] == "egl"
    monkeypatch.setenv("MUJOCO_GL", "osmesa")
    choose_backend()
    assert os.environ["MUJOCO_GL"] == "osmesa"
