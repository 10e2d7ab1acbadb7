"""An RC-car task: its observation, reward, cost and starts, as batched torch functions.

All functions map tensors with any leading dimensions, so that planners can use them as known models; the environment
uses the same functions on one state. Torch is imported only where they make tensors, so describing a task does not wait
for it.

Source of rewards and starts: E. Ahn's `aa_simulation` (see `safeloop_envs.rc_car.vehicle`), whose tasks these
are: `-|offset| - 0.25 (speed - desired)^2 - 0.25 max(0, |heading| - pi/2)^2`, the last term against driving
the wrong way. The line has the same reward; there the source leaves the last term out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from safeloop.settings import check_range
from safeloop_envs.options import LEAST_SCALE, MOST_SCALE

if TYPE_CHECKING:
    import torch
    from torch import Tensor

OBSERVATIONS = ("pose", "body", "path")
SPEED_WEIGHT = HEADING_WEIGHT = 0.25
OFFSET, TURN, DRIFT, SPIN = 0.25, math.pi / 3, 0.6, 2.0
"""Half widths of the starts: m from the path, rad from its direction, m/s sideways, rad/s."""

SCALES = ("grip", "mass", "stiffness")
"""Options that scale parameters of the vehicle; 1 changes nothing."""
LARGEST = 1000.0
"""Largest length, speed and friction; the car is half a metre long, and single precision is limited."""


class Course(NamedTuple):
    """The place and motion of a car with respect to its path; tensors `[...]`."""

    offset: Tensor
    """Distance from the path, m; positive outside the circle or left of the line."""
    heading: Tensor
    """Angle of the car's nose from the path's direction, rad in [-pi, pi]."""
    speed: Tensor
    """Speed, m/s."""


@dataclass(frozen=True)
class Task:
    """A path to follow at a desired speed, with a limit of the distance from it."""

    path: Literal["circle", "line"] = "circle"
    """A circle about the origin, driven counterclockwise; or the x-axis, driven towards positive x."""
    speed: float = 4.0
    """Desired speed, m/s."""
    radius: float = 1.0
    """Radius of the circle, m."""
    limit: float = 1.2
    """Largest distance allowed, m: from the circle's centre, or from the line."""
    friction: float = 1.37
    """Coefficient of friction of a gripping tyre."""
    sliding_friction: float = 1.96
    """Coefficient of friction of a sliding rear tyre."""
    tyres: Literal["brush", "linear"] = "brush"
    grip: float = 1.0
    """Scale of the friction of all tyres, gripping and sliding."""
    mass: float = 1.0
    """Scale of the car's mass, its moment of inertia and the loads on its axles."""
    stiffness: float = 1.0
    """Scale of the stiffness of all tyres."""
    observation: Literal["pose", "body", "path"] = "pose"
    """Observation of six numbers. `pose`: x, y, yaw and their rates of change in the world's frame (the paper's).
    `body`: x, y, yaw, v_x, v_y, yaw rate, velocities in the car's frame (the source's state). `path`: offset,
    cosine and sine of the heading (see `Course`), v_x, v_y, yaw rate. Yaw is continuous, not wrapped."""

    def __post_init__(self) -> None:
        check_range(self, *SCALES, least=LEAST_SCALE, most=MOST_SCALE)
        for name in ("speed", "radius", "limit", "friction", "sliding_friction"):
            value = getattr(self, name)
            if not (math.isfinite(value) and 0 < value <= LARGEST):
                raise ValueError(f"{name}={value}: expected a number above 0 and at most {LARGEST:g}")
        for name, choices in (
            ("path", ("circle", "line")), ("tyres", ("brush", "linear")), ("observation", OBSERVATIONS),
        ):  # fmt: skip
            if getattr(self, name) not in choices:
                raise ValueError(f"{name}={getattr(self, name)}: expected one of {', '.join(choices)}")
        if self.path == "circle" and self.limit <= self.radius - OFFSET:
            raise ValueError(f"limit={self.limit}: expected more than radius - {OFFSET} = {self.radius - OFFSET:g}")

    def observe(self, state: Tensor) -> Tensor:
        """Return the observation `[..., 6]` of a state `[..., 6]` (see `vehicle`)."""
        import torch

        x, y, yaw, v_x, v_y, rate = state.unbind(-1)
        if self.observation == "body":
            return state
        if self.observation == "pose":
            cos, sin = yaw.cos(), yaw.sin()
            return torch.stack((x, y, yaw, v_x * cos - v_y * sin, v_x * sin + v_y * cos, rate), -1)
        offset, heading = self._offset(x, y), self._heading(x, y, yaw)
        return torch.stack((offset, heading.cos(), heading.sin(), v_x, v_y, rate), -1)

    def course(self, obs: Tensor) -> Course:
        """Return the car's course from an observation `[..., 6]`."""
        speed = obs[..., 3].hypot(obs[..., 4])
        if self.observation == "path":
            return Course(obs[..., 0], obs[..., 2].atan2(obs[..., 1]), speed)
        x, y, yaw = obs[..., 0], obs[..., 1], obs[..., 2]
        return Course(self._offset(x, y), self._heading(x, y, yaw), speed)

    def _offset(self, x: Tensor, y: Tensor) -> Tensor:
        return x.hypot(y) - self.radius if self.path == "circle" else y

    def _heading(self, x: Tensor, y: Tensor, yaw: Tensor) -> Tensor:
        direction = x.atan2(-y) if self.path == "circle" else 0.0
        return (yaw - direction + math.pi).remainder(2 * math.pi) - math.pi

    def reward(self, obs: Tensor, act: Tensor, next_obs: Tensor) -> Tensor:
        """Return the reward of a decision, that of its next state, at most 0. `[..., 6] -> [...]`."""
        course = self.course(next_obs)
        wrong = (course.heading.abs() - math.pi / 2).clamp(min=0)
        missed = (course.speed - self.speed).square()
        return -course.offset.abs() - SPEED_WEIGHT * missed - HEADING_WEIGHT * wrong.square()

    def depth(self, obs: Tensor, act: Tensor, next_obs: Tensor, margin: float = 0.0) -> Tensor:
        """Return how far (m) the next position is beyond the limit moved inwards by `margin`. `[..., 6] -> [...]`.

        The simulator's cost is 1 exactly where this is positive without a margin.
        """
        offset = self.course(next_obs).offset
        beyond = offset + self.radius - self.limit if self.path == "circle" else offset.abs() - self.limit
        return (beyond + margin).clamp(min=0)

    def starts(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw starting states `[count, 6]` float64 from the source's distribution, restricted to inside the limit.

        They are up to 0.25 m from the path and 60 degrees from its direction; v_x is uniform from 0 to twice the
        desired speed (line: 1.3 times), v_y up to 0.6 m/s and the yaw rate up to 2 rad/s either way.
        """
        import torch

        u = torch.rand(count, 5, dtype=torch.float64, generator=generator)
        state = torch.zeros(count, 6, dtype=torch.float64)
        if self.path == "circle":  # on the negative x-axis, driving towards negative y
            outwards = min(OFFSET, self.limit - self.radius)
            state[:, 0] = -self.radius + OFFSET - u[:, 0] * (OFFSET + outwards)
            state[:, 2] = 1.5 * math.pi
            fastest = 2 * self.speed
        else:
            state[:, 1] = (2 * u[:, 0] - 1) * min(OFFSET, self.limit)
            fastest = 1.3 * self.speed
        state[:, 2] += (2 * u[:, 1] - 1) * TURN
        state[:, 3] = u[:, 2] * fastest
        state[:, 4] = (2 * u[:, 3] - 1) * DRIFT
        state[:, 5] = (2 * u[:, 4] - 1) * SPIN
        return state
