"""A frozen policy of another package: it does not need that package, draws no random numbers, updates no statistics.

OmniSafe's observation normaliser keeps updating whenever it is used, so an evaluation through it would change
the training it measures. Here the actor's weights and the normaliser's statistics are copies.
"""

from __future__ import annotations

import math
from typing import Any

import gymnasium
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from safeloop.errors import UsageError
from safeloop.recording.run import Run

CLIP = 5.0
"""OmniSafe clips normalised observations at +-5."""

ACTIVATIONS = {"Tanh": torch.tanh, "ReLU": torch.relu}
"""Activations of hidden layers, by torch's names."""


def snapshot(actor: Any, normaliser: Any, action_space: gymnasium.spaces.Box) -> dict[str, Any]:
    """Return copies, on the CPU, of the numbers that acting needs, in a form for `Run.save_checkpoint`.

    `actor` is OmniSafe's `GaussianLearningActor` (mean), `GaussianSACActor` (mean and log standard deviation,
    squashed) or `MLPActor` (squashed); `normaliser` its `Normalizer` of the observations, or None.
    """

    def copy(tensor: Tensor) -> Tensor:
        return tensor.detach().to("cpu", torch.float32, copy=True)

    squashed = not hasattr(actor, "mean")
    network = actor.net if squashed else actor.mean
    linear = [layer for layer in network if isinstance(layer, torch.nn.Linear)]
    size = linear[0].in_features
    return {
        "weights": [*(copy(layer.weight) for layer in linear[:-1]), copy(linear[-1].weight[: action_space.shape[0]])],
        "biases": [*(copy(layer.bias) for layer in linear[:-1]), copy(linear[-1].bias[: action_space.shape[0]])],
        "activation": type(network[1]).__name__,
        "squashed": squashed,
        "obs_mean": copy(normaliser.mean) if normaliser else torch.zeros(size),
        "obs_std": copy(normaliser.std) if normaliser else torch.ones(size),
        "obs_clip": CLIP if normaliser else math.inf,
        "action_low": torch.tensor(action_space.low, dtype=torch.float32),
        "action_high": torch.tensor(action_space.high, dtype=torch.float32),
    }


class FrozenPolicy:
    """The deterministic policy of a `snapshot` (here, of sb3 or d3rlpy): the mean action within the action space."""

    def __init__(self, state: dict[str, Any]):
        self._layers = list(zip(state["weights"], state["biases"], strict=True))
        self._activation, self._squashed = ACTIVATIONS[state["activation"]], state["squashed"]
        self._mean, self._std, self._clip = state["obs_mean"], state["obs_std"], state["obs_clip"]
        self._low, self._high = state["action_low"], state["action_high"]

    def reset(self, episodes: int = 1) -> None:
        """Do nothing: the policy has no memory."""

    def act(self, obs: np.ndarray) -> np.ndarray:
        """Return actions `[..., A]`, float32, for observations `[..., S]`."""
        return self.actions(torch.as_tensor(obs, dtype=torch.float32)).numpy()

    def actions(self, obs: torch.Tensor) -> torch.Tensor:
        """Return the same for tensors."""
        x = torch.clamp((obs - self._mean) / self._std, -self._clip, self._clip)  # [..., S]
        for weight, bias in self._layers[:-1]:
            x = self._activation(functional.linear(x, weight, bias))  # [..., hidden]
        x = functional.linear(x, *self._layers[-1])  # [..., A], the action space being [-1, 1]
        x = torch.tanh(x) if self._squashed else x
        x = self._low + (self._high - self._low) * (x + 1) / 2
        return torch.clamp(x, self._low, self._high)


def trained(run: Run, algo: str) -> FrozenPolicy:
    """Return the policy of a run's checkpoint. Raises `UsageError` where there is none of the algorithm `algo`."""
    state = run.load_checkpoint()
    state = state.get("agent", state)  # of one that learns from a dataset
    if state.get("algo") != algo:
        raise UsageError(f"{run.path} holds a policy of {state.get('algo')}, not of {algo}")
    return FrozenPolicy(state)
