"""Every setting of our own agents, and named groups of them.

Groups of settings combine by inheritance: those of a learner, of models beside it, of a planner over both, and of
training online. Offline agents' stand in `safeloop/offline/`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, TypeVar

from safeloop.cmdp import EnvSpec
from safeloop.errors import UsageError
from safeloop.settings import check_range

P = TypeVar("P", bound="PlanSettings")


MANY = 100_000
"""More of anything that is computed in each decision or gradient step is a slip of the finger."""
TRANSITIONS = 100_000_000
"""The largest buffer, and the most gradient steps of a fit."""


@dataclass(frozen=True)
class Group:
    """Settings that check themselves, each alone and then together. `--set key=value` reaches each."""

    def __post_init__(self) -> None:
        """Raise `ValueError` for a value that can't be."""


@dataclass(frozen=True)
class LearnerSettings(Group):
    """Settings of an off-policy learner."""

    discount: float = 0.95
    """A decision's, in planning and in the critic."""
    learning_rate: float = 3e-4
    polyak: float = 0.005
    hidden: int = 256
    """Units of each of the two hidden layers of the learner's networks."""
    batch_size: int = 256

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, "batch_size", "hidden", least=1, most=MANY)
        check_range(self, "learning_rate", more_than=0)
        check_range(self, "discount", "polyak", least=0, most=1)


@dataclass(frozen=True)
class OnlineLearnerSettings(LearnerSettings):
    """Settings of a learner that learns while acting."""

    initial_temperature: float = 0.1
    """Weight of SAC's entropy at the start."""
    backup_entropy: bool = True
    """Whether the targets of SAC's critics count the entropy, as published; without, their values are returns."""
    layer_norm: bool = False
    """Layer normalisation in the critics: bounds what they say of actions that the data lacks (Ball et al., 2023)."""
    updates_per_decision: int = 1
    capacity: int = 1_000_000
    """Transitions kept."""
    warmup: int = 1000
    """Random decisions at the start."""
    warmup_hold: int = 10
    """Decisions that a random action is held for, on average."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, "capacity", "warmup", "warmup_hold", least=1, most=TRANSITIONS)
        check_range(self, "updates_per_decision", least=0, most=MANY)
        check_range(self, "initial_temperature", more_than=0)
        for name in ("batch_size", "warmup"):
            if getattr(self, name) > self.capacity:
                raise ValueError(f"{name}={getattr(self, name)}: expected at most capacity={self.capacity}, all kept")


@dataclass(frozen=True)
class OnlineModels(OnlineLearnerSettings):
    """Settings of models that are fitted again and again."""

    fit_every: int = 250
    """K_m: decisions between fits of the ensemble."""
    first_fit_steps: int = 2000
    """Gradient steps of the first fit, at most."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, "fit_every", "first_fit_steps", least=1, most=TRANSITIONS)


@dataclass(frozen=True)
class ModelSettings(LearnerSettings):
    """Settings of a learner with models: what is learned, and what the environment is asked to tell (privileged)."""

    dynamics: Literal["auto", "factored", "full"] = "auto"
    """`auto`: factored where the environment names entities or lidars, full elsewhere."""
    reward: Literal["learned", "known"] = "learned"
    cost: Literal["auto", "learned", "known"] = "auto"
    """`auto`: known where the environment has it, learned elsewhere."""
    members: int = 5
    """K, models in the ensemble."""
    layers: int | None = None
    """Hidden layers of each network; None, here and below: by the dynamics, see `ByDynamics`."""
    width: int | None = None
    """Units of each hidden layer."""
    entity_width: int = 32
    """Units of the hidden layer that each entity has (factored)."""
    model_learning_rate: float = 1e-3
    reward_weight: float = 1.0
    """Weight of the reward in the models' loss; 1: as much as all numbers of the observation together."""
    fit_steps: int = 200
    """Gradient steps of a fit, at most."""
    fit_patience: int = 0
    """A fit ends after so many checks (every 50 steps) without improvement on held-out data; 0: never early."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, "members", "layers", least=1, most=100)
        check_range(self, "width", "entity_width", least=1, most=MANY)
        check_range(self, "fit_steps", least=1, most=TRANSITIONS)
        check_range(self, "fit_patience", least=0, most=TRANSITIONS)
        check_range(self, "reward_weight", least=0)
        check_range(self, "model_learning_rate", more_than=0)

    def factored(self, spec: EnvSpec) -> bool:
        """Whether the dynamics are."""
        return self.dynamics == "factored" or (self.dynamics == "auto" and spec.parts is not None)

    def knows_cost(self, spec: EnvSpec) -> bool:
        """Whether the environment tells the cost."""
        return self.cost == "known" or (self.cost == "auto" and spec.cost is not None)

    def told(self, spec: EnvSpec, constrained: bool) -> list[str]:
        """What is known beside samples. Raises `UsageError` where the environment can't tell what is asked for."""
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
class MBPOSettings(OnlineModels, ModelSettings):
    """Settings of MBPO (Janner et al., 2019), but for the number of updates and of rollouts theirs."""

    layers: int = 4
    width: int = 200
    rollouts: int = 400
    """Imagined rollouts for each decision since the last fit."""
    rollout_length: int = 1
    """Steps of each."""
    real_fraction: float = 0.05
    """Share of a batch that is real."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, "rollouts", "rollout_length", least=1, most=MANY)
        check_range(self, "real_fraction", least=0, most=1)
        if self.imagined > TRANSITIONS:
            raise ValueError(
                f"fit_every={self.fit_every}, rollouts={self.rollouts}, rollout_length={self.rollout_length}: "
                f"{self.imagined:,} imagined transitions between fits, expected at most {TRANSITIONS:,}"
            )

    @property
    def imagined(self) -> int:
        """Imagined transitions that are kept: all since the last fit."""
        return self.fit_every * self.rollouts * self.rollout_length


@dataclass(frozen=True)
class ExpansionSettings(OnlineModels, ModelSettings):
    """Settings of SAC with value expansion."""

    layers: int = 4
    width: int = 200
    horizon: int = 3
    """H, imagined decisions after the real one; the papers' lookahead has as many (CoRL 2021, Table 3)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, "horizon", least=1, most=1000)


@dataclass(frozen=True)
class PlanSettings(ModelSettings):
    """Settings of a planner over models and a learner (safeloop/planning/search.py). The paper's are in `PAPER`."""

    horizon: int | None = None
    """H, decisions. Longer where the model can be trusted for longer."""
    population: int = 100
    actor_fraction: float = 0.05
    particles: int = 1
    iterations: int | None = None
    inverse_temperature: float = 50.0
    elites: int = 0
    momentum: float = 0.1
    initial_variance: float = 0.25
    noise_correlation: float | None = None
    """Of the noise of neighbouring decisions; 0: independent, as in the paper."""
    model_noise: bool | None = None
    """Whether imagined states are drawn with the models' noise, as in the paper, or are their means."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the matrix products in planning; `auto`: bfloat16 where the device has it in hardware."""
    # Constraint (CoRL 2021, Eq. 10)
    cost_over: Literal["worst", "mean"] = "worst"
    """A sequence costs what the worst of the models and particles says, or what they say on average."""
    cost_margin: float = 0.05
    """Widening of the forbidden region of a known cost, in its unit (metres)."""
    threshold: float | None = None
    """d0: allowed cost in the horizon; None: 0.02 (known: metres), 0.5 (learned: expected violations)."""
    min_feasible: int | None = None
    """m of Algorithm 4; None: 10, or all sequences where they are fewer."""
    penalty: float | None = None
    """Return that a unit of cost outweighs where fewer are feasible; None: cost alone counts there (Algorithm 4)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, "horizon", "particles", "iterations", least=1, most=1000)
        check_range(self, "population", "min_feasible", least=1, most=MANY)
        check_range(self, "inverse_temperature", "initial_variance", more_than=0)
        check_range(self, "elites", "cost_margin", "threshold", "penalty", least=0)
        check_range(self, "actor_fraction", "noise_correlation", least=0, most=1)
        check_range(self, "momentum", least=0, below=1)
        for name in ("elites", "min_feasible"):
            value, made = getattr(self, name), f"population={self.population} and actor_fraction={self.actor_fraction}"
            if value is not None and value > self.sequences:
                raise ValueError(f"{name}={value}: expected at most {self.sequences}, the sequences of {made}")

    @property
    def sequences(self) -> int:
        """Sequences that an iteration scores: the Gaussian's and the actor's, or the actor's alone."""
        actors = round(self.actor_fraction * self.population)
        return actors if self.actor_fraction == 1 else self.population + actors

    def told(self, spec: EnvSpec, constrained: bool) -> list[str]:
        """As above. Raises `UsageError` for a threshold too that no sequence can be below."""
        if constrained and self.threshold == 0 and not self.knows_cost(spec):
            raise UsageError(
                f"threshold=0: what costs in {spec.id} is learned, as a probability, which is never 0; "
                "give --set threshold=0.5"
            )
        return super().told(spec, constrained)

    def by_dynamics(self, spec: EnvSpec) -> ByDynamics:
        """What is left open, by the dynamics; what is given, as it is."""
        usual = FULL if not self.factored(spec) else FACTORED if spec.entities is not None else LIDARS
        given = {name: getattr(self, name) for name in vars(usual)}
        return replace(usual, **{name: value for name, value in given.items() if value is not None})

    def filled(self: P, spec: EnvSpec) -> P:
        """These, with numbers where None stands for one that depends on the dynamics."""
        needed = min(10, self.sequences) if self.min_feasible is None else self.min_feasible
        return replace(self, min_feasible=needed, **asdict(self.by_dynamics(spec)))


@dataclass(frozen=True)
class ByDynamics:
    """What depends on the dynamics where nothing else is asked for."""

    layers: int
    width: int
    horizon: int
    iterations: int
    noise_correlation: float
    model_noise: bool


FULL = ByDynamics(layers=4, width=200, horizon=8, iterations=5, noise_correlation=0.0, model_noise=True)
"""One network over the observation: the paper's networks, horizon and noise (Table 3, C.4)."""
FACTORED = ByDynamics(layers=2, width=128, horizon=16, iterations=3, noise_correlation=0.85, model_noise=True)
"""Dynamics over entities can be trusted, and so looked ahead in, for longer."""
LIDARS = replace(FACTORED, horizon=8, model_noise=False)
"""Lidars show less than positions do. The nearest thing is the largest of all bins: with noise on each, something is
nearly always too close."""


@dataclass(frozen=True)
class Settings(OnlineModels, PlanSettings):
    """Settings of a planning agent that learns while acting."""

    exploration: Literal["mean", "draw"] = "mean"
    """What a planner does in training: the mean of the weighed sequences, or one drawn by the weights."""
    augmentation: float = 0.0
    """Share of the learner's batch that is drawn from what planning imagined (workshop paper, appendix D: 0.3)."""
    # The value at the horizon
    value: Literal["auto", "behaviour", "actor", "none"] = "auto"
    """Whose value ends the lookahead: that of what was done (`behaviour`), or `Q(s, pi(s))` of the learner's actor,
    which knows no constraint; `none`: nothing does; `auto`: behaviour under a constraint, actor without."""
    value_sees: Literal["auto", "observation", "entities"] = "auto"
    """What the behaviour's value is a function of: the numbers as they come, or a set of entities; `auto`: entities
    where the environment names them."""
    behaviour_hidden: int = 128
    """Units of each of the two hidden layers of the behaviour's value."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, "behaviour_hidden", least=1, most=MANY)
        check_range(self, "augmentation", least=0, most=1)

    def value_of(self, constrained: bool, learns: bool) -> str:
        """Whose value ends the lookahead: `behaviour`, `actor` or `none`; of itself none without a learner."""
        if self.value != "auto":
            return self.value
        return "none" if not learns else "behaviour" if constrained else "actor"

    def sees_entities(self, spec: EnvSpec) -> bool:
        """Whether the behaviour's value is a function of a set of entities."""
        return self.value_sees == "entities" or (self.value_sees == "auto" and spec.entities is not None)


PAPER = {
    "dynamics": "full", "particles": 4, "iterations": 8, "inverse_temperature": 1.0, "discount": 0.99,
    "cost_margin": 0.0, "threshold": 0.0, "warmup": 2000, "warmup_hold": 1,
    "fit_steps": 5000, "first_fit_steps": 5000, "fit_patience": 5, "value": "actor",
}  # fmt: skip
"""CoRL 2021, Tables 2 and 3, C.4: what differs from the defaults."""

RC_CAR = {
    "layers": 2, "width": 128, "penalty": 30.0, "fit_steps": 1000, "updates_per_decision": 4,
}  # fmt: skip
"""For a few thousand decisions on the RC car: models and values learn more from each (results/rc_car)."""

ONLINE_PAPER = {
    "discount": 0.99, "horizon": 3, "iterations": 5, "noise_correlation": 0.0, "inverse_temperature": 1.0,
    "initial_temperature": 1.0, "warmup_hold": 1, "exploration": "draw", "particles": 4,
    "fit_steps": 5000, "first_fit_steps": 5000, "fit_patience": 5,
}  # fmt: skip
"""Where nothing costs, CoRL 2021, Tables 2 and 3, C.2; drawing in training is the authors' program's."""

ONLINE = {
    **ONLINE_PAPER, "particles": 1, "fit_steps": 200, "first_fit_steps": 2000, "fit_patience": 0,
    "layers": 3, "width": 128, "iterations": 3, "hidden": 128, "updates_per_decision": 3,
    "actor_fraction": 1.0, "model_noise": False, "inverse_temperature": 10.0,
    "initial_temperature": 0.1, "backup_entropy": False, "layer_norm": True,
}  # fmt: skip
"""The same with less to compute, and what it takes to learn from a planner's data (docs/architecture.md)."""

PRESETS: dict[str, dict[str, Any]] = {
    "default": {}, "paper": PAPER, "rc-car": RC_CAR, "online": ONLINE, "online-paper": ONLINE_PAPER
}  # fmt: skip
