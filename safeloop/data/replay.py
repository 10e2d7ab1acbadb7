"""The replay buffer: recorded transitions, with true terminations and true final observations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

HOLDOUT_EVERY = 10
"""Every tenth transition is always held out of model fitting, so holdout errors stay comparable."""


class Batch(NamedTuple):
    """Transitions with any leading dimensions, here written `[B]`."""

    obs: Tensor  # [B, S]
    act: Tensor  # [B, A]
    reward: Tensor  # [B]
    cost: Tensor  # [B], as the simulator reported it; of several by name [B, C]
    terminated: Tensor  # [B], 1 where the episode terminated; truncation is not stored: values bootstrap there
    event: Tensor  # [B], 1 where the task relocated something in the observation
    next_obs: Tensor  # [B, S]

    @property
    def violated(self) -> Tensor:
        """The decisions that had a cost, 1 or 0, `[B]`; of several costs each, `[B, C]`."""
        return (self.cost > 0).float()


class Replay:
    """A ring of at most `capacity` transitions on `device`. Memory is used only as the ring fills."""

    def __init__(self, capacity: int, obs_dim: int, act_dim: int, device: str = "cpu", costs: int = 1):
        several = (costs,) if costs > 1 else ()
        shapes = ((obs_dim,), (act_dim,), (), several, (), (), (obs_dim,))
        self.capacity, self.device = capacity, device
        self.data = Batch(*(torch.empty(capacity, *shape, device=device) for shape in shapes))
        self.added = 0

    def __len__(self) -> int:
        return min(self.added, self.capacity)

    def add(
        self,
        obs: np.ndarray,
        act: np.ndarray,
        reward: float,
        cost: float | Sequence[float],
        terminated: bool,
        event: bool,
        next_obs: np.ndarray,
    ) -> None:
        """Store one transition. Raises `ValueError` where a number is not finite."""
        if not (np.isfinite(obs).all() and np.isfinite(next_obs).all() and np.isfinite(reward)):
            raise ValueError(f"transition {self.added} is not finite (reward {reward}): the simulator diverged")
        row = self.added % self.capacity
        for store, value in zip(self.data, (obs, act, reward, cost, terminated, event, next_obs), strict=True):
            store[row] = torch.as_tensor(value, dtype=torch.float32)
        self.added += 1

    def extend(self, batch: Batch) -> None:
        """Store the finite ones of the transitions `[B]` (a model's may not be finite), at most the last `capacity`."""
        finite = torch.stack([x.isfinite().flatten(1).all(1) if x.dim() > 1 else x.isfinite() for x in batch]).all(0)
        kept = Batch(*(x[finite][-self.capacity :] for x in batch))
        rows = (self.added + torch.arange(len(kept.reward), device=self.device)) % self.capacity
        for store, values in zip(self.data, kept, strict=True):
            store[rows] = values
        self.added += len(rows)

    def rows(self, indices: Tensor) -> Batch:
        """Return the transitions at `indices` (any shape)."""
        return Batch(*(store[indices] for store in self.data))

    def last(self, count: int) -> Batch:
        """Return the last `count` transitions, in order."""
        return self.rows((self.added - count + torch.arange(count, device=self.device)) % self.capacity)

    def sample(self, size: int, generator: torch.Generator) -> Batch:
        """Draw `size` transitions uniformly with replacement."""
        return self.rows(torch.randint(len(self), (size,), generator=generator, device=self.device))

    def split(self) -> tuple[Tensor, Tensor]:
        """Return the indices for fitting and the indices held out."""
        indices = torch.arange(len(self), device=self.device)
        held = indices % HOLDOUT_EVERY == HOLDOUT_EVERY - 1
        return indices[~held], indices[held]

    def state_dict(self) -> dict[str, Any]:
        """Return the filled part."""
        return {"added": self.added, "data": [store[: len(self)].cpu().clone() for store in self.data]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state from `state_dict`."""
        self.added = state["added"]
        for store, saved in zip(self.data, state["data"], strict=True):
            store[: len(saved)] = saved.to(self.device)
