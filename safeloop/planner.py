"""ARC and safeARC (CoRL 2021, section 5.1, Algorithms 3 and 4), CEM: propose, score, weigh, refit.

Pure functions for the maths; `Planner` holds the warm start and the random stream, nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from safeloop.cmdp import Constraint
from safeloop.lookahead import Model, Scores, lookahead


@dataclass(frozen=True)
class PlannerSettings:
    """Settings of a planner. Actions are in [-1, 1]."""

    horizon: int = 8
    """H, decisions."""
    population: int = 100
    """N, sequences from the Gaussian in each iteration."""
    actor_fraction: float = 0.05
    """beta: round(beta * N) more sequences, from the actor rolled out in the model."""
    particles: int = 1
    """P, rollouts of a sequence in each model."""
    iterations: int = 5
    inverse_temperature: float = 50.0
    """1/eta, per unit of return (and of cost, where too few sequences are feasible)."""
    elites: int = 0
    """More than 0: the cross-entropy method, equal weights for so many best sequences, in place of 1/eta's."""
    momentum: float = 0.1
    """Weight on the OLD mean and variance."""
    initial_variance: float = 0.25
    discount: float = 0.95
    pessimism: float = 0.0
    """beta_pess, Eq. 9."""


class Plan(NamedTuple):
    """A planned decision."""

    action: Tensor  # [A], the first action of the mean
    best_return: float
    """Return of the best sequence (the best feasible one, where there is one)."""
    lowest_cost: float
    """Lowest worst-case cost among the last iteration's sequences."""
    feasible: int
    """Feasible sequences in the last iteration."""
    divergence: float
    """L2 distance between the planned action and the actor's mean action (Figure 4); NaN without an actor."""


def feasible(scores: Scores, constraint: Constraint | None) -> Tensor:
    """Which sequences are allowed, bool `[N]`: finite and, under a constraint, cost <= d0."""
    finite = scores.returns.isfinite()
    return finite if constraint is None else finite & (scores.costs <= constraint.threshold)


def weigh(scores: Scores, constraint: Constraint | None, inverse_temperature: float, elites: int = 0) -> Tensor:
    """Weights of N sequences, `[N]`, summing to 1 (Algorithm 4, lines 29 to 38).

    With at least m feasible sequences those alone count, by `exp(R / eta)`; otherwise all count, by
    `exp(-C / eta)`, or with a penalty by `exp((R - penalty * C) / eta)`: by cost alone, a way back that costs more
    within the horizon than waiting is never taken. Weights are taken relative to the best, which changes nothing
    but the range of numbers.
    With `elites` > 0 (the cross-entropy method) the best so many of those count, all alike.
    Raises `FloatingPointError` where no sequence is finite.
    """
    allowed = feasible(scores, constraint)
    finite = scores.returns.isfinite()
    if not bool(finite.any()):
        raise FloatingPointError("every imagined rollout is non-finite: the model or the value has diverged")
    if constraint is not None and int(allowed.sum()) < min(constraint.min_feasible, len(allowed)):
        penalty = constraint.penalty
        objective = -scores.costs if penalty is None else scores.returns - penalty * scores.costs
        objective = torch.where(finite, objective, -torch.inf)
    else:
        objective = torch.where(allowed, scores.returns, -torch.inf)
    if not elites:
        return torch.softmax(inverse_temperature * objective, 0)
    best = objective.topk(min(elites, int(objective.isfinite().sum()))).indices
    return torch.zeros_like(objective).index_fill(0, best, 1 / len(best))


def refit(actions: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted mean and variance, `[H, A]` each, of `actions [N, H, A]` (Eq. 8)."""
    w = weights.view(-1, 1, 1)
    mean = (w * actions).sum(0)
    return mean, (w * (actions - mean).square()).sum(0)


def bounded(mean: Tensor, variance: Tensor) -> Tensor:
    """The variance, at most the square of half the distance from the mean to the nearer action limit."""
    room = ((1 - mean.abs()).clamp(min=0) / 2).square()
    return torch.minimum(variance, room)


def actor_rollouts(
    model: Model,
    actor: Callable[[Tensor], Tensor],
    obs: Tensor,
    count: int,
    horizon: int,
    generator: torch.Generator,
) -> Tensor:
    """`[count, H, A]`: the actor (`[B, S] -> [B, A]`) rolled out in the model, sequence j in model j mod K."""
    s = obs.expand(count, -1)
    own = torch.arange(count, device=obs.device) % model.members
    rows = torch.arange(count, device=obs.device)
    sequence = []
    for _ in range(horizon):
        a = actor(s)
        sequence.append(a)
        k = model.members
        s = model.step(s.expand(k, -1, -1), a.expand(k, -1, -1), generator)[0][own, rows]
    return torch.stack(sequence, 1)


class Planner:
    """Plans decisions for one agent in one environment; `plan(obs, t0=True)` forgets the previous solution."""

    def __init__(
        self,
        settings: PlannerSettings,
        constraint: Constraint | None,
        model: Model,
        act_dim: int,
        *,
        actor: Callable[[Tensor, torch.Generator | None], Tensor] | None,
        value: Callable[[Tensor], Tensor] | None,
        generator: torch.Generator,
    ):
        self.settings, self.constraint, self.model = settings, constraint, model
        self.actor, self.value, self.generator = actor, value, generator
        self.mean = torch.zeros(settings.horizon, act_dim, device=generator.device)

    @torch.no_grad()
    def plan(self, obs: Tensor, t0: bool, value_after_event: Tensor | float = 0.0) -> Plan:
        """The action for `obs [S]`. `t0` marks an episode's first decision.

        Raises `FloatingPointError` where every imagined rollout is non-finite.
        """
        c, g = self.settings, self.generator
        mean = torch.zeros_like(self.mean) if t0 else torch.cat((self.mean[1:], torch.zeros_like(self.mean[:1])))
        variance = torch.full_like(mean, c.initial_variance)
        actor, count = self.actor, round(c.actor_fraction * c.population)
        proposed = mean.new_empty(0, *mean.shape)
        if actor is not None and count:
            proposed = actor_rollouts(self.model, lambda s: actor(s, g), obs, count, c.horizon, g)  # [beta*N, H, A]
        for _ in range(c.iterations):
            noise = torch.randn((c.population, *mean.shape), generator=g, device=mean.device)
            drawn = (mean + bounded(mean, variance).sqrt() * noise).clamp(-1, 1)  # [N, H, A]
            actions = torch.cat((drawn, proposed))
            scores = lookahead(
                self.model, obs, actions,
                particles=c.particles, discount=c.discount, generator=g, value=self.value,
                value_after_event=value_after_event, pessimism=c.pessimism,
            )  # fmt: skip
            new_mean, new_variance = refit(actions, weigh(scores, self.constraint, c.inverse_temperature, c.elites))
            mean = c.momentum * mean + (1 - c.momentum) * new_mean
            variance = c.momentum * variance + (1 - c.momentum) * new_variance
        self.mean = mean
        allowed = feasible(scores, self.constraint)
        best = scores.returns[allowed] if bool(allowed.any()) else scores.returns
        return Plan(
            action=mean[0],
            best_return=best.max().item(),
            lowest_cost=scores.costs.min().item(),
            feasible=int(allowed.sum()),
            divergence=(mean[0] - actor(obs.unsqueeze(0), None)[0]).norm().item() if actor else math.nan,
        )

    def state_dict(self) -> dict[str, Any]:
        """Warm start and random stream."""
        return {"mean": self.mean, "generator": self.generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore `state_dict`."""
        self.mean = state["mean"].to(self.mean.device)
        self.generator.set_state(state["generator"])
