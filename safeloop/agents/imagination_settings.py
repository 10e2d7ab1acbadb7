"""Settings of learners that models teach: MBPO's branches, value expansion, MAAC. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, TypeVar

from safeloop.agents.settings import OffPolicySAC, OnlineLoop
from safeloop.cmdp import EnvSpec
from safeloop.models.settings import ModelSettings, RefitSettings
from safeloop.planning.settings import BY_DYNAMICS, PlannerSettings
from safeloop.settings import MANY, TRANSITIONS, check_range

L = TypeVar("L", bound="LoopMOPOSettings")
M = TypeVar("M", bound="MBPOSettings")
Q = TypeVar("Q", bound="SafeMAACSettings")
P = TypeVar("P", bound="MAACPlanningSettings")

NETWORKS = ModelSettings(layers=4, width=200)
"""Models as large as the papers', whatever the dynamics."""


@dataclass(frozen=True)
class BranchSettings:
    """Settings of MBPO's branched rollouts (Janner et al., 2019)."""

    rollouts: int = 400
    """Imagined rollouts for each decision since the last fit."""
    rollout_length: int = 1
    """Steps of each."""
    real_fraction: float = 0.05
    """Share of a batch that is real."""

    def __post_init__(self) -> None:
        """Raise `ValueError` for a value that can't be."""
        check_range(self, "rollouts", "rollout_length", least=1, most=MANY)
        check_range(self, "real_fraction", least=0, most=1)

    def kept(self, refits: RefitSettings) -> int:
        """Return the number of imagined transitions that are kept: all since the last fit.

        Raises `ValueError` where they are more than can be.
        """
        kept = refits.fit_every * self.rollouts * self.rollout_length
        if kept > TRANSITIONS:
            raise ValueError(
                f"fit_every={refits.fit_every}, rollouts={self.rollouts}, rollout_length={self.rollout_length}: "
                f"{kept:,} imagined transitions between fits, expected at most {TRANSITIONS:,}"
            )
        return kept


@dataclass(frozen=True)
class MBPOSettings(OffPolicySAC):
    """Settings of MBPO, but for the number of updates and of rollouts its paper's."""

    models: ModelSettings = NETWORKS
    refits: RefitSettings = RefitSettings()
    branches: BranchSettings = BranchSettings()

    def __post_init__(self) -> None:
        """Raise `ValueError` for values that can't be together."""
        super().__post_init__()
        self.branches.kept(self.refits)

    def filled(self: M, spec: EnvSpec) -> M:
        """Return these settings with numbers in place of None."""
        return replace(super().filled(spec), models=self.models.observing().filled(spec))


@dataclass(frozen=True)
class ExpansionSettings:
    """Settings of value expansion."""

    horizon: int = 3
    """H, imagined decisions after the real one; the papers' lookahead has as many (CoRL 2021, Table 3)."""

    def __post_init__(self) -> None:
        """Raise `ValueError` for a value that can't be."""
        check_range(self, "horizon", least=1, most=1000)


@dataclass(frozen=True)
class ValueExpansionSettings(OffPolicySAC):
    """Settings of SAC with value expansion."""

    models: ModelSettings = NETWORKS
    refits: RefitSettings = RefitSettings()
    expansion: ExpansionSettings = ExpansionSettings()

    def filled(self, spec: EnvSpec) -> ValueExpansionSettings:
        """Return these settings with numbers in place of None."""
        return replace(super().filled(spec), models=self.models.observing().filled(spec))


@dataclass(frozen=True)
class PathwiseSettings:
    """Settings of MAAC's gradient and of its critics' targets (Clavera et al., 2020)."""

    gradient_horizon: int = 3
    """H, imagined decisions that the policy gradient goes through; 0: SAC's."""
    gradient_samples: int = 5
    """Imagined rollouts from each state."""
    gradient_bound: float | None = None
    """Largest norm of the actor's gradient; None: unbounded, as in the paper."""
    critic_targets: Literal["steve", "expanded", "plain"] = "steve"
    """The critics' targets: over several lookaheads, weighed by their agreement (STEVE); over one, at its imagined
    pairs too (Feinberg's TD-k); or of one decision."""
    steve_horizon: int = 3
    """H, imagined decisions of the longest lookahead (critic_targets=steve or expanded)."""
    steve_collapsed: bool = False
    """The lower critic stands for each, as in the authors' program: the shortest lookahead then has all the weight."""

    def __post_init__(self) -> None:
        """Raise `ValueError` for a value that can't be."""
        check_range(self, "gradient_horizon", least=0, most=100)
        check_range(self, "gradient_samples", "steve_horizon", least=1, most=100)
        check_range(self, "gradient_bound", more_than=0)


@dataclass(frozen=True)
class MAACSettings(MBPOSettings):
    """Settings of MAAC."""

    pathwise: PathwiseSettings = PathwiseSettings()


@dataclass(frozen=True)
class TestTimeSettings:
    """Settings of planning with a trained policy, in evaluation alone."""

    around: Literal["policy", "actions"] = "policy"
    """The search begins at the actions that the policy proposes (MAAC's MPC), or it is the planner's own among action
    sequences, of which an `actor_fraction` are the policy's."""


@dataclass(frozen=True)
class MAACPlanningSettings(MAACSettings):
    """Settings of MAAC with planning in evaluation."""

    planner: PlannerSettings = PlannerSettings(search="cem", actor_fraction=0.0)
    test_time: TestTimeSettings = TestTimeSettings()

    def __post_init__(self) -> None:
        """Raise `ValueError` for values that can't be together."""
        super().__post_init__()
        if self.test_time.around == "policy" and (self.planner.search != "cem" or self.planner.actor_fraction):
            given = f"search={self.planner.search}, actor_fraction={self.planner.actor_fraction:g}"
            raise ValueError(f"{given}: around=policy is a search by cem, without an actor's sequences")

    def filled(self: P, spec: EnvSpec) -> P:
        """Return these settings with numbers in place of None."""
        usual = BY_DYNAMICS[self.models.kind(spec)]
        return replace(super().filled(spec), planner=self.planner.filled(usual))


@dataclass(frozen=True)
class PriceSettings:
    """Settings of the price of cost (a Lagrange multiplier)."""

    initial_price: float = 1.0
    """The price at the start: the return that a discounted decision with a cost outweighs."""
    price_rate: float = 0.02
    """Change of the price for each unit by which an episode's cost is above the budget (below it, it falls)."""

    def __post_init__(self) -> None:
        """Raise `ValueError` for a value that can't be."""
        check_range(self, "initial_price", "price_rate", least=0)


@dataclass(frozen=True)
class SafeMAACSettings(MAACSettings):
    """Settings of MAAC under a budget."""

    price: PriceSettings = PriceSettings()

    def filled(self: Q, spec: EnvSpec) -> Q:
        """Return these settings with numbers in place of None; the cost is learned.

        Where goals jump, imagined states beyond a goal are no states of the task: critics and actor learn from real
        ones, and targets are of one decision.
        """
        found = super().filled(spec)
        found = replace(found, models=replace(found.models, cost="learned"))
        if not spec.has_events:
            return found
        pathwise = replace(found.pathwise, critic_targets="plain")
        return replace(found, pathwise=pathwise, branches=replace(found.branches, real_fraction=1.0))


@dataclass(frozen=True)
class RatioSettings:
    """Settings of SVG(1)'s gradient (Heess et al., 2015)."""

    ratio_bound: float = 10.0
    """Largest ratio of the actor's density of an action now to that when it was taken, which a transition counts by."""

    def __post_init__(self) -> None:
        """Raise `ValueError` for a value that can't be."""
        check_range(self, "ratio_bound", more_than=0)


@dataclass(frozen=True)
class SVGSettings(OffPolicySAC):
    """Settings of SVG(1) on SAC."""

    models: ModelSettings = NETWORKS
    refits: RefitSettings = RefitSettings()
    svg: RatioSettings = RatioSettings()

    def filled(self, spec: EnvSpec) -> SVGSettings:
        """Return these settings with numbers in place of None."""
        return replace(super().filled(spec), models=self.models.observing().filled(spec))


@dataclass(frozen=True)
class DoubtSettings:
    """Settings of MOPO's penalty (Yu et al., 2020)."""

    doubt_weight: float = 1.0
    """lambda, the reward that a unit of the models' doubt takes away from an imagined transition."""

    def __post_init__(self) -> None:
        """Raise `ValueError` for a value that can't be."""
        check_range(self, "doubt_weight", least=0)


@dataclass(frozen=True)
class LoopMOPOSettings(OnlineLoop):
    """Settings of a planning agent whose learner is MOPO: a learner that is taught by the models."""

    branches: BranchSettings = BranchSettings()
    mopo: DoubtSettings = DoubtSettings()

    def __post_init__(self) -> None:
        """Raise `ValueError` for values that can't be together."""
        super().__post_init__()
        self.branches.kept(self.refits)

    def filled(self: L, spec: EnvSpec) -> L:
        """Return these settings with numbers in place of None."""
        return replace(super().filled(spec), models=self.models.observing().filled(spec))
