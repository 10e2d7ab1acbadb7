"""Behaviour cloning under a Lagrange multiplier of the cost (BC-Lagrangian)."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor

from safeloop.data.replay import Batch
from safeloop.learners.bc import BC
from safeloop.learners.settings import BCLagSettings, BCSettings, LearnerSettings
from safeloop.learners.targets import Targets, one_step
from safeloop.networks import initialiser, polyak, q_values, restored, saved, twin_critics

NETWORKS = ("critic", "target", "actor_target")


class BCLag(BC):
    """The learner of `bc-lag`: a deterministic actor, twin critics of its cost, and a multiplier.

    The actor descends the squared error of the dataset's actions plus the multiplier times its cost value. The
    multiplier rises where that value, in the mean over the dataset's states, is above `threshold`, and falls where it
    is below: the dual ascent of a Lagrangian, `min_pi max_lambda E|pi(s) - a|^2 + lambda (E Qc(s, pi(s)) - threshold)`.
    """

    def __init__(
        self,
        obs_dim: int,
        act_dim: int,
        shared: LearnerSettings,
        settings: BCLagSettings,
        threshold: float,
        generator: torch.Generator,
        device: str = "cpu",
        layer_norm: bool = False,
    ):
        clone = BCSettings(shared.rate, shared.hidden, shared.batch_size)
        super().__init__(obs_dim, act_dim, clone, generator, device)
        self.shared, self.settings, self.threshold, self.generator = shared, settings, threshold, generator
        self.critic = twin_critics(obs_dim, act_dim, shared.hidden, initialiser(generator), layer_norm).to(device)
        self.target = copy.deepcopy(self.critic).requires_grad_(False)
        self.actor_target = copy.deepcopy(self.actor).requires_grad_(False)
        self.optimizers = [torch.optim.Adam(self.critic.parameters(), lr=shared.rate, fused=True)]
        self.multiplier = torch.zeros((), device=device)

    def cost_value(self, obs: Tensor) -> Tensor:
        """Return the larger critic's discounted cost of the actor from `obs [B, S]` on, `[B]` (differentiable)."""
        return q_values(self.critic, obs, self.actions(obs)).amax(0)

    @torch.no_grad()
    def targets(self, batch: Batch) -> Targets:
        """Return one-step targets of the cost, from the larger target critic at the target actor's action."""
        act = torch.tanh(self.actor_target(batch.next_obs.unsqueeze(0))[0])
        following = q_values(self.target, batch.next_obs, act).amax(0)
        return one_step(batch._replace(reward=batch.cost), following, self.shared.discount)

    @torch.no_grad()
    def raise_multiplier(self, cost_value: Tensor) -> None:
        """Move the multiplier by its rate times the violation, the mean of `cost_value [B]` less the threshold."""
        violation = cost_value.mean() - self.threshold
        self.multiplier = (self.multiplier + self.settings.multiplier_rate * violation).clamp(min=0)

    def update(self, batch: Batch) -> None:
        """Take one gradient step of critics and actor on `batch`, and one of the multiplier between them."""
        critic_loss = self.targets(batch).loss(self.critic)
        self.optimizers[0].zero_grad(set_to_none=True)
        critic_loss.backward()
        self.optimizers[0].step()

        self.critic.requires_grad_(False)
        cost_value = self.cost_value(batch.obs)
        self.raise_multiplier(cost_value)
        missed = (self.actions(batch.obs) - batch.act).square().mean()
        self.optimizer.zero_grad(set_to_none=True)
        (missed + self.multiplier * cost_value.mean()).backward()
        self.optimizer.step()
        self.critic.requires_grad_(True)
        polyak(self.actor_target, self.actor, self.shared.tau)
        polyak(self.target, self.critic, self.shared.tau)

    def checkpoint(self) -> dict[str, Any]:
        """Return the states of networks, optimisers, random generator and multiplier."""
        return {**super().checkpoint(), **saved(self, *NETWORKS), "multiplier": self.multiplier}

    def restore(self, state: dict[str, Any]) -> None:
        """Restore the state from `checkpoint`."""
        super().restore(state)
        restored(self, state, *NETWORKS)
        self.multiplier = state["multiplier"].to(self.multiplier.device)
