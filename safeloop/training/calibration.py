"""Find the threshold at which a trained planner's episodes cost as much as a budget allows (docs/constraints.md)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean
from typing import Protocol

from safeloop.cmdp import EnvSpec
from safeloop.protocols import Policy
from safeloop.rng import CALIBRATION, derived_seed
from safeloop.training.evaluation import evaluate


class Follows(Protocol):
    """A threshold that follows the costs of episodes (`planning.budget.AdaptiveThreshold`)."""

    levels: list[float]

    def follow(self, costs: Sequence[float], ended: bool) -> None:
        """Take the costs of an episode that has ended."""
        ...


def calibrated(policy: Policy, threshold: Follows, spec: EnvSpec, episodes: int, seed: int) -> float:
    """Return the threshold that the policy's episodes of calibration lead to, of the second half a geometric mean.

    The policy plans with `threshold`, which moves after each episode, as in training. These episodes share no seed with
    those of training or evaluation.
    """
    levels = []
    for row in evaluate(policy, spec, episodes, derived_seed(seed, CALIBRATION)):
        threshold.follow([row.cost_return], True)
        levels += threshold.levels
    return math.exp(fmean(levels[len(levels) // 2 :]))
