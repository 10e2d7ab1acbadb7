"""What planning agents are made of: the ensemble with what is known beside it, the constraint, planners."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from safeloop.agents.settings import ModelSettings, PlanSettings
from safeloop.cmdp import Constraint, EnvSpec, Known, zero_cost
from safeloop.models.ensemble import Ensemble
from safeloop.models.full import Heads
from safeloop.models.trajectories import Model
from safeloop.models.world import World
from safeloop.networks import Streams, bf16_is_fast
from safeloop.planning.search import Planner, PlannerSettings


def learns_cost(settings: ModelSettings, spec: EnvSpec, constrained: bool) -> bool:
    """Whether the ensemble has to learn what costs."""
    return constrained and not settings.knows_cost(spec)


def ensemble(
    settings: ModelSettings,
    spec: EnvSpec,
    constrained: bool,
    obs_dim: int,
    act_dim: int,
    generator: torch.Generator,
    device: str,
) -> Ensemble:
    """The models, with a head for whatever the environment does not tell."""
    c, known_reward = settings, settings.reward == "known"
    assert c.layers is not None and c.width is not None
    heads = Heads(
        reward=not known_reward,
        event=spec.has_events and not (known_reward and spec.event is not None),
        terminated=spec.terminates and spec.terminated is None,
        violated=learns_cost(c, spec, constrained),
    )
    return Ensemble(
        obs_dim, act_dim,
        members=c.members, sizes=[c.width] * c.layers,
        heads=heads, parts=spec.parts, factored=c.factored(spec), entity_width=c.entity_width,
        learning_rate=c.model_learning_rate, reward_weight=c.reward_weight, generator=generator, device=device,
    )  # fmt: skip


def world(
    dynamics: Ensemble, settings: ModelSettings, spec: EnvSpec, cost: Known | None = zero_cost, noise: bool = True
) -> World:
    """The ensemble with what is known beside it; `cost` None: it is learned."""
    known_reward = settings.reward == "known"
    return World(
        dynamics,
        reward=spec.reward if known_reward else None,
        cost=cost,
        terminated=spec.terminated if spec.terminates else None,
        event=spec.event if known_reward else None,
        event_bonus=spec.event_bonus,
        noise=noise,
    )


def planning_world(dynamics: Ensemble, settings: PlanSettings, spec: EnvSpec, constrained: bool) -> World:
    """What a planner sees: under a constraint the cost, known (widened by its margin) or learned."""
    cost: Known | None = zero_cost
    if learns_cost(settings, spec, constrained):
        cost = None
    elif constrained and spec.cost is not None:
        cost = partial(spec.cost, margin=settings.cost_margin)
    return world(dynamics, settings, spec, cost, settings.by_dynamics(spec).model_noise)


def constraint(settings: PlanSettings, spec: EnvSpec, constrained: bool) -> Constraint | None:
    """The planner's constraint; its threshold is in metres where the cost is known, in violations where learned."""
    if not constrained:
        return None
    usual = 0.5 if learns_cost(settings, spec, constrained) else 0.02
    threshold = settings.threshold if settings.threshold is not None else usual
    assert settings.min_feasible is not None  # `filled`
    return Constraint(threshold, settings.min_feasible, settings.penalty)


def planner(
    settings: PlanSettings,
    spec: EnvSpec,
    limit: Constraint | None,
    model: Model,
    act_dim: int,
    actor: Callable[[Tensor, Streams | None], Tensor] | None,
    value: Callable[[Tensor], Tensor] | None,
    streams: Streams,
    **more: Any,
) -> Planner:
    """A planner of as many episodes as there are random streams; `more` are further `PlannerSettings`."""
    c, by, device = settings, settings.by_dynamics(spec), str(streams[0].device)
    numbers = PlannerSettings(
        horizon=by.horizon, population=c.population, actor_fraction=c.actor_fraction, particles=c.particles,
        iterations=by.iterations, inverse_temperature=c.inverse_temperature, elites=c.elites, momentum=c.momentum,
        initial_variance=c.initial_variance, noise_correlation=by.noise_correlation, discount=c.discount,
        worst_case=c.cost_over == "worst",
        bf16=c.precision == "bfloat16" or (c.precision == "auto" and bf16_is_fast(device)),
        **more,
    )  # fmt: skip
    return Planner(numbers, limit, model, act_dim, actor=actor, value=value, streams=streams)
