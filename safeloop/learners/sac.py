"""Soft actor-critic (Haarnoja et al., 2018) with twin critics and a learned temperature; CoRL 2021, C.2."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from safeloop.data.replay import Batch
from safeloop.learners.settings import LearnerSettings, SACSettings
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

EDGE = 1 - 1e-6
"""Largest action whose noise is told: that of a limit itself is infinite."""
Objective = Callable[[Tensor], tuple[Tensor, Tensor]]
"""A function that returns the actor's objective `[B]` in states `[B, S]`, and `log pi` of its actions there, `[M]`."""


class Actor(nn.Module):
    """A tanh-squashed Gaussian, `[B, S] -> [B, A]`."""

    def __init__(self, net: EnsembleMLP):
        super().__init__()
        self.net = net
        """One network, `[1, B, S] -> [1, B, 2A]`."""

    def _gaussian(self, obs: Tensor) -> tuple[Tensor, Tensor]:
        return self._bounded(self.net(obs.reshape(1, -1, obs.shape[-1]))[0])

    @staticmethod
    def _bounded(outputs: Tensor) -> tuple[Tensor, Tensor]:
        mean, raw = outputs.chunk(2, -1)
        return mean, -5 + 3.5 * (torch.tanh(raw) + 1)  # log standard deviation in [-5, 2]

    def mean(self, obs: Tensor) -> Tensor:
        """Return the squashed mean action, for any leading dimensions."""
        return torch.tanh(self._gaussian(obs)[0]).view(*obs.shape[:-1], -1)

    def sample(self, obs: Tensor, generators: Generators, parts: int = 1) -> tuple[Tensor, Tensor]:
        """Draw an action `[B, A]`, and return it with its log-probability `[B]` (differentiable).

        The rows may be of several `parts` of equal size, which have the same noise.
        """
        mean, log_std = self._gaussian(obs)
        return self._squashed(mean, log_std, normals((len(mean) // parts, mean.shape[1]), generators).repeat(parts, 1))

    def drawn_with(self, obs: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Return the action `[B, A]` that the noise `[B, A]` draws, and its log-probability `[B]` (differentiable)."""
        return self._squashed(*self._gaussian(obs), noise)

    def noise_of(self, obs: Tensor, act: Tensor) -> Tensor:
        """Return the noise `[B, A]` that draws the actions `[B, A]`, which count as just within the limits."""
        mean, log_std = self._gaussian(obs)
        return (torch.atanh(act.clamp(-EDGE, EDGE)) - mean) / log_std.exp()

    @staticmethod
    def _squashed(mean: Tensor, log_std: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        u = mean + log_std.exp() * noise
        log_prob = (-0.5 * noise.square() - log_std - 0.5 * math.log(2 * math.pi)).sum(-1)
        # log det of tanh: log(1 - tanh(u)^2) = 2 (log 2 - u - softplus(-2u))
        return torch.tanh(u), log_prob - (2 * (math.log(2) - u - F.softplus(-2 * u))).sum(-1)


class SoftLearner:
    """An actor, two critics and a learned temperature: what SAC and CrossQ have in common."""

    networks: tuple[str, ...] = ("actor", "critic")
    """Names of the networks, which checkpoints have."""

    def __init__(
        self,
        actor: Actor,
        critic: EnsembleMLP,
        act_dim: int,
        shared: LearnerSettings,
        settings: SACSettings,
        generator: torch.Generator,
        device: str,
        betas: tuple[float, float] = (0.9, 0.999),
    ):
        self.shared, self.settings, self.generator = shared, settings, generator
        self.actor, self.critic = actor.to(device), critic.to(device)
        self.log_temperature = torch.tensor(math.log(settings.initial_temperature), device=device, requires_grad=True)
        self.target_entropy = -float(act_dim)
        nets, adam = (self.actor, self.critic), torch.optim.Adam
        self.optimizers = [adam(list(net.parameters()), shared.rate, betas, fused=True) for net in nets]
        self.optimizers.append(adam([self.log_temperature], shared.rate, fused=True))
        """Adam of the actor, of the critics and of the temperature; `betas` are those of the first two."""

    @property
    def temperature(self) -> Tensor:
        """The present weight of the entropy."""
        return self.log_temperature.detach().exp()

    def lower(self, obs: Tensor, act: Tensor) -> Tensor:
        """Return the lower critic at pairs `[B, S], [B, A]`: `[B]` (differentiable)."""
        return q_values(self.critic, obs, act).amin(0)

    @torch.no_grad()
    def value(self, obs: Tensor) -> Tensor:
        """Return `min_i Q_i(s, pi(s))` with the actor's mean action, with leading dimensions: `[..., S] -> [...]`."""
        flat = obs.reshape(-1, obs.shape[-1])
        return self.lower(flat, self.actor.mean(flat)).view(obs.shape[:-1])

    @torch.no_grad()
    def act(self, obs: Tensor, generators: Generators | None) -> Tensor:
        """Return actions `[B, A]`, drawn with `generators`, or the mean actions without generators."""
        return self.actor.mean(obs) if generators is None else self.actor.sample(obs, generators)[0]

    def explore(self, obs: Tensor, generators: Generators) -> Tensor:
        """Draw actions `[B, A]` from the actor."""
        return self.act(obs, generators)

    def bonus(self, log_prob: Tensor) -> Tensor:
        """Return the targets' bonus for the entropy of an action: `-alpha log pi`, or 0 without `backup_entropy`."""
        return -self.temperature * log_prob if self.settings.backup_entropy else torch.zeros_like(log_prob)

    def adapt_temperature(self, log_prob: Tensor) -> None:
        """Take a gradient step of the temperature, towards the entropy's target, for drawn actions' `log pi [B]`."""
        *_, optimizer = self.optimizers
        loss = -(self.log_temperature * (log_prob.detach() + self.target_entropy)).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    def checkpoint(self) -> dict[str, Any]:
        """Return the states of networks, optimisers and random generator, and the temperature."""
        return {**saved(self, *self.networks), "log_temperature": self.log_temperature.detach()}

    def restore(self, state: dict[str, Any]) -> None:
        """Restore the state from `checkpoint`."""
        restored(self, state, *self.networks)
        with torch.no_grad():
            self.log_temperature.copy_(state["log_temperature"])


class SAC(SoftLearner):
    """The SAC learner: an actor, twin critics, their targets and a temperature, with one `update` per batch."""

    networks = ("actor", "critic", "target")

    def __init__(
        self,
        obs_dim: int,
        act_dim: int,
        shared: LearnerSettings,
        settings: SACSettings,
        generator: torch.Generator,
        device: str = "cpu",
        *,
        layer_norm: bool = False,
    ):
        init, h = initialiser(generator), shared.hidden
        actor = Actor(EnsembleMLP(1, [obs_dim, h, h, 2 * act_dim], torch.relu_, init))
        critic = twin_critics(obs_dim, act_dim, h, init, layer_norm)
        super().__init__(actor, critic, act_dim, shared, settings, generator, device)
        self.target = copy.deepcopy(self.critic).requires_grad_(False)
        self.gradient_norm = math.nan
        """Norm of the actor's last gradient of an `objective`, before it was bounded."""

    @torch.no_grad()
    def next_value(self, obs: Tensor) -> Tensor:
        """Return the targets' value of states `[B, S] -> [B]`: the lower critic at a drawn action, plus its bonus."""
        act, log_prob = self.actor.sample(obs, [self.generator])
        return q_values(self.target, obs, act).amin(0) + self.bonus(log_prob)

    @torch.no_grad()
    def targets(self, batch: Batch) -> Targets:
        """Return one-step targets."""
        following = self.next_value(batch.next_obs)
        target = batch.reward + self.shared.discount * (1 - batch.terminated) * following
        return Targets(batch.obs, batch.act, target, torch.ones_like(target))

    def worth(self, obs: Tensor) -> tuple[Tensor, Tensor]:
        """Return the lower critic at drawn actions less `alpha log pi`, `[B]`, and `log pi`, `[B]` (differentiable)."""
        act, log_prob = self.actor.sample(obs, [self.generator])
        return self.lower(obs, act) - self.temperature * log_prob, log_prob

    def update(
        self,
        batch: Batch,
        targets: Targets | None = None,
        objective: Objective | None = None,
        bound: float = math.inf,
    ) -> None:
        """Take a gradient step of critics, actor and temperature on `batch`; `targets` None: its one-step targets.

        The actor's gradient is that of `objective`, with a norm of at most `bound`; the actor stays as it is where the
        gradient is not finite. `objective` None: that of `worth`, as published.
        """
        actor_optimizer, critic_optimizer, _ = self.optimizers
        critic_loss = (targets or self.targets(batch)).loss(self.critic)
        critic_optimizer.zero_grad(set_to_none=True)
        critic_loss.backward()
        critic_optimizer.step()

        self.critic.requires_grad_(False)
        worth, log_prob = (objective or self.worth)(batch.obs)
        actor_optimizer.zero_grad(set_to_none=True)
        (-worth.mean()).backward()
        if objective is not None:
            self.gradient_norm = torch.nn.utils.clip_grad_norm_(self.actor.parameters(), bound).item()
        if objective is None or math.isfinite(self.gradient_norm):
            actor_optimizer.step()
        self.critic.requires_grad_(True)

        self.adapt_temperature(log_prob)
        polyak(self.target, self.critic, self.shared.tau)
