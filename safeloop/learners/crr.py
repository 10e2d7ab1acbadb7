"""Critic-regularised regression (CRR; Wang et al., 2020), which imitates the dataset's actions of high advantage."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn

from safeloop.data.replay import Batch
from safeloop.learners.settings import CRRSettings, LearnerSettings
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

NETWORKS = ("actor", "critic", "actor_target", "target")

WEIGHT_LIMIT = 20.0
"""Upper bound of the exponential weights, as published."""


class GaussianActor(nn.Module):
    """A Gaussian around a bounded mean, `[B, S] -> [B, A]`.

    The Gaussian is not squashed, because a dataset's actions may lie on the bounds, where a squashed Gaussian's density
    is infinite.
    """

    def __init__(self, obs_dim: int, act_dim: int, hidden: int, generator: torch.Generator):
        super().__init__()
        self.net = EnsembleMLP(1, [obs_dim, hidden, hidden, 2 * act_dim], torch.relu_, generator)

    def gaussian(self, obs: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean and the log standard deviation, `[B, A]` each."""
        mean, raw = self.net(obs.reshape(1, -1, obs.shape[-1]))[0].chunk(2, -1)
        return torch.tanh(mean), -5 + 2.5 * (torch.tanh(raw) + 1)  # log standard deviation in [-5, 0]

    def log_prob(self, obs: Tensor, act: Tensor) -> Tensor:
        """Return the log-density `[B]` of actions."""
        mean, log_std = self.gaussian(obs)
        z = (act - mean) / log_std.exp()
        return (-0.5 * z.square() - log_std - 0.5 * math.log(2 * math.pi)).sum(-1)

    def sample(self, obs: Tensor, generators: Generators) -> Tensor:
        """Draw actions `[B, A]`, clipped to [-1, 1]."""
        mean, log_std = self.gaussian(obs)
        return (mean + log_std.exp() * normals(mean.shape, generators)).clamp(-1, 1)


def weights(advantage: Tensor, kind: str, temperature: float) -> Tensor:
    """Return the weight f of the advantage, any shape (the paper's Eq. 2 and the text below it)."""
    if kind == "binary":
        return (advantage > 0).float()
    return (advantage / temperature).exp().clamp(max=WEIGHT_LIMIT)


class CRR:
    """The CRR learner: an actor, twin critics and target networks of both, with one `update` per batch.

    Targets are kept between the two `bounds`, where these are given.
    """

    def __init__(
        self,
        obs_dim: int,
        act_dim: int,
        shared: LearnerSettings,
        settings: CRRSettings,
        generator: torch.Generator,
        device: str = "cpu",
        bounds: tuple[float, float] | None = None,
        layer_norm: bool = False,
    ):
        self.shared, self.settings, self.generator, self.bounds = shared, settings, generator, bounds
        init, h = initialiser(generator), shared.hidden
        self.actor = GaussianActor(obs_dim, act_dim, h, init).to(device)
        self.critic = twin_critics(obs_dim, act_dim, h, init, layer_norm).to(device)
        self.actor_target = copy.deepcopy(self.actor).requires_grad_(False)
        self.target = copy.deepcopy(self.critic).requires_grad_(False)
        groups = (self.actor.parameters(), self.critic.parameters())
        self.optimizers = [torch.optim.Adam(list(g), lr=shared.rate, fused=True) for g in groups]

    @torch.no_grad()
    def value(self, obs: Tensor) -> Tensor:
        """Return `min_i Q_i(s, pi(s))` with the actor's mean action, with leading dimensions: `[..., S] -> [...]`."""
        flat = obs.reshape(-1, obs.shape[-1])
        return q_values(self.critic, flat, self.actor.gaussian(flat)[0]).amin(0).view(obs.shape[:-1])

    @torch.no_grad()
    def act(self, obs: Tensor, generators: Generators | None) -> Tensor:
        """Return actions `[B, A]`, drawn with `generators`, or the mean actions without generators."""
        flat = obs.reshape(-1, obs.shape[-1])
        actions = self.actor.gaussian(flat)[0] if generators is None else self.actor.sample(flat, generators)
        return actions.view(*obs.shape[:-1], -1)

    def explore(self, obs: Tensor, generators: Generators) -> Tensor:
        """Draw actions `[B, A]` from the actor."""
        return self.act(obs, generators)

    @torch.no_grad()
    def targets(self, batch: Batch) -> Targets:
        """Return one-step targets, from the lower of the critics at an action of the target actor."""
        act = self.actor_target.sample(batch.next_obs, [self.generator])
        following = q_values(self.target, batch.next_obs, act).amin(0)
        return one_step(batch, following, self.shared.discount, self.bounds)

    @torch.no_grad()
    def advantage(self, batch: Batch) -> Tensor:
        """Return `Q(s, a)` minus the mean of Q over m actions of the actor, `[B]`."""
        m, b = self.settings.samples, len(batch.reward)
        obs = batch.obs.repeat(m, 1)  # [m*B, S]
        drawn = q_values(self.critic, obs, self.actor.sample(obs, [self.generator])).amin(0).view(m, b)
        return q_values(self.critic, batch.obs, batch.act).amin(0) - drawn.mean(0)

    def update(self, batch: Batch) -> None:
        """Take one gradient step of critics and actor on `batch`."""
        c, (actor_optimizer, critic_optimizer) = self.settings, self.optimizers
        critic_loss = self.targets(batch).loss(self.critic)
        critic_optimizer.zero_grad(set_to_none=True)
        critic_loss.backward()
        critic_optimizer.step()

        weight = weights(self.advantage(batch), c.weights, c.advantage_temperature)
        actor_loss = -(weight * self.actor.log_prob(batch.obs, batch.act)).mean()
        actor_optimizer.zero_grad(set_to_none=True)
        actor_loss.backward()
        actor_optimizer.step()
        polyak(self.actor_target, self.actor, self.shared.tau)
        polyak(self.target, self.critic, self.shared.tau)

    def checkpoint(self) -> dict[str, Any]:
        """Return the states of the networks, the optimisers and the random generator."""
        return saved(self, *NETWORKS)

    def restore(self, state: dict[str, Any]) -> None:
        """Restore the state from `checkpoint`."""
        restored(self, state, *NETWORKS)
