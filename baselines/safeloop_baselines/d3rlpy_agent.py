"""d3rlpy's algorithms as learners of safeloop's agents for datasets, and their policies as numbers.

This module imports d3rlpy, so import it only for learning.
"""

from __future__ import annotations

import io
from contextlib import redirect_stderr
from typing import Any

import torch
from torch import Tensor

from safeloop.agents.offline import OfflineAgent, buffer
from safeloop.agents.parts import generators
from safeloop.cmdp import EnvSpec
from safeloop.data.datasets import Dataset
from safeloop.data.episodes import discounted_returns
from safeloop.data.replay import Batch
from safeloop.networks import Generators
from safeloop.protocols import Policy
from safeloop.rng import AGENT, derived_seed
from safeloop_baselines.d3rlpy_settings import BCSettings, D3rlpySettings, IQLSettings
from safeloop_baselines.frozen_policy import FrozenPolicy
from safeloop_baselines.random_states import random_states, restore_random_states
from safeloop_envs.shim import lent_modules

with redirect_stderr(io.StringIO()), lent_modules():  # it imports the old gym, with its notice, for names alone
    import d3rlpy
from d3rlpy.models import VectorEncoderFactory
from d3rlpy.torch_utility import TorchMiniBatch

FLOOR = 1e-3
"""Added to the deviation of observations, as by the library's `StandardObservationScaler`."""


def new_algorithm(name: str, settings: D3rlpySettings, obs_dim: int, act_dim: int, device: str) -> Any:
    """Return the library's algorithm `name`, with its networks."""
    keywords, layers = settings.keywords(), settings.hidden_layers
    actor = VectorEncoderFactory([settings.hidden_units] * layers)
    if isinstance(settings, BCSettings):
        keywords["encoder_factory"] = actor
    else:
        c: Any = settings
        critic = VectorEncoderFactory([c.critic_units] * layers, use_layer_norm=c.layer_norm)
        keywords["actor_encoder_factory"], keywords["critic_encoder_factory"] = actor, critic
        if isinstance(settings, IQLSettings):
            keywords["value_encoder_factory"] = critic
    algorithm = getattr(d3rlpy.algos, f"{name}Config")(**keywords).create(device)
    algorithm.create_impl((obs_dim,), act_dim)
    return algorithm


class D3rlpyLearner:
    """An algorithm of the library, with one `update` per batch. Actions are its policy's means.

    The library draws from the process's random numbers, so their states belong to the checkpoint.
    """

    def __init__(self, algorithm: Any, mean: Tensor, deviation: Tensor):
        self.impl, self.mean, self.deviation, self.updates = algorithm.impl, mean, deviation, 0
        self.parts: dict[str, Any] = self.impl._checkpointer.modules
        """Networks and optimisers by name."""

    def seen(self, obs: Tensor) -> Tensor:
        """Return standardised observations."""
        return (obs - self.mean) / self.deviation

    @torch.no_grad()
    def act(self, obs: Tensor, generators: Generators | None) -> Tensor:
        """Return the mean actions `[..., A]`; nothing is drawn from `generators`."""
        flat = self.seen(obs.reshape(-1, obs.shape[-1]))
        return self.impl.policy(flat).squashed_mu.view(*obs.shape[:-1], -1)

    @torch.no_grad()
    def value(self, obs: Tensor) -> Tensor:
        """Return the critics' mean of `Q(s, pi(s))`, `[..., S] -> [...]`; NaN where there is no critic."""
        if "q_funcs" not in self.parts:
            return obs.new_full(obs.shape[:-1], torch.nan)
        flat = self.seen(obs.reshape(-1, obs.shape[-1]))
        return self.impl.predict_value(flat, self.impl.policy(flat).squashed_mu).view(obs.shape[:-1])

    def update(self, batch: Batch) -> None:
        """Take one gradient step on `batch`, the library's own."""
        column, none = batch.reward.unsqueeze(1), torch.zeros_like(batch.reward).unsqueeze(1)
        mini_batch = TorchMiniBatch(
            self.seen(batch.obs), batch.act, column, self.seen(batch.next_obs),
            next_actions=torch.zeros_like(batch.act), returns_to_go=none,  # none of these algorithms reads them
            terminals=batch.terminated.unsqueeze(1), intervals=none + 1, device=str(batch.obs.device),
        )  # fmt: skip
        self.impl.update(mini_batch, self.updates)
        self.updates += 1

    def snapshot(self) -> dict[str, Any]:
        """Return copies, on the CPU, of the numbers that acting needs, for `FrozenPolicy`."""
        policy = self.impl.policy
        last = policy._mu if hasattr(policy, "_mu") else policy._fc
        linear = [*(layer for layer in policy._encoder.modules() if isinstance(layer, torch.nn.Linear)), last]
        bound = torch.ones(last.out_features)
        return {
            "weights": [_copied(layer.weight) for layer in linear],
            "biases": [_copied(layer.bias) for layer in linear],
            "activation": "ReLU",
            "squashed": True,
            "obs_mean": _copied(self.mean),
            "obs_std": _copied(self.deviation),
            "obs_clip": torch.inf,
            "action_low": -bound,
            "action_high": bound,
        }

    def checkpoint(self) -> dict[str, Any]:
        """Return the states of networks, optimisers and random numbers, and the number of updates so far."""
        parts = {name: part.state_dict() for name, part in self.parts.items()}
        return {"parts": parts, "updates": self.updates, **random_states()}

    def restore(self, state: dict[str, Any]) -> None:
        """Restore the state from `checkpoint`."""
        for name, part in self.parts.items():
            part.load_state_dict(state["parts"][name])
        self.updates = state["updates"]
        restore_random_states(state)


def _copied(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", torch.float32, copy=True)


class D3rlpyAgent(OfflineAgent):
    """A learner of the library and its dataset, whose checkpoint has the policy apart, for loading without it."""

    name = ""
    """The algorithm's name in safeloop."""
    learner: D3rlpyLearner

    def policy(self, seed: int) -> Policy:
        """Return the agent as it acts in evaluation."""
        return FrozenPolicy(self.learner.snapshot())

    def checkpoint(self) -> dict[str, Any]:
        """Return everything that training has changed, and the policy."""
        return {**super().checkpoint(), "algo": self.name, **self.learner.snapshot()}


def new_agent(
    name: str, settings: Any, spec: EnvSpec, obs_dim: int, act_dim: int, seed: int, device: str, dataset: Dataset
) -> D3rlpyAgent:
    """Return an agent of a dataset with the library's algorithm `name`. It seeds the process's random numbers."""
    seen = torch.as_tensor(dataset.obs, device=device)
    mean, deviation = torch.zeros(obs_dim, device=device), torch.ones(obs_dim, device=device)
    if settings.normalize_obs:
        mean, deviation = seen.mean(0), seen.std(0, unbiased=False) + FLOOR
    d3rlpy.seed(derived_seed(seed, AGENT, 2))  # 0 and 1 are of the generators below
    learner = D3rlpyLearner(new_algorithm(name, settings, obs_dim, act_dim, device), mean, deviation)
    returns = None if isinstance(settings, BCSettings) else discounted_returns(dataset, settings.gamma)
    sampling, watching = generators(seed, device, 2)
    agent = D3rlpyAgent(
        learner, buffer(dataset, spec, device), settings.batch_size, sampling, watching, device, returns
    )
    agent.name = f"d3rlpy:{name}"
    return agent
