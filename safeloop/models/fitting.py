"""Fit models that learn side by side: gradient steps, then each model's best weights on held-out data."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from safeloop.activity import tracked

CHECKED_EVERY = 50
"""Gradient steps between measurements of the held-out error."""
HELD = 1000
"""Largest number of held-out examples that are looked at."""

NOTHING = 1e-20
"""Size below which a weight is set to 0 after a fit. Weight decay takes those of units that are never active there;
beside others they add nothing, but products with the smallest numbers of float32 take several times as long."""

Fitted = tuple[int, float, float]
"""Gradient steps of a fit, and the models' mean held-out error before and after."""


def logistic(logit: Tensor, truth: Tensor, weight: Tensor | float = 1.0) -> Tensor:
    """Return the mean losses `[K]` of logits `[K, B]`, weighed by `[K, B]`; of `[K, B, C]` the sum over C of them."""
    error = F.binary_cross_entropy_with_logits(logit, truth, reduction="none")
    return (weight * (error if error.ndim == 2 else error.sum(2))).mean(1)


def passes(epochs: int, examples: int, batch_size: int) -> int:
    """Return the gradient steps of so many passes over the examples, rounded up."""
    return -(-epochs * examples // batch_size)


class Learned(nn.Module, ABC):
    """K models in one module, whose parameters all have the models as their first dimension, with their optimiser."""

    optimizer: torch.optim.Optimizer
    generator: torch.Generator
    reward_mean: Tensor
    reward_std: Tensor
    event_reward: Tensor

    @abstractmethod
    def _loss(self, data: Any) -> Tensor:
        """Return the loss `[]` on examples, summed over models."""

    @abstractmethod
    def _holdout_error(self, data: Any) -> Tensor:
        """Return the error of each model on held-out examples, `[K]`."""

    def _descend(self, sample: Callable[[], Any], held: Any, steps: int, patience: int = 0, least: int = 0) -> Fitted:
        """Take at most `steps` gradient steps on samples, then restore each model's best weights.

        The held-out error is measured before the first step and every 50 steps. With `patience` > 0, fitting stops
        after `least` steps at the earliest, where that many checks in a row were without a gain: a model gains when
        its error is 1% below the error at its last gain, so small gains add up. Returns the steps taken and the mean
        error before and after. Weights that are as good as 0 are 0 in the end.
        """
        parameters = list(self.parameters())
        best_error = self._holdout_error(held)
        first_error = best_error.mean().item()
        best, reference = [p.detach().clone() for p in parameters], best_error
        stale, done = 0, 0
        for step in tracked(range(1, steps + 1), "fitting the models", "gradient steps"):
            self.optimizer.zero_grad(set_to_none=True)
            self._loss(sample()).backward()
            self.optimizer.step()
            done = step
            if step % CHECKED_EVERY == 0 or step == steps:
                error = self._holdout_error(held)
                better = error < best_error
                gained = error < 0.99 * reference
                reference = torch.where(gained, error, reference)
                stale = 0 if bool(gained.any()) else stale + 1
                best_error = torch.where(better, error, best_error)
                with torch.no_grad():
                    for kept, parameter in zip(best, parameters, strict=True):
                        kept[better] = parameter[better]
                if patience and stale >= patience and done >= least:
                    break
        with torch.no_grad():
            for kept, parameter in zip(best, parameters, strict=True):
                parameter.copy_(torch.where(kept.abs() < NOTHING, 0.0, kept))
        return done, first_error, best_error.mean().item()

    def _outcome(
        self, reward: Tensor | None, logits: Mapping[str, Tensor], like: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return rewards `[K, B]` (0 in the shape of `like` where not learned) and probabilities `{name: [K, B]}`.

        Violations of several costs have `[K, B, C]`.
        `reward` is in normalised units.
        """
        chance = {name: torch.sigmoid(logit.float()) for name, logit in logits.items()}
        if reward is None:
            return torch.zeros(like.shape[:-1], device=like.device), chance
        reward = reward.float() * self.reward_std + self.reward_mean
        if "event" in chance:  # progress and event are separate: an event's reward is the mean reward of events
            reward = torch.lerp(reward, self.event_reward, chance["event"])
        return reward, chance

    def checkpoint(self) -> dict[str, Any]:
        """Return the weights, the normalisers, and the states of the optimiser and the random generator."""
        return {
            "model": self.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Restore the state from `checkpoint`."""
        self.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"])
