"""The training targets of critics."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from safeloop.data.replay import Batch
from safeloop.networks import EnsembleMLP, q_values


class Targets(NamedTuple):
    """The target values of critics at state-action pairs."""

    obs: Tensor  # [B, S]
    act: Tensor  # [B, A]
    target: Tensor  # [B]
    weight: Tensor  # [B], 0 where the pair lies beyond an imagined episode's end or the prediction is not finite

    def loss(self, critic: EnsembleMLP) -> Tensor:
        """Return the squared error, averaged over the pairs and summed over the critics."""
        error = q_values(critic, self.obs, self.act) - self.target
        return (self.weight * error.square()).mean(1).sum()


def one_step(batch: Batch, following: Tensor, discount: float, bounds: tuple[float, float] | None = None) -> Targets:
    """Return the targets `r + discount * following`, without the values `following [B]` where an episode terminated.

    They are kept between the two `bounds`, where these are given.
    """
    target = batch.reward + discount * (1 - batch.terminated) * following
    if bounds is not None:
        target = target.clamp(*bounds)
    return Targets(batch.obs, batch.act, target, torch.ones_like(target))
