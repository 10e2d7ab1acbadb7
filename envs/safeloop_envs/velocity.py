"""Safety-Gymnasium's velocity tasks: MuJoCo locomotion with a limit on speed."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest import mock

import gymnasium
import mujoco
import numpy as np
from gymnasium.spaces import Box

from safeloop_envs.actions import ActionRange
from safeloop_envs.rendering import add_marker, choose_backend
from safeloop_envs.shim import import_safety_gymnasium


def _swimmer_simulation(env: Any) -> tuple[mujoco.MjModel, mujoco.MjData]:
    """What gymnasium's `MujocoEnv` starts with, for a model file that MuJoCo 3 refuses.

    The Swimmer's file asks for collisions between listed pairs alone, and lists none. MuJoCo 3 no longer
    has that option: contacts are turned off instead, which is what it came to.
    """
    xml = Path(env.fullpath).read_text(encoding="utf-8")
    model = mujoco.MjModel.from_xml_string(xml.replace('collision="predefined"', ""))
    model.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_CONTACT
    model.vis.global_.offwidth, model.vis.global_.offheight = env.width, env.height
    return model, mujoco.MjData(model)


def _make_stock(full_id: str, render_mode: str | None) -> Any:
    """Safety-Gymnasium's own environment, without wrappers."""
    from gymnasium.envs.mujoco.swimmer_v4 import SwimmerEnv

    safety_gymnasium = import_safety_gymnasium()
    with mock.patch.object(SwimmerEnv, "_initialize_simulation", _swimmer_simulation):
        return safety_gymnasium.make(full_id, disable_env_checker=True, render_mode=render_mode).unwrapped


class VelocityEnv(gymnasium.Env[np.ndarray, np.ndarray]):
    """One of Safety-Gymnasium 1.0.0's velocity tasks, `action_repeat` simulator steps a decision.

    The stock environment does the work: its reset and step are fast already. Observation: the task's own,
    float32 [S]. Action: float32 [A] in [-1, 1], clipped beyond, mapped linearly to the task's own bounds
    (Humanoid's are 0.4). A simulator step costs 1 while the robot is faster than the task's limit. Reward
    and cost are sums over the decision. An episode is truncated after 1,000 simulator steps and terminates
    where the robot falls (Ant, Hopper, Humanoid, Walker2d).
    """

    def __init__(self, full_id: str, action_repeat: int, episode_steps: int, render_mode: str | None = None) -> None:
        if render_mode == "rgb_array":
            choose_backend()
        self._stock = _make_stock(full_id, render_mode)
        bounds = self._stock.action_space
        self._actions = ActionRange(np.stack([bounds.low, bounds.high], axis=1))
        self._repeat, self._episode_steps = action_repeat, episode_steps
        self._steps, self._ended = 0, True
        self.action_space = self._actions.space
        self.observation_space = Box(-np.inf, np.inf, self._stock.observation_space.shape, np.float32)
        self.render_mode = render_mode
        seconds = self._stock.dt * action_repeat
        self.metadata = {"render_modes": ["rgb_array"], "render_fps": max(1, round(1 / seconds))}

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start an episode: observation [S] float32 and an empty info. `options` has no effect."""
        super().reset(seed=seed)
        observation, _ = self._stock.reset(seed=seed)
        self._steps, self._ended = 0, False
        return observation.astype(np.float32), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Take one decision, action [A]. Raises `ValueError` for a non-finite action or a wrong shape."""
        if self._ended:
            raise RuntimeError("no episode is under way: call reset() before step()")
        control = self._actions.control(action)
        total, cost, violations, steps = 0.0, 0.0, 0, 0
        terminated = truncated = False
        while steps < self._repeat and not (terminated or truncated):
            observation, reward, step_cost, terminated, _, _ = self._stock.step(control)
            total += float(reward)
            cost += float(step_cost)
            violations += step_cost > 0
            steps += 1
            self._steps += 1
            truncated = self._steps >= self._episode_steps
        self._ended = terminated or truncated
        info = {"cost": cost, "violations": int(violations), "simulator_steps": steps}
        return observation.astype(np.float32), total, bool(terminated), truncated, info

    def render(self) -> np.ndarray | None:  # type: ignore[override]
        """A frame, uint8 [480, 480, 3]; None without `render_mode="rgb_array"`."""
        if self.render_mode != "rgb_array":
            return None
        viewer = self._stock.mujoco_renderer._get_viewer(self.render_mode)
        viewer._add_marker_to_scene = lambda marker: add_marker(viewer.scn, marker)
        return self._stock.render()

    def close(self) -> None:
        """Free the renderer."""
        self._stock.close()
