"""Gymnasium's environments with the observation, the reward and the length of the papers' programs."""

from __future__ import annotations

import importlib.util
from typing import Any
from unittest import mock

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Box

from safeloop.cmdp import Known
from safeloop.errors import UsageError
from safeloop_envs.actions import ActionRange
from safeloop_envs.mujoco_task import CAMERA, simulation
from safeloop_envs.rendering import add_marker, choose_backend
from safeloop_envs.shim import bare

STOCK = {
    "PetsCheetah": "HalfCheetah-v4", "PoplinSwimmer": "Swimmer-v4", "PoplinInvertedPendulum": "InvertedPendulum-v4",
    "PoplinPendulum": "Pendulum-v1", "PoplinCartpole": "CartPole-v1", "PoplinAcrobot": "Acrobot-v1",
}  # fmt: skip
CHOICES = {"PoplinCartpole": [0.0], "PoplinAcrobot": [-0.33, 0.33]}
"""The actions at which the choice of a stock environment with discrete actions changes to the next one."""
HEAD = 1.5
"""Distance of the swimmer's head from the place of its root, m."""


class Restated(gymnasium.Env[np.ndarray, np.ndarray]):
    """A stock environment with another reward, one of the observation. Episodes end by truncation alone.

    Observation: float32 [S], the stock environment's. Action: float32 [A] in [-1, 1], clipped beyond, mapped linearly
    to the stock environment's bounds, or to one of its choices.
    """

    def __init__(self, stock: Any, reward: Known, episode_steps: int, choices: list[float] | None):
        self._stock, self._reward, self._episode_steps, self._choices = stock, reward, episode_steps, choices
        bounds = (
            np.tile([-1.0, 1.0], (1, 1)) if choices else np.stack([stock.action_space.low, stock.action_space.high], 1)
        )
        self._actions, self._steps = ActionRange(bounds), episode_steps
        self.action_space = self._actions.space
        self.render_mode, self.metadata = stock.render_mode, stock.metadata
        self.reset(seed=0)
        self.observation_space = Box(-np.inf, np.inf, self._seen.shape, np.float32)
        self._steps = episode_steps

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start an episode at random: observation [S] float32 and an empty info."""
        super().reset(seed=seed)
        obs, _ = self._stock.reset(seed=seed)
        self._seen, self._steps = self._begin(obs).astype(np.float32), 0
        return self._seen, {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Take one decision, action [A]. Raises `ValueError` for a non-finite action or a wrong shape."""
        if self._steps >= self._episode_steps:
            raise RuntimeError("no episode is under way: call reset() before step()")
        control: Any = self._actions.control(action)
        if self._choices:
            control = int(np.searchsorted(self._choices, control[0]))
            self._stock.steps_beyond_terminated = None  # the cart-pole's; it warns of steps after a fall
        before, self._seen = self._seen, self._advance(control).astype(np.float32)
        self._steps += 1
        act = np.clip(action, -1, 1).astype(np.float32)
        reward = self._reward(*(torch.from_numpy(x) for x in (before, act, self._seen))).item()
        return self._seen, reward, False, self._steps >= self._episode_steps, {"simulator_steps": 1}

    def _begin(self, obs: np.ndarray) -> np.ndarray:
        """Return the first observation, given the stock environment's."""
        return obs

    def _advance(self, control: Any) -> np.ndarray:
        """Take a step of the stock environment, and return the observation after it."""
        return self._stock.step(control)[0]

    def render(self) -> np.ndarray | None:  # type: ignore[override]
        """Return a frame, uint8 [., ., 3]; None without `render_mode="rgb_array"`."""
        if self.render_mode != "rgb_array":
            return None
        if hasattr(self._stock, "mujoco_renderer"):
            viewer = self._stock.mujoco_renderer._get_viewer(self.render_mode)
            viewer._add_marker_to_scene = lambda marker: add_marker(viewer.scn, marker)
        return self._stock.render()

    def close(self) -> None:
        """Free the renderer."""
        self._stock.close()


class Cheetah(Restated):
    """PETS's cheetah: speed along x, then all positions but x, then the velocities, 18 numbers."""

    def _begin(self, obs: np.ndarray) -> np.ndarray:
        """Set the cheetah at rest, with little noise."""
        e = self._stock
        qpos, qvel = (x + self.np_random.normal(0, 0.001, x.shape) for x in (e.init_qpos, e.init_qvel))
        e.set_state(qpos, qvel)
        return np.concatenate(([0.0], e._get_obs()))

    def _advance(self, control: Any) -> np.ndarray:
        before = self._stock.data.qpos[0]
        obs = super()._advance(control)
        return np.concatenate(([(self._stock.data.qpos[0] - before) / self._stock.dt], obs))


class Swimmer(Restated):
    """The swimmer with its speed measured at the head: the stock observation, then that speed, 9 numbers."""

    def _begin(self, obs: np.ndarray) -> np.ndarray:
        return np.concatenate((obs, [0.0]))

    def _advance(self, control: Any) -> np.ndarray:
        before = self._head()
        obs = super()._advance(control)
        return np.concatenate((obs, [(self._head() - before) / self._stock.dt]))

    def _head(self) -> float:
        x, _, angle = self._stock.data.qpos[:3]
        return x + HEAD * np.cos(angle)


def restated(name: str, reward: Known, episode_steps: int, render_mode: str | None = None) -> Restated:
    """Make a task. Raises `UsageError` for an unknown render mode, and where its drawing needs pygame."""
    if render_mode not in (None, "rgb_array"):
        raise UsageError(f"render_mode must be None or 'rgb_array', got {render_mode!r}")
    kind = {"PetsCheetah": Cheetah, "PoplinSwimmer": Swimmer}.get(name, Restated)
    if kind is Restated and name != "PoplinInvertedPendulum":
        if render_mode and importlib.util.find_spec("pygame") is None:
            raise UsageError(f"pictures of {name} are drawn by pygame: `pip install pygame` in this environment")
        stock = bare(STOCK[name], render_mode=render_mode)
    else:
        from gymnasium.envs.mujoco.swimmer_v4 import SwimmerEnv

        if render_mode:
            choose_backend()
        with mock.patch.object(SwimmerEnv, "_initialize_simulation", simulation):
            stock = bare(STOCK[name], render_mode=render_mode, camera_name=CAMERA)
    return kind(stock, reward, episode_steps, CHOICES.get(name))
