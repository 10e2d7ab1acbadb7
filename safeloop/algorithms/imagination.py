"""Learners that are taught by models, by name: MBPO's branched rollouts, SAC with value expansion."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from safeloop.agents.imagination_settings import MBPOSettings, ValueExpansionSettings
from safeloop.algorithms.base import Online, presets
from safeloop.algorithms.loop import no_imagination
from safeloop.algorithms.model_free import GENERATORS, ONLINE_STEPS, learner_of
from safeloop.algorithms.presets import PRESETS
from safeloop.cmdp import EnvSpec, zero_cost
from safeloop.errors import UsageError
from safeloop.protocols import AlgorithmInfo

if TYPE_CHECKING:
    from safeloop.agents.off_policy import ModelAgent


def parts(
    c: Any, spec: EnvSpec, obs_dim: int, act_dim: int, seed: int, device: str, constrained: bool = False
) -> tuple[Any, ...]:
    """Return a learner, its replay buffer, the settings, a generator, the ensemble and the world around it.

    With `constrained` the models learn the cost.
    """
    from safeloop.agents.parts import ensemble, generators, world
    from safeloop.data.replay import Replay

    c, g = c.filled(spec), generators(seed, device, GENERATORS)
    learner, replay = learner_of(c, obs_dim, act_dim, g[2], device), Replay(c.online.capacity, obs_dim, act_dim, device)
    models = ensemble(c.models, spec, constrained, obs_dim, act_dim, g[1], device)
    known = None if constrained else zero_cost
    return learner, replay, c, g[0], models, world(models, c.models, spec, known)


def _mbpo(*arguments: Any) -> ModelAgent:
    from safeloop.agents.off_policy import MBPOAgent

    return MBPOAgent(*parts(*arguments))


def _value_expansion(*arguments: Any) -> ModelAgent:
    from safeloop.agents.off_policy import ValueExpansionAgent

    return ValueExpansionAgent(*parts(*arguments))


def privileged(info: AlgorithmInfo, settings: Any, spec: EnvSpec) -> list[str]:
    """Return known models in use. Raises `UsageError` in environments whose goals jump when they are met."""
    if spec.has_events:
        raise UsageError(no_imagination(info.name, spec, "loop"))
    return settings.models.privileged(spec, False)


def _named(
    name: str, summary: str, settings: type, build: Callable[..., Any], groups: Mapping[str, Mapping[str, Any]]
) -> Online:
    info = AlgorithmInfo(
        name, summary, settings, ONLINE_STEPS, presets(groups, settings, {}), keeps_checkpoints=True, explores=True
    )
    return Online(info, build, privileged)


MBPO_PAPER = {
    "ensemble_size": 7, "layers": 4, "width": 200, "discount": 0.99, "batch_size": 256, "updates_per_decision": 40,
    "warmup": 5000, "warmup_hold": 1, "fit_steps": 2000, "first_fit_steps": 5000, "fit_patience": 5,
    "initial_temperature": 1.0,
}  # fmt: skip
"""Janner et al., 2019, appendix C, for HalfCheetah."""
MBPO = {**{name: {**group, "updates_per_decision": 20} for name, group in PRESETS.items()}, "paper": MBPO_PAPER}


sac_ve = _named(
    "sac-ve", "SAC with value expansion in the models (Feinberg et al. 2018)", ValueExpansionSettings, _value_expansion,
    PRESETS,
)  # fmt: skip
mbpo = _named(
    "mbpo", "SAC on branched rollouts in the models (Janner et al. 2019)", MBPOSettings, _mbpo, MBPO
)  # fmt: skip
