"""A critic of costs to come, for learners that weigh return against cost."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor

from safeloop.data.replay import Batch
from safeloop.learners.sac import SAC
from safeloop.learners.settings import LearnerSettings
from safeloop.networks import initialiser, polyak, q_values, restored, saved, twin_critics


class CostCritic:
    """Twin critics of the discounted number of decisions with a cost under SAC's actor; the larger of them counts."""

    def __init__(
        self, obs_dim: int, act_dim: int, shared: LearnerSettings, generator: torch.Generator, device: str = "cpu"
    ):
        self.shared, self.generator = shared, generator
        self.critic = twin_critics(obs_dim, act_dim, shared.hidden, initialiser(generator), layer_norm=True).to(device)
        self.target = copy.deepcopy(self.critic).requires_grad_(False)
        self.optimizers = [torch.optim.Adam(self.critic.parameters(), lr=shared.rate, fused=True)]

    def __call__(self, obs: Tensor, act: Tensor) -> Tensor:
        """Return the cost to come of pairs `[B, S], [B, A]`, at least 0, `[B]` (differentiable)."""
        return q_values(self.critic, obs, act).amax(0).clamp(min=0)

    def update(self, batch: Batch, sac: SAC) -> None:
        """Take a gradient step on real transitions."""
        with torch.no_grad():
            act, _ = sac.actor.sample(batch.next_obs, [self.generator])
            following = q_values(self.target, batch.next_obs, act).amax(0).clamp(min=0)
            wanted = batch.violated + self.shared.discount * (1 - batch.terminated) * following
        loss = (q_values(self.critic, batch.obs, batch.act) - wanted).square().mean(1).sum()
        self.optimizers[0].zero_grad(set_to_none=True)
        loss.backward()
        self.optimizers[0].step()
        polyak(self.target, self.critic, self.shared.tau)

    def checkpoint(self) -> dict[str, Any]:
        """Return the states of networks, optimiser and random generator."""
        return saved(self, "critic", "target")

    def restore(self, state: dict[str, Any]) -> None:
        """Restore `checkpoint`."""
        restored(self, state, "critic", "target")
