"""Fit models that learn side by side: gradient steps, then each model's best weights on held-out data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from safeloop.activity import tracked

CHECKED_EVERY = 50
"""Gradient steps between measurements of the held-out error."""
HELD = 1000
"""Largest number of held-out examples that are looked at."""

Data = TypeVar("Data")
Fitted = tuple[int, float, float]
"""Gradient steps of a fit, and the models' mean held-out error before and after."""


class Fit(Generic[Data]):
    """K models in one module, whose parameters all have the models as their first dimension."""

    def __init__(
        self,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        loss: Callable[[Data], Tensor],
        error: Callable[[Data], Tensor],
    ):
        self.module, self.optimizer, self.loss, self.error = module, optimizer, loss, error

    def __call__(self, sample: Callable[[], Data], held: Data, steps: int, patience: int = 0) -> Fitted:
        """Take at most `steps` gradient steps on samples, then restore each model's best weights.

        The held-out error is measured before the first step and every 50 steps. With `patience` > 0, fitting stops
        after that many checks in a row without a gain: a model gains when its error is 1% below the error at its last
        gain, so small gains add up. Returns the steps taken and the mean error before and after.
        """
        parameters = list(self.module.parameters())
        best_error = self.error(held)
        first_error = best_error.mean().item()
        best, reference = [p.detach().clone() for p in parameters], best_error
        stale, done = 0, 0
        for step in tracked(range(1, steps + 1), "fitting the models", "gradient steps"):
            data: Any = sample()
            self.optimizer.zero_grad(set_to_none=True)
            self.loss(data).backward()
            self.optimizer.step()
            done = step
            if step % CHECKED_EVERY == 0 or step == steps:
                error = self.error(held)
                better = error < best_error
                gained = error < 0.99 * reference
                reference = torch.where(gained, error, reference)
                stale = 0 if bool(gained.any()) else stale + 1
                best_error = torch.where(better, error, best_error)
                with torch.no_grad():
                    for kept, parameter in zip(best, parameters, strict=True):
                        kept[better] = parameter[better]
                if patience and stale >= patience:
                    break
        with torch.no_grad():
            for kept, parameter in zip(best, parameters, strict=True):
                parameter.copy_(kept)
        return done, first_error, best_error.mean().item()
