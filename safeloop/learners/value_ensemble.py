"""POLO's values (Lowrey et al., 2019): an ensemble with randomised priors, whose disagreement is optimism.

Letters: K networks, n states in a batch, S observation.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from safeloop.errors import UsageError
from safeloop.learners.settings import ValueEnsembleSettings
from safeloop.networks import EnsembleMLP, initialiser, restored, saved


def optimistic(values: Tensor, kappa: float, kind: str = "normalised") -> Tensor:
    """Return one value `[...]` of the values `[K, ...]` of an ensemble (Eq. 6).

    `normalised` is `(1/kappa) log mean_k exp(kappa V_k)`: the mean for small kappa, the maximum for large. `printed` is
    the paper's `log sum_k exp(kappa V_k)`, kappa times as large and log(K) higher. `none` is the mean.
    """
    if kind == "none":
        return values.mean(0)
    total = torch.logsumexp(kappa * values, 0)
    return total if kind == "printed" else (total - math.log(len(values))) / kappa


class ValueEnsemble:
    """K values, each a network plus a fixed random one, its prior (Osband et al., 2018).

    Raises `UsageError` where values are to see more numbers than an observation has.
    """

    def __init__(self, obs_dim: int, settings: ValueEnsembleSettings, generator: torch.Generator, device: str):
        c = settings
        self.settings, self.generator = c, generator
        if c.value_inputs > obs_dim:
            raise UsageError(f"value_inputs={c.value_inputs}: an observation has {obs_dim} numbers; give fewer, or 0")
        self.inputs = c.value_inputs or obs_dim
        sizes = [self.inputs, *[c.value_width] * c.value_layers, 1]
        weights = initialiser(generator)
        self.prior, self.net = (
            EnsembleMLP(c.value_ensemble_size, sizes, torch.tanh, weights).to(device) for _ in range(2)
        )
        for net in (self.prior, self.net):
            _widen(net, c.input_gain)
        with torch.no_grad():  # values begin close to the priors
            self.net.weights[-1].mul_(0.1)
            self.net.biases[-1].zero_()
        self.prior.requires_grad_(False)
        self.optimizers = [torch.optim.Adam(self.net.parameters(), lr=c.value_learning_rate)]

    def each(self, obs: Tensor) -> Tensor:
        """Return all values `[K, n]` of observations `[n, S]`, or of each network's own, `[K, n, S]`."""
        x = obs[..., : self.inputs].expand(self.settings.value_ensemble_size, -1, -1)
        return self.settings.value_scale * (self.net(x) + self.settings.prior_scale * self.prior(x))[..., 0]

    def value(self, obs: Tensor, kind: str | None = None) -> Tensor:
        """Return the ensemble's value `[...]` of observations `[..., S]`, optimistic by the settings or by `kind`."""
        c = self.settings
        values = self.each(obs.reshape(-1, obs.shape[-1]))
        kappa = c.kappa / c.value_scale
        return optimistic(values, kappa, kind or c.optimism).view(obs.shape[:-1])

    def update(self, obs: Tensor, target: Tensor) -> None:
        """Take one gradient step on each network's states `[K, n, S]` and targets `[K, n]` (Eq. 5)."""
        c = self.settings
        if c.target_noise:
            noise = torch.randn(target.shape, generator=self.generator, device=target.device)
            target = target + c.value_scale * c.target_noise * noise
        loss = ((self.each(obs) - target) / c.value_scale).square().mean(1).sum()
        if c.weight_decay:
            loss = loss + c.weight_decay * sum(p.square().sum() for p in self.net.parameters())
        (optimizer,) = self.optimizers
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    def checkpoint(self) -> dict[str, Any]:
        """Return everything that learning has changed, and the priors."""
        return saved(self, "prior", "net")

    def restore(self, state: dict[str, Any]) -> None:
        """Restore `checkpoint`."""
        restored(self, state, "prior", "net")


@torch.no_grad()
def _widen(net: EnsembleMLP, gain: float) -> None:
    """Give initial weights variance 1/n_in, as tanh units want, and the first layer `gain` times as much in amplitude.

    Biases of the first layer grow with its weights, so that units bend all over the range of the inputs.
    """
    for weight in net.weights:
        weight.mul_(math.sqrt(3))
    net.weights[0].mul_(gain)
    net.biases[0].mul_(math.sqrt(3 * net.weights[0].shape[1]) * gain)
