"""Settings of whole agents, composed of those of their parts. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal, TypeVar

from safeloop.cmdp import Delay, EnvSpec
from safeloop.learners.settings import (
    ChoiceSettings,
    CriticSettings,
    CrossQSettings,
    CRRSettings,
    DistillationSettings,
    LearnerSettings,
    SACSettings,
    TD3Settings,
    ValueEnsembleSettings,
    ValueSettings,
)
from safeloop.models.settings import ModelSettings, RefitSettings
from safeloop.planning import settings as planning
from safeloop.planning.settings import BudgetSettings, PlannerSettings
from safeloop.settings import MANY, TRANSITIONS, check_range

S = TypeVar("S", bound="OffPolicy")
A = TypeVar("A", bound="OnlinePlanning")


# Agents that learn while acting

WARMUP, WARMUP_OVER_POINTS = 1000, 100
"""Random decisions at the start, where nothing else is asked for."""


@dataclass(frozen=True)
class OnlineSettings:
    """Settings of training while acting."""

    updates_per_decision: int = 1
    """Gradient steps of the learner after each decision."""
    capacity: int = 1_000_000
    """Transitions that the replay buffer keeps."""
    warmup: int | None = None
    """Random decisions at the start; None: 1000, 100 with dynamics over points, which learn from fewer, or 0 with a
    simulator."""
    warmup_hold: int = 10
    """Decisions that a random action is held for, on average."""

    def __post_init__(self) -> None:
        """Raise `ValueError` for a value that can't be."""
        check_range(self, "capacity", "warmup_hold", least=1, most=TRANSITIONS)
        check_range(self, "warmup", least=0, most=TRANSITIONS)
        check_range(self, "updates_per_decision", least=0, most=MANY)
        warmup = WARMUP if self.warmup is None else self.warmup
        if warmup > self.capacity:
            raise ValueError(f"warmup={warmup}: expected at most capacity={self.capacity}, all kept")

    def filled(self, warmup: int) -> OnlineSettings:
        """Return these settings with a number in place of None."""
        return self if self.warmup is not None else replace(self, warmup=warmup)


@dataclass(frozen=True)
class OffPolicy:
    """Settings of an off-policy agent."""

    of: ClassVar[str | None] = None
    """The learner that all agents of these settings have."""
    learner: LearnerSettings = LearnerSettings()
    online: OnlineSettings = OnlineSettings()

    @property
    def learner_name(self) -> str | None:
        """The learner of actions: `sac`, `td3`, `crr`, `crossq`, or None without one."""
        return self.of

    @property
    def least_warmup(self) -> int:
        """The fewest random decisions at the start that there can be."""
        return 1

    def __post_init__(self) -> None:
        """Raise `ValueError` for values that can't be together."""
        if self.online.warmup is not None and self.online.warmup < self.least_warmup:
            raise ValueError(f"warmup={self.online.warmup}: expected at least {self.least_warmup}")
        size, capacity = self.learner.batch_size, self.online.capacity
        if size > capacity:
            raise ValueError(f"batch_size={size}: expected at most capacity={capacity}, all kept")

    def filled(self: S, spec: EnvSpec) -> S:
        """Return these settings with numbers in place of None."""
        return replace(self, learner=self.learner.filled(self.learner_name), online=self.online.filled(WARMUP))


@dataclass(frozen=True)
class OffPolicySAC(OffPolicy):
    """Settings of SAC."""

    of = "sac"
    critics: CriticSettings = CriticSettings()
    sac: SACSettings = SACSettings()


@dataclass(frozen=True)
class OffPolicyTD3(OffPolicy):
    """Settings of TD3."""

    of = "td3"
    critics: CriticSettings = CriticSettings()
    td3: TD3Settings = TD3Settings()


@dataclass(frozen=True)
class OffPolicyCrossQ(OffPolicy):
    """Settings of CrossQ."""

    of = "crossq"
    sac: SACSettings = SACSettings()
    crossq: CrossQSettings = CrossQSettings()


@dataclass(frozen=True)
class PlanTrainingSettings:
    """Settings of training with a planner."""

    exploration: Literal["mean", "draw"] = "mean"
    """The planner's action in training: the mean of the weighed sequences, or one drawn by the weights."""
    augmentation: float = 0.0
    """Share of the learner's batch that is drawn from the planner's imagination (workshop paper, appendix D: 0.3)."""
    actor_episodes: float = 0.0
    """Probability that the learner's actor acts in an episode of training, with its exploration and without the
    constraint, in place of the planner; 1: the planner acts in evaluation alone."""

    def __post_init__(self) -> None:
        """Raise `ValueError` for a value that can't be."""
        check_range(self, "augmentation", "actor_episodes", least=0, most=1)


@dataclass(frozen=True)
class DelaySettings:
    """Settings of planning under a delay."""

    delay: Literal["known", "ignored"] = "known"
    """Under a delay, plans begin at the states that the actions under way lead to (`known`), or at those observed."""


@dataclass(frozen=True)
class OnlinePlanning(OffPolicy):
    """Settings of a planning agent that learns while acting."""

    models: ModelSettings = ModelSettings()
    refits: RefitSettings = RefitSettings()
    planner: PlannerSettings = PlannerSettings()
    budget: BudgetSettings = BudgetSettings()
    delays: DelaySettings = DelaySettings()
    value: ValueSettings = ValueSettings()
    training: PlanTrainingSettings = PlanTrainingSettings()

    def __post_init__(self) -> None:
        """Raise `ValueError` for values that can't be together."""
        super().__post_init__()
        if self.budget.constraint == "adaptive" and self.planner.threshold == 0:
            raise ValueError("threshold=0: constraint=adaptive begins at a threshold above 0; leave it out")

    def filled(self: A, spec: EnvSpec) -> A:
        """Return these settings, with numbers where None stands for one that depends on the dynamics."""
        warmup = {"points": WARMUP_OVER_POINTS, "simulator": 0}.get(self.models.kind(spec), WARMUP)
        usual = planning.BY_DYNAMICS[self.models.kind(spec)]
        return replace(
            self, models=self.models.filled(spec), planner=self.planner.filled(usual),
            learner=self.learner.filled(self.learner_name), online=self.online.filled(warmup),
        )  # fmt: skip

    @property
    def least_warmup(self) -> int:
        """A simulator needs no random decisions: there is nothing to fit."""
        return 0 if self.models.dynamics == "simulator" else 1

    def value_of(self, constrained: bool, learns: bool) -> str:
        """Return the kind of value that ends the lookahead; `auto` is `none` without a learner of actions."""
        if self.value.value != "auto":
            return self.value.value
        return "none" if not learns else "behaviour" if constrained else "actor"

    def delay(self, spec: EnvSpec) -> Delay | None:
        """Return the delay that plans reckon with."""
        return spec.delay if self.delays.delay == "known" else None

    def sees_entities(self, spec: EnvSpec) -> bool:
        """Return whether the behaviour's value is a function of a set of entities, or of tracks."""
        sees = self.value.value_sees
        named = spec.entities is not None or self.models.kind(spec) == "points"
        return sees == "entities" or (sees == "auto" and named)


@dataclass(frozen=True)
class OnlineLoop(OnlinePlanning):
    """Settings of a planning agent over a learner: which one, and those that each has."""

    choice: ChoiceSettings = ChoiceSettings()
    critics: CriticSettings = CriticSettings()
    sac: SACSettings = SACSettings()
    td3: TD3Settings = TD3Settings()
    crr: CRRSettings = CRRSettings()
    crossq: CrossQSettings = CrossQSettings()

    @property
    def learner_name(self) -> str:
        """The learner of actions."""
        return self.choice.learner


# Runs that were recorded before there was a choice, or shares of episodes, are read with the defaults of these.


@dataclass(frozen=True)
class OnlineLoopTD3(OnlineLoop):
    """Settings of a planning agent whose learner is TD3 unless another is chosen."""

    choice: ChoiceSettings = ChoiceSettings("td3")


@dataclass(frozen=True)
class OnlineLoopCRR(OnlineLoop):
    """Settings of a planning agent whose learner is CRR unless another is chosen."""

    choice: ChoiceSettings = ChoiceSettings("crr")
    critics: CriticSettings = CriticSettings(layer_norm=True)


@dataclass(frozen=True)
class EvaluatedLoop(OnlineLoop):
    """Settings of a planning agent that plans in evaluation alone."""

    training: PlanTrainingSettings = PlanTrainingSettings(actor_episodes=1.0)


@dataclass(frozen=True)
class PoloLearning:
    """Settings of POLO's targets and updates (Lowrey et al., 2019, Algorithm 1)."""

    update_every: int = 16
    """Z, decisions between updates of the values."""
    value_steps: int = 64
    """G, gradient steps of an update."""
    value_batch: int = 32
    """n, states of each network's gradient step."""
    targets: Literal["kept", "plan"] = "kept"
    """Candidates that a state's target is the best of (Eq. 7): those of the plan that was made there, valued anew by
    the present networks, or those of a new optimisation from the stored state, as in the paper."""
    kept: int = 30
    """Candidates kept of each plan, the best ones (targets=kept)."""
    target_horizon: int = 16
    """N, decisions of the new optimisation (targets=plan)."""
    target_candidates: int = 8
    """Sequences of the new optimisation: the old solution, and others around it (targets=plan)."""
    target_states: int = 64
    """States that targets are computed for at once."""
    target_steps: int = 16
    """Gradient steps that draw from these; the paper computes targets for each."""

    def __post_init__(self) -> None:
        """Raise `ValueError` for a value that can't be."""
        check_range(self, "update_every", "value_steps", "value_batch", "kept", least=1, most=MANY)
        check_range(self, "target_states", "target_steps", least=1, most=MANY)
        check_range(self, "target_horizon", "target_candidates", least=1, most=1000)


@dataclass(frozen=True)
class PoloSettings(OnlinePlanning):
    """Settings of POLO."""

    value_ensemble: ValueEnsembleSettings = ValueEnsembleSettings()
    polo: PoloLearning = PoloLearning()

    def __post_init__(self) -> None:
        """Raise `ValueError` for values that can't be together."""
        super().__post_init__()
        if self.value.value != "auto":
            raise ValueError(f"value={self.value.value}: POLO's value is its ensemble; leave it out, or use mpc")


@dataclass(frozen=True)
class PoplinLearning:
    """Settings of POPLIN's search around its policy (Wang & Ba, 2020)."""

    search_space: Literal["init", "replan", "sep", "uni"] = "replan"
    """The things that are searched: noise on actions that the policy proposes once (`init`), on its actions in the loop
    (`replan`), on its weights in each decision (`sep`), or on its weights for all decisions of a plan (`uni`)."""
    hallucination: bool = False
    """Distil the first decisions of all elite candidates too."""


@dataclass(frozen=True)
class PoplinSettings(OnlinePlanning):
    """Settings of POPLIN."""

    planner: PlannerSettings = PlannerSettings(search="cem", actor_fraction=0.0)
    poplin: PoplinLearning = PoplinLearning()
    policy: DistillationSettings = DistillationSettings()

    def __post_init__(self) -> None:
        """Raise `ValueError` for values that can't be together."""
        super().__post_init__()
        if self.policy.distillation in ("avg", "gan") and self.poplin.search_space in ("init", "replan"):
            raise ValueError(
                f"distillation={self.policy.distillation}: it needs noise on weights, search_space=sep or uni; this "
                f"is search_space={self.poplin.search_space}"
            )
        if self.value.value != "auto":
            raise ValueError(f"value={self.value.value}: POPLIN has no value at the horizon; leave it out")
        if self.planner.search != "cem" or self.planner.actor_fraction:
            given = f"search={self.planner.search}, actor_fraction={self.planner.actor_fraction:g}"
            raise ValueError(f"{given}: POPLIN's search is cem, without an actor's sequences; leave them out")
