"""The deterministic policy of a model of stable-baselines3, as numbers for `FrozenPolicy`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

ACTIVATIONS = (nn.ReLU, nn.Tanh)
"""Activations of the library's networks for observations that are vectors."""


def snapshot(model: Any) -> dict[str, Any]:
    """Return copies, on the CPU, of the numbers that acting needs, in a form for `Run.save_checkpoint`.

    `model` is a PPO, TD3, or one with the actor of SAC (SAC, TQC, CrossQ). PPO's mean action is in the environment's
    own units, and clipped; the others' are squashed.
    """
    policy, space = model.policy, model.action_space
    squashed = not hasattr(policy, "mlp_extractor")
    if not squashed:
        network = [*policy.mlp_extractor.policy_net, policy.action_net]
    elif hasattr(policy.actor, "latent_pi"):
        network = [*policy.actor.latent_pi, policy.actor.mu]
    else:
        network = [*policy.actor.mu][:-1]  # without tanh
    low, high = (torch.tensor(each, dtype=torch.float64) for each in (space.low, space.high))
    weights, biases = folded(network)
    if not squashed:  # `FrozenPolicy` takes actions in [-1, 1]
        weights[-1] = weights[-1] * (2 / (high - low))[:, None]
        biases[-1] = 2 * (biases[-1] - low) / (high - low) - 1
    size = weights[0].shape[1]
    normaliser = model.get_vec_normalize_env()
    mean, deviation, clip = torch.zeros(size), torch.ones(size), torch.inf
    if normaliser is not None and normaliser.norm_obs:
        mean, clip = torch.tensor(normaliser.obs_rms.mean).float(), float(normaliser.clip_obs)
        deviation = torch.tensor(normaliser.obs_rms.var + normaliser.epsilon).sqrt().float()
    return {
        "weights": [each.float() for each in weights],
        "biases": [each.float() for each in biases],
        "activation": next(type(layer).__name__ for layer in network if isinstance(layer, ACTIVATIONS)),
        "squashed": squashed,
        "obs_mean": mean,
        "obs_std": deviation,
        "obs_clip": clip,
        "action_low": low.float(),
        "action_high": high.float(),
    }


def folded(network: Iterable[Any]) -> tuple[list[Tensor], list[Tensor]]:
    """Return the weights and biases of linear layers, in float64, with the batch normalisation before each in them.

    A normalisation by running statistics, `a x + b` in each number, turns `W x + c` into `(W a) x + (W b + c)`.
    """
    weights, biases = [], []
    scale: Tensor | float = 1.0
    shift: Tensor | float = 0.0
    for layer in network:
        if isinstance(layer, nn.Linear):
            weight, bias = _doubles(layer.weight, layer.bias)
            weights.append(weight * scale)  # [out, in]
            biases.append(bias + (weight * shift).sum(1))
            scale, shift = 1.0, 0.0
        elif hasattr(layer, "ra_var"):  # sb3-contrib's BatchRenorm1d
            mean, variance, factor, offset = _doubles(layer.ra_mean, layer.ra_var, layer.scale, layer.bias)
            factor = factor / (variance + layer.eps).sqrt()
            scale, shift = factor * scale, factor * (shift - mean) + offset
    return weights, biases


def _doubles(*tensors: Any) -> list[Tensor]:
    return [each.detach().cpu().double() for each in tensors]
