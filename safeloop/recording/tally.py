"""The sums of one episode, in training and in evaluation alike."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from safeloop.cmdp import NAME

UNKNOWN = -1
"""In place of a longest run of costly steps that can't be told."""


NUMBER = r"-?[0-9]+(\.[0-9]+)?(e[+-]?[0-9]+)?"


class Costs(tuple[tuple[str, float], ...]):
    """Cost returns by name, `hazards=12 vases=0` in a table; none, `-`, where the environment names none."""

    PATTERN = re.compile(rf"-|({NAME}={NUMBER} )*{NAME}={NUMBER}")
    """The form of its text."""

    @classmethod
    def parse(cls, text: str) -> Costs:
        """Return the costs of a text. Raises `ValueError` where one is no number."""
        pairs = [] if text == "-" else [each.split("=") for each in text.split(" ")]
        return cls((name, float(value)) for name, value in pairs)

    def __str__(self) -> str:
        return " ".join(f"{name}={round(value, 6):.12g}" for name, value in self) or "-"


NO_COSTS = Costs()
"""Of an environment that names none."""


class Tally:
    """Return, cost return, violations, length and longest run of costly steps of the episode so far."""

    def __init__(self) -> None:
        self.return_, self.cost_return, self.violations, self.length, self.longest_run = 0.0, 0.0, 0, 0, 0
        self._run = 0
        self._costs: dict[str, float] = {}

    def add(self, reward: float, info: Mapping[str, Any]) -> None:
        """Add a decision, with its `info` complete (`cmdp.complete`)."""
        violations, steps = int(info["violations"]), int(info["simulator_steps"])
        self.return_ += reward
        self.cost_return += float(info["cost"])
        self.violations += violations
        self.length += steps
        for name, cost in info.get("named_costs", {}).items():
            self._costs[name] = self._costs.get(name, 0.0) + float(cost)
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
        found = {name: value for name, value in vars(self).items() if not name.startswith("_")}
        return {**found, "costs": Costs(self._costs.items())}
