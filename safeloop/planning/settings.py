"""Settings of a planner, and those that depend on the dynamics or the task. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from safeloop.settings import MANY, check_range

ELITES = 20
"""Best candidates that the cross-entropy method refits to, where nothing else is asked for."""

BY_DYNAMICS: dict[str, dict[str, Any]] = {
    "full": {
        "horizon": 8, "iterations": 5, "noise_correlation": 0.0, "noise_narrowed": True, "model_noise": True,
        "cost_margin": 0.05,
    },
    "entities": {
        "horizon": 16, "iterations": 3, "noise_correlation": 0.85, "noise_narrowed": True, "model_noise": True,
        "cost_margin": 0.05,
    },
    "lidars": {
        "horizon": 8, "iterations": 3, "noise_correlation": 0.85, "noise_narrowed": True, "model_noise": False,
        "cost_margin": 0.05,
    },
    "points": {
        "horizon": 12, "iterations": 3, "noise_correlation": 0.85, "noise_narrowed": False, "model_noise": False,
        "cost_margin": 0.03, "precision": "float32",
    },
    "simulator": {
        "horizon": 16, "iterations": 3, "noise_correlation": 0.85, "noise_narrowed": False, "model_noise": False,
        "cost_margin": 0.0, "precision": "float32",
    },
}  # fmt: skip
"""Settings that depend on the dynamics: `full` has the paper's horizon and noise (Table 3, C.4); dynamics over entities
can be trusted, and so looked ahead in, for longer. Lidars show less than positions do: the nearest thing is the largest
of all bins, and with noise on each something is nearly always too close. Dynamics over points have no noise, and
err by less: a narrower margin of a known cost is enough."""


@dataclass(frozen=True)
class PlannerSettings:
    """Settings of a planner over models and a learner (safeloop/planning). Actions are in [-1, 1]."""

    search: Literal["arc", "cem", "mbop", "mppi", "random"] = "arc"
    """The planner (safeloop/planning/planners.py): CoRL 2021's ARC; the cross-entropy method; MBOP; MPPI; random
    shooting."""
    horizon: int | None = None
    """H, decisions; None: by the dynamics, longer where the model can be trusted for longer."""
    population: int = 100
    """N, sequences from the search distribution in each iteration."""
    actor_fraction: float = 0.05
    """beta: round(beta * N) more sequences, from the actor rolled out in the model; 1: N of these, no others, and
    one iteration."""
    actor_noise: float = 0.0
    """sigma: standard deviation of noise on the actor's proposed actions (CoRL 2021, Table 4)."""
    actor_mixture: float = 0.0
    """Weight of the previous solution in each proposed action (search=mbop; Argenson & Dulac-Arnold, 2020)."""
    particles: int = 1
    """P, rollouts of a sequence in each model."""
    iterations: int | None = None
    """Iterations of the search; None: by the dynamics."""
    inverse_temperature: float = 50.0
    """1/eta, per unit of return (and of cost, where too few sequences are feasible)."""
    standardised: bool = False
    """The unit of the temperature is the standard deviation of each plan's own scores (but for search=cem)."""
    effective_size: float | None = None
    """Effective number of sequences that the temperature of each plan is chosen for (search=arc or mppi); None: that of
    `inverse_temperature`."""
    elites: int | None = None
    """Best sequences that count alike, others not at all (search=cem); None: 20."""
    momentum: float = 0.1
    """Weight on the OLD mean and variance; none where all sequences are the actor's, so that these are no proposal."""
    initial_variance: float = 0.25
    """Variance of the search distribution at first; of MPPI throughout."""
    noise_correlation: float | None = None
    """Correlation of the noise of neighbouring decisions; 0: independent, as in the paper; None: by the dynamics."""
    noise_narrowed: bool | None = None
    """The search's noise is narrower near the action limits, as in the program of PETS: a plan at full speed then stays
    at full speed, whatever comes; None: by the dynamics."""
    model_noise: bool | None = None
    """Whether imagined states are drawn with the models' noise, as in the paper, or are their means; None: by the
    dynamics."""
    propagation: Literal["infinity", "expectation"] = "infinity"
    """Prediction that each model's next imagined step starts from: its own (PETS's TS-infinity), or the mean of all
    models' (its E; with full dynamics alone)."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Precision of matrix products in planning; `auto`: bfloat16 where the device has it in hardware, but for dynamics
    over points, whose products are too narrow to gain by it."""
    pessimism: float = 0.0
    """beta_pess, weight on the standard deviation of a sequence's return over the models (Eq. 9)."""
    cost_over: Literal["worst", "mean"] = "worst"
    """Whether a sequence costs the maximum over models and particles (CoRL 2021, Eq. 10), or their mean."""
    cost_margin: float | None = None
    """Widening of the forbidden region of a known cost, in its unit (metres); None: by the dynamics."""
    threshold: float | None = None
    """d0: allowed cost in the horizon; None: 0.02 (known: metres), 0.5 (learned: expected violations)."""
    min_feasible: int | None = None
    """m of Algorithm 4; None: 10, or all sequences where they are fewer."""
    penalty: float | None = None
    """Return that a unit of cost outweighs where fewer are feasible; None: cost alone counts there (Algorithm 4)."""

    def __post_init__(self) -> None:
        """Raise `ValueError` for a value that can't be."""
        check_range(self, "horizon", "particles", "iterations", least=1, most=1000)
        check_range(self, "population", "min_feasible", "elites", least=1, most=MANY)
        check_range(self, "inverse_temperature", "initial_variance", more_than=0)
        check_range(self, "cost_margin", "threshold", "penalty", "pessimism", "actor_noise", least=0)
        check_range(self, "actor_fraction", "actor_mixture", "noise_correlation", least=0, most=1)
        check_range(self, "momentum", least=0, below=1)
        check_range(self, "effective_size", least=1)
        if self.effective_size is not None and self.search not in ("arc", "mppi"):
            raise ValueError(
                f"effective_size={self.effective_size}: search={self.search} has no temperature of its own"
            )
        if self.elites is not None and self.search != "cem":
            raise ValueError(f"elites={self.elites}: only search=cem has elites, this is search={self.search}")
        if self.actor_mixture and self.search != "mbop":
            raise ValueError(f"actor_mixture={self.actor_mixture}: only search=mbop has one, this is {self.search}")
        if (self.search == "mbop" and self.actor_fraction < 1) or (self.search == "mppi" and self.actor_fraction == 1):
            wanted = "exactly 1" if self.search == "mbop" else "less than 1"
            raise ValueError(f"actor_fraction={self.actor_fraction}: search={self.search} needs {wanted}")
        counts = {
            "min_feasible": self.min_feasible,
            "elites": (self.elites or ELITES) if self.search == "cem" else None,
        }
        for name, value in counts.items():
            if value is not None and value > self.sequences:
                made = f"population={self.population} and actor_fraction={self.actor_fraction}"
                raise ValueError(f"{name}={value}: expected at most {self.sequences}, the sequences of {made}")

    @property
    def from_actor(self) -> int:
        """Sequences that the actor proposes."""
        return round(self.actor_fraction * self.population)

    @property
    def sequences(self) -> int:
        """Sequences that an iteration scores: the search distribution's and the actor's, or the actor's alone."""
        return self.from_actor if self.actor_fraction == 1 else self.population + self.from_actor

    def filled(self, usual: Mapping[str, Any]) -> PlannerSettings:
        """Return these settings with `usual` values (such as `BY_DYNAMICS` has) in place of None and `auto`."""
        numbers = {"min_feasible": min(10, self.sequences), **usual}
        if self.search == "cem":
            numbers["elites"] = ELITES
        return replace(
            self, **{name: value for name, value in numbers.items() if getattr(self, name) in (None, "auto")}
        )


@dataclass(frozen=True)
class BudgetSettings:
    """Settings of the threshold of a constraint: fixed, or following the costs of episodes (planning/budget.py)."""

    constraint: Literal["fixed", "adaptive"] = "fixed"
    """The allowed cost d0 stays at `threshold`, or begins there and follows the costs of episodes in training towards
    the budget."""
    threshold_rate: float = 0.25
    """Change of log d0 by an episode that cost nothing, where the budget is large (constraint=adaptive)."""
    threshold_scale: float = 5.0
    """Added to the budget where an episode's error is divided by it, in the simulator's cost (constraint=adaptive)."""
    least_threshold: float | None = None
    """Smallest d0; None: a tenth of the one that it begins at (constraint=adaptive)."""
    largest_threshold: float | None = None
    """Largest d0; None: a cost of 1 in each decision of the horizon (constraint=adaptive)."""

    def __post_init__(self) -> None:
        """Raise `ValueError` for a value that can't be."""
        check_range(self, "threshold_rate", "threshold_scale", "least_threshold", "largest_threshold", more_than=0)
        least, largest = self.least_threshold, self.largest_threshold
        if least is not None and largest is not None and least > largest:
            raise ValueError(f"least_threshold={least:g}: expected at most largest_threshold={largest:g}")

    def filled(self, start: float, horizon: int) -> BudgetSettings:
        """Return these settings with numbers in place of None, for a threshold that begins at `start`."""
        least = self.least_threshold or min(start / 10, self.largest_threshold or math.inf)
        return replace(self, least_threshold=least, largest_threshold=self.largest_threshold or max(least, horizon))
