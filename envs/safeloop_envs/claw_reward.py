"""The reward of `Claw`, of arrays and of tensors alike. Imports no simulator."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from torch import Tensor

Kind = Literal["published", "program"]
NEAR, AT = 0.25, 0.1
"""Angles between valve and goal below which there is a small and a big bonus, rad."""


def reward(valve: Any, goal: Any, kind: Kind) -> Any:
    """Return the reward `[...]` of a valve's angle `[...]`, rad, where `goal [...]` is asked for.

    Both are arrays, or both are tensors. Published is -10 times the distance, plus 1 below 0.25 rad and 10 more below
    0.1 rad. The program keeps both bonuses in one array, and so pays twice the last one that it wrote there.
    """
    away = abs((valve - goal + math.pi) % (2 * math.pi) - math.pi)
    small, big = (1.0, 10.0) if kind == "published" else (2.0, 18.0)
    return -10 * away + small * (away < NEAR) + big * (away < AT)


def known(obs: Tensor, act: Tensor, next_obs: Tensor, kind: Kind) -> Tensor:
    """Return the reward `[...]` of observations `[..., 21]`."""
    return reward(next_obs[..., 18], next_obs[..., 20], kind)
