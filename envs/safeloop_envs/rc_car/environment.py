"""The RC car as a gymnasium environment."""

from __future__ import annotations

import math
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Box

from safeloop_envs.actions import ActionRange
from safeloop_envs.rc_car.drawing import draw
from safeloop_envs.rc_car.task import SCALES, Task
from safeloop_envs.rc_car.vehicle import TIME_STEP, Vehicle, advance, sideslip

EPISODE_STEPS = 100
WHEEL_SPEED = 10.0
"""The rear wheels' speed at full throttle, m/s."""
STEERING = math.pi / 6
"""The steering angle at full lock, rad."""
DRIFTING = math.radians(20)
"""Sideslip angle above which a car drifts, rad."""


class RCCar(gymnasium.Env[np.ndarray, np.ndarray]):
    """An RC car that follows a circle or a line at a desired speed; 0.035 s per step, 100 steps per episode.

    Action: float32 [2] in [-1, 1], throttle (wheel speed from 0 to 10 m/s) and steering (-30 to 30 degrees,
    positive to the left). Observation: float32 [6], see `Task.observation`. Reward: `Task.reward`. Cost: 1 for
    each step that ends beyond the limit. Episodes end by truncation only.

    `info` carries `cost`, `violations`, `simulator_steps`; `state` (x, y, yaw, v_x, v_y, yaw rate), `sideslip`
    (rad) and, for the run's record, `diagnostics["drifting"]`: 1 where |sideslip| is over 20 degrees.
    """

    def __init__(self, render_mode: str | None = None, **task: Any) -> None:
        self.task = Task(**task)
        self._vehicle = Vehicle(  # floats: the integrator would be compiled again for a whole number
            friction=float(self.task.friction),
            sliding_friction=float(self.task.sliding_friction),
            brush=self.task.tyres == "brush",
        ).scaled(*(float(getattr(self.task, name)) for name in SCALES))
        self._actions = ActionRange(np.array([[0.0, WHEEL_SPEED], [-STEERING, STEERING]]))
        self.action_space = self._actions.space
        self.observation_space = Box(-np.inf, np.inf, (6,), np.float32)
        self.render_mode = render_mode
        self.metadata = {
            "render_modes": ["rgb_array"], "render_fps": round(1 / TIME_STEP), "decision_seconds": TIME_STEP,
        }  # fmt: skip
        self._state = np.zeros((1, 6))
        self._steps, self._trail = EPISODE_STEPS, [self._state[0]]

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start an episode at random, or at `options={"state": [x, y, yaw, v_x, v_y, yaw_rate]}`.

        Raises `ValueError` for a state of another shape, NaN or infinity.
        """
        super().reset(seed=seed)
        start = self.task.starts(1, torch.Generator().manual_seed(int(self.np_random.integers(2**62))))
        if options is not None and "state" in options:
            start = torch.as_tensor(options["state"], dtype=torch.float64).reshape(1, -1)
            if start.shape != (1, 6) or not bool(start.isfinite().all()):
                raise ValueError(
                    f"state={options['state']}: expected six finite numbers, x, y, yaw, v_x, v_y, yaw_rate"
                )
        self._state, self._steps = start.numpy().copy(), 0
        self._trail = [self._state[0]]
        return self._observe(), {"state": self._state[0].copy()}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Take one decision, action [2]. Raises `ValueError` for a non-finite action or a wrong shape."""
        if self._steps >= EPISODE_STEPS:
            raise RuntimeError("no episode is under way: call reset() before step()")
        self._state = advance(self._state, self._actions.control(action)[None], self._vehicle)
        self._steps += 1
        self._trail.append(self._state[0])
        exact = self.task.observe(torch.from_numpy(self._state[0]))
        reward = float(self.task.reward(exact, exact, exact))
        cost = float(self.task.depth(exact, exact, exact) > 0)
        slip = sideslip(self._state[0, 3], self._state[0, 4])
        info = {
            "cost": cost,
            "violations": int(cost),
            "simulator_steps": 1,
            "state": self._state[0].copy(),
            "sideslip": slip,
            "diagnostics": {"drifting": float(abs(slip) > DRIFTING)},
        }
        return self._observe(), reward, False, self._steps >= EPISODE_STEPS, info

    def _observe(self) -> np.ndarray:
        return self.task.observe(torch.from_numpy(self._state[0])).numpy().astype(np.float32)

    def render(self) -> np.ndarray | None:  # type: ignore[override]
        """Return a frame, uint8 [480, 560, 3]; None without `render_mode="rgb_array"`."""
        return draw(self.task, np.array(self._trail)) if self.render_mode == "rgb_array" else None
