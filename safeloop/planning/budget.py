"""Thresholds that follow the costs of episodes towards budgets (docs/constraints.md)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from safeloop.planning.settings import BudgetSettings


class AdaptiveThreshold:
    """The threshold d0 of a planner's constraint, which each episode moves by its cost; one for each of several costs.

    Dual ascent on the logarithm of d0: `log d0 += rate * (budget - cost) / (budget + scale)`. The sum is kept within
    the bounds of d0, so that an error that lasts is not stored up (anti-windup).
    """

    def __init__(self, settings: BudgetSettings, budgets: Sequence[float], start: float, device: str = "cpu"):
        c = settings
        assert c.least_threshold is not None and c.largest_threshold is not None  # `filled`
        self.settings, self.budgets = settings, budgets
        self.bounds = math.log(c.least_threshold), math.log(c.largest_threshold)
        several = (len(budgets),) if len(budgets) > 1 else ()
        self.threshold = torch.empty(several, device=device)
        """d0, `[]` or of C costs `[C]`, one tensor that is written in place: planners hold it."""
        self.move_to([math.log(start)] * len(budgets))
        self.cost_returns = [0.0] * len(budgets)
        self.at_random = False
        """Of the episode under way: its costs, and whether a decision of it was random."""

    def move_to(self, levels: Sequence[float]) -> None:
        """Set log d0 of each cost, within its bounds."""
        least, largest = self.bounds
        self.levels = [min(max(level, least), largest) for level in levels]
        """log d0."""
        self.threshold.copy_(torch.tensor([math.exp(level) for level in self.levels]).view(self.threshold.shape))

    def follow(self, costs: Sequence[float], ended: bool, at_random: bool = False) -> None:
        """Take a decision's costs; at an episode's end d0 moves, unless a decision of it was random."""
        self.cost_returns = [total + cost for total, cost in zip(self.cost_returns, costs, strict=True)]
        self.at_random |= at_random
        if not ended:
            return
        if not self.at_random:
            self.move_to([level + self._change(i) for i, level in enumerate(self.levels)])
        self.cost_returns, self.at_random = [0.0] * len(self.budgets), False

    def _change(self, i: int) -> float:
        error = (self.budgets[i] - self.cost_returns[i]) / (self.budgets[i] + self.settings.threshold_scale)
        return self.settings.threshold_rate * error

    def state_dict(self) -> dict[str, Any]:
        """Return the levels, and what is known of the episode under way."""
        return {"levels": self.levels, "cost_returns": self.cost_returns, "at_random": self.at_random}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore `state_dict`."""
        self.move_to(state["levels"])
        self.cost_returns, self.at_random = state["cost_returns"], state["at_random"]
