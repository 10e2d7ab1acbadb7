"""Settings of the learned models and of their fits. This module imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from safeloop.cmdp import EnvSpec
from safeloop.errors import UsageError
from safeloop.settings import MANY, TRANSITIONS, check_range

Kind = Literal["full", "entities", "lidars", "points", "simulator"]
BY_DYNAMICS: dict[Kind, dict[str, Any]] = {
    "full": {"layers": 4, "width": 200, "ensemble_size": 5, "fit_window": 1},
    "entities": {"layers": 2, "width": 128, "ensemble_size": 5, "fit_window": 1},
    "lidars": {"layers": 2, "width": 128, "ensemble_size": 5, "fit_window": 1},
    "points": {"layers": 2, "width": 64, "ensemble_size": 3, "fit_window": 4},
    "simulator": {},
}
"""Network sizes and windows by the kind of dynamics; one network over the whole observation is as large as the paper's
(C.4)."""


PRIVILEGED: dict[Kind, list[str]] = {
    "full": [], "entities": ["entities"], "lidars": ["lidars"], "points": ["lidars", "lidar model"],
    "simulator": ["simulator"],
}  # fmt: skip
"""The privileged information that each kind of dynamics uses."""


@dataclass(frozen=True)
class ModelSettings:
    """Settings of an ensemble, with the choice between learned models and privileged information."""

    dynamics: Literal["points", "auto", "factored", "full", "simulator"] | None = None
    """Kind of dynamics; None: `points` where the environment names entities in a plane or says how its lidars show
    objects, else `auto`, which is `factored` where it names entities or lidars, and `full` elsewhere. `simulator`: the
    environment's own physics in place of learned models, with its reward and cost (privileged)."""
    simulator_threads: int = 1
    """Threads of the physics (dynamics=simulator)."""
    reward: Literal["learned", "known"] = "learned"
    """Source of the reward: learned, or known from the environment (privileged)."""
    cost: Literal["auto", "learned", "known"] = "auto"
    """Source of the cost: learned, or known from the environment (privileged); `auto`: known where possible."""
    ensemble_size: int | None = None
    """K, the number of models in the ensemble; None: 5, or 3 with dynamics over points."""
    layers: int | None = None
    """Hidden layers of each network; None: 4 with full dynamics, 2 with others."""
    width: int | None = None
    """Units of each hidden layer; None: 200 with full dynamics, 128 with factored dynamics, 64 with points."""
    entity_width: int = 32
    """Units of the hidden layers for each entity or track (factored dynamics, points)."""
    tracks: int = 6
    """Nearest objects of each lidar that dynamics over points follow, but for lidars that show one."""
    fit_window: int | None = None
    """Decisions in a row that the models are fitted to predict from their own predictions; None: 4 with dynamics over
    points, 1 with others."""
    model_learning_rate: float = 1e-3
    """Adam's learning rate of the models."""
    reward_weight: float = 1.0
    """Weight of the reward in the models' loss; with 1 it counts as much as the whole observation."""
    cost_weight: float = 1.0
    """Weight of a learned cost (the violations) in the models' loss."""
    censored: bool = False
    """Take numbers that the environment clips (`EnvSpec.clipped`) for clipped: predictions are clipped like them, and
    one at its limit tells the models only that it is not below (a censored likelihood; privileged)."""
    fit_steps: int = 200
    """Largest number of gradient steps of a fit."""
    fit_epochs: int = 0
    """Least number of passes over the data in a fit, also where these are more than `fit_steps` (the paper: 5)."""
    fit_patience: int = 0
    """Checks (every 50 steps) without improvement on held-out data after which a fit ends; 0: it never ends early."""

    def __post_init__(self) -> None:
        """Raise `ValueError` for a value out of range."""
        check_range(self, "ensemble_size", "layers", "simulator_threads", least=1, most=100)
        check_range(self, "width", "entity_width", "tracks", least=1, most=MANY)
        check_range(self, "fit_window", least=1, most=10)
        check_range(self, "fit_steps", least=1, most=TRANSITIONS)
        check_range(self, "fit_patience", "fit_epochs", least=0, most=TRANSITIONS)
        check_range(self, "reward_weight", "cost_weight", least=0)
        check_range(self, "model_learning_rate", more_than=0)

    def kind(self, spec: EnvSpec) -> Kind:
        """Return the kind of dynamics, on which default settings depend."""
        if self.dynamics == "simulator":
            return "simulator"
        if self.dynamics == "points" or (self.dynamics is None and shows_points(spec)):
            return "points"
        if self.dynamics == "full" or spec.parts is None:
            return "full"
        return "lidars" if spec.entities is None else "entities"

    def observing(self) -> ModelSettings:
        """Return these settings with dynamics whose states are observations, for learners of imagined transitions.

        Raises `UsageError` where others were asked for.
        """
        if self.dynamics in ("points", "simulator"):
            raise UsageError(
                f"dynamics={self.dynamics}: learners of imagined transitions need models of observations; use "
                "dynamics=auto"
            )
        return replace(self, dynamics=self.dynamics or "auto")

    def knows_cost(self, spec: EnvSpec) -> bool:
        """Return whether the cost is known from the environment."""
        if self.dynamics == "simulator":  # its cost is the simulator's, not a depth
            return False
        return self.cost == "known" or (self.cost == "auto" and spec.cost is not None)

    def filled(self, spec: EnvSpec) -> ModelSettings:
        """Return these settings with a number in place of each None."""
        kind = self.kind(spec)
        usual = {**BY_DYNAMICS[kind], "dynamics": "points" if kind == "points" else "auto"}
        return replace(self, **{name: value for name, value in usual.items() if getattr(self, name) is None})

    def privileged(self, spec: EnvSpec, constrained: bool) -> list[str]:
        """Return the privileged information in use.

        Raises `UsageError` where the environment can't give the requested information.
        """
        if self.dynamics == "factored" and spec.parts is None:
            raise UsageError(
                f"dynamics=factored: {spec.id} names no entities or lidars in its observation; use dynamics=full"
            )
        if self.dynamics == "points":
            check_points(spec)
        if self.dynamics == "simulator":
            self._check_simulator(spec)
            return PRIVILEGED["simulator"]
        if self.reward == "known" and spec.reward is None:
            raise UsageError(f"reward=known: {spec.id} has no known reward; use reward=learned")
        if self.cost == "known" and spec.cost is None:
            raise UsageError(f"cost=known: {spec.id} has no known cost; use cost=learned")
        known = ["known reward"] if self.reward == "known" else []
        if constrained and self.knows_cost(spec):
            known.append("known cost")
        if spec.terminates and spec.terminated is not None:
            known.append("known termination")
        kind = self.kind(spec)
        if self.censored:
            if kind == "points" or not spec.clipped:
                raise UsageError(f"censored=true: {spec.id} has no numbers known to be clipped; leave it out")
            known.append("clipped numbers")
        if kind == "points" and spec.entities is not None:
            return known + PRIVILEGED["entities"]
        if kind == "points" and known:
            raise UsageError(f"dynamics=points: a {known[0]} can't read points from lidars; use dynamics=factored")
        return known + PRIVILEGED[kind]

    def _check_simulator(self, spec: EnvSpec) -> None:
        """Raise `UsageError` where the environment can't be simulated, or known models are asked for beside it."""
        if spec.simulator is None:
            raise UsageError(
                f"dynamics=simulator: {spec.id} can't be rolled out from full states; use dynamics=auto, or an "
                "environment that can (`safeloop list envs`)"
            )
        for name, value in (("reward", self.reward), ("cost", self.cost)):
            if value == "known":
                raise UsageError(f"{name}=known: with dynamics=simulator the {name} is the simulator's; leave it out")


def shows_points(spec: EnvSpec) -> bool:
    """Return whether an observation names entities in a plane, or has lidars and says how they show objects."""
    if spec.entities is not None:
        return {len(position) for position in spec.entities.positions} == {2}
    return spec.lidars is not None and spec.lidars.sensor is not None


def check_points(spec: EnvSpec) -> None:
    """Raise `UsageError` where the environment's observation can't be taken for points in a plane."""
    if shows_points(spec):
        return
    if spec.entities is None:
        found = "names no entities, and no lidars of which it says how they show objects; use dynamics=auto"
    else:
        numbers = max((len(position) for position in spec.entities.positions), default=0)
        found = f"names entities whose positions have {numbers} numbers, not 2; use dynamics=factored"
    raise UsageError(f"dynamics=points: {spec.id} {found}")


@dataclass(frozen=True)
class RefitSettings:
    """Settings of models that are fitted repeatedly while an agent acts."""

    fit_every: int = 250
    """K_m: decisions between fits of the ensemble; at first a quarter of those made so far, where these are fewer."""
    first_fit_steps: int = 2000
    """Largest number of gradient steps of the first fit."""

    def __post_init__(self) -> None:
        """Raise `ValueError` for a value out of range."""
        check_range(self, "fit_every", "first_fit_steps", least=1, most=TRANSITIONS)
