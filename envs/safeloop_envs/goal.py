"""The observation of the SafeLOOP paper for Goal tasks, and its known models.

The observation (float32, metres and seconds, in the robot's frame): velocimeter x and y (2), magnetometer
(3), gyro z (1), then the positions x, y of the goal, of every vase and of every hazard. On level 1 that is
26 numbers. Source: H. Sikchi, W. Zhou, D. Held, "Learning Off-Policy with Online Planning", CoRL 2021, and
its code (the text mentions lidar, the code does not use it).

The known models are privileged information: algorithms learn them unless their settings ask for the known ones. They
use only methods of tensors, so describing a task does not import torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from safeloop_envs.positions import ROBOT_NUMBERS, SHOWN

if TYPE_CHECKING:
    from torch import Tensor

VASES, HAZARDS = ([SHOWN[f"Goal{level}"].get(kind, 0) for level in range(3)] for kind in ("vase", "hazard"))
"""Numbers of vases and of hazards by level."""
GOAL_RADIUS = 0.3
HAZARD_RADIUS = 0.2
VASE_REACH = {"Point": 0.25, "Car": 0.275}
"""Distance between the robot's centre and a vase's at which they may touch: the robot's half length (0.15 m
for Point with its arrow, 0.175 m for Car with its bumper) and the vase's half width (0.1 m)."""


def _distances(obs: Tensor, first: int, count: int) -> Tensor:
    """Return the distances of `count` entities from the robot, from entity `first` on. [..., S] -> [..., count]."""
    start = ROBOT_NUMBERS + 2 * first
    positions = obs[..., start : start + 2 * count].unflatten(-1, (count, 2))
    return positions.norm(dim=-1)


def depth(obs: Tensor, act: Tensor, next_obs: Tensor, margin: float = 0.0, *, robot: str, level: int) -> Tensor:
    """Return the depth of the next position inside keep-out circles, summed over circles. [..., S] -> [...], metres.

    The circles are the hazards (radius 0.2 m, as in Safety-Gymnasium's cost) and, on level 2, the vases, whose contacts
    and motion have a cost there: a circle of `VASE_REACH` around each, a geometric approximation that is neither the
    exact contact nor the exact motion. All are widened by `margin` metres. A hazard's depth is positive exactly where
    the simulator reports its cost; for Car, which tilts as it drives, this is exact to about a millimetre. Only the
    state after the decision counts, not those between its simulator steps.
    """
    total = _hazards(next_obs, margin, level)
    return total + _vases(next_obs, margin, robot, level) if level == 2 else total


def depths(obs: Tensor, act: Tensor, next_obs: Tensor, margin: float = 0.0, *, robot: str, level: int) -> Tensor:
    """Return the parts of `depth` by constraint, hazards and on level 2 vases. [..., S] -> [..., C], metres."""
    import torch

    found = [_hazards(next_obs, margin, level)]
    if level == 2:
        found.append(_vases(next_obs, margin, robot, level))
    return torch.stack(found, -1)


def _hazards(next_obs: Tensor, margin: float, level: int) -> Tensor:
    hazards = _distances(next_obs, 1 + VASES[level], HAZARDS[level])
    return (HAZARD_RADIUS + margin - hazards).relu().sum(dim=-1)


def _vases(next_obs: Tensor, margin: float, robot: str, level: int) -> Tensor:
    vases = _distances(next_obs, 1, VASES[level])
    return (VASE_REACH[robot] + margin - vases).relu().sum(dim=-1)


def progress(obs: Tensor, act: Tensor, next_obs: Tensor) -> Tensor:
    """Return the reward without the goal's bonus: the decrease of the goal's distance, metres. [..., S] -> [...].

    It is valid for decisions in which the goal did not jump.
    """
    return (_distances(obs, 0, 1) - _distances(next_obs, 0, 1)).squeeze(-1)


def goal_met(obs: Tensor, act: Tensor, next_obs: Tensor) -> Tensor:
    """Return whether the robot's centre is within the goal's radius of 0.3 m. [..., S] -> [...] bool."""
    return (_distances(next_obs, 0, 1) <= GOAL_RADIUS).squeeze(-1)
