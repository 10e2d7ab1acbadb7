"""The sums of one episode, in training and in evaluation alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

UNKNOWN = -1
"""In place of a longest run of costly steps that can't be told."""


class Tally:
    """Return, cost return, violations, length and longest run of costly steps of the episode so far."""

    def __init__(self) -> None:
        self.return_, self.cost_return, self.violations, self.length, self.longest_run = 0.0, 0.0, 0, 0, 0
        self._run = 0

    def add(self, reward: float, info: Mapping[str, Any]) -> None:
        """Add a decision, with its `info` complete (`cmdp.complete`)."""
        violations, steps = int(info["violations"]), int(info["simulator_steps"])
        self.return_ += reward
        self.cost_return += float(info["cost"])
        self.violations += violations
        self.length += steps
        if "costs" in info:
            self._add_steps(cost > 0 for cost in info["costs"])
        elif violations in (0, steps):
            self._add_steps([violations > 0] * steps)
        else:  # which of the steps had a cost is not told
            self.longest_run = UNKNOWN

    def _add_steps(self, costly: Any) -> None:
        for each in costly:
            self._run = self._run + 1 if each else 0
            if self.longest_run != UNKNOWN:
                self.longest_run = max(self.longest_run, self._run)

    @property
    def columns(self) -> dict[str, Any]:
        """The columns of `rows.Episode` and `rows.EvaluationEpisode` that come from here."""
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}
