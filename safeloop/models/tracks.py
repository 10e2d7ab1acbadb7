"""Tracks: the objects around a robot as its lidars show them, from one decision to the next.

The state of dynamics over points is the robot's own numbers, then E tracks: the nearest objects of each lidar, or its
only one. A track is a row of seven numbers: position, whether it is there, whether the position is certain, and its own
velocity, with whether that is known. A lidar does not show velocities. They are the difference between an object's
place and the place where a model expected it, had it not moved by itself.
"""

from __future__ import annotations

import torch
from torch import Tensor

from safeloop.cmdp import Entities, Lidars
from safeloop.models.decoding import decode

POSITION, PRESENT, CERTAIN, VELOCITY, KNOWN = slice(0, 2), 2, 3, slice(4, 6), 6
"""Columns of a track: metres, 0 or 1, 0 or 1, metres per decision, 0 or 1."""
NUMBERS = 7
GATE = 0.15
"""Distance within which an object is taken for one that was expected, metres."""
HIDDEN = 0.3
"""The same for objects whose place is not certain, metres."""
FAR = 1e3


class Tracks:
    """The layout of states, and the rules by which tracks follow from observations. Pure functions, batched."""

    def __init__(self, lidars: Lidars, most: int, device: str = "cpu"):
        assert lidars.sensor is not None
        self.sensor, self.most = lidars.sensor, most
        rings, bins = len(lidars.rings), len(lidars.rings[0])
        self.robot = torch.tensor(lidars.robot, device=device)
        self.bins = torch.tensor(lidars.rings, device=device)  # [G, n]
        kept = [1 if g in self.sensor.single else min(most, bins) for g in range(rings)]
        self.columns = max(kept)
        chosen = [(g, i) for g in range(rings) for i in range(kept[g])]
        self.slots = torch.tensor([g * self.columns + i for g, i in chosen], device=device)
        self.kind = torch.tensor([g for g, _ in chosen], device=device)  # [E], the lidar of each track
        self.all = torch.arange(len(chosen), device=device)
        self.singles = [e for e, (g, _) in enumerate(chosen) if g in self.sensor.single]
        self.goal = None if lidars.goal is None else [g for g, _ in chosen].index(lidars.goal)
        self.many = torch.tensor([g not in self.sensor.single for g, _ in chosen], device=device)
        self.same = self.kind == torch.arange(rings, device=device).repeat_interleave(bins).unsqueeze(1)  # [G*n, E]
        self.n_robot, self.count = len(lidars.robot), len(chosen)
        compass = self.sensor.compass
        self.compass = None if compass is None else [lidars.robot.index(i) for i in compass]
        """The compass among the robot's numbers."""
        self.size, self.feature_size = self.n_robot + NUMBERS * self.count, self.n_robot + 3 * self.count

    def split(self, state: Tensor) -> tuple[Tensor, Tensor]:
        """Split states `[..., T]` into the robot's numbers `[..., n]` and tracks `[..., E, 7]`."""
        return state[..., : self.n_robot], state[..., self.n_robot :].unflatten(-1, (self.count, NUMBERS))

    def join(self, robot: Tensor, tracks: Tensor) -> Tensor:
        """Join the parts of states, the inverse of `split`."""
        return torch.cat((robot, tracks.flatten(-2)), -1)

    def first(self, obs: Tensor) -> Tensor:
        """Return the states `[..., T]` that observations `[..., S]` show by themselves: no velocity is known."""
        return self._of(obs, *self._seen(obs))

    def follow(self, expected: Tensor, obs: Tensor) -> Tensor:
        """Return the states of `obs [..., S]`, where a model expected `[..., T]`, had no object moved by itself.

        A certain object close to a certain track tells the velocity. An object whose angle is hidden by another takes
        the place of the track that it is close to. A track stays where a nearer object hides it, and where its lidar
        shows nothing at all, as that of buttons does after a press.
        """
        position, present, certain = self._seen(obs)
        tracks = self.split(expected)[1]
        there = (tracks[..., PRESENT] > 0).unsqueeze(-2)
        gap = (position.unsqueeze(-2) - tracks[..., POSITION].unsqueeze(-3)).norm(dim=-1)  # [..., G*n, E]
        gap = gap.masked_fill(~(there & self.same & present.unsqueeze(-1)), FAR)
        near, which = gap.min(-1)
        own = tracks.gather(-2, which.unsqueeze(-1).expand(*which.shape, NUMBERS))
        sure = own[..., CERTAIN] > 0
        known = certain & sure & (near < GATE)
        velocity = torch.where(known.unsqueeze(-1), position - own[..., POSITION], 0.0)
        placed = ~certain & sure & (near < HIDDEN)
        position = torch.where(placed.unsqueeze(-1), own[..., POSITION], position)
        found = self._of(obs, position, present, certain | placed, velocity, known)
        return self._remembered(found, tracks, obs, gap)

    def within(self, state: Tensor, reach: Tensor) -> Tensor:
        """Return states without the objects farther than `reach []`, but for those that there is one each of."""
        robot, tracks = self.split(state)
        stays = ~self.many | (tracks[..., POSITION].norm(dim=-1) < reach)
        return self.join(robot, tracks * stays.unsqueeze(-1))

    def features(self, state: Tensor) -> Tensor:
        """Return the inputs of learners: the robot's numbers, then `x, y` and presence of each track, `[..., n + 3E]`.

        The tracks of a lidar are in order of their distance, in imagined states too.
        """
        robot, tracks = self.split(state)
        there = tracks[..., PRESENT]
        distance = tracks[..., POSITION].norm(dim=-1).masked_fill(there == 0, FAR)
        order = (distance + self.kind * 2 * FAR).argsort(-1)  # within each lidar
        rows = (tracks[..., : PRESENT + 1] * there.unsqueeze(-1)).gather(
            -2, order.unsqueeze(-1).expand(*order.shape, 3)
        )
        return torch.cat((robot, rows.flatten(-2)), -1)

    def entities(self) -> Entities:
        """Return the layout of `features`: an entity is a track, with its presence as a third coordinate."""
        n = self.n_robot
        positions = tuple((n + 3 * e, n + 3 * e + 1, n + 3 * e + 2) for e in range(self.count))
        return Entities(tuple(range(n)), positions, tuple(map(str, self.kind.tolist())), self.goal)

    def _remembered(self, state: Tensor, tracks: Tensor, obs: Tensor, gap: Tensor) -> Tensor:
        """Return states in which objects that were expected, and can't be seen, go on."""
        robot, found = self.split(state)
        blank = (obs[..., self.bins] > 0).any(-1)[..., self.kind].logical_not() & self.many  # [..., E]
        return self.join(robot, torch.where(blank.unsqueeze(-1), tracks, found))

    def _seen(self, obs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the decoded points of all lidars, `[..., G*n, 2]`, `[..., G*n]` and `[..., G*n]`."""
        position, present, certain = decode(obs[..., self.bins], self.sensor)
        return position.flatten(-3, -2), present.flatten(-2), certain.flatten(-2)

    def _of(
        self,
        obs: Tensor,
        position: Tensor,
        present: Tensor,
        certain: Tensor,
        velocity: Tensor | None = None,
        known: Tensor | None = None,
    ) -> Tensor:
        """Return the states with the nearest points of each lidar as tracks."""
        velocity = torch.zeros_like(position) if velocity is None else velocity
        known = torch.zeros_like(present) if known is None else known
        flags = torch.stack((present, certain), -1).to(obs.dtype)
        rows = torch.cat((position, flags, velocity, known.unsqueeze(-1).to(obs.dtype)), -1)
        rows = (rows * flags[..., :1]).unflatten(-2, self.bins.shape)  # [..., G, n, 7]
        distance = position.norm(dim=-1).masked_fill(~present, FAR).unflatten(-1, self.bins.shape)
        order = distance.topk(self.columns, -1, largest=False).indices
        chosen = rows.gather(-2, order.unsqueeze(-1).expand(*order.shape, NUMBERS)).flatten(-3, -2)
        return self.join(obs[..., self.robot], chosen[..., self.slots, :])
