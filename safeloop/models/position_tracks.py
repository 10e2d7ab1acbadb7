"""Tracks of objects whose positions the observation names: all are always there, and certain."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from safeloop.cmdp import Entities
from safeloop.models.tracks import FAR, GATE, POSITION, PRESENT, Tracks


class PositionTracks(Tracks):
    """A track for each entity, by kind: the goal is a kind of its own. Positions are x and y."""

    sight = torch.inf

    def __init__(self, entities: Entities, device: str = "cpu"):
        named = [(kind, e == entities.goal) for e, kind in enumerate(entities.kinds)]
        kinds = list(dict.fromkeys(named))
        order = sorted(range(len(named)), key=lambda e: kinds.index(named[e]))
        kind = [kinds.index(named[e]) for e in order]
        goal = None if entities.goal is None else order.index(entities.goal)
        super().__init__(entities.robot, kind, {k for k in kind if kind.count(k) == 1}, goal, device)
        self.places = torch.tensor([entities.positions[e] for e in order], device=device)  # [E, 2]
        self.inverse = torch.cat((self.robot, self.places.flatten())).argsort()
        self.gate = torch.full((self.count,), torch.inf, device=device)
        if goal is not None:  # it alone jumps
            self.gate[goal] = GATE

    def first(self, obs: Tensor) -> Tensor:
        """Return the states `[..., T]` that observations `[..., S]` show by themselves: no velocity is known."""
        position = obs[..., self.places]
        flags = torch.ones_like(position)
        return self.join(obs[..., self.robot], F.pad(torch.cat((position, flags), -1), (0, 3)))

    def follow(self, expected: Tensor, obs: Tensor) -> Tensor:
        """Return the states of `obs [..., S]`, where a model expected `[..., T]`, had no object moved by itself.

        All velocities are known, but for that of a goal that has jumped.
        """
        position = obs[..., self.places]
        moved = position - self.split(expected)[1][..., POSITION]
        known = (moved.norm(dim=-1) < self.gate).unsqueeze(-1)
        tracks = torch.cat((position, torch.ones_like(position), torch.where(known, moved, 0.0), known), -1)
        return self.join(obs[..., self.robot], tracks)

    def match(self, tracks: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return `targets [..., E, 7]`, whose order is that of `tracks`, and the weights `[..., E]`, which are 1."""
        return targets, torch.ones_like(tracks[..., PRESENT])

    def nearest(self, obs: Tensor) -> Tensor:
        """Return the distance of the nearest object of each kind in `obs [..., S]`, `[..., G]`."""
        distance = obs[..., self.places].norm(dim=-1)
        return torch.stack([distance[..., self.kind == k].amin(-1) for k in self.kind.unique()], -1)

    def observed(self, state: Tensor) -> Tensor:
        """Return the observations `[..., S]` that show states `[..., T]`, with what was left out put far away."""
        robot, tracks = self.split(state)
        position = torch.where(tracks[..., PRESENT : PRESENT + 1] > 0, tracks[..., POSITION], FAR)
        return torch.cat((robot, position.flatten(-2)), -1)[..., self.inverse]
