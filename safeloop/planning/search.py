"""The one search: draw candidates, score them, weigh them, refit, again; then shift the solution for the next decision.

Pure functions for the maths; `Planner` holds the warm start and the random generators, nothing else. The planners by
name are in `planners.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from safeloop.cmdp import Constraint
from safeloop.models.perception import Perception
from safeloop.networks import Captured, Generators, normals
from safeloop.planning.objective import Scores
from safeloop.planning.pending import Pending
from safeloop.planning.proposals import Actor
from safeloop.planning.spaces import Space
from safeloop.planning.weighting import compared, effective_size, feasible

Refit = Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""From candidates `[B, N, *size]`, weights `[B, N]`, mean and variance `[B, *size]` to the new mean and variance."""


@dataclass(frozen=True)
class Search:
    """The parts of a search."""

    space: Space
    objective: Callable[..., Scores]
    """An `Objective`, or something else that is called like one."""
    weighting: Callable[[Scores], Tensor]
    refit: Refit
    population: int
    """N, candidates drawn from the search distribution in each iteration."""
    iterations: int
    initial_variance: float
    proposals: Callable[[Tensor, Tensor, Generators], Tensor] | None = None
    """More candidates `[B, n, *size]`, from observations and the previous solutions."""
    constraint: Constraint | None = None
    """The constraint of the weighting, to count feasible candidates by."""
    draws: bool = False
    """Whether the plan is one of the last iteration's candidates, drawn by the weights, in place of the mean."""
    bf16: bool = False
    """Whether matrix products are taken in bfloat16; states, returns and costs stay in float32."""


class Plan(NamedTuple):
    """Planned decisions, one for each of B observations."""

    action: Tensor  # [B, A], the first action of the solution
    mean: Tensor  # [B, *size], the solution: the mean, or with `draws` the candidate that was drawn
    best_return: Tensor  # [B], of the best candidate (the best feasible one, where there is one)
    lowest_cost: Tensor  # [B], cost of the cheapest of the last iteration's candidates (`weighting.compared`)
    feasible: Tensor  # [B], feasible candidates in the last iteration
    divergence: Tensor  # [B], L2 from the actor's mean action to the planned one (Figure 4); NaN without an actor
    effective_size: Tensor  # [B], of the last iteration's weights: 1 / sum w^2
    usage: Tensor  # [B], share of the weights (with elites: of the elites) on proposals; NaN without any
    candidates: Tensor  # [B, N + n, *size], of the last iteration, proposals last
    weights: Tensor  # [B, N + n], theirs


def moments(candidates: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Return the weighted mean and variance, `[B, *size]` each, of `candidates [B, N, *size]` (Eq. 8)."""
    w = weights.view(*weights.shape, *(1 for _ in candidates.shape[2:]))
    mean = (w * candidates).sum(1)
    return mean, (w * (candidates - mean.unsqueeze(1)).square()).sum(1)


@dataclass(frozen=True)
class Momentum:
    """Refit mean and variance, with a weight on the OLD ones."""

    momentum: float = 0.0

    def __call__(self, candidates: Tensor, weights: Tensor, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
        """Return the new mean and variance."""
        new_mean, new_variance = moments(candidates, weights)
        old, new = self.momentum, 1 - self.momentum
        return old * mean + new * new_mean, old * variance + new * new_variance


def refit_mean(candidates: Tensor, weights: Tensor, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
    """Return the weighted mean; the variance stays (MPPI)."""
    return moments(candidates, weights)[0], variance


def draw(candidates: Tensor, weights: Tensor, generators: Generators) -> Tensor:
    """Draw one of `candidates [B, N, *size]` for each plan, `[B, *size]`, with the probabilities `weights [B, N]`."""
    point = torch.special.ndtr(normals((len(weights), 1), generators))  # uniform
    which = (weights.cumsum(1) < point).sum(1).clamp(max=weights.shape[1] - 1)
    return candidates[torch.arange(len(candidates), device=candidates.device), which]


class Planner:
    """Plan the decisions of B episodes at once, one for each generator; episodes do not affect each other."""

    def __init__(
        self,
        search: Search,
        generators: Generators,
        actor: Actor | None = None,
        perception: Perception | None = None,
        pending: Pending | None = None,
    ):
        self.pending = pending
        """The actions under way, where plans reckon with a delay."""
        self.search, self.generators, self.actor, self.perception = search, list(generators), actor, perception
        self.mean = torch.zeros(len(self.generators), *search.space.size, device=self.generators[0].device)
        self.state = torch.empty(0)
        """The states of the latest plans, `[B, S]`, or `[K, B, S]` under a delay."""
        self.captured: Captured | None = None

    @torch.no_grad()
    def plan(self, obs: Tensor, t0: bool, value_after_event: Tensor | float = 0.0) -> Plan:
        """Return the decisions for `obs [B, S]`. `t0` marks the episodes' first decision: no warm start.

        Raises `FloatingPointError` where every imagined rollout is non-finite.
        """
        start = torch.zeros_like(self.mean) if t0 else self.search.space.shift(self.mean)
        state = self.perception.see(obs, t0) if self.perception else obs
        if self.pending:
            if t0:
                self.pending.begin()
            state = self.pending.ahead(state, self.generators)
        self.state = state
        inputs = state, start, torch.as_tensor(value_after_event, device=obs.device)
        if obs.is_cuda and not self.pending:  # the number of actions under way changes at first
            self.captured = self.captured or Captured(self._plan, inputs, self.generators)
        plan = Plan(*(self.captured or self._plan)(*inputs))
        if not bool(plan.mean.isfinite().all()):  # weights are NaN where none of a plan's candidates is finite
            raise FloatingPointError("every imagined rollout is non-finite: the model or the value has diverged")
        self.mean = plan.mean
        self.acted(plan.action)
        return plan

    def acted(self, act: Tensor, t0: bool = False) -> None:
        """Remember the actions `[B, A]` of a decision; `t0`: the episodes' first, where it was not planned."""
        if self.pending and t0:
            self.pending.begin()
        executed = self.pending.acted(act) if self.pending else act
        if self.perception:
            self.perception.acted(executed)

    def _plan(self, obs: Tensor, mean: Tensor, value_after_event: Tensor) -> Plan:
        """`plan` as a function of tensors alone, on which the host never waits."""
        # Within one autocast the weights are cast once, however many steps and iterations use them.
        with torch.autocast(obs.device.type, torch.bfloat16, enabled=self.search.bf16):
            return self._search(obs, mean, value_after_event)

    def _search(self, obs: Tensor, mean: Tensor, value_after_event: Tensor) -> Plan:
        c, generators = self.search, self.generators
        here = obs if obs.ndim == 2 else obs[0]  # of one model where each has a state of its own
        space = c.space.at(here, generators)
        variance, usage = torch.full_like(mean, c.initial_variance), mean.new_zeros(len(mean))
        proposed = c.proposals(obs, mean, generators) if c.proposals else mean.new_empty(len(mean), 0, *space.size)
        for _ in range(c.iterations):
            candidates = torch.cat((space.draw(mean, variance, c.population, generators), proposed), 1)
            scores = c.objective(obs, space, candidates, generators, value_after_event)
            weights = c.weighting(scores)
            usage = usage + weights[:, c.population :].sum(1) / c.iterations
            mean, variance = c.refit(candidates, weights, mean, variance)
        if c.draws:  # where nothing is finite the mean is NaN, and stays so
            mean = torch.where(mean.isfinite(), draw(candidates, weights, generators), mean)
        action, allowed = space.action(mean, here), feasible(scores, c.constraint)
        considered = allowed | ~allowed.any(1, keepdim=True)
        return Plan(
            action=action,
            mean=mean,
            best_return=torch.where(considered, scores.returns, -torch.inf).amax(1),
            lowest_cost=compared(scores, c.constraint).amin(1),
            feasible=allowed.sum(1),
            divergence=(action - (self.actor(here, None) if self.actor else torch.nan)).norm(dim=1),
            effective_size=effective_size(weights),
            usage=usage if proposed.shape[1] else usage + torch.nan,
            candidates=candidates,
            weights=weights,
        )

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with the episodes at these places alone."""
        self.generators = [self.generators[row] for row in rows]
        self.mean = self.mean[list(rows)]
        if self.perception:
            self.perception.keep(rows)
        if self.pending:
            self.pending.keep(rows)
        self.captured = None  # it was of more episodes

    def state_dict(self) -> dict[str, Any]:
        """Return warm starts and generators' states."""
        return {
            "mean": self.mean,
            "streams": [g.get_state() for g in self.generators],
            "perception": self.perception.state_dict() if self.perception else {},
            "pending": self.pending.state_dict() if self.pending else {},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore `state_dict`."""
        self.mean = state["mean"].to(self.mean.device)
        if self.perception:
            self.perception.load_state_dict(state["perception"], self.mean.device)
        if self.pending:
            self.pending.load_state_dict(state["pending"], self.mean.device)
        for generator, kept in zip(self.generators, state["streams"], strict=True):
            generator.set_state(kept)
