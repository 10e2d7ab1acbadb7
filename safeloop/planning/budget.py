"""A threshold that follows the costs of episodes towards a budget (docs/constraints.md)."""

from __future__ import annotations

import math
from typing import Any

import torch

from safeloop.planning.settings import BudgetSettings


class AdaptiveThreshold:
    """The threshold d0 of a planner's constraint, which each episode moves by its cost.

    Dual ascent on the logarithm of d0: `log d0 += rate * (budget - cost) / (budget + scale)`. The sum is kept within
    the bounds of d0, so that an error that lasts is not stored up (anti-windup).
    """

    def __init__(self, settings: BudgetSettings, budget: float, start: float, device: str = "cpu"):
        c = settings
        assert c.least_threshold is not None and c.largest_threshold is not None  # `filled`
        self.settings, self.budget = settings, budget
        self.bounds = math.log(c.least_threshold), math.log(c.largest_threshold)
        self.threshold = torch.empty((), device=device)
        """d0, one tensor that is written in place: planners hold it."""
        self.move_to(math.log(start))
        self.cost_return = 0.0
        self.at_random = False
        """Of the episode under way: its cost, and whether a decision of it was random."""

    def move_to(self, level: float) -> None:
        """Set log d0, within its bounds."""
        least, largest = self.bounds
        self.level = min(max(level, least), largest)
        """log d0."""
        self.threshold.fill_(math.exp(self.level))

    def follow(self, cost: float, ended: bool, at_random: bool = False) -> None:
        """Take a decision's cost; at an episode's end d0 moves, unless a decision of it was random."""
        self.cost_return += cost
        self.at_random |= at_random
        if not ended:
            return
        if not self.at_random:
            error = (self.budget - self.cost_return) / (self.budget + self.settings.threshold_scale)
            self.move_to(self.level + self.settings.threshold_rate * error)
        self.cost_return, self.at_random = 0.0, False

    def state_dict(self) -> dict[str, Any]:
        """Return the level, and what is known of the episode under way."""
        return {"level": self.level, "cost_return": self.cost_return, "at_random": self.at_random}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore `state_dict`."""
        self.move_to(state["level"])
        self.cost_return, self.at_random = state["cost_return"], state["at_random"]
