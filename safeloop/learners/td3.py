"""Twin delayed deterministic policy gradients (Fujimoto et al., 2018), the learner of the workshop paper."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor

from safeloop.data.replay import Batch
from safeloop.learners.settings import LearnerSettings, TD3Settings
from safeloop.learners.targets import Targets
from safeloop.networks import (
    EnsembleMLP,
    Generators,
    initialiser,
    normals,
    polyak,
    q_values,
    restored,
    saved,
    twin_critics,
)

NETWORKS = ("actor", "critic", "actor_target", "target")


class TD3:
    """The TD3 learner: a deterministic actor, twin critics and targets of all three, with one `update` per batch."""

    def __init__(
        self,
        obs_dim: int,
        act_dim: int,
        shared: LearnerSettings,
        settings: TD3Settings,
        generator: torch.Generator,
        device: str = "cpu",
        *,
        layer_norm: bool = False,
    ):
        self.shared, self.settings = shared, settings
        self.generator, self.updates = generator, 0
        init, h = initialiser(generator), shared.hidden
        self.actor = EnsembleMLP(1, [obs_dim, h, h, act_dim], torch.relu_, init).to(device)
        self.critic = twin_critics(obs_dim, act_dim, h, init, layer_norm).to(device)
        self.actor_target = copy.deepcopy(self.actor).requires_grad_(False)
        self.target = copy.deepcopy(self.critic).requires_grad_(False)
        groups = (self.actor.parameters(), self.critic.parameters())
        self.optimizers = [torch.optim.Adam(list(g), lr=shared.rate, fused=True) for g in groups]

    @staticmethod
    def _mean(actor: EnsembleMLP, obs: Tensor) -> Tensor:
        """Return the actor's actions, for any leading dimensions: `[..., S] -> [..., A]`."""
        return torch.tanh(actor(obs.reshape(1, -1, obs.shape[-1]))[0]).view(*obs.shape[:-1], -1)

    @torch.no_grad()
    def value(self, obs: Tensor) -> Tensor:
        """Return `min_i Q_i(s, pi(s))`, for any leading dimensions: `[..., S] -> [...]`."""
        flat = obs.reshape(-1, obs.shape[-1])
        return q_values(self.critic, flat, self._mean(self.actor, flat)).amin(0).view(obs.shape[:-1])

    @torch.no_grad()
    def act(self, obs: Tensor, generators: Generators | None) -> Tensor:
        """Return actions `[B, A]`; the actor is deterministic, so nothing is drawn from `generators`."""
        return self._mean(self.actor, obs)

    @torch.no_grad()
    def explore(self, obs: Tensor, generators: Generators) -> Tensor:
        """Return actions `[B, A]` with exploration noise."""
        mean = self._mean(self.actor, obs)
        return (mean + self.settings.exploration_noise * normals(mean.shape, generators)).clamp(-1, 1)

    @torch.no_grad()
    def targets(self, batch: Batch) -> Targets:
        """Return one-step targets, from the lower critic at a noisy action of the target actor (clipped double Q)."""
        c, mean = self.settings, self._mean(self.actor_target, batch.next_obs)
        limit = c.target_noise_clip
        noise = (c.target_noise * normals(mean.shape, [self.generator])).clamp(-limit, limit)
        next_q = q_values(self.target, batch.next_obs, (mean + noise).clamp(-1, 1)).amin(0)
        target = batch.reward + self.shared.discount * (1 - batch.terminated) * next_q
        return Targets(batch.obs, batch.act, target, torch.ones_like(target))

    def update(self, batch: Batch) -> None:
        """Take a gradient step of the critics on `batch`, and at every `actor_every`-th one of actor and targets."""
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
        polyak(self.actor_target, self.actor, self.shared.tau)
        polyak(self.target, self.critic, self.shared.tau)

    def checkpoint(self) -> dict[str, Any]:
        """Return the states of networks, optimisers and random generator, and the number of updates so far."""
        return {**saved(self, *NETWORKS), "updates": self.updates}

    def restore(self, state: dict[str, Any]) -> None:
        """Restore the state from `checkpoint`."""
        restored(self, state, *NETWORKS)
        self.updates = state["updates"]
