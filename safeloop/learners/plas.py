"""Policy in the latent action space (PLAS; Zhou et al., 2020): it acts through a decoder of the dataset's actions."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from safeloop.data.replay import Batch
from safeloop.learners.settings import LearnerSettings, PLASSettings
from safeloop.learners.targets import Targets, one_step
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

NETWORKS = ("autoencoder", "actor", "critic", "actor_target", "target")

LOG_STD = (-4.0, 15.0)
"""Bounds of the encoder's log standard deviation, as published."""


class Autoencoder(nn.Module):
    """A conditional variational autoencoder of actions: encoder `(s, a) -> z`, decoder `(s, z) -> a`, z `[2 A]`."""

    def __init__(self, obs_dim: int, act_dim: int, hidden: int, generator: torch.Generator):
        super().__init__()
        self.latent = 2 * act_dim
        sizes = [obs_dim + act_dim, hidden, hidden, 2 * self.latent]
        self.encoder = EnsembleMLP(1, sizes, torch.relu_, generator)
        self.decoder = EnsembleMLP(1, [obs_dim + self.latent, hidden, hidden, act_dim], torch.relu_, generator)

    def encode(self, obs: Tensor, act: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean and the log standard deviation of z, `[B, 2 A]` each."""
        mean, log_std = self.encoder(torch.cat((obs, act), -1).unsqueeze(0))[0].chunk(2, -1)
        return mean, log_std.clamp(*LOG_STD)

    def decode(self, obs: Tensor, z: Tensor) -> Tensor:
        """Return actions `[B, A]` in [-1, 1]."""
        return torch.tanh(self.decoder(torch.cat((obs, z), -1).unsqueeze(0))[0])

    def loss(self, batch: Batch, kl_weight: float, generator: torch.Generator) -> Tensor:
        """Return the mean squared error of decoded actions plus `kl_weight` times z's divergence from the prior."""
        mean, log_std = self.encode(batch.obs, batch.act)
        z = mean + log_std.exp() * normals(mean.shape, [generator])
        missed = (self.decode(batch.obs, z) - batch.act).square().mean()
        return missed + kl_weight * _divergences(mean, log_std).mean()

    def divergence(self, obs: Tensor, act: Tensor) -> Tensor:
        """Return the divergence of z from the prior, in the mean over its numbers, `[B]`."""
        return _divergences(*self.encode(obs, act)).mean(-1)


def _divergences(mean: Tensor, log_std: Tensor) -> Tensor:
    """Return the Kullback-Leibler divergences of Gaussians from the standard one, any shape."""
    return -0.5 * (1 + 2 * log_std - mean.square() - (2 * log_std).exp())


class PLAS:
    """The PLAS learner: autoencoder, latent actor, twin critics and target networks, with one `update` per batch.

    The first `pretraining` updates fit the autoencoder alone. Targets are kept between the two `bounds`, where these
    are given.
    """

    def __init__(
        self,
        obs_dim: int,
        act_dim: int,
        shared: LearnerSettings,
        settings: PLASSettings,
        pretraining: int,
        generator: torch.Generator,
        device: str = "cpu",
        bounds: tuple[float, float] | None = None,
        layer_norm: bool = False,
    ):
        self.shared, self.settings, self.bounds = shared, settings, bounds
        self.pretraining, self.generator, self.updates = pretraining, generator, 0
        init, h, c = initialiser(generator), shared.hidden, settings
        self.autoencoder = Autoencoder(obs_dim, act_dim, h, init).to(device)
        self.actor = EnsembleMLP(1, [obs_dim, h, h, self.autoencoder.latent], torch.relu_, init).to(device)
        self.critic = twin_critics(obs_dim, act_dim, h, init, layer_norm).to(device)
        self.actor_target = copy.deepcopy(self.actor).requires_grad_(False)
        self.target = copy.deepcopy(self.critic).requires_grad_(False)
        groups = (
            (self.autoencoder, c.actor_learning_rate), (self.actor, c.actor_learning_rate),
            (self.critic, shared.rate),
        )  # fmt: skip
        self.optimizers = [torch.optim.Adam(list(net.parameters()), lr=rate, fused=True) for net, rate in groups]

    def latent(self, actor: EnsembleMLP, obs: Tensor) -> Tensor:
        """Return the latent action `[B, 2 A]` for `obs [B, S]`, within the limit."""
        return self.settings.latent_limit * torch.tanh(actor(obs.unsqueeze(0))[0])

    def actions(self, actor: EnsembleMLP, obs: Tensor) -> Tensor:
        """Return the decoded actions `[B, A]`."""
        return self.autoencoder.decode(obs, self.latent(actor, obs))

    @torch.no_grad()
    def value(self, obs: Tensor) -> Tensor:
        """Return `min_i Q_i(s, pi(s))`, for any leading dimensions: `[..., S] -> [...]`."""
        flat = obs.reshape(-1, obs.shape[-1])
        return q_values(self.critic, flat, self.actions(self.actor, flat)).amin(0).view(obs.shape[:-1])

    @torch.no_grad()
    def act(self, obs: Tensor, generators: Generators | None) -> Tensor:
        """Return actions `[..., A]`; the actor is deterministic, so nothing is drawn from `generators`."""
        return self.actions(self.actor, obs.reshape(-1, obs.shape[-1])).view(*obs.shape[:-1], -1)

    @torch.no_grad()
    def targets(self, batch: Batch) -> Targets:
        """Return one-step targets, from a mean of the critics (mostly the lower) at the target actor's action."""
        c = self.settings
        q = q_values(self.target, batch.next_obs, self.actions(self.actor_target, batch.next_obs))
        following = c.minimum_weight * q.amin(0) + (1 - c.minimum_weight) * q.amax(0)
        return one_step(batch, following, self.shared.discount, self.bounds)

    def update(self, batch: Batch) -> None:
        """Take one gradient step on `batch`: of the autoencoder at first, later of critics and latent actor."""
        autoencoder_optimizer, actor_optimizer, critic_optimizer = self.optimizers
        self.updates += 1
        if self.updates <= self.pretraining:
            autoencoder_optimizer.zero_grad(set_to_none=True)
            self.autoencoder.loss(batch, self.settings.kl_weight, self.generator).backward()
            autoencoder_optimizer.step()
            return
        critic_loss = self.targets(batch).loss(self.critic)
        critic_optimizer.zero_grad(set_to_none=True)
        critic_loss.backward()
        critic_optimizer.step()

        for net in (self.critic, self.autoencoder):
            net.requires_grad_(False)
        actor_loss = -q_values(self.critic, batch.obs, self.actions(self.actor, batch.obs))[0].mean()
        actor_optimizer.zero_grad(set_to_none=True)
        actor_loss.backward()
        actor_optimizer.step()
        for net in (self.critic, self.autoencoder):
            net.requires_grad_(True)
        polyak(self.actor_target, self.actor, self.shared.tau)
        polyak(self.target, self.critic, self.shared.tau)

    def checkpoint(self) -> dict[str, Any]:
        """Return the states of networks, optimisers and random generator, and the number of updates so far."""
        return {**saved(self, *NETWORKS), "updates": self.updates}

    def restore(self, state: dict[str, Any]) -> None:
        """Restore the state from `checkpoint`."""
        restored(self, state, *NETWORKS)
        self.updates = state["updates"]
