"""A small deterministic policy whose weights are one vector, so that a planner can search among them (POPLIN)."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from safeloop.networks import initialiser


class FlatPolicy:
    """A perceptron of tanh units with actions in [-1, 1]; observations are standardised before it sees them.

    Letters: S observation, A action, D weights, R rows with weights of their own, M observations of each.
    """

    def __init__(
        self, sizes: list[int], generator: torch.Generator, device: str, last: float = 0.01, zero: bool = False
    ):
        """Make a policy of layers `sizes`, from S to A; the last layer's weights begin `last` times as large.

        With `zero` all weights are 0.
        """
        self.shapes = list(pairwise(sizes))
        weights = initialiser(generator)
        parts = []
        for i, (n_in, n_out) in enumerate(self.shapes):
            scale = n_in**-0.5 * (last if i == len(self.shapes) - 1 else 1.0)
            parts += [scale * torch.randn(n_in * n_out, generator=weights), torch.zeros(n_out)]
        self.weights = (0 * torch.cat(parts) if zero else torch.cat(parts)).to(device).requires_grad_()
        """`[D]`."""
        self.size = len(self.weights)
        self.mean, self.scale = torch.zeros(sizes[0], device=device), torch.ones(sizes[0], device=device)

    def standardise(self, obs: Tensor) -> None:
        """Take the mean and the standard deviation of observations `[n, S]` for those of all observations."""
        self.mean.copy_(obs.mean(0))
        deviation = obs.std(0, unbiased=False)
        self.scale.copy_(torch.where(deviation > 1e-6, deviation, 1.0))

    def __call__(self, obs: Tensor) -> Tensor:
        """Return the actions `[..., A]` in observations `[..., S]`."""
        rows = obs.reshape(1, -1, obs.shape[-1])
        return self._forward(rows, self.weights[None]).view(*obs.shape[:-1], -1)

    def changed(self, obs: Tensor, noise: Tensor) -> Tensor:
        """Return the actions `[R, M, A]` in `obs [R, M, S]`, with `noise [R, D]` added to the weights."""
        return self._forward(obs, self.weights + noise)

    def _forward(self, obs: Tensor, weights: Tensor) -> Tensor:
        x, used = (obs.float() - self.mean) / self.scale, 0
        with torch.autocast(obs.device.type, enabled=False):  # the noise on weights is too small for bfloat16
            for n_in, n_out in self.shapes:
                matrix = weights[:, used : used + n_in * n_out].view(-1, n_in, n_out)
                used += n_in * n_out
                x = torch.tanh(torch.baddbmm(weights[:, None, used : used + n_out], x, matrix))
                used += n_out
        return x
