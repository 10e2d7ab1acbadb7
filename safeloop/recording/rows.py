"""The rows of a run's tables. Reading checks every row against its class."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from safeloop.recording.tables import ANY, COUNTS, GROUPS, NEW, RISES, column
from safeloop.recording.tally import NO_COSTS, UNKNOWN, Costs

AGENT, POLICY = "agent", "policy"
"""Ways to control an evaluation episode: as the agent does, or by its policy without its planner."""


@dataclass(frozen=True)
class Episode:
    """One finished episode, as a row of `episodes.csv`. Steps are cumulative over the run."""

    episode: int = column(order=COUNTS)
    simulator_steps: int = column(least=1, order=RISES)
    decisions: int = column(least=1, order=RISES)
    return_: float = column()
    cost_return: float = column()
    violations: int = column(least=0)
    """Simulator steps of this episode whose cost was positive."""
    length: int = column(least=1)
    """Simulator steps of this episode."""
    wall_seconds: float = column(least=0, compare=False)
    """Seconds of training so far, evaluations excluded."""
    longest_run: int = column(least=UNKNOWN, default=UNKNOWN)
    """Largest number of simulator steps in a row with a cost; -1 where that was not recorded."""
    costs: Costs = field(default=NO_COSTS)
    """Cost returns by name, where the environment names several costs."""


@dataclass(frozen=True)
class EvaluationEpisode:
    """One evaluation episode, as a row of `evaluations.csv`, `simulator_steps` into the training."""

    simulator_steps: int = column(least=0, order=GROUPS)
    episode: int = column(order=COUNTS)
    return_: float = column()
    cost_return: float = column()
    violations: int = column(least=0)
    length: int = column(least=1)
    wall_seconds: float = column(most=ANY, default=math.nan, compare=False)
    """Seconds since the evaluation began; NaN where that was not recorded."""
    longest_run: int = column(least=UNKNOWN, default=UNKNOWN)
    """Largest number of simulator steps in a row with a cost; -1 where that was not recorded."""
    control: str = column(order=GROUPS, default=AGENT)
    """`agent`: the agent acted as it does; `policy`: its policy acted alone, without its planner."""
    costs: Costs = field(default=NO_COSTS)
    """Cost returns by name, where the environment names several costs."""


@dataclass(frozen=True)
class Fit:
    """One fit of the ensemble, as a row of `fits.csv`: held-out error before and after (mean over models)."""

    simulator_steps: int = column(least=0, order=RISES)
    fit_steps: int = column(least=0)
    holdout_before: float = column(most=ANY)
    holdout: float = column(most=ANY)


@dataclass(frozen=True)
class PlanSummary:
    """The planned decisions of one training episode, as a row of `plans.csv` (means over decisions)."""

    simulator_steps: int = column(least=1, order=RISES)
    planned: int = column(least=1)
    """Planned decisions."""
    best_return: float = column(most=ANY)
    lowest_cost: float = column(most=ANY)
    feasible: float = column(least=0)
    """Feasible sequences in the last iteration."""
    unsafe: float = column(least=0, most=1)
    """Fraction of decisions with fewer feasible sequences than m."""
    divergence: float = column(most=ANY)
    """L2 distance from the actor's mean action to the planned action; NaN without an actor, as for `usage`."""
    usage: float = column(most=ANY, default=math.nan)
    """Share of the weights, or of the elites, on the actor's sequences."""
    model_error: float = column(most=ANY, default=math.nan)
    """Root mean square, over decisions and observed numbers, of the one-step error of the ensemble mean before it was
    fitted on the decision, in standard deviations of the changes."""
    value_error: float = column(most=ANY, default=math.nan)
    """The value at the horizon minus the discounted return that followed, computed after the episode."""
    effective_size: float = column(most=ANY, default=math.nan)
    """Number of equally weighed sequences that the last iteration's weights are worth, `1 / sum w^2`."""


@dataclass(frozen=True)
class Update:
    """The progress of learning from a dataset, as a row of `updates.csv`."""

    simulator_steps: int = column(least=1, order=RISES)
    """Gradient steps."""
    wall_seconds: float = column(least=0, compare=False)
    """Seconds so far, including the models' fit but not evaluations."""
    value: float = column(most=ANY)
    """Mean value of 1,000 observations drawn from the whole dataset, the same ones throughout a run; NaN where no value
    is learned."""
    data_return: float = column(most=ANY, default=math.nan)
    """Mean, over the same places in the dataset, of what the value should be of the dataset's own behaviour: the
    discounted return that followed (`data.episodes.discounted_returns`), for MBOP the truncated one."""
    data_lowest: float = column(most=ANY, default=math.nan)
    """Lowest of these returns in the whole dataset."""
    data_highest: float = column(most=ANY, default=math.nan)
    """Highest of these."""
    action_error: float = column(most=ANY, default=math.nan)
    """Root mean square difference, over the same places and the action's numbers, of the learner's action from the
    dataset's."""


@dataclass(frozen=True)
class Diagnostic:
    """The mean over a training episode's decisions of one of the environment's `info["diagnostics"]`."""

    simulator_steps: int = column(least=1, order=GROUPS)
    episode: int = column(least=0, order=GROUPS)
    name: str = column(order=NEW)
    mean: float = column(most=ANY)
