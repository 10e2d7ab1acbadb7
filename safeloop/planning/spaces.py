"""Search spaces: the things that a planner draws, and the controllers that they stand for.

Letters: K models, B plans at once, P particles, N candidates, H steps, A action.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from safeloop.models.trajectories import Controller, OpenLoop
from safeloop.networks import Generators, normals


class Space(Protocol):
    """A space of candidates, each a tensor of shape `size`."""

    @property
    def horizon(self) -> int:
        """H, decisions that a candidate is good for."""
        ...

    @property
    def act_dim(self) -> int:
        """A, numbers of an action."""
        ...

    @property
    def size(self) -> tuple[int, ...]:
        """The shape of one candidate."""
        ...

    def at(self, obs: Tensor, generators: Generators) -> Space:
        """Return the space for plans from `obs [B, S]`, where it depends on them."""
        ...

    def draw(self, mean: Tensor, variance: Tensor, count: int, generators: Generators) -> Tensor:
        """Draw `[B, count, *size]` from the distribution of `mean` and `variance`, `[B, *size]` each."""
        ...

    def controller(self, candidates: Tensor, ensemble_size: int, particles: int) -> Controller:
        """Return the controller of `candidates [B, N, *size]`, for `[K, B*P*N, .]` rows in this order."""
        ...

    def action(self, mean: Tensor, obs: Tensor) -> Tensor:
        """Return the first action `[B, A]` of the solutions `[B, *size]` in `obs [B, S]`."""
        ...

    def shift(self, mean: Tensor) -> Tensor:
        """Return the solutions `[B, *size]` one decision later, for a warm start."""
        ...


@dataclass(frozen=True)
class ActionSequences:
    """Sequences of H actions in [-1, 1], `[H, A]`."""

    horizon: int
    act_dim: int
    correlation: float = 0.0
    """Of the noise of neighbouring decisions of a sequence; 0: independent."""
    narrowed: bool = True
    """Whether the noise is narrower near the action limits (`bounded`)."""
    keeps_last: bool = False
    """Whether a warm start ends with the last action of before, or with 0."""
    draws_mean: bool = False
    """The first sequence drawn is the mean itself, so that a plan can be kept as it is."""

    @property
    def size(self) -> tuple[int, ...]:
        """`[H, A]`."""
        return self.horizon, self.act_dim

    def at(self, obs: Tensor, generators: Generators) -> ActionSequences:
        """Return itself: it does not depend on observations."""
        return self

    def draw(self, mean: Tensor, variance: Tensor, count: int, generators: Generators) -> Tensor:
        """Draw `[B, count, H, A]` around `mean [B, H, A]`, clamped to the action limits."""
        noise = correlated(normals((len(mean), count, *self.size), generators), self.correlation)
        width = (bounded(mean, variance) if self.narrowed else variance).sqrt()
        if self.draws_mean:
            noise[:, 0] = 0.0
        return (mean.unsqueeze(1) + width.unsqueeze(1) * noise).clamp(-1, 1)

    def controller(self, candidates: Tensor, ensemble_size: int, particles: int) -> Controller:
        """Return the sequences themselves as a controller."""
        plan = candidates.repeat(1, particles, 1, 1).flatten(0, 1).transpose(0, 1)
        return OpenLoop(plan.expand(ensemble_size, -1, -1, -1))

    def action(self, mean: Tensor, obs: Tensor) -> Tensor:
        """Return the first action."""
        return mean[:, 0]

    def shift(self, mean: Tensor) -> Tensor:
        """Return the sequences without their first action."""
        last = mean[:, -1:] if self.keeps_last else torch.zeros_like(mean[:, -1:])
        return torch.cat((mean[:, 1:], last), 1)


@dataclass(frozen=True)
class UniformSequences(ActionSequences):
    """Sequences of H actions, all being equally likely, whatever the mean and the variance are."""

    def draw(self, mean: Tensor, variance: Tensor, count: int, generators: Generators) -> Tensor:
        """Draw `[B, count, H, A]`."""
        return 2 * torch.special.ndtr(normals((len(mean), count, *self.size), generators)) - 1


def bounded(mean: Tensor, variance: Tensor) -> Tensor:
    """Return the variance, at most the square of half the distance from the mean to the nearer action limit."""
    room = ((1 - mean.abs()).clamp(min=0) / 2).square()
    return torch.minimum(variance, room)


def correlated(noise: Tensor, correlation: float) -> Tensor:
    """Return normals `[..., H, A]` from independent ones, with `correlation ** |i - j|` between decisions i and j.

    Independent noise averages out over a few decisions: a robot that should turn away first hardly ever does
    (Pinneri et al., 2020, have coloured noise for that reason).
    """
    if not correlation:
        return noise
    steps = list(noise.unbind(-2))
    for t in range(1, len(steps)):
        steps[t] = correlation * steps[t - 1] + math.sqrt(1 - correlation**2) * steps[t]
    return torch.stack(steps, -2)
