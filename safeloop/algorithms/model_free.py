"""SAC and TD3 by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from safeloop.agents.settings import OffPolicySAC, OffPolicyTD3, OnlinePlanningCRR, OnlinePlanningSAC, OnlinePlanningTD3
from safeloop.algorithms.base import Online, presets
from safeloop.algorithms.presets import PRESETS
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
    """Return the learner that the settings are of: SAC, TD3, CRR or none."""
    from safeloop.learners.crr import CRR
    from safeloop.learners.sac import SAC
    from safeloop.learners.td3 import TD3

    if isinstance(settings, OffPolicySAC | OnlinePlanningSAC):
        return SAC(obs_dim, act_dim, settings.learner, settings.sac, generator, device)
    if isinstance(settings, OffPolicyTD3 | OnlinePlanningTD3):
        return TD3(obs_dim, act_dim, settings.learner, settings.td3, generator, device)
    if isinstance(settings, OnlinePlanningCRR):
        return CRR(obs_dim, act_dim, settings.learner, settings.crr, generator, device)
    return None


def build(
    settings: OffPolicySAC | OffPolicyTD3, spec: EnvSpec, obs_dim: int, act_dim: int, seed: int, device: str
) -> OffPolicyAgent:
    """Return a learner with its replay buffer."""
    from safeloop.agents.off_policy import OffPolicyAgent
    from safeloop.agents.parts import generators
    from safeloop.data.replay import Replay

    settings, g = settings.filled(spec), generators(seed, device, GENERATORS)
    replay = Replay(settings.online.capacity, obs_dim, act_dim, device)
    return OffPolicyAgent(learner_of(settings, obs_dim, act_dim, g[2], device), replay, settings, g[0])


def _named(name: str, summary: str, settings: type) -> Online:
    info = AlgorithmInfo(
        name, summary, settings, ONLINE_STEPS, presets(PRESETS, settings, {}), keeps_checkpoints=True, explores=True
    )
    return Online(info, build)


sac = _named("sac", "soft actor-critic (Haarnoja et al. 2018)", OffPolicySAC)
td3 = _named("td3", "twin delayed deterministic policy gradients (Fujimoto et al. 2018)", OffPolicyTD3)
