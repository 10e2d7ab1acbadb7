"""Examples of rules that a trained planner is given: `safeloop eval RUN --cost-model safeloop_envs.rules:NAME`.

Each has the form of a known cost (`cmdp.EnvSpec.cost`): 0 where the rule is kept, else the depth in the forbidden
region, which `margin` widens. They use only methods of tensors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

STRIP = 1.05, 1.35
"""The begin and the end of the strip of the RC car's floor, x in metres."""
CAR_SPEED, POINT_SPEED = 3.0, 0.6
"""Speed limits, metres per second."""


def rc_car_strip(obs: Tensor, act: Tensor, next_obs: Tensor, margin: float = 0.0) -> Tensor:
    """Return the depth in a strip of the floor, metres, of the RC car with `observation=pose`; `[..., S] -> [...]`."""
    low, high = STRIP
    x = next_obs[..., 0]
    return ((high - low) / 2 + margin - (x - (low + high) / 2).abs()).clamp(min=0)


def rc_car_speed(obs: Tensor, act: Tensor, next_obs: Tensor, margin: float = 0.0) -> Tensor:
    """Return the speed above a limit, m/s, of the RC car with `observation=pose`; `[..., S] -> [...]`."""
    return (next_obs[..., 3:5].norm(dim=-1) - CAR_SPEED + margin).clamp(min=0)


def point_speed(obs: Tensor, act: Tensor, next_obs: Tensor, margin: float = 0.0) -> Tensor:
    """Return the speed above a limit, m/s, of Safety-Gymnasium's robots where positions are observed."""
    return (next_obs[..., :2].norm(dim=-1) - POINT_SPEED + margin).clamp(min=0)
