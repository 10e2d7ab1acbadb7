"""Decode rings of lidar bins into points: a pure function of what the sensor shows.

A ring of `n` bins shows in each bin the closeness of the nearest object in that direction. With aliasing
(Safety-Gymnasium's lidars have it) an object of closeness c at the part a of its bin also raises the next bin to
`a c` and the one before to `(1 - a) c`, so that an object alone can be placed exactly: its bin tells how far it is, the
neighbours tell the angle within the bin. Where several are near each other, each bin shows the nearest alone, and the
angle has bounds instead. docs/lidar.md has the rule in words, and how far it can be trusted.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from safeloop.cmdp import LidarModel

SHOWN = 0.01
"""Closeness from which on a bin counts as showing something."""
EXACT = 4e-3
"""Closeness by which sums of bins may differ and still count as equal."""
SURE = 0.04
"""Width of the bounds of a certain point, metres."""


class Sightings(NamedTuple):
    """The points that rings of bins stand for, at most one a bin."""

    position: Tensor  # [..., G, n, 2], metres, in the robot's frame
    present: Tensor  # [..., G, n], bool: whether the bin shows an object of its own
    certain: Tensor  # [..., G, n], bool: whether it surely does, and its place has bounds within `SURE`


def decode(rings: Tensor, sensor: LidarModel) -> Sightings:
    """Return the points of `rings [..., G, n]`, with n at least 4."""
    n, distance, shown = rings.shape[-1], sensor.reach * (1 - rings), rings > SHOWN
    index = torch.arange(n, device=rings.device)
    if not sensor.aliased:
        return Sightings(_points(distance, index + 0.5, n), shown, torch.zeros_like(shown))
    own = rings.clamp(min=1e-6)
    left, right = rings.roll(1, -1), rings.roll(-1, -1)  # the bins before and after
    behind_left, behind_right = shown.roll(2, -1), shown.roll(-2, -1)
    low = (1 - left / own).clamp(0, 1)  # bounds of the part of the bin
    high = (right / own).clamp(0, 1).maximum(low)
    # Between them a neighbour tells more the nearer it shows something, but nothing where this is as near as what the
    # bin itself shows, or where the other neighbour, with an empty bin behind it, can only be the bin's own trace.
    by_left = torch.where((left < rings) & behind_right, left, 0.0) + 1e-6
    by_right = torch.where((right < rings) & behind_left, right, 0.0) + 1e-6
    part = low + (high - low) * by_right / (by_left + by_right)
    # A peak is an object. A smaller bin is a trace beside an object alone, between greater bins or beside an empty one.
    peak = (rings >= left) & (rings > right)
    alone = (left + right - rings).abs() < EXACT
    lesser = torch.minimum(left, right)
    trace = (alone.roll(-1, -1) & (right >= rings)) | (alone.roll(1, -1) & (left > rings))
    trace = trace | (lesser > rings) | (lesser <= SHOWN)
    width = (high - low) * distance * (2 * math.pi / n)
    return Sightings(_points(distance, index + part, n), shown & (peak | ~trace), shown & peak & (width < SURE))


def _points(distance: Tensor, angle: Tensor, n: int) -> Tensor:
    """Return points `[..., n, 2]` at distances `[..., n]` and angles in bins `[..., n]`."""
    angle = angle * (2 * math.pi / n)
    return torch.stack((distance * angle.cos(), distance * angle.sin()), -1)
