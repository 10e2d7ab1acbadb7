"""Tracks: the objects around a robot as its lidars show them, from one decision to the next.

The state of dynamics over points is the robot's own numbers, then E tracks: the nearest objects of each lidar, or its
only one. A track is a row of seven numbers: position, whether it is there, whether the position is certain, and its own
velocity, with whether that is known. A lidar does not show velocities. They are the difference between an object's
place and the place where a model expected it, had it not moved by itself.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from safeloop.cmdp import Entities, Lidars
from safeloop.models.decoding import decode

POSITION, PRESENT, CERTAIN, VELOCITY, KNOWN = slice(0, 2), 2, 3, slice(4, 6), 6
"""Columns of a track: metres, 0 or 1, 0 or 1, metres per decision, 0 or 1."""
NUMBERS = 7
GATE = 0.15
"""Distance within which an object is taken for one that was expected, metres."""
HIDDEN = 0.2
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
        self.ring = torch.arange(rings, device=device).repeat_interleave(bins)  # [G*n], the lidar of each bin
        self.same = self.kind == self.ring.unsqueeze(1)  # [G*n, E]
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
        return self._nearest(obs, self._seen(obs), self.ring)

    def follow(self, expected: Tensor, obs: Tensor) -> Tensor:
        """Return the states of `obs [..., S]`, where a model expected `[..., T]`, had no object moved by itself.

        A certain object close to a certain track tells the velocity. An object whose angle is hidden by another takes
        the direction of the track that it is close to. A track stays where a nearer object hides it, and where its
        lidar shows nothing at all, as that of buttons does after a press.
        """
        seen, tracks = self._seen(obs), self.split(expected)[1]
        there = tracks[..., PRESENT] > 0
        gap = (seen[..., None, POSITION] - tracks[..., None, :, POSITION]).norm(dim=-1)  # [..., G*n, E]
        gap = gap.masked_fill(~(there.unsqueeze(-2) & self.same & (seen[..., PRESENT : PRESENT + 1] > 0)), FAR)
        near, which = gap.min(-1)
        own = tracks.gather(-2, which.unsqueeze(-1).expand(*which.shape, NUMBERS))
        position, certain, sure = seen[..., POSITION], seen[..., CERTAIN] > 0, own[..., CERTAIN] > 0
        known = (certain & sure & (near < GATE)).unsqueeze(-1)
        velocity = torch.where(known, position - own[..., POSITION], 0.0)
        placed = (~certain & sure & (near < HIDDEN)).unsqueeze(-1)
        toward = F.normalize(own[..., POSITION], dim=-1) * position.norm(dim=-1, keepdim=True)  # its distance is shown
        position = torch.where(placed, toward, position)
        flags = torch.cat((seen[..., PRESENT : PRESENT + 1], certain.unsqueeze(-1) | placed), -1)
        found = torch.cat((position, flags, velocity, known), -1)
        unseen = there & (tracks[..., CERTAIN] > 0) & (gap.amin(-2) > HIDDEN) & self._hidden(tracks, obs)
        stays = tracks * unseen.unsqueeze(-1)
        return self._nearest(obs, torch.cat((found, stays), -2), torch.cat((self.ring, self.kind)))

    def _hidden(self, tracks: Tensor, obs: Tensor) -> Tensor:
        """Return whether a lidar can't show tracks `[..., E, 7]`: something nearer is there, or all of it is blank."""
        rings = obs[..., self.bins]  # [..., G, n]
        x, y = tracks[..., 0], tracks[..., 1]
        n = rings.shape[-1]
        index = (torch.atan2(y, x) * (n / (2 * math.pi))).floor().long() % n
        shown = rings.flatten(-2).gather(-1, self.kind * n + index)  # [..., E]
        blank = (rings <= 0).all(-1)[..., self.kind] & self.many
        return blank | (shown > 1 - tracks[..., POSITION].norm(dim=-1) / self.sensor.reach)

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

    def _seen(self, obs: Tensor) -> Tensor:
        """Return the decoded points of all lidars as tracks, `[..., G*n, 7]`."""
        position, present, certain = decode(obs[..., self.bins], self.sensor)
        rows = torch.cat((position, torch.stack((present, certain), -1), torch.zeros_like(position)), -1)
        return F.pad(rows, (0, 1)).flatten(-3, -2)

    def _nearest(self, obs: Tensor, rows: Tensor, ring: Tensor) -> Tensor:
        """Return the states with the nearest of the objects `rows [..., R, 7]` of each lidar; `ring [R]` is theirs."""
        rows = rows * rows[..., PRESENT : PRESENT + 1]
        distance = rows[..., POSITION].norm(dim=-1).masked_fill(rows[..., PRESENT] == 0, FAR)
        others = ring != torch.arange(len(self.bins), device=ring.device).unsqueeze(1)  # [G, R]
        order = (distance.unsqueeze(-2) + 2 * FAR * others).topk(self.columns, -1, largest=False).indices
        order = order.flatten(-2)[..., self.slots]  # [..., E]
        tracks = rows.gather(-2, order.unsqueeze(-1).expand(*order.shape, NUMBERS))
        return self.join(obs[..., self.robot], tracks * (ring[order] == self.kind).unsqueeze(-1))
