"""Algorithms that learn from a dataset with costs for the run's budget, by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from safeloop.agents.offline_settings import OfflineBCLag, OfflineCPQ
from safeloop.algorithms.base import Offline
from safeloop.algorithms.offline import check_dataset
from safeloop.cmdp import EnvSpec
from safeloop.data.episodes import costs_needed, discounted_budget, discounted_returns
from safeloop.protocols import AlgorithmInfo

if TYPE_CHECKING:
    from safeloop.agents.offline import OfflineAgent
    from safeloop.data.datasets import Dataset


def build(
    settings: OfflineBCLag | OfflineCPQ,
    spec: EnvSpec,
    obs_dim: int,
    act_dim: int,
    seed: int,
    device: str,
    dataset: Dataset | None,
    steps: int,
    *,
    budget: float,
) -> OfflineAgent:
    """Return an agent of a dataset for a budget, a cost return; without a dataset it can only act.

    CPQ takes a value of 0 for the worst there is, so the lowest reward is taken from all where it is below 0.
    """
    from safeloop.agents import parts
    from safeloop.agents.offline import OfflineAgent, buffer
    from safeloop.learners.bc_lag import BCLag
    from safeloop.learners.cpq import CPQ

    g, c, returns = parts.generators(seed, device, 4), settings, None
    discount, layer_norm = c.learner.discount, c.critics.layer_norm
    threshold = discounted_budget(budget, discount, -(-spec.episode_steps // spec.action_repeat))
    replay = None if dataset is None else buffer(dataset, spec, device)
    learner: BCLag | CPQ
    if isinstance(c, OfflineBCLag):
        learner = BCLag(obs_dim, act_dim, c.learner, c.bc_lag, threshold, g[2], device, layer_norm)
    else:
        learner = CPQ(obs_dim, act_dim, c.learner, c.cpq, threshold, g[2], device, layer_norm)
        if dataset is not None and replay is not None:
            lowest = min(0.0, float(dataset.reward.min()))
            replay.data.reward.sub_(lowest)
            returns = discounted_returns(replace(dataset, reward=dataset.reward - lowest), discount)
    return OfflineAgent(learner, replay, c.learner.batch_size, g[0], g[3], device, returns)


def check(algorithm: str, dataset: Dataset, settings: Any, spec: EnvSpec) -> None:
    """Raise `UsageError` where the environment or the dataset has no cost, or something else is missing."""
    spec.need_cost(algorithm)
    costs_needed(dataset, algorithm)
    check_dataset(dataset, settings, spec)


def _named(name: str, summary: str, settings: type, presets: Mapping[str, Mapping[str, Any]]) -> Offline:
    info = AlgorithmInfo(name, summary, settings, 100_000, presets=presets, offline=True)
    return Offline(info, build, partial(check, name), for_budget=True)


bc_lag = _named("bc-lag", "behaviour cloning under a Lagrange multiplier of the cost", OfflineBCLag, {"default": {}})
cpq = _named(
    "cpq", "constraints penalised Q-learning (Xu, Zhan & Zhu 2022)", OfflineCPQ,
    {"default": {}, "paper": {"recovery": 0.0}},
)  # fmt: skip
