"""How factored networks see entities that are points in the robot's frame."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from safeloop.cmdp import Entities

NEAR_SCALE = 3.0
"""The event network sees normalised goal positions p with tanh(scale * p) beside them: what happens at the goal
is decided close to it. The contact network sees distances so, for the same reason."""


class Points(nn.Module):
    """How the networks see entities that are points: raw `[K, E, B, D]` are E positions in the robot's frame."""

    def __init__(self, entities: Entities):
        super().__init__()
        kinds = sorted(set(entities.kinds))
        self.indices, self.goal_index = torch.tensor(entities.positions), entities.goal
        self.kind = self.contact_kind = torch.tensor([kinds.index(x) for x in entities.kinds])
        dim = self.indices.shape[1]
        self.entity_size, self.contact_size = dim, 2 * dim + (4 if entities.goal is None else 6)
        self.goal_size = self.near_size = dim * (1 if entities.goal is not None else len(self.indices))
        self.unit = 0.0  # positions are scaled by what is seen of them
        self.turn_size = 0

    def turned(self, raw: Tensor, turn: Tensor) -> Tensor:
        """Nothing to turn: a network moves positions easily."""
        return raw

    def entity(self, raw: Tensor) -> Tensor:
        """`[K, E, B, entity_size]`."""
        return raw

    def goal(self, raw: Tensor) -> Tensor:
        """What the reward is about, all where no entity is it: `[K, B, goal_size]`."""
        which = slice(None) if self.goal_index is None else slice(self.goal_index, self.goal_index + 1)
        return torch.cat(raw[:, which].unbind(1), -1)

    def near(self, goal: Tensor) -> Tensor:
        """The same with what is close spread out: what happens at the goal is decided there."""
        return torch.tanh(NEAR_SCALE * goal)

    def contact(self, before: Tensor, after: Tensor) -> Tensor:
        """What can be touched, each with its distances, also from the goal: `[K, E, B, contact_size]`.

        Positions alone would leave the network to draw small circles with a few straight lines: it learns none.
        Whether a button costs depends on whether it is the goal.
        """
        distances = [before.norm(dim=-1), after.norm(dim=-1)]
        if self.goal_index is not None:
            distances.append((after - after[:, self.goal_index : self.goal_index + 1]).norm(dim=-1))
        distance = torch.stack(distances, -1)
        return torch.cat((before, after, distance, torch.tanh(NEAR_SCALE * distance)), -1)
