"""SAC, TD3 and CrossQ by name, and learners by the settings that they are of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from safeloop.agents.settings import OffPolicy, OffPolicyCrossQ, OffPolicySAC, OffPolicyTD3
from safeloop.algorithms.base import NOTHING, Online, presets
from safeloop.algorithms.presets import CROSSQ, CROSSQ_PRESETS, PRESETS
from safeloop.cmdp import EnvSpec
from safeloop.protocols import AlgorithmInfo

if TYPE_CHECKING:
    import torch

    from safeloop.agents.off_policy import OffPolicyAgent, OffPolicyLearner

ONLINE_STEPS = 50_000
"""Simulator steps of a run in environments without a cost."""
GENERATORS = 7
"""Random generators of an agent: actions and samples, models, learner, planner, value, imagination, value of cost."""


def learner_of(
    settings: Any, obs_dim: int, act_dim: int, generator: torch.Generator, device: str
) -> OffPolicyLearner | None:
    """Return the learner that the settings name (`learner_name`), or None where they name none."""
    from safeloop.learners.crossq import CrossQ
    from safeloop.learners.crr import CRR
    from safeloop.learners.sac import SAC
    from safeloop.learners.td3 import TD3

    c, name, sizes, where = settings, settings.learner_name, (obs_dim, act_dim), (generator, device)
    if name == "sac":
        return SAC(*sizes, c.learner, c.sac, *where, layer_norm=c.critics.layer_norm)
    if name == "td3":
        return TD3(*sizes, c.learner, c.td3, *where, layer_norm=c.critics.layer_norm)
    if name == "crr":
        return CRR(*sizes, c.learner, c.crr, *where, layer_norm=c.critics.layer_norm)
    if name == "crossq":
        return CrossQ(*sizes, c.learner, c.sac, c.crossq, *where)
    return None


def build(settings: OffPolicy, spec: EnvSpec, obs_dim: int, act_dim: int, seed: int, device: str) -> OffPolicyAgent:
    """Return a learner with its replay buffer."""
    from safeloop.agents.off_policy import OffPolicyAgent
    from safeloop.agents.parts import generators
    from safeloop.data.replay import Replay

    settings, g = settings.filled(spec), generators(seed, device, GENERATORS)
    replay = Replay(settings.online.capacity, obs_dim, act_dim, device)
    return OffPolicyAgent(learner_of(settings, obs_dim, act_dim, g[2], device), replay, settings, g[0])


def _named(
    name: str,
    summary: str,
    settings: type,
    own: Mapping[str, Any] = NOTHING,
    groups: Mapping[str, Mapping[str, Any]] = PRESETS,
) -> Online:
    info = AlgorithmInfo(
        name, summary, settings, ONLINE_STEPS, presets(groups, settings, own), keeps_checkpoints=True, explores=True
    )
    return Online(info, build)


sac = _named("sac", "soft actor-critic (Haarnoja et al. 2018)", OffPolicySAC)
td3 = _named("td3", "twin delayed deterministic policy gradients (Fujimoto et al. 2018)", OffPolicyTD3)
crossq = _named(
    "crossq", "SAC with batch renormalisation, without target networks (Bhatt et al. 2024)", OffPolicyCrossQ, CROSSQ,
    CROSSQ_PRESETS,
)  # fmt: skip
