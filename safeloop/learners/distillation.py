"""Make a policy of plans (Wang & Ba, 2020, 4.4): behaviour cloning, a GAN, or the mean of the noise on the weights.

Letters: n decisions, S observation, A action, D policy weights.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from safeloop.learners.flat_policy import FlatPolicy
from safeloop.learners.settings import DistillationSettings
from safeloop.networks import EnsembleMLP, Generators, initialiser, restored, saved


class Planned(NamedTuple):
    """Decisions that plans have led to."""

    obs: Tensor  # [n, S]
    act: Tensor  # [n, A]
    noise: Tensor  # [n, D], on the policy's weights; [n, 0] where plans were of actions


def cloning_loss(policy: FlatPolicy, obs: Tensor, act: Tensor) -> Tensor:
    """Return the mean squared distance of the policy's actions from the planned ones (Eq. 7)."""
    return (policy(obs) - act).square().sum(-1).mean()


def discriminator_loss(real: Tensor, made: Tensor, entropy_penalty: float) -> Tensor:
    """Return the discriminator's loss of logits `[n]` of planned actions and of the policy's (Eq. 8).

    The mean entropy of its guesses is subtracted with a weight, so that it stays unsure.
    """
    loss = functional.softplus(-real).mean() + functional.softplus(made).mean()
    logits = torch.cat((real, made))
    entropy = functional.softplus(-logits) + (1 - torch.sigmoid(logits)) * logits  # of a coin with this chance
    return loss - entropy_penalty * entropy.mean()


class Distillation:
    """The policy of a planner, and what makes it of plans."""

    def __init__(
        self, policy: FlatPolicy, settings: DistillationSettings, noise_variance: float, generator: torch.Generator
    ):
        """Distil into `policy`; `noise_variance` is that of the search's noise on its weights at first (GAN)."""
        self.policy, self.settings, self.generator = policy, settings, generator
        self.deviation = noise_variance**0.5
        c, device = settings, policy.weights.device
        sizes = [len(policy.mean) + policy.shapes[-1][1], c.discriminator_width, c.discriminator_width, 1]
        self.discriminator = EnsembleMLP(1, sizes, functional.leaky_relu, initialiser(generator)).to(device)
        self.optimizers = [
            torch.optim.Adam([policy.weights], lr=c.policy_learning_rate),
            torch.optim.Adam(self.discriminator.parameters(), lr=c.discriminator_learning_rate),
        ]

    @torch.no_grad()
    def act(self, obs: Tensor, generators: Generators | None = None) -> Tensor:
        """Return the policy's actions `[..., A]` for observations `[..., S]`."""
        return self.policy(obs)

    def distil(self, planned: Planned) -> None:
        """Change the policy by plans; observations are standardised anew before."""
        self.policy.standardise(planned.obs)
        if self.settings.distillation == "zero":
            return
        if self.settings.distillation == "avg":
            self._average(planned.noise)
            return
        for _ in range(self.settings.distilled_steps):
            rows = torch.randint(
                len(planned.obs), (self.settings.distilled_batch,), generator=self.generator, device=planned.obs.device
            )
            obs, act = planned.obs[rows], planned.act[rows]
            if self.settings.distillation == "bc":
                self._step(0, cloning_loss(self.policy, obs, act))
            else:
                self._adversarial_step(obs, act)

    @torch.no_grad()
    def _average(self, noise: Tensor) -> None:
        weights = self.policy.weights
        mean = noise.mean(0)
        weights.copy_(mean if self.settings.averaged == "replaced" else weights + mean)

    def _adversarial_step(self, obs: Tensor, act: Tensor) -> None:
        """Take a gradient step of the discriminator, then one of the policy, whose loss is `-log D`."""
        shape = len(obs), self.policy.size
        noise = self.deviation * torch.randn(shape, generator=self.generator, device=obs.device)
        made = self.policy.changed(obs[:, None], noise)[:, 0]
        real = self._logits(obs, act)
        self._step(1, discriminator_loss(real, self._logits(obs, made.detach()), self.settings.entropy_penalty))
        self._step(0, functional.softplus(-self._logits(obs, made)).mean())

    def _logits(self, obs: Tensor, act: Tensor) -> Tensor:
        seen = torch.cat(((obs - self.policy.mean) / self.policy.scale, act), -1)
        return self.discriminator(seen[None])[0, :, 0]

    def _step(self, which: int, loss: Tensor) -> None:
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        loss.backward()
        self.optimizers[which].step()

    def checkpoint(self) -> dict[str, Any]:
        """Return everything that distillation has changed."""
        policy = {"weights": self.policy.weights.detach(), "mean": self.policy.mean, "scale": self.policy.scale}
        return {**saved(self, "discriminator"), "policy": policy}

    @torch.no_grad()
    def restore(self, state: dict[str, Any]) -> None:
        """Restore `checkpoint`."""
        restored(self, state, "discriminator")
        for name, value in state["policy"].items():
            getattr(self.policy, name).copy_(value)
