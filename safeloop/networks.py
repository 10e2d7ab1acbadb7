"""Batched multi-layer perceptrons: K networks of one shape evaluated together, `[K, B, in] -> [K, B, out]`."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn


class EnsembleMLP(nn.Module):
    """K perceptrons with their own weights and one shape. Layer i maps `[K, B, n_i] -> [K, B, n_i+1]`."""

    def __init__(
        self,
        members: int,
        sizes: list[int],
        activation: Callable[[Tensor], Tensor],
        generator: torch.Generator,
    ):
        super().__init__()
        self.activation = activation
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for n_in, n_out in zip(sizes[:-1], sizes[1:], strict=True):
            bound = 1 / math.sqrt(n_in)
            for parameters, shape in ((self.weights, (members, n_in, n_out)), (self.biases, (members, 1, n_out))):
                initial = torch.empty(shape).uniform_(-bound, bound, generator=generator)
                parameters.append(nn.Parameter(initial))

    def forward(self, x: Tensor) -> Tensor:
        """`[K, B, in] -> [K, B, out]`."""
        return self.after_first_layer(torch.baddbmm(self.biases[0], x, self.weights[0]))

    def after_first_layer(self, h: Tensor) -> Tensor:
        """The rest of `forward`, from the first layer's output `[K, B, n_1]`."""
        for weight, bias in zip(list(self.weights)[1:], list(self.biases)[1:], strict=True):
            h = torch.baddbmm(bias, self.activation(h), weight)
        return h
