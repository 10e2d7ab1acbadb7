"""Environments over MuJoCo whose reward and observation are functions of full states, so that all can be simulated."""

from __future__ import annotations

from typing import Any, Protocol

import gymnasium
import mujoco
import numpy as np
from gymnasium.spaces import Box

from safeloop_envs import physics
from safeloop_envs.actions import ActionRange
from safeloop_envs.physics import Path
from safeloop_envs.rendering import choose_backend, offscreen_viewer

FRAME = 480
"""Width and height of a frame, pixels."""


class Playable(physics.Task, Protocol):
    """A task that an environment can be made of."""

    episode_steps: int
    """Decisions of an episode."""

    def start(self, data: mujoco.MjData, random: np.random.Generator) -> np.ndarray:
        """Set the first positions and velocities in `data`, and return the task's own numbers."""
        ...

    def advance(self, own: np.ndarray, steps: int, random: np.random.Generator) -> np.ndarray:
        """Return the task's own numbers after a decision, the `steps`-th of the episode."""
        ...

    def camera(self) -> mujoco.MjvCamera:
        """Return the camera of frames."""
        ...


class PhysicsEnv(gymnasium.Env[np.ndarray, np.ndarray]):
    """An environment of a task: its results are those that the task's simulator has for the same state and action.

    Observation: float32 [S]. Action: float32 [A] in [-1, 1]. An episode is truncated after the task's number of
    decisions. `reset(options={"state": state})` starts from a full state `[F]`, as `get_state` returns it.
    """

    def __init__(self, task: Playable, render_mode: str | None = None) -> None:
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f"render_mode must be None or 'rgb_array', got {render_mode!r}")
        if render_mode:
            choose_backend()
        self.task, self.render_mode = task, render_mode
        self.model, self.data = task.model, mujoco.MjData(task.model)
        self._viewer: Any = None
        self._actions = ActionRange(np.tile([-1.0, 1.0], (self.model.nu, 1)))
        self.action_space = self._actions.space
        self._steps = task.episode_steps
        self._own = task.start(self.data, np.random.default_rng(0))
        physics.forward(self.model, self.data)
        self.observation_space = Box(-np.inf, np.inf, self._observe().shape, np.float32)
        seconds = self.model.opt.timestep * task.substeps
        self.metadata = {
            "render_modes": ["rgb_array"], "render_fps": max(1, round(1 / seconds)), "decision_seconds": seconds,
        }  # fmt: skip

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start an episode at random, or at `options={"state": state}`. Raises `ValueError` for an invalid state."""
        super().reset(seed=seed)
        mujoco.mj_resetData(self.model, self.data)
        self._own = self.task.start(self.data, self.np_random)
        physics.forward(self.model, self.data)
        if options is not None and "state" in options:
            self.set_state(options["state"])
        self._steps = 0
        return self._observe(), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Take one decision, action [A]. Raises `ValueError` for a non-finite action or a wrong shape."""
        if self._steps >= self.task.episode_steps:
            raise RuntimeError("no episode is under way: call reset() before step()")
        act = self._actions.control(action)
        self.data.ctrl[:] = self._control(act)
        path = [self._moment()]
        for _ in range(self.task.substeps):
            mujoco.mj_step(self.model, self.data)
            path.append(self._moment())
        physics.forward(self.model, self.data)
        path[-1] = self._moment()  # now its sensors are of this state
        whole = Path(*(np.stack(x)[None] for x in zip(*path, strict=True)))
        found = self.task.judge(whole, act[None, None], self._own[None])
        self._steps += 1
        self._own = self.task.advance(self._own, self._steps, self.np_random)
        over = self._steps >= self.task.episode_steps
        info = {"simulator_steps": 1, **self._more(over)}
        if found.cost is not None:
            info["cost"] = float(found.cost[0, 0])
        if found.event is not None:
            info["event"] = bool(found.event[0, 0])
        ended = found.terminated is not None and bool(found.terminated[0, 0])
        return self._observe(), float(found.reward[0, 0]), ended, over, info

    def _control(self, act: np.ndarray) -> np.ndarray:
        """Return the control `[U]` of an action `[A]` in the present state."""
        return self.task.control(act)

    def _more(self, over: bool) -> dict[str, Any]:
        """Return more of a decision's info, such as diagnostics; `over` at an episode's end."""
        return {}

    def _moment(self) -> Path:
        d = self.data
        return Path(physics.get_state(self.model, d), d.qpos.copy(), d.qvel.copy(), d.sensordata.copy(), np.array(True))

    def _observe(self) -> np.ndarray:
        now = Path(*(x[None, None] for x in self._moment()))
        return self.task.observe(now, self._own[None])[0, 0].astype(np.float32)

    def get_state(self) -> np.ndarray:
        """Return the full state `[F]`, float64: the physics', and the task's own numbers."""
        return np.concatenate((physics.get_state(self.model, self.data), self._own))

    def set_state(self, state: np.ndarray) -> None:
        """Continue from a full state `[F]`. Raises `ValueError` for another size or a number that is not finite."""
        given = physics.checked(state, len(self.get_state()))
        size = len(given) - len(self._own)
        physics.set_state(self.model, self.data, given[:size])
        self._own = given[size:]

    def render(self) -> np.ndarray | None:  # type: ignore[override]
        """Return a frame, uint8 [480, 480, 3]; None without `render_mode="rgb_array"`."""
        if self.render_mode != "rgb_array":
            return None
        if self._viewer is None:
            self._viewer = offscreen_viewer(self.model, self.data, FRAME)
            self._viewer.cam = self.task.camera()
        return self._viewer.render("rgb_array")

    def close(self) -> None:
        """Free the renderer."""
        if self._viewer is not None:
            self._viewer.free()
            self._viewer = None
