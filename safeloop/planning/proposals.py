"""Proposals: candidates from elsewhere than the search distribution, scored beside those in every iteration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from safeloop.models.trajectories import Model, rollout
from safeloop.networks import Generators, normals

Actor = Callable[[Tensor, Generators | None], Tensor]
"""The actions `[M, A]` of a policy in observations `[M, S]`: drawn from the generators, or its means without any."""


@dataclass(frozen=True)
class ActorRollouts:
    """Action sequences of an actor that is rolled out in the model (CoRL 2021, Algorithm 3)."""

    model: Model
    actor: Actor
    count: int
    """Sequences of each plan; sequence j is rolled out in model j mod K."""
    noise: float = 0.0
    """Standard deviation of noise on each proposed action."""
    mixture: float = 0.0
    """Weight of the previous solution in each proposed action: MBOP's beta (Argenson & Dulac-Arnold, 2020)."""

    def __call__(self, obs: Tensor, previous: Tensor, generators: Generators) -> Tensor:
        """Return sequences `[B, count, H, A]` from `obs [B, S]` or `[K, B, S]`; the previous solution: `[B, H, A]`."""
        b, k = obs.shape[-2], self.model.ensemble_size
        m = -(-self.count // k)  # of each model; where K does not divide `count` some too many

        def by_plan(x: Tensor) -> Tensor:  # [K, B*m, .] to [B*m*K, .]
            return x.view(k, b, m, -1).permute(1, 2, 0, 3).flatten(0, 2)

        def controller(t: int, s: Tensor) -> Tensor:
            a = self.actor(by_plan(s), generators)
            if self.noise:
                a = (a + self.noise * normals(a.shape, generators)).clamp(-1, 1)
            if self.mixture:
                a = torch.lerp(a, previous[:, t].repeat_interleave(m * k, 0), self.mixture)
            return a.view(b, m, k, -1).permute(2, 0, 1, 3).reshape(k, b * m, -1)

        start = obs.repeat_interleave(m, -2).expand(k, -1, -1)
        acts = rollout(self.model, start, controller, previous.shape[1], generators, judged=False).act  # [K, H, B*m, A]
        return acts.unflatten(2, (b, m)).permute(2, 3, 0, 1, 4).flatten(1, 2)[:, : self.count]
