"""Tracks: the objects around a robot, from one decision to the next.

The state of dynamics over points is the robot's own numbers, then E tracks. A track is a row of seven numbers:
position, whether it is there, whether the position is certain, and its own velocity, with whether that is known.
Observations show no velocities. They are the difference between an object's place and the place where a model expected
it, had it not moved by itself.

Observations show objects in one of two ways, each with its own rules: as lidars (`lidar_tracks.LidarTracks`), or as
positions (`position_tracks.PositionTracks`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from safeloop.cmdp import Entities
from safeloop.networks import length

POSITION, PRESENT, CERTAIN, VELOCITY, KNOWN = slice(0, 2), 2, 3, slice(4, 6), 6
"""Columns of a track: metres, 0 or 1, 0 or 1, metres per decision, 0 or 1."""
NUMBERS = 7
GATE = 0.15
"""Distance within which an object is taken for one that was expected, metres."""
FAR = 1e3


class Tracks(ABC):
    """The layout of states, and the rules by which tracks follow from observations. Pure functions, batched."""

    sight: float
    """Distance from which on nothing is seen, metres."""
    compass: list[int] | None = None
    """The parts of a compass among the robot's numbers, where there is one."""

    def __init__(self, robot: Sequence[int], kind: Sequence[int], single: set[int], goal: int | None, device: str):
        """Lay out tracks of these kinds `[E]`, in rising order; there is one object each of the kinds in `single`."""
        self.robot, self.kind = torch.tensor(robot, device=device), torch.tensor(kind, device=device)
        self.n_robot, self.count, self.goal = len(robot), len(kind), goal
        self.all = torch.arange(self.count, device=device)
        self.many = torch.tensor([k not in single for k in kind], device=device)
        self.singles = [e for e, k in enumerate(kind) if k in single]
        self.several = sorted(set(kind) - single)
        """The kinds of which there are several objects."""
        self.size, self.feature_size = self.n_robot + NUMBERS * self.count, self.n_robot + 3 * self.count

    @abstractmethod
    def first(self, obs: Tensor) -> Tensor:
        """Return the states `[..., T]` that observations `[..., S]` show by themselves: no velocity is known."""

    @abstractmethod
    def follow(self, expected: Tensor, obs: Tensor) -> Tensor:
        """Return the states of `obs [..., S]`, where a model expected `[..., T]`, had no object moved by itself."""

    @abstractmethod
    def match(self, tracks: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return for each of `tracks [..., E, 7]` the one of `targets` that it is, and the weight `[..., E]` of that.

        The weight is 0 where there is none.
        """

    @abstractmethod
    def nearest(self, obs: Tensor) -> Tensor:
        """Return the distance of the nearest object of each kind in `obs [..., S]`, `[..., G]`."""

    def observed(self, state: Tensor) -> Tensor:
        """Return the observations `[..., S]` that show states `[..., T]`, for known models."""
        raise NotImplementedError(f"{type(self).__name__} can't be turned back into observations")

    def split(self, state: Tensor) -> tuple[Tensor, Tensor]:
        """Split states `[..., T]` into the robot's numbers `[..., n]` and tracks `[..., E, 7]`."""
        return state[..., : self.n_robot], state[..., self.n_robot :].unflatten(-1, (self.count, NUMBERS))

    def join(self, robot: Tensor, tracks: Tensor) -> Tensor:
        """Join the parts of states, the inverse of `split`."""
        return torch.cat((robot, tracks.flatten(-2)), -1)

    def within(self, state: Tensor, reach: Tensor) -> Tensor:
        """Return states without the objects farther than `reach []`, but for those that there is one each of."""
        robot, tracks = self.split(state)
        stays = ~self.many | (length(tracks[..., POSITION]) < reach)
        return self.join(robot, tracks * stays.unsqueeze(-1))

    def features(self, state: Tensor) -> Tensor:
        """Return the inputs of learners: the robot's numbers, then `x, y` and presence of each track, `[..., n + 3E]`.

        The tracks of a kind are in order of their distance, in imagined states too.
        """
        robot, tracks = self.split(state)
        there = tracks[..., PRESENT]
        distance = length(tracks[..., POSITION]).masked_fill(there == 0, FAR)
        order = (distance + self.kind * 2 * FAR).argsort(-1)  # within each kind
        rows = (tracks[..., : PRESENT + 1] * there.unsqueeze(-1)).gather(
            -2, order.unsqueeze(-1).expand(*order.shape, 3)
        )
        return torch.cat((robot, rows.flatten(-2)), -1)

    def entities(self) -> Entities:
        """Return the layout of `features`: an entity is a track, with its presence as a third coordinate."""
        n = self.n_robot
        positions = tuple((n + 3 * e, n + 3 * e + 1, n + 3 * e + 2) for e in range(self.count))
        return Entities(tuple(range(n)), positions, tuple(map(str, self.kind.tolist())), self.goal)
