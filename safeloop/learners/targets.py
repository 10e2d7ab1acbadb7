"""The training targets of critics."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

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
