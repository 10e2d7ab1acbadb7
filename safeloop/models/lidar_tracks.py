"""Tracks of objects that lidars show: the nearest of each lidar, or its only one.

Where a lidar hides an object, or its direction, the track remembers it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from safeloop.cmdp import Lidars
from safeloop.models.decoding import decode
from safeloop.models.tracks import CERTAIN, FAR, GATE, NUMBERS, POSITION, PRESENT, Tracks
from safeloop.networks import length

HIDDEN = 0.2
"""Distance within which an object whose place is not certain is taken for one that was expected, metres."""


class LidarTracks(Tracks):
    """Tracks for each lidar: the `most` nearest objects, or one where the sensor says that it shows one."""

    def __init__(self, lidars: Lidars, most: int, device: str = "cpu"):
        assert lidars.sensor is not None
        self.sensor, self.sight = lidars.sensor, lidars.sensor.reach
        rings, bins = len(lidars.rings), len(lidars.rings[0])
        kept = [1 if g in self.sensor.single else min(most, bins) for g in range(rings)]
        kind = [g for g in range(rings) for _ in range(kept[g])]
        goal = None if lidars.goal is None else kind.index(lidars.goal)
        super().__init__(lidars.robot, kind, set(self.sensor.single), goal, device)
        self.bins = torch.tensor(lidars.rings, device=device)  # [G, n]
        self.columns = max(kept)
        self.slots = torch.tensor([g * self.columns + i for g in range(rings) for i in range(kept[g])], device=device)
        self.ring = torch.arange(rings, device=device).repeat_interleave(bins)  # [G*n], the lidar of each bin
        self.same = self.kind == self.ring.unsqueeze(1)  # [G*n, E]
        compass = self.sensor.compass
        self.compass = None if compass is None else [lidars.robot.index(i) for i in compass]

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
        gap = length(seen[..., None, POSITION] - tracks[..., None, :, POSITION])  # [..., G*n, E]
        gap = gap.masked_fill(~(there.unsqueeze(-2) & self.same & (seen[..., PRESENT : PRESENT + 1] > 0)), FAR)
        near, which = gap.min(-1)
        own = tracks.gather(-2, which.unsqueeze(-1).expand(*which.shape, NUMBERS))
        position, certain, sure = seen[..., POSITION], seen[..., CERTAIN] > 0, own[..., CERTAIN] > 0
        known = (certain & sure & (near < GATE)).unsqueeze(-1)
        velocity = torch.where(known, position - own[..., POSITION], 0.0)
        placed = (~certain & sure & (near < HIDDEN)).unsqueeze(-1)
        toward = F.normalize(own[..., POSITION], dim=-1) * length(position).unsqueeze(-1)  # its distance is shown
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
        return blank | (shown > 1 - length(tracks[..., POSITION]) / self.sensor.reach)

    def match(self, tracks: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return for each of `tracks [..., E, 7]` the nearest target of its lidar, and whether it is near, `[..., E]`.

        The only object of a lidar is always the same.
        """
        gap = length(tracks[..., None, POSITION] - targets[..., None, :, POSITION])  # [..., E, E]
        same = self.kind.unsqueeze(1) == self.kind
        near, which = gap.masked_fill(~(same & (targets[..., None, :, PRESENT] > 0)), FAR).min(-1)
        weight = tracks[..., PRESENT] * (near < torch.where(self.many, HIDDEN / 2, FAR / 2))
        return targets.gather(-2, which.unsqueeze(-1).expand(targets.shape)), weight

    def nearest(self, obs: Tensor) -> Tensor:
        """Return the distance of the nearest object of each lidar in `obs [..., S]`, `[..., G]`."""
        return self.sight * (1 - obs[..., self.bins].amax(-1))

    def _seen(self, obs: Tensor) -> Tensor:
        """Return the decoded points of all lidars as tracks, `[..., G*n, 7]`."""
        position, present, certain = decode(obs[..., self.bins], self.sensor)
        rows = torch.cat((position, torch.stack((present, certain), -1), torch.zeros_like(position)), -1)
        return F.pad(rows, (0, 1)).flatten(-3, -2)

    def _nearest(self, obs: Tensor, rows: Tensor, ring: Tensor) -> Tensor:
        """Return the states with the nearest of the objects `rows [..., R, 7]` of each lidar; `ring [R]` is theirs."""
        rows = rows * rows[..., PRESENT : PRESENT + 1]
        distance = length(rows[..., POSITION]).masked_fill(rows[..., PRESENT] == 0, FAR)
        others = ring != torch.arange(len(self.bins), device=ring.device).unsqueeze(1)  # [G, R]
        order = (distance.unsqueeze(-2) + 2 * FAR * others).topk(self.columns, -1, largest=False).indices
        order = order.flatten(-2)[..., self.slots]  # [..., E]
        tracks = rows.gather(-2, order.unsqueeze(-1).expand(*order.shape, NUMBERS))
        return self.join(obs[..., self.robot], tracks * (ring[order] == self.kind).unsqueeze(-1))
