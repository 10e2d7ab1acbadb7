"""Settings of agents that learn from a dataset."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

from safeloop.cmdp import EnvSpec
from safeloop.learners.settings import (
    BCLagSettings,
    BCSettings,
    CPQSettings,
    CriticSettings,
    CRRSettings,
    LearnerSettings,
    MBOPSettings,
    OfflineTargetSettings,
    PLASSettings,
)
from safeloop.models.settings import ModelSettings
from safeloop.planning import settings as planning
from safeloop.planning.settings import PlannerSettings

P = TypeVar("P", bound="OfflinePlanning")

OFFLINE_BY_DYNAMICS: dict[str, dict[str, Any]] = {
    kind: {**usual, "iterations": 1, "noise_correlation": 0.0} for kind, usual in planning.BY_DYNAMICS.items()
}
OFFLINE_BY_DYNAMICS["full"].update(horizon=4, model_noise=False)
"""Without entities a short horizon of means: with the models' noise the spread of one particle's return over the models
is luck more than disagreement."""
OFFLINE_MODELS = ModelSettings(fit_steps=20_000, fit_patience=10)
OFFLINE_PLANNER = PlannerSettings(
    actor_fraction=1.0, iterations=1, inverse_temperature=1.0, momentum=0.0, noise_correlation=0.0,
    pessimism=0.5, actor_noise=0.01, precision="float32",
)  # fmt: skip
"""A planner over a dataset's models: the actor's sequences alone (CoRL 2021, C.3), in float32: bfloat16 rounds actions
by 0.004 near 1, which is much beside an `actor_noise` of 0.01."""


@dataclass(frozen=True)
class OfflineBC:
    """Settings of behaviour cloning."""

    learner: BCSettings = BCSettings()


@dataclass(frozen=True)
class OfflineBCLag:
    """Settings of behaviour cloning under a Lagrange multiplier of the cost."""

    learner: LearnerSettings = LearnerSettings(discount=0.99, learning_rate=3e-4)
    critics: CriticSettings = CriticSettings(layer_norm=True)
    bc_lag: BCLagSettings = BCLagSettings()


@dataclass(frozen=True)
class OfflineCPQ:
    """Settings of CPQ."""

    learner: LearnerSettings = LearnerSettings(discount=0.99, learning_rate=3e-4)
    critics: CriticSettings = CriticSettings(layer_norm=True)
    cpq: CPQSettings = CPQSettings()


@dataclass(frozen=True)
class OfflineCRR:
    """Settings of CRR on a dataset."""

    learner: LearnerSettings = LearnerSettings(discount=0.99, learning_rate=3e-4)
    critics: CriticSettings = CriticSettings(layer_norm=True)
    crr: CRRSettings = CRRSettings()
    targets: OfflineTargetSettings = OfflineTargetSettings()


@dataclass(frozen=True)
class OfflinePLAS:
    """Settings of PLAS on a dataset."""

    learner: LearnerSettings = LearnerSettings(discount=0.99, learning_rate=1e-3)
    critics: CriticSettings = CriticSettings()
    plas: PLASSettings = PLASSettings()
    targets: OfflineTargetSettings = OfflineTargetSettings()


@dataclass(frozen=True)
class OfflineValueSettings:
    """Settings of the value that ends an offline planner's lookahead."""

    value: Literal["actor", "none"] = "actor"
    """The value at the horizon: `Q(s, pi(s))` of the learner, or none."""


@dataclass(frozen=True)
class OfflinePlanning:
    """Settings of a planner over a learner of a dataset."""

    models: ModelSettings = OFFLINE_MODELS
    planner: PlannerSettings = OFFLINE_PLANNER
    value: OfflineValueSettings = OfflineValueSettings()

    def filled(self: P, spec: EnvSpec) -> P:
        """Return these settings, with numbers where None stands for one that depends on the dynamics."""
        # Over points a learner reads features, so it would not be its base's learner, with which it is compared.
        models = replace(self.models, dynamics=self.models.dynamics or "auto")
        usual = OFFLINE_BY_DYNAMICS[models.kind(spec)]
        return replace(self, models=models.filled(spec), planner=self.planner.filled(usual))


@dataclass(frozen=True)
class LoopCRR(OfflinePlanning, OfflineCRR):
    """Settings of LOOP on top of CRR."""


@dataclass(frozen=True)
class LoopPLAS(OfflinePlanning, OfflinePLAS):
    """Settings of LOOP on top of PLAS."""


@dataclass(frozen=True)
class OfflineMBOP(OfflinePlanning):
    """Settings of MBOP (Argenson & Dulac-Arnold, 2020)."""

    learner: LearnerSettings = LearnerSettings(discount=0.99, learning_rate=1e-3)
    planner: PlannerSettings = replace(
        OFFLINE_PLANNER, search="mbop", horizon=4, actor_mixture=0.25, actor_noise=0.1, pessimism=0.0
    )
    mbop: MBOPSettings = MBOPSettings()
