"""Gaussian likelihoods of numbers that an environment clips.

Where the truth stands at a limit, the number itself was there or beyond: the likelihood is the Gaussian's mass beyond
the limit, not its density at it (Tobin, 1958: Estimation of relationships for limited dependent variables).
"""

from __future__ import annotations

import torch
from torch import Tensor


def clipped_side(truth: Tensor, limit: Tensor) -> Tensor:
    """Return 1 where numbers `[..., S]` stand at their limit `[S]`, -1 at its negative, and 0 elsewhere."""
    return (truth >= limit).float() - (truth <= -limit).float()


def deviance(mean: Tensor, variance: Tensor, target: Tensor, side: Tensor | None = None) -> Tensor:
    """Return minus twice the log-likelihoods of targets, without constants, all in one shape.

    `side` is 1 where the truth is the target or more, -1 where it is the target or less, and 0 elsewhere; without it
    no target is clipped.
    """
    density = (mean - target).square() / variance + variance.log()
    if side is None:
        return density
    beyond = -2 * torch.special.log_ndtr(side * (mean - target) / variance.sqrt())
    return torch.where(side == 0, density, beyond)


def misses(mean: Tensor, target: Tensor, side: Tensor | None = None) -> Tensor:
    """Return the errors of predictions: 0 for one beyond a target that is clipped on that side."""
    error = mean - target
    return error if side is None else torch.where(side * error > 0, 0.0, error)
