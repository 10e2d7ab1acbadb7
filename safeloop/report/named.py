"""Costs by name, where an environment tells several apart: each with its own budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from statistics import fmean
from typing import Any

from safeloop.recording.reader import Recorded
from safeloop.recording.rows import Episode, EvaluationEpisode
from safeloop.recording.run import RunSettings
from safeloop.report.safety import cvar


@dataclass(frozen=True)
class NamedCost:
    """One of a run's costs; None where there are no episodes of it."""

    name: str
    budget: float
    training_cost_return: float | None
    """Mean of the last training episodes."""
    evaluation_cost_return: float | None
    """Mean of the last evaluation's episodes."""
    evaluation_cvar: float | None
    evaluation_over_budget: float | None
    """Share of these episodes above the budget."""

    @property
    def within_budget(self) -> bool | None:
        """Whether the evaluation's mean is at most the budget."""
        return None if self.evaluation_cost_return is None else self.evaluation_cost_return <= self.budget

    @property
    def columns(self) -> dict[str, Any]:
        """Its numbers as columns of `summary.csv`, `evaluation_cost_return_hazards` for example."""
        names = [f.name for f in fields(self) if f.name not in ("name", "budget")]
        return {f"{name}_{self.name}": getattr(self, name) for name in names}


def named(recorded: Recorded, last: int) -> list[NamedCost]:
    """Return the costs of a run by name, training ones over so many `last` episodes."""
    found = []
    for name, budget in recorded.run.settings.budgets.items():
        trained, final = of(recorded.episodes, name)[-last:], of(recorded.last_evaluation, name)
        mean, over = (fmean(final), sum(cost > budget for cost in final) / len(final)) if final else (None, None)
        found.append(
            NamedCost(name, budget, fmean(trained) if trained else None, mean, cvar(final) if final else None, over)
        )
    return found


def value(episode: Episode | EvaluationEpisode, column: str) -> float:
    """Return a number of an episode: of a column, or of a named cost, `"cost_return hazards"`."""
    plain, _, name = column.partition(" ")
    return dict(episode.costs).get(name, 0.0) if name else getattr(episode, plain)


def of(episodes: Sequence[Episode | EvaluationEpisode], name: str) -> list[float]:
    """Return the cost returns of that name, of the episodes that have one."""
    return [costs[name] for costs in (dict(e.costs) for e in episodes) if name in costs]


def terms(settings: RunSettings) -> list[str]:
    """Return a line with the budgets, where there are several."""
    if not settings.budgets:
        return []
    each = ", ".join(f"{name} {budget:g}" for name, budget in settings.budgets.items())
    return [f"Budgets by name: {each}; those that know one cost keep that without a name to the budget."]
