"""Every setting of the offline agents, and those of the paper's Table 4 by dataset."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from safeloop.agents.settings import MANY, ByDynamics, LearnerSettings, PlanSettings
from safeloop.cmdp import EnvSpec
from safeloop.settings import check_range


@dataclass(frozen=True)
class OfflineSettings(LearnerSettings):
    """Settings of a learner of a dataset."""

    discount: float = 0.99


@dataclass(frozen=True)
class CRRSettings(OfflineSettings):
    """Settings of CRR (safeloop/learners/crr.py), its paper's; but the critics are scalar twins, no distributions."""

    weights: Literal["exp", "binary"] = "exp"
    """What an action's advantage A makes of its weight: `exp(A / temperature)`, at most 20, or 1 where A > 0."""
    advantage_temperature: float = 1.0
    samples: int = 4
    """m, the actor's actions that an advantage is over the mean of."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, "samples", least=1, most=1000)
        check_range(self, "advantage_temperature", more_than=0)


@dataclass(frozen=True)
class PLASSettings(OfflineSettings):
    """Settings of PLAS (safeloop/learners/plas.py), its paper's but for widths (750; 400, 300) and batch (100)."""

    learning_rate: float = 1e-3
    """Of the critics."""
    actor_learning_rate: float = 1e-4
    """Of the latent actor and the autoencoder."""
    latent_limit: float = 2.0
    """Latent actions lie in [-latent_limit, latent_limit]: where the decoder has seen the prior."""
    kl_weight: float = 0.5
    minimum_weight: float = 0.75
    """lambda of the target `lambda min_i Q_i + (1 - lambda) max_i Q_i`."""
    pretraining: float = 0.2
    """Share of the gradient steps, the first, that fit the autoencoder alone."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, "actor_learning_rate", "latent_limit", more_than=0)
        check_range(self, "kl_weight", least=0)
        check_range(self, "pretraining", least=0, below=1)
        check_range(self, "minimum_weight", least=0, most=1)


@dataclass(frozen=True)
class OfflinePlanSettings(PlanSettings):
    """Settings of a planner over what was learned of a dataset: one iteration over the actor's own sequences."""

    actor_fraction: float = 1.0
    """beta; 1: the actor's sequences alone (C.3)."""
    inverse_temperature: float = 1.0
    momentum: float = 0.0
    """Weight on the old mean and variance: these are no proposal here."""
    value: Literal["actor", "none"] = "actor"
    """What ends the lookahead: `Q(s, pi(s))` of the learner, or nothing."""
    pessimism: float = 0.5
    """beta_pess, on the standard deviation of a sequence's return over the models (Eq. 9)."""
    actor_noise: float = 0.01
    """sigma, standard deviation of the noise on the actor's actions (C.3)."""
    fit_steps: int = 20_000
    fit_patience: int = 10
    precision: Literal["auto", "float32", "bfloat16"] = "float32"
    """bfloat16 rounds actions by 0.004 near 1, which is much beside an `actor_noise` of 0.01."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, "pessimism", "actor_noise", least=0)

    def by_dynamics(self, spec: EnvSpec) -> ByDynamics:
        """What is left open: one iteration, the same noise in each decision; without entities a short horizon of means.

        With the models' noise the spread of one particle's return over the models is luck more than disagreement.
        """
        usual = replace(super().by_dynamics(spec), iterations=self.iterations or 1)
        if self.noise_correlation is None:
            usual = replace(usual, noise_correlation=0.0)
        if self.factored(spec):
            return usual
        return replace(usual, horizon=self.horizon or 4, model_noise=bool(self.model_noise))


@dataclass(frozen=True)
class LoopCRRSettings(CRRSettings, OfflinePlanSettings):
    """Settings of LOOP on top of CRR."""


@dataclass(frozen=True)
class LoopPLASSettings(PLASSettings, OfflinePlanSettings):
    """Settings of LOOP on top of PLAS."""


@dataclass(frozen=True)
class MBOPSettings(OfflineSettings, OfflinePlanSettings):
    """Settings of MBOP (Argenson & Dulac-Arnold, 2020)."""

    learning_rate: float = 1e-3
    return_horizon: int = 100
    """Decisions whose rewards the truncated value adds up."""
    actor_mixture: float = 0.25
    """beta of MBOP: weight of the previous solution in each proposed action."""
    actor_noise: float = 0.1
    pessimism: float = 0.0
    horizon: int | None = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, "return_horizon", least=1, most=MANY)
        check_range(self, "actor_mixture", least=0, most=1)


def _table(text: str) -> dict[str, dict[str, dict[str, Any]]]:
    """Presets by learner and dataset, from rows of `dataset  h 1/eta beta_pess sigma  h 1/eta beta_pess sigma`."""
    names = ("horizon", "inverse_temperature", "pessimism", "actor_noise")
    found: dict[str, dict[str, dict[str, Any]]] = {"crr": {}, "plas": {}}
    for row in text.strip().splitlines():
        dataset, *numbers = row.split()
        for learner, part in (("crr", numbers[:4]), ("plas", numbers[4:])):
            values = dict(zip(names, map(float, part), strict=True))
            found[learner][dataset] = {**values, "horizon": int(values["horizon"])}
    return found


TABLE_4 = _table("""
hopper-random              2 10   0.5 0.4   4 3    0.5 0.4
halfcheetah-random         2 0.01 5   0.4   2 1    0   0.01
walker2d-random            4 3    0   0.05  10 10  0   0.05
hopper-medium              2 3    1   0.01  2 10   0.5 0.01
halfcheetah-medium         2 0.01 0   0.01  2 0.01 1   0.01
walker2d-medium            2 0.1  0.5 0.05  4 3    0   0.01
hopper-medium-replay       4 0.03 0.5 0.01  2 3    1   0.01
halfcheetah-medium-replay  2 1    0.5 0.01  2 0.03 5   0.01
walker2d-medium-replay     4 1    0.5 0.1   4 0.01 0.5 0.01
hopper-medium-expert       4 0.1  1   0.05  4 0.1  5   0.01
halfcheetah-medium-expert  2 0.01 5   0.01  2 0.01 0.5 0.05
walker2d-medium-expert     4 0.01 1   0.01  2 10   1   0.01
""")
"""CoRL 2021, Table 4: LOOP-CRR's settings, then LOOP-PLAS's."""

TRIAL = ("sweep", 10_000)
"""Variant and seed of the run that settings are tried on; episodes of its evaluation are others too."""

GRID: dict[str, tuple[float, ...]] = {
    "horizon": (2, 4, 10),
    "pessimism": (0.0, 0.5, 1.0, 5.0),
    "inverse_temperature": (0.01, 0.03, 0.1, 1.0, 3.0, 10.0),
    "actor_noise": (0.01, 0.05, 0.1),
}
"""What the paper's settings were chosen from (C.3)."""
