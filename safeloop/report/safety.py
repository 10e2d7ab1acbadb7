"""Safety of a run's episodes: mean cost, the worst of them, the budget, and violations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from safeloop.recording.rows import Episode, EvaluationEpisode
from safeloop.recording.tally import UNKNOWN

WORST = 0.1
"""Share of the episodes, the costliest, whose mean cost return is the conditional value at risk (CVaR)."""
IN_A_ROW = 10
"""Episodes in a row within the budget after which training is said to keep it."""


@dataclass(frozen=True)
class Safety:
    """Safety of some episodes."""

    cost_return: float
    """Mean cost return."""
    cvar: float
    """Mean cost return of the worst tenth of the episodes (`cvar`)."""
    over_budget: float
    """Share of the episodes whose cost return is above the budget."""
    longest_run: int | None
    """Largest number of simulator steps in a row with a cost; None where any episode lacks it."""
    violations: int
    """Simulator steps with a cost."""
    violations_per_1000: float
    """Violations per 1,000 simulator steps."""


def cvar(costs: Sequence[float], worst: float = WORST) -> float:
    """Return the conditional value at risk of cost returns: the mean of the `worst` share of them.

    That share of the episodes need not be a whole number n: the episode on its border counts in part; with fewer than
    one episode in the share it is the largest cost (Rockafellar and Uryasev 2002, section 5). Raises `ValueError`
    without episodes.
    """
    if not costs:
        raise ValueError("the conditional value at risk of no episodes: give at least one")
    count = max(1.0, worst * len(costs))
    whole, ranked = math.floor(count), sorted(costs, reverse=True)
    part = (count - whole) * ranked[whole] if whole < count else 0.0
    return (math.fsum(ranked[:whole]) + part) / count


def safety(episodes: Sequence[Episode | EvaluationEpisode], budget: float) -> Safety | None:
    """Return the safety of episodes; None without any."""
    if not episodes:
        return None
    costs, runs = [e.cost_return for e in episodes], [e.longest_run for e in episodes]
    violations = sum(e.violations for e in episodes)
    return Safety(
        fmean(costs),
        cvar(costs),
        sum(cost > budget for cost in costs) / len(costs),
        None if UNKNOWN in runs else max(runs),
        violations,
        1000 * violations / sum(e.length for e in episodes),
    )


def kept(episodes: Sequence[Episode], budget: float, in_a_row: int = IN_A_ROW) -> tuple[int, int] | None:
    """Return simulator steps and violations of training until the budget was first kept for episodes in a row.

    Both include these episodes. None where that never happened.
    """
    row, violations = 0, 0
    for episode in episodes:
        violations += episode.violations
        row = row + 1 if episode.cost_return <= budget else 0
        if row == in_a_row:
            return episode.simulator_steps, violations
    return None
