"""Actions under way: of planners that know a delay (docs/constraints.md, "Delay").

Letters: B episodes, A action, n actions under way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from safeloop.cmdp import Delay
from safeloop.models.trajectories import Model, OpenLoop, rollout
from safeloop.networks import Generators


def ahead(model: Model, state: Tensor, acts: Tensor, generators: Generators) -> Tensor:
    """Return the states `[K, B, S]` in each model after actions `[B, n, A]` from states `[B, S]`."""
    start = state.expand(model.ensemble_size, -1, -1)
    if not acts.shape[1]:
        return start
    controller = OpenLoop(acts.transpose(0, 1).expand(model.ensemble_size, -1, -1, -1))
    return rollout(model, start, controller, acts.shape[1], generators, judged=False).obs[:, -1]


class Pending:
    """The actions between what B episodes have shown and the effect of the next decision.

    With a delay of a decisions for actions and o for observations these are the last a + o; in an episode's first o
    decisions fewer, because the first observation stays.
    """

    def __init__(self, delay: Delay, model: Model, act_dim: int, episodes: int, device: Any):
        self.delay, self.model = delay, model
        self.sent = torch.zeros(episodes, delay.decisions, act_dim, device=device)
        self.decisions = 0
        """Of the episodes under way."""

    def begin(self) -> None:
        """Start episodes: the actions under way are 0."""
        self.sent = torch.zeros_like(self.sent)
        self.decisions = 0

    @property
    def under_way(self) -> Tensor:
        """The actions `[B, n, A]`, in the order of their effects."""
        count = self.delay.action + min(self.decisions, self.delay.observation)
        return self.sent[:, self.sent.shape[1] - count :]

    def ahead(self, state: Tensor, generators: Generators) -> Tensor:
        """Return the states `[K, B, S]` that the actions under way lead to from `state [B, S]` in each model."""
        return ahead(self.model, state, self.under_way, generators)

    def acted(self, act: Tensor) -> Tensor | None:
        """Take the actions `[B, A]` of a decision; return those between the observation before it and the next.

        None: the next observation is the same.
        """
        moved = self.decisions >= self.delay.observation
        executed = self.sent[:, 0]
        self.sent = torch.cat((self.sent[:, 1:], act.unsqueeze(1)), 1)
        self.decisions += 1
        return executed if moved else None

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with the episodes at these places alone."""
        self.sent = self.sent[list(rows)]

    def state_dict(self) -> dict[str, Any]:
        """Return what is under way."""
        return {"sent": self.sent, "decisions": self.decisions}

    def load_state_dict(self, state: dict[str, Any], device: Any) -> None:
        """Restore `state_dict`."""
        self.sent, self.decisions = state["sent"].to(device), state["decisions"]
