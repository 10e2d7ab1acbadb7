"""Search spaces around a policy (Wang & Ba, 2020, POPLIN): noise on its actions, or on its weights.

Letters: K models, B plans at once, P particles, N candidates, H steps, S observation, A action, D policy weights.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from safeloop.models.trajectories import Controller, Model, OpenLoop, rollout
from safeloop.networks import Generators, normals

T = TypeVar("T", bound="NoiseSpace")


class Policy(Protocol):
    """A deterministic policy whose weights can be changed for each row of observations."""

    size: int
    """D."""

    def __call__(self, obs: Tensor) -> Tensor:
        """Return the actions `[..., A]` in observations `[..., S]`."""
        ...

    def changed(self, obs: Tensor, noise: Tensor) -> Tensor:
        """Return the actions `[R, M, A]` in `obs [R, M, S]`, with `noise [R, D]` added to the weights."""
        ...


@dataclass(frozen=True)
class NoiseSpace:
    """Noise on H decisions of a policy: independent normals, not clamped."""

    horizon: int
    act_dim: int
    policy: Callable[[Tensor], Tensor]
    """From observations `[..., S]` to actions `[..., A]`."""

    @property
    def size(self) -> tuple[int, ...]:
        """`[H, A]`."""
        return self.horizon, self.act_dim

    def at(self: T, obs: Tensor, generators: Generators) -> T:
        """Return the space for plans from `obs [B, S]`: itself."""
        return self

    def draw(self, mean: Tensor, variance: Tensor, count: int, generators: Generators) -> Tensor:
        """Draw `[B, count, *size]`."""
        noise = normals((len(mean), count, *self.size), generators)
        return mean.unsqueeze(1) + variance.sqrt().unsqueeze(1) * noise

    def shift(self, mean: Tensor) -> Tensor:
        """Return the noise without that of its first decision; that of the last is 0."""
        return torch.cat((mean[:, 1:], torch.zeros_like(mean[:, -1:])), 1)


@dataclass(frozen=True)
class ActionNoise(NoiseSpace):
    """Noise on the actions of the policy in the loop, `[H, A]` (Eq. 4, POPLIN-A-Replan)."""

    def controller(self, candidates: Tensor, ensemble_size: int, particles: int) -> Controller:
        """Return the policy with the candidates' noise `[B, N, H, A]` on its actions."""
        noise = candidates.repeat(1, particles, 1, 1).flatten(0, 1)  # [B*P*N, H, A]
        return lambda t, state: (self.policy(state) + noise[:, t]).clamp(-1, 1)

    def action(self, mean: Tensor, obs: Tensor) -> Tensor:
        """Return the policy's action with the first noise."""
        return (self.policy(obs) + mean[:, 0]).clamp(-1, 1)


@dataclass(frozen=True)
class ProposalNoise(NoiseSpace):
    """Noise on actions that the policy proposes once for each plan, `[H, A]` (Eq. 3, POPLIN-A-Init).

    The paper has one deterministic model; with several, the proposal is the mean over models of what the policy does in
    each.
    """

    model: Model
    proposed: Tensor | None = None  # [B, H, A]

    def at(self, obs: Tensor, generators: Generators) -> ProposalNoise:
        """Return the space for plans from `obs [B, S]`, with the policy's proposals."""
        start = obs.expand(self.model.ensemble_size, -1, -1)
        found = rollout(self.model, start, lambda t, state: self.policy(state), self.horizon, generators, judged=False)
        return replace(self, proposed=found.act.mean(0).transpose(0, 1))

    def controller(self, candidates: Tensor, ensemble_size: int, particles: int) -> Controller:
        """Return the proposals with the candidates' noise `[B, N, H, A]`."""
        assert self.proposed is not None  # `at`
        acts = (self.proposed[:, None] + candidates).clamp(-1, 1)
        plan = acts.repeat(1, particles, 1, 1).flatten(0, 1).transpose(0, 1)
        return OpenLoop(plan.expand(ensemble_size, -1, -1, -1))

    def action(self, mean: Tensor, obs: Tensor) -> Tensor:
        """Return the first proposed action with the first noise."""
        return (self.policy(obs) + mean[:, 0]).clamp(-1, 1)


@dataclass(frozen=True)
class WeightNoise(NoiseSpace):
    """Noise on the policy's weights (Eq. 5): another in each decision (POPLIN-P-Sep), or one for all (POPLIN-P-Uni)."""

    policy: Policy
    each: bool = True

    @property
    def size(self) -> tuple[int, ...]:
        """`[H, D]`, or `[1, D]` with one for all decisions."""
        return self.horizon if self.each else 1, self.policy.size

    def controller(self, candidates: Tensor, ensemble_size: int, particles: int) -> Controller:
        """Return the policy with the candidates' noise `[B, N, H, D]` on its weights."""
        b, n = candidates.shape[:2]
        k, p = ensemble_size, particles
        noise = candidates.flatten(0, 1)  # [B*N, H, D]

        def control(t: int, state: Tensor) -> Tensor:
            rows = state.view(k, b, p, n, -1).permute(1, 3, 0, 2, 4).reshape(b * n, k * p, -1)
            act = self.policy.changed(rows, noise[:, t if self.each else 0])
            return act.view(b, n, k, p, -1).permute(2, 0, 3, 1, 4).reshape(k, b * p * n, -1)

        return control

    def action(self, mean: Tensor, obs: Tensor) -> Tensor:
        """Return the action of the policy with the first noise on its weights."""
        return self.policy.changed(obs[:, None], mean[:, 0])[:, 0]

    def shift(self, mean: Tensor) -> Tensor:
        """Return the noise one decision later; one for all decisions stays as it is."""
        return super().shift(mean) if self.each else mean
