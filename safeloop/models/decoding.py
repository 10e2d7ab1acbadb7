"""Decode rings of lidar bins into points: a pure function of what the sensor shows.

A ring of `n` bins shows in each bin the closeness of the nearest object in that direction. With aliasing
(Safety-Gymnasium's lidars have it) an object of closeness c at the part a of its bin also raises the next bin to
`a c` and the one before to `(1 - a) c`, so that an object alone can be placed exactly: its bin tells how far it is, the
neighbours tell the angle within the bin. Where several are near each other, each bin shows the nearest alone, and the
angle has bounds instead.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from safeloop.cmdp import LidarModel

SHOWN = 0.01
"""Closeness from which on a bin counts as showing an object."""
EXACT = 4e-3
"""Closeness by which sums of bins may differ and still count as equal."""


class Sightings(NamedTuple):
    """The points that rings of bins stand for, at most one a bin."""

    position: Tensor  # [..., G, n, 2], metres, in the robot's frame
    present: Tensor  # [..., G, n], bool: whether the bin shows an object of its own
    certain: Tensor  # [..., G, n], bool: whether nothing else hides its angle


def decode(rings: Tensor, sensor: LidarModel) -> Sightings:
    """Return the points of `rings [..., G, n]`."""
    n, own = rings.shape[-1], rings.clamp(min=1e-6)
    left, right = rings.roll(1, -1), rings.roll(-1, -1)  # the bins before and after
    distance = sensor.reach * (1 - rings)
    index = torch.arange(n, device=rings.device)
    shown = rings > SHOWN
    if not sensor.aliased:
        return Sightings(_points(distance, index + 0.5, n), shown, torch.zeros_like(shown))
    low, high = (1 - left / own).clamp(0, 1), (right / own).clamp(0, 1)  # bounds of the part of the bin
    part = (low + high) / 2
    # An object beyond a neighbour raises that neighbour too, unless the bin behind it shows nothing.
    part = torch.where(rings.roll(-2, -1) < 1e-3, high, torch.where(rings.roll(2, -1) < 1e-3, low, part))
    sums = left + right
    alone = (sums - rings).abs() < EXACT
    # A smaller bin beside an object alone is that object's trace; other smaller bins show an object of their own.
    trace = (alone.roll(-1, -1) & (right > rings)) | (alone.roll(1, -1) & (left > rings))
    peak = (rings >= left) & (rings >= right)
    present = shown & (peak | (~trace & (sums >= rings - EXACT)))
    wide = (high - low).abs() * distance * (2 * math.pi / n)
    return Sightings(_points(distance, index + part, n), present, present & peak & (wide < 0.04))


def _points(distance: Tensor, angle: Tensor, n: int) -> Tensor:
    """Return points `[..., n, 2]` at distances `[..., n]` and angles in bins `[..., n]`."""
    angle = angle * (2 * math.pi / n)
    return torch.stack((distance * angle.cos(), distance * angle.sin()), -1)
