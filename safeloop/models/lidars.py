"""The inputs of factored networks from lidars: rings of bins around the robot, each bin a closeness."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from safeloop.cmdp import Lidars

TURN = 2
"""Largest number of bins by which lidars may turn in a decision."""


class Rings(nn.Module):
    """The networks' view of lidars: raw `[K, E, B, 1]` are the bins of one ring after the other, each an entity.

    A bin is seen with its neighbours and its direction. Contacts with the robot are predicted by direction, over all
    rings, because the cost of a button depends on whether it is the goal.
    """

    def __init__(self, lidars: Lidars):
        super().__init__()
        self.rings, self.bins = len(lidars.rings), len(lidars.rings[0])
        self.goal_index = lidars.goal
        self.indices = torch.tensor(lidars.rings).view(-1, 1)
        self.kind = torch.arange(self.rings).repeat_interleave(self.bins)
        self.contact_kind = torch.zeros(self.bins, dtype=torch.long)
        angle = 2 * math.pi * torch.arange(self.bins) / self.bins
        self.direction: Tensor
        self.register_buffer("direction", torch.stack((angle.cos(), angle.sin()), -1), persistent=False)
        self.entity_size, self.contact_size = 5 + 2, 10 * self.rings + 2
        self.goal_size = (self.bins if self.goal_index is not None else self.rings * self.bins) + 1
        self.near_size = 2 * self.goal_size
        self.unit = 1.0  # closeness is not scaled
        self.turn_size = 2 * TURN + 1

    def by_ring(self, raw: Tensor) -> Tensor:
        """Return the bins by ring: `[K, E, B, 1] -> [K, G, bins, B]`."""
        return raw[..., 0].unflatten(1, (self.rings, self.bins))

    def directions(self, k: int, rows: int) -> Tensor:
        """Return the direction of each bin, `[K, bins, B, 2]`."""
        return self.direction[:, None].expand(k, -1, rows, -1)

    def turned(self, raw: Tensor, turn: Tensor) -> Tensor:
        """Return all rings turned by at most `TURN` bins either way, weighted by `turn [K, B, turn_size]`.

        When the robot turns, all lidars turn alike; the body network predicts by how much.
        """
        rings, weight = self.by_ring(raw), torch.softmax(4 * turn, -1)
        turned = torch.zeros_like(rings)
        for i in range(-TURN, TURN + 1):
            turned = torch.addcmul(turned, rings.roll(i, 2), weight[:, None, None, :, i + TURN])
        return turned.flatten(1, 2).unsqueeze(-1)

    def entity(self, raw: Tensor) -> Tensor:
        """Return each bin, two neighbours on either side, and its direction: `[K, E, B, 7]`."""
        rings, (k, _, rows, _) = self.by_ring(raw), raw.shape
        near = torch.stack([rings.roll(i, 2) for i in (-2, -1, 0, 1, 2)], -1).flatten(1, 2)
        return torch.cat((near, self.directions(k, rows).repeat(1, self.rings, 1, 1)), -1)

    def goal(self, raw: Tensor) -> Tensor:
        """Return the bins of the goal's lidar, or of all lidars, and the largest (nearest) bin: `[K, B, goal_size]`."""
        which = slice(None) if self.goal_index is None else slice(self.goal_index, self.goal_index + 1)
        bins = self.by_ring(raw)[:, which].flatten(1, 2).transpose(1, 2)
        return torch.cat((bins, bins.amax(-1, keepdim=True)), -1)

    def near(self, goal: Tensor) -> Tensor:
        """Return the 4th and 16th powers of `goal`, which spread out a closeness near 1, where contacts are."""
        fourth = goal.clamp(0, 1).square().square()
        return torch.cat((fourth, fourth.square().square()), -1)

    def contact(self, before: Tensor, after: Tensor) -> Tensor:
        """Return the view in each direction: every ring's bin, its neighbours, its powers, and the direction."""
        seen = []
        for raw in (before, after):
            rings = self.by_ring(raw)
            bins = rings.permute(0, 2, 3, 1)  # [K, bins, B, G]
            seen += [*(bins.roll(i, 1) for i in (-1, 0, 1)), self.near(bins)]
        return torch.cat((*seen, self.directions(len(before), before.shape[2])), -1)
