"""Settings of the learned models and of their fits. This module imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from safeloop.cmdp import EnvSpec
from safeloop.errors import UsageError
from safeloop.settings import MANY, TRANSITIONS, check_range

BY_DYNAMICS = {
    "full": {"layers": 4, "width": 200},
    "entities": {"layers": 2, "width": 128},
    "lidars": {"layers": 2, "width": 128},
}
"""Network sizes by the kind of dynamics; one network over the whole observation is as large as the paper's (C.4)."""


@dataclass(frozen=True)
class ModelSettings:
    """Settings of an ensemble, with the choice between learned models and privileged information."""

    dynamics: Literal["auto", "factored", "full"] = "auto"
    """Kind of dynamics; `auto`: `factored` where the environment names entities or lidars, `full` elsewhere."""
    reward: Literal["learned", "known"] = "learned"
    """Source of the reward: learned, or known from the environment (privileged)."""
    cost: Literal["auto", "learned", "known"] = "auto"
    """Source of the cost: learned, or known from the environment (privileged); `auto`: known where possible."""
    ensemble_size: int = 5
    """K, the number of models in the ensemble."""
    layers: int | None = None
    """Hidden layers of each network; None: 4 with full dynamics, 2 with factored dynamics."""
    width: int | None = None
    """Units of each hidden layer; None: 200 with full dynamics, 128 with factored dynamics."""
    entity_width: int = 32
    """Units of the hidden layer for each entity (factored dynamics)."""
    model_learning_rate: float = 1e-3
    """Adam's learning rate of the models."""
    reward_weight: float = 1.0
    """Weight of the reward in the models' loss; with 1 it counts as much as the whole observation."""
    fit_steps: int = 200
    """Largest number of gradient steps of a fit."""
    fit_patience: int = 0
    """Checks (every 50 steps) without improvement on held-out data after which a fit ends; 0: it never ends early."""

    def __post_init__(self) -> None:
        """Raise `ValueError` for a value out of range."""
        check_range(self, "ensemble_size", "layers", least=1, most=100)
        check_range(self, "width", "entity_width", least=1, most=MANY)
        check_range(self, "fit_steps", least=1, most=TRANSITIONS)
        check_range(self, "fit_patience", least=0, most=TRANSITIONS)
        check_range(self, "reward_weight", least=0)
        check_range(self, "model_learning_rate", more_than=0)

    def factored(self, spec: EnvSpec) -> bool:
        """Return whether the dynamics are factored by the parts of the observation."""
        return self.dynamics == "factored" or (self.dynamics == "auto" and spec.parts is not None)

    def kind(self, spec: EnvSpec) -> Literal["full", "entities", "lidars"]:
        """Return the kind of dynamics, on which default settings depend."""
        return "full" if not self.factored(spec) else "entities" if spec.entities is not None else "lidars"

    def knows_cost(self, spec: EnvSpec) -> bool:
        """Return whether the cost is known from the environment."""
        return self.cost == "known" or (self.cost == "auto" and spec.cost is not None)

    def filled(self, spec: EnvSpec) -> ModelSettings:
        """Return these settings with a number in place of each None."""
        usual: dict[str, Any] = BY_DYNAMICS[self.kind(spec)]
        return replace(self, **{name: value for name, value in usual.items() if getattr(self, name) is None})

    def privileged(self, spec: EnvSpec, constrained: bool) -> list[str]:
        """Return the privileged information in use.

        Raises `UsageError` where the environment can't give the requested information.
        """
        if self.dynamics == "factored" and spec.parts is None:
            raise UsageError(
                f"dynamics=factored: {spec.id} names no entities or lidars in its observation; use dynamics=full"
            )
        if self.reward == "known" and spec.reward is None:
            raise UsageError(f"reward=known: {spec.id} has no known reward; use reward=learned")
        if self.cost == "known" and spec.cost is None:
            raise UsageError(f"cost=known: {spec.id} has no known cost; use cost=learned")
        known = ["known reward"] if self.reward == "known" else []
        if constrained and self.knows_cost(spec):
            known.append("known cost")
        if spec.terminates and spec.terminated is not None:
            known.append("known termination")
        if self.factored(spec):
            known.append("entities" if spec.entities is not None else "lidars")
        return known


@dataclass(frozen=True)
class RefitSettings:
    """Settings of models that are fitted repeatedly while an agent acts."""

    fit_every: int = 250
    """K_m: decisions between fits of the ensemble."""
    first_fit_steps: int = 2000
    """Largest number of gradient steps of the first fit."""

    def __post_init__(self) -> None:
        """Raise `ValueError` for a value out of range."""
        check_range(self, "fit_every", "first_fit_steps", least=1, most=TRANSITIONS)
