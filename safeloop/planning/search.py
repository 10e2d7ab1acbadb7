"""ARC and safeARC (CoRL 2021, section 5.1, Algorithms 3 and 4), CEM: propose, score, weigh, refit.

Pure functions for the maths; `Planner` holds the warm start and the random stream, nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from safeloop.cmdp import Constraint
from safeloop.models.trajectories import Model, rollout
from safeloop.networks import Captured, Streams, normals
from safeloop.planning.objective import Scores, lookahead


@dataclass(frozen=True)
class PlannerSettings:
    """Settings of a planner. Actions are in [-1, 1]."""

    horizon: int = 8
    """H, decisions."""
    population: int = 100
    """N, sequences from the Gaussian in each iteration."""
    actor_fraction: float = 0.05
    """beta: round(beta * N) more sequences, from the actor rolled out in the model; 1: N of these, no others, and
    one iteration."""
    actor_noise: float = 0.0
    """sigma: standard deviation of noise on the actor's proposed actions (CoRL 2021, Table 4)."""
    actor_mixture: float = 0.0
    """Weight of the previous solution in each proposed action; MBOP's beta (Argenson & Dulac-Arnold, 2020)."""
    particles: int = 1
    """P, rollouts of a sequence in each model."""
    iterations: int = 5
    inverse_temperature: float = 50.0
    """1/eta, per unit of return (and of cost, where too few sequences are feasible)."""
    elites: int = 0
    """More than 0: the cross-entropy method, equal weights for so many best sequences, in place of 1/eta's."""
    momentum: float = 0.1
    """Weight on the OLD mean and variance; none where all sequences are the actor's, so that these are no proposal."""
    initial_variance: float = 0.25
    noise_correlation: float = 0.0
    """Of the noise of neighbouring decisions of a sequence; 0: independent, as in the paper."""
    discount: float = 0.95
    pessimism: float = 0.0
    """beta_pess, Eq. 9."""
    worst_case: bool = True
    """Whether a sequence costs what the worst model and particle say (Eq. 10), or their mean."""
    draws: bool = False
    """Whether the plan is one of the last iteration's sequences, drawn by the weights, in place of the mean."""
    bf16: bool = False
    """Whether matrix products are taken in bfloat16; states, returns and costs stay in float32."""


class Plan(NamedTuple):
    """Planned decisions, one for each of B observations."""

    action: Tensor  # [B, A], the first action of the mean
    mean: Tensor  # [B, H, A], or with `draws` the sequence that was drawn
    best_return: Tensor  # [B], of the best sequence (the best feasible one, where there is one)
    lowest_cost: Tensor  # [B], cost of the cheapest of the last iteration's sequences
    feasible: Tensor  # [B], feasible sequences in the last iteration
    divergence: Tensor  # [B], L2 from the actor's mean action to the planned one (Figure 4); NaN without an actor
    usage: Tensor  # [B], share of the weights (with elites: of the elites) on the actor's sequences; NaN without any


def feasible(scores: Scores, constraint: Constraint | None) -> Tensor:
    """Which sequences are allowed, bool `[B, N]`: finite and, under a constraint, cost <= d0."""
    finite = scores.returns.isfinite()
    return finite if constraint is None else finite & (scores.costs <= constraint.threshold)


def weigh(scores: Scores, constraint: Constraint | None, inverse_temperature: float, elites: int = 0) -> Tensor:
    """Weights of N sequences for each plan, `[B, N]`, each row summing to 1 (Algorithm 4, lines 29 to 38).

    With at least m feasible sequences those alone count, by `exp(R / eta)`; otherwise all count, by
    `exp(-C / eta)`, or with a penalty by `exp((R - penalty * C) / eta)`: by cost alone, a way back that costs more
    within the horizon than waiting is never taken. Weights are taken relative to the best, which changes nothing
    but the range of numbers.
    With `elites` > 0 (the cross-entropy method) the best so many of those count, all alike.
    A plan without any finite sequence has weights NaN.
    """
    allowed = feasible(scores, constraint)
    objective = torch.where(allowed, scores.returns, -torch.inf)
    if constraint is not None:
        penalty = constraint.penalty
        otherwise = -scores.costs if penalty is None else scores.returns - penalty * scores.costs
        otherwise = torch.where(scores.returns.isfinite(), otherwise, -torch.inf)
        enough = allowed.sum(1, keepdim=True) >= min(constraint.min_feasible, allowed.shape[1])
        objective = torch.where(enough, objective, otherwise)
    if not elites:
        return torch.softmax(inverse_temperature * objective, 1)
    best, which = objective.topk(min(elites, objective.shape[1]), 1)
    equal = best.isfinite().float()
    return torch.zeros_like(objective).scatter(1, which, equal / equal.sum(1, keepdim=True))


def refit(actions: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted mean and variance, `[B, H, A]` each, of `actions [B, N, H, A]` (Eq. 8)."""
    w = weights[..., None, None]
    mean = (w * actions).sum(1)
    return mean, (w * (actions - mean.unsqueeze(1)).square()).sum(1)


def draw(actions: Tensor, weights: Tensor, streams: Streams) -> Tensor:
    """One of `actions [B, N, H, A]` for each plan, `[B, H, A]`, with the probabilities `weights [B, N]`."""
    point = torch.special.ndtr(normals((len(weights), 1), streams))  # uniform
    which = (weights.cumsum(1) < point).sum(1).clamp(max=weights.shape[1] - 1)
    return actions[torch.arange(len(actions), device=actions.device), which]


def bounded(mean: Tensor, variance: Tensor) -> Tensor:
    """The variance, at most the square of half the distance from the mean to the nearer action limit."""
    room = ((1 - mean.abs()).clamp(min=0) / 2).square()
    return torch.minimum(variance, room)


def correlated(noise: Tensor, correlation: float) -> Tensor:
    """Standard normals `[..., H, A]` from independent ones, with `correlation ** |i - j|` between decisions i and j.

    Independent noise averages out over a few decisions: a robot that should turn away first hardly ever does
    (Pinneri et al., 2020, have coloured noise for that reason).
    """
    if not correlation:
        return noise
    steps = list(noise.unbind(-2))
    for t in range(1, len(steps)):
        steps[t] = correlation * steps[t - 1] + math.sqrt(1 - correlation**2) * steps[t]
    return torch.stack(steps, -2)


def actor_rollouts(
    model: Model,
    actor: Callable[[Tensor], Tensor],
    obs: Tensor,
    count: int,
    previous: Tensor,
    streams: Streams,
    noise: float = 0.0,
    mixture: float = 0.0,
) -> Tensor:
    """`[B, count, H, A]`: the actor (`[M, S] -> [M, A]`) rolled out in the model from `obs [B, S]`.

    Sequence j of each plan is rolled out in model j mod K. Each action has noise of standard deviation `noise`, and
    moves by `mixture` towards that of the `previous` solution `[B, H, A]`.
    """
    b, k = len(obs), model.members
    m = -(-count // k)  # of each model; where K does not divide `count` some too many

    def by_plan(x: Tensor) -> Tensor:  # [K, B*m, .] to [B*m*K, .]
        return x.view(k, b, m, -1).permute(1, 2, 0, 3).flatten(0, 2)

    def controller(t: int, s: Tensor) -> Tensor:
        a = actor(by_plan(s))
        if noise:
            a = (a + noise * normals(a.shape, streams)).clamp(-1, 1)
        if mixture:
            a = torch.lerp(a, previous[:, t].repeat_interleave(m * k, 0), mixture)
        return a.view(b, m, k, -1).permute(2, 0, 1, 3).reshape(k, b * m, -1)

    start = obs.repeat_interleave(m, 0).expand(k, -1, -1)
    acts = rollout(model, start, controller, previous.shape[1], streams, judged=False).act  # [K, H, B*m, A]
    return acts.unflatten(2, (b, m)).permute(2, 3, 0, 1, 4).flatten(1, 2)[:, :count]


class Planner:
    """Plans the decisions of B episodes at once, one for each random stream; episodes do not affect each other."""

    def __init__(
        self,
        settings: PlannerSettings,
        constraint: Constraint | None,
        model: Model,
        act_dim: int,
        *,
        actor: Callable[[Tensor, Streams | None], Tensor] | None,
        value: Callable[[Tensor], Tensor] | None,
        streams: Streams,
    ):
        self.settings, self.constraint, self.model = settings, constraint, model
        self.actor, self.value, self.streams = actor, value, list(streams)
        self.mean = torch.zeros(len(self.streams), settings.horizon, act_dim, device=self.streams[0].device)
        self.captured: Captured | None = None

    @torch.no_grad()
    def plan(self, obs: Tensor, t0: bool, value_after_event: Tensor | float = 0.0) -> Plan:
        """The actions for `obs [B, S]`. `t0` marks the episodes' first decision: no warm start.

        Raises `FloatingPointError` where every imagined rollout is non-finite.
        """
        start = torch.zeros_like(self.mean)  # [B, H, A]
        if not t0:
            start[:, :-1] = self.mean[:, 1:]
            if self.settings.actor_mixture:  # the last proposed action is mixed with it, too (MBOP, Algorithm 2)
                start[:, -1] = self.mean[:, -1]
        inputs = obs, start, torch.as_tensor(value_after_event, device=obs.device)
        if obs.is_cuda:
            self.captured = self.captured or Captured(self._plan, inputs, self.streams)
        plan = Plan(*(self.captured or self._plan)(*inputs))
        if not bool(plan.mean.isfinite().all()):  # weights are NaN where none of a plan's sequences is finite
            raise FloatingPointError("every imagined rollout is non-finite: the model or the value has diverged")
        self.mean = plan.mean
        return plan

    def _plan(self, obs: Tensor, mean: Tensor, value_after_event: Tensor) -> Plan:
        """`plan` as a function of tensors alone, on which the host never waits."""
        # Within one autocast the weights are cast once, however many steps and iterations use them.
        with torch.autocast(obs.device.type, torch.bfloat16, enabled=self.settings.bf16):
            return self._search(obs, mean, value_after_event)

    def _search(self, obs: Tensor, mean: Tensor, value_after_event: Tensor) -> Plan:
        c, streams, (b, *size) = self.settings, self.streams, mean.shape
        variance = torch.full_like(mean, c.initial_variance)
        actor, count = self.actor, round(c.actor_fraction * c.population)
        proposed = mean.new_empty(b, 0, *size)
        if actor is not None and count:
            proposed = actor_rollouts(
                self.model, lambda s: actor(s, streams), obs, count, mean, streams, c.actor_noise, c.actor_mixture
            )
        n = c.population if c.actor_fraction < 1 else 0
        iterations = c.iterations if n else 1  # the actor's sequences stay as they are
        momentum = c.momentum if n else 0.0  # nor is the old mean a proposal then
        usage = mean.new_zeros(b)
        for _ in range(iterations):
            noise = correlated(normals((b, n, *size), streams), c.noise_correlation)  # [B, N, H, A]
            width = bounded(mean, variance).sqrt()
            drawn = (mean.unsqueeze(1) + width.unsqueeze(1) * noise).clamp(-1, 1)
            actions = torch.cat((drawn, proposed), 1)
            scores = lookahead(
                self.model, obs, actions,
                particles=c.particles, discount=c.discount, streams=streams, value=self.value,
                value_after_event=value_after_event, pessimism=c.pessimism, worst_case=c.worst_case,
            )  # fmt: skip
            weights = weigh(scores, self.constraint, c.inverse_temperature, c.elites)
            usage = usage + weights[:, n:].sum(1) / iterations
            new_mean, new_variance = refit(actions, weights)
            mean = momentum * mean + (1 - momentum) * new_mean
            variance = momentum * variance + (1 - momentum) * new_variance
        if c.draws:  # where nothing is finite the mean is NaN, and stays so
            mean = torch.where(mean.isfinite(), draw(actions, weights, streams), mean)
        action, allowed = mean[:, 0], feasible(scores, self.constraint)
        considered = allowed | ~allowed.any(1, keepdim=True)
        return Plan(
            action=action,
            mean=mean,
            best_return=torch.where(considered, scores.returns, -torch.inf).amax(1),
            lowest_cost=scores.costs.amin(1),
            feasible=allowed.sum(1),
            divergence=(action - (actor(obs, None) if actor else torch.nan)).norm(dim=1),
            usage=usage if proposed.shape[1] else usage + torch.nan,
        )

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with the episodes at these places alone."""
        self.streams = [self.streams[row] for row in rows]
        self.mean = self.mean[list(rows)]
        self.captured = None  # it was of more episodes

    def state_dict(self) -> dict[str, Any]:
        """Warm starts and random streams."""
        return {"mean": self.mean, "streams": [g.get_state() for g in self.streams]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore `state_dict`."""
        self.mean = state["mean"].to(self.mean.device)
        for generator, kept in zip(self.streams, state["streams"], strict=True):
            generator.set_state(kept)
