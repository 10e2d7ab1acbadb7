"""The inputs of factored networks from entities that are points in the robot's frame."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from safeloop.cmdp import Entities

NEAR_SCALE = 3.0
"""Scale of additional inputs. The event network sees tanh(scale * p) besides normalised goal positions p, because an
event is decided close to the goal. The contact network sees distances in the same way, for the same reason."""


class Points(nn.Module):
    """The networks' view of entities that are points: raw `[K, E, B, D]` are E positions in the robot's frame."""

    def __init__(self, entities: Entities):
        super().__init__()
        kinds = sorted(set(entities.kinds))
        self.indices, self.goal_index = torch.tensor(entities.positions), entities.goal
        self.kind = self.contact_kind = torch.tensor([kinds.index(x) for x in entities.kinds])
        dim = self.indices.shape[1]
        self.entity_size, self.contact_size = dim, 2 * dim + (4 if entities.goal is None else 6)
        self.goal_size = self.near_size = dim * (1 if entities.goal is not None else len(self.indices))
        self.unit = 0.0  # the scale of positions comes from the data
        self.turn_size = 0

    def turned(self, raw: Tensor, turn: Tensor) -> Tensor:
        """Return `raw` unchanged, because a network moves positions easily."""
        return raw

    def entity(self, raw: Tensor) -> Tensor:
        """Return the entity network's input, `[K, E, B, entity_size]`."""
        return raw

    def goal(self, raw: Tensor) -> Tensor:
        """Return the goal's position, or all positions where no entity is the goal: `[K, B, goal_size]`."""
        which = slice(None) if self.goal_index is None else slice(self.goal_index, self.goal_index + 1)
        return torch.cat(raw[:, which].unbind(1), -1)

    def near(self, goal: Tensor) -> Tensor:
        """Return `goal` with small distances spread out, because an event is decided close to the goal."""
        return torch.tanh(NEAR_SCALE * goal)

    def contact(self, before: Tensor, after: Tensor) -> Tensor:
        """Return all entities with their distances from the robot and the goal: `[K, E, B, contact_size]`.

        From positions alone the network would have to compose small circles of a few straight lines, which it does not
        learn. The distance from the goal is there because the cost of a button depends on whether it is the goal.
        """
        distances = [before.norm(dim=-1), after.norm(dim=-1)]
        if self.goal_index is not None:
            distances.append((after - after[:, self.goal_index : self.goal_index + 1]).norm(dim=-1))
        distance = torch.stack(distances, -1)
        return torch.cat((before, after, distance, torch.tanh(NEAR_SCALE * distance)), -1)
