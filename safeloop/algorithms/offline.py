"""Algorithms that learn from a dataset, by name (CoRL 2021, 5.2, Algorithm 2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from safeloop.agents.offline_settings import (
    LoopCRR,
    LoopPLAS,
    OfflineBC,
    OfflineCRR,
    OfflineMBOP,
    OfflinePlanning,
    OfflinePLAS,
)
from safeloop.algorithms.base import Offline, presets
from safeloop.algorithms.table_4 import TABLE_4
from safeloop.cmdp import EnvSpec
from safeloop.data.episodes import discounted_returns, within_budget
from safeloop.errors import UsageError
from safeloop.protocols import AlgorithmInfo

if TYPE_CHECKING:
    import numpy as np
    import torch

    from safeloop.agents.offline import OfflineAgent
    from safeloop.agents.parts import Learner
    from safeloop.data.datasets import Dataset


def learner_of(
    settings: Any,
    obs_dim: int,
    act_dim: int,
    steps: int,
    generator: torch.Generator,
    device: str,
    returns: np.ndarray | None = None,
) -> Learner:
    """Return the learner that the settings are of: BC, CRR, PLAS or MBOP's.

    Where targets are to be clamped, it is to the range of the dataset's `returns [T]`; a learner without a dataset
    (None) has no targets.
    """
    from safeloop.learners.bc import BC
    from safeloop.learners.crr import CRR
    from safeloop.learners.mbop import MBOP
    from safeloop.learners.plas import PLAS

    c, sizes, bounds = settings, (obs_dim, act_dim), None
    if isinstance(c, OfflineBC):
        return BC(*sizes, c.learner, generator, device)
    if isinstance(c, OfflineCRR | OfflinePLAS) and c.targets.clamp_targets and returns is not None:
        bounds = float(returns.min()), float(returns.max())
    if isinstance(c, OfflineCRR):
        return CRR(*sizes, c.learner, c.crr, generator, device, bounds, c.critics.layer_norm)
    if isinstance(c, OfflinePLAS):
        alone = round(c.plas.pretraining * steps)
        return PLAS(*sizes, c.learner, c.plas, alone, generator, device, bounds, c.critics.layer_norm)
    return MBOP(obs_dim, act_dim, c.models.ensemble_size, c.learner, generator, device)


def build(
    settings: Any,
    spec: EnvSpec,
    obs_dim: int,
    act_dim: int,
    seed: int,
    device: str,
    dataset: Dataset | None,
    steps: int,
    *,
    constrained: bool = False,
) -> OfflineAgent:
    """Return an agent of a dataset for so many gradient steps; without a dataset it can only act."""
    import numpy as np
    import torch

    from safeloop.agents import parts
    from safeloop.agents.offline import OfflineAgent, OfflinePlanner, buffer, taught
    from safeloop.planning.planners import Parts

    g, c, returns = parts.generators(seed, device, 4), settings, None
    if dataset is not None and isinstance(settings, OfflineMBOP):
        returns = taught(dataset, settings.mbop.return_horizon, settings.learner.discount)
    elif dataset is not None and not isinstance(settings, OfflineBC):
        returns = discounted_returns(dataset, settings.learner.discount)
    if isinstance(settings, OfflinePlanning):
        c = settings.filled(spec)
        horizon = c.planner.horizon or 1
        ensemble = parts.ensemble(c.models, spec, constrained, obs_dim, act_dim, g[1], device, horizon)
        learner = learner_of(c, ensemble.feature_size, act_dim, steps, g[2], device, returns)
    else:
        learner = learner_of(c, obs_dim, act_dim, steps, g[2], device, returns)
    replay = complete = None if dataset is None else buffer(dataset, spec, device)
    if dataset is not None and not dataset.complete.all():
        complete = buffer(dataset, spec, device, np.flatnonzero(dataset.complete))
    if dataset is not None and replay is not None and isinstance(settings, OfflineMBOP):
        if complete is replay:  # its value is of what followed, not of a step, so its rewards are others
            complete = buffer(dataset, spec, device)
        replay.data.reward[:] = torch.as_tensor(returns, device=device)
    common = (learner, replay, settings.learner.batch_size, g[0], g[3], device, returns)
    if not isinstance(settings, OfflinePlanning):
        return OfflineAgent(*common)
    planned = Parts(
        parts.planning_world(ensemble, c.models, c.planner, spec, constrained), act_dim, c.learner.discount,
        parts.constraint(c.models, c.planner, spec, constrained),
        parts.of_features(ensemble, lambda obs, _: learner.act(obs, None)),  # its mean, to which `actor_noise` is added
        parts.of_features(ensemble, learner.value if c.value.value == "actor" else None), follows=ensemble,
    )  # fmt: skip
    return OfflinePlanner(
        *common, settings=c, ensemble=ensemble, planner_parts=planned, complete=complete,
        has_events=spec.has_events,
    )  # fmt: skip


def check_dataset(dataset: Dataset, settings: Any, spec: EnvSpec) -> None:
    """Raise `UsageError` where the dataset lacks something that would be learned of it."""
    from safeloop.agents.offline import events, taught

    events(dataset, spec)
    if isinstance(settings, OfflinePlanning) and not dataset.complete.any():
        raise UsageError(f"{dataset.path}: next_observations is missing, and follows from no other observation")
    if isinstance(settings, OfflineMBOP):
        taught(dataset, settings.mbop.return_horizon, settings.learner.discount)


def check_within_budget(dataset: Dataset, settings: Any, spec: EnvSpec) -> None:
    """Raise `UsageError` where no episode of the dataset is within the budget."""
    spec.need_cost(bc_safe.info.name)
    check_dataset(dataset, settings, spec)
    assert spec.budget is not None  # `need_cost`
    within_budget(dataset, spec.budget, bc_safe.info.name)


def _named(
    name: str,
    summary: str,
    settings: type,
    own: Mapping[str, Any] | None = None,
    table: str = "",
    constrained: bool = False,
    base: str = "",
) -> Offline:
    groups = {"default": {}, **TABLE_4.get(table, {})}
    info = AlgorithmInfo(
        name, summary, settings, 100_000, presets(groups, settings, own or {}),
        constrained=constrained, offline=True, base=base, tunable=bool(base) and not constrained,
    )  # fmt: skip

    def built(*arguments: Any) -> OfflineAgent:
        return build(*arguments, constrained=constrained)

    return Offline(info, built, check_dataset)


SEARCH = {
    "actor_fraction": 0.05, "iterations": 3, "noise_correlation": 0.85, "momentum": 0.1, "inverse_temperature": 50.0,
}  # fmt: skip
"""The online planner's search: among sequences close to the actor's there may be none that is safe."""

bc = _named("bc", "behaviour cloning (Pomerleau 1988)", OfflineBC)
bc_safe = Offline(
    AlgorithmInfo(
        "bc-safe", "cloning of the episodes within the budget (Liu et al. 2024)", OfflineBC, 100_000, offline=True
    ),
    build, check_within_budget, selects=within_budget,
)  # fmt: skip
crr = _named("crr", "critic-regularised regression (Wang et al. 2020)", OfflineCRR, table="crr")
plas = _named("plas", "policy in the latent action space (Zhou et al. 2020)", OfflinePLAS, table="plas")
loop_crr = _named(
    "loop-crr", "CRR + ensemble + pessimistic ARC (CoRL 2021, Algorithm 2)", LoopCRR, table="crr", base="crr"
)
loop_plas = _named(
    "loop-plas", "PLAS + ensemble + pessimistic ARC (CoRL 2021, Algorithm 2)", LoopPLAS, table="plas", base="plas"
)
safeloop_crr = _named(
    "safeloop-crr", "CRR + ensemble + safeARC, on a dataset with costs", LoopCRR, SEARCH, "crr", constrained=True,
    base="crr",
)  # fmt: skip
mbop = _named("mbop", "imitation + truncated value + ensemble (Argenson & Dulac-Arnold 2020)", OfflineMBOP)
