"""Visited states with the plans that were made there, as POLO's targets need them."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor


class Visit(NamedTuple):
    """Visited states, with any leading dimensions, here written `[B]`. K models, C candidates of the plan, H steps."""

    obs: Tensor  # [B, S]
    state: Tensor  # [B, F], float64: the simulator's full state; observations again with learned models
    plan: Tensor  # [B, H, A], the solution
    returns: Tensor  # [B, K, C], discounted returns of the candidates until the horizon; -inf where not finite
    going: Tensor  # [B, K, C], discount at the horizon times the probability that nothing ended the rollout
    final: Tensor  # [B, K, C, S], observations at the horizon


class Visits:
    """A ring of at most `capacity` visits on `device`. Memory is used only as the ring fills."""

    def __init__(self, capacity: int, device: str = "cpu"):
        self.capacity, self.device, self.added = capacity, device, 0
        self.data: Visit | None = None

    def __len__(self) -> int:
        return min(self.added, self.capacity)

    def add(self, visit: Visit) -> None:
        """Store one visit, without leading dimensions."""
        if self.data is None:
            self.data = Visit(*(torch.empty(self.capacity, *x.shape, dtype=x.dtype, device=self.device) for x in visit))
        for store, value in zip(self.data, visit, strict=True):
            store[self.added % self.capacity] = value
        self.added += 1

    def sample(self, size: int, generator: torch.Generator) -> Visit:
        """Draw `size` visits uniformly with replacement."""
        assert self.data is not None
        rows = torch.randint(len(self), (size,), generator=generator, device=self.device)
        return Visit(*(store[rows] for store in self.data))

    def state_dict(self) -> dict[str, Any]:
        """Return the filled part."""
        stored = [] if self.data is None else [store[: len(self)].cpu().clone() for store in self.data]
        return {"added": self.added, "data": stored}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state from `state_dict`."""
        self.added, stored = state["added"], state["data"]
        if not stored:
            self.data = None
            return
        self.data = Visit(
            *(torch.empty(self.capacity, *x.shape[1:], dtype=x.dtype, device=self.device) for x in stored)
        )
        for store, saved in zip(self.data, stored, strict=True):
            store[: len(saved)] = saved.to(self.device)
