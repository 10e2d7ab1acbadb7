"""Twin delayed deterministic policy gradients (Fujimoto et al., 2018), the learner of the workshop paper."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from safeloop.data.replay import Batch
from safeloop.learners.expansion import Targets
from safeloop.networks import (
    EnsembleMLP,
    Streams,
    initialiser,
    normals,
    polyak,
    q_values,
    restored,
    saved,
    twin_critics,
)

NETWORKS = ("actor", "critic", "actor_target", "target")


@dataclass(frozen=True)
class TD3Settings:
    """Settings of TD3; the noises and the delay are those of Fujimoto et al., in units of the action's half range."""

    discount: float = 0.99
    learning_rate: float = 3e-4
    polyak: float = 0.005
    """Weight on the new networks in the targets."""
    hidden: int = 256
    layer_norm: bool = False
    """In the critics."""
    exploration_noise: float = 0.1
    target_noise: float = 0.2
    target_noise_clip: float = 0.5
    actor_every: int = 2
    """Critic updates for each of the actor and the targets."""


class TD3:
    """A deterministic actor, twin critics and targets of all three, with one `update` a batch."""

    def __init__(
        self, obs_dim: int, act_dim: int, settings: TD3Settings, generator: torch.Generator, device: str = "cpu"
    ):
        self.settings, self.generator, self.updates = settings, generator, 0
        init, h = initialiser(generator), settings.hidden
        self.actor = EnsembleMLP(1, [obs_dim, h, h, act_dim], torch.relu_, init).to(device)
        self.critic = twin_critics(obs_dim, act_dim, h, init, settings.layer_norm).to(device)
        self.actor_target = copy.deepcopy(self.actor).requires_grad_(False)
        self.target = copy.deepcopy(self.critic).requires_grad_(False)
        groups = (self.actor.parameters(), self.critic.parameters())
        self.optimizers = [torch.optim.Adam(list(g), lr=settings.learning_rate, fused=True) for g in groups]

    @staticmethod
    def _mean(actor: EnsembleMLP, obs: Tensor) -> Tensor:
        """The actor's actions, for any leading dimensions: `[..., S] -> [..., A]`."""
        return torch.tanh(actor(obs.reshape(1, -1, obs.shape[-1]))[0]).view(*obs.shape[:-1], -1)

    @torch.no_grad()
    def value(self, obs: Tensor) -> Tensor:
        """`min_i Q_i(s, pi(s))`, for any leading dimensions: `[..., S] -> [...]`."""
        flat = obs.reshape(-1, obs.shape[-1])
        return q_values(self.critic, flat, self._mean(self.actor, flat)).amin(0).view(obs.shape[:-1])

    @torch.no_grad()
    def act(self, obs: Tensor, streams: Streams | None) -> Tensor:
        """Actions `[B, A]`; the actor is deterministic, so nothing is drawn from `streams`."""
        return self._mean(self.actor, obs)

    @torch.no_grad()
    def explore(self, obs: Tensor, streams: Streams) -> Tensor:
        """Actions `[B, A]` with exploration noise."""
        mean = self._mean(self.actor, obs)
        return (mean + self.settings.exploration_noise * normals(mean.shape, streams)).clamp(-1, 1)

    @torch.no_grad()
    def targets(self, batch: Batch) -> Targets:
        """One-step targets, the lower of the critics at a noisy action of the target actor (clipped double Q)."""
        c, mean = self.settings, self._mean(self.actor_target, batch.next_obs)
        limit = c.target_noise_clip
        noise = (c.target_noise * normals(mean.shape, [self.generator])).clamp(-limit, limit)
        next_q = q_values(self.target, batch.next_obs, (mean + noise).clamp(-1, 1)).amin(0)
        target = batch.reward + c.discount * (1 - batch.terminated) * next_q
        return Targets(batch.obs, batch.act, target, torch.ones_like(target))

    def update(self, batch: Batch) -> None:
        """One gradient step of the critics on `batch`, and on every `actor_every`-th of the actor and the targets."""
        actor_optimizer, critic_optimizer = self.optimizers
        critic_loss = self.targets(batch).loss(self.critic)
        critic_optimizer.zero_grad(set_to_none=True)
        critic_loss.backward()
        critic_optimizer.step()
        self.updates += 1
        if self.updates % self.settings.actor_every:
            return
        self.critic.requires_grad_(False)
        actor_loss = -q_values(self.critic, batch.obs, self._mean(self.actor, batch.obs))[0].mean()
        actor_optimizer.zero_grad(set_to_none=True)
        actor_loss.backward()
        actor_optimizer.step()
        self.critic.requires_grad_(True)
        polyak(self.actor_target, self.actor, self.settings.polyak)
        polyak(self.target, self.critic, self.settings.polyak)

    def checkpoint(self) -> dict[str, Any]:
        """Networks, optimisers, updates so far and random stream."""
        return {**saved(self, *NETWORKS), "updates": self.updates}

    def restore(self, state: dict[str, Any]) -> None:
        """Restore `checkpoint`."""
        restored(self, state, *NETWORKS)
        self.updates = state["updates"]
