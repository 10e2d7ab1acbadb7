"""Batch renormalisation (Ioffe, 2017), and batched perceptrons that have it before every layer (Bhatt et al., 2024)."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from safeloop.networks import EnsembleMLP, affine

R_MAX, D_MAX = 3.0, 5.0
"""Bounds of the corrections: r in [1 / R_MAX, R_MAX], d in [-D_MAX, D_MAX] (Ioffe, section 4)."""
EPSILON = 1e-3
"""The number that is added to each variance (Ioffe, section 3.1)."""


class BatchRenorm(nn.Module):
    """Batch renormalisation of the units of K networks, `[K, B, n] -> [K, B, n]`, each with statistics of its own.

    A call uses the running statistics; `on_batch` uses a batch's, and moves the running ones. These are of the mean and
    of the variance, not of the standard deviation as in the paper, as CrossQ's authors have it.
    """

    mean: Tensor
    variance: Tensor

    def __init__(self, ensemble_size: int, size: int, momentum: float):
        super().__init__()
        self.momentum = momentum
        """Weight of a batch's statistics in the running ones."""
        self.scale = nn.Parameter(torch.ones(ensemble_size, 1, size))
        self.shift = nn.Parameter(torch.zeros(ensemble_size, 1, size))
        self.register_buffer("mean", torch.zeros(ensemble_size, 1, size))
        self.register_buffer("variance", torch.ones(ensemble_size, 1, size))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise by the running statistics."""
        factor = self.scale * torch.rsqrt(self.variance + EPSILON)
        return (x - self.mean) * factor + self.shift

    def on_batch(self, x: Tensor, corrected: bool) -> Tensor:
        """Normalise by the statistics of the batch, then move the running ones towards them (Algorithm 1).

        With `corrected` the result is nearly that of the running statistics before they moved, by r and d, through
        which no gradient goes; without, r = 1 and d = 0: plain batch normalisation.
        """
        variance, mean = torch.var_mean(x, 1, correction=0, keepdim=True)
        std = (variance + EPSILON).sqrt()
        normal = (x - mean) / std
        with torch.no_grad():
            if corrected:
                usual = (self.variance + EPSILON).sqrt()
                r = (std / usual).clamp(1 / R_MAX, R_MAX)
                d = ((mean - self.mean) / usual).clamp(-D_MAX, D_MAX)
            self.mean.lerp_(mean, self.momentum)  # in place: captured plans read these tensors
            self.variance.lerp_(variance, self.momentum)
        if corrected:
            normal = normal * r + d
        return normal * self.scale + self.shift


class RenormalisedMLP(EnsembleMLP):
    """K perceptrons of ReLUs with batch renormalisation before every layer: of the inputs, and of each activation."""

    def __init__(self, ensemble_size: int, sizes: list[int], generator: torch.Generator, momentum: float):
        super().__init__(ensemble_size, sizes, torch.relu_, generator)
        norms = [BatchRenorm(ensemble_size, n_in, momentum) for n_in, _ in pairwise(sizes)]
        self.norms = nn.ModuleList(norms)
        self.normalised = list(zip(norms, self.layers, strict=True))

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs by running statistics: `[K, B, in] -> [K, B, out]`."""
        for norm, layer in self.normalised[:-1]:
            x = self.activation(affine(norm(x), *layer))
        norm, layer = self.normalised[-1]
        return affine(norm(x), *layer)

    def on_batch(self, x: Tensor, corrected: bool) -> Tensor:
        """Return the same by statistics of the batch, and move the running ones (`BatchRenorm.on_batch`)."""
        for norm, layer in self.normalised[:-1]:
            x = self.activation(affine(norm.on_batch(x, corrected), *layer))
        norm, layer = self.normalised[-1]
        return affine(norm.on_batch(x, corrected), *layer)
