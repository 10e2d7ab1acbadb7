"""Planners by name: each a search space, proposals, an objective, a weighting and a refit.

| planner | candidates | weighting | refit |
|---|---|---|---|
| ARC (CoRL 2021, Algorithm 3) | Gaussian, actor's rollouts | softmax of returns | mean and variance, momentum |
| safeARC (Algorithm 4) | the same | softmax, feasible first by the worst cost | the same |
| CEM; with an actor CEM-AG (Sikchi et al., 2020) | the same | elites | the same |
| PETS (Chua et al., 2018) | Gaussian alone, no value at the horizon | elites | the same |
| RCE (Liu et al., 2020) | as PETS | elites, feasible first by the worst cost | the same |
| CCE (Wen & Topcu, 2018) | as PETS | elites, feasible first by the mean cost | the same |
| MBOP (Argenson & Dulac-Arnold, 2020) | actor's rollouts, mixed with the last solution | softmax | mean |
| MPPI (Williams et al., 2017) | the last solution, and Gaussian of fixed variance around it | softmax | mean, once |
| RS (Richards, 2005) | uniform, no value at the horizon | the best one | once |
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from safeloop.cmdp import Constraint, Delay
from safeloop.models.perception import Follows, Perception
from safeloop.models.trajectories import Model
from safeloop.networks import Generators, bf16_is_fast
from safeloop.planning.objective import Objective, Value
from safeloop.planning.pending import Pending
from safeloop.planning.proposals import Actor, ActorRollouts
from safeloop.planning.search import Momentum, Planner, Search, refit_mean
from safeloop.planning.settings import ELITES, PlannerSettings
from safeloop.planning.spaces import ActionSequences, Space, UniformSequences
from safeloop.planning.weighting import Elites, Softmax


@dataclass(frozen=True)
class Parts:
    """The parts that a planner is composed of, beside its settings."""

    model: Model
    act_dim: int
    discount: float
    constraint: Constraint | None = None
    actor: Actor | None = None
    value: Value | None = None
    cost_value: Value | None = None
    follows: Follows | None = None
    """The model that follows states from one decision to the next; None: observations are the states."""
    delay: Delay | None = None
    """The delay that plans reckon with."""


def arc(c: PlannerSettings, parts: Parts) -> Search:
    """Return ARC, or under a constraint safeARC (CoRL 2021, Algorithms 3 and 4)."""
    assert c.horizon is not None and c.iterations is not None  # `filled`
    assert c.noise_correlation is not None and c.noise_narrowed is not None
    p, count = parts, c.from_actor if parts.actor else 0
    alone = c.actor_fraction == 1  # the actor's sequences stay as they are: once, and the old mean is no proposal
    return Search(
        space=ActionSequences(c.horizon, p.act_dim, c.noise_correlation, c.noise_narrowed),
        objective=Objective(
            p.model, p.discount, c.particles, p.value, p.cost_value, c.pessimism, c.cost_over == "worst"
        ),
        weighting=Softmax(c.inverse_temperature, p.constraint, c.standardised, c.effective_size),
        refit=Momentum(0.0 if alone else c.momentum),
        population=0 if alone else c.population,
        iterations=1 if alone else c.iterations,
        initial_variance=c.initial_variance,
        proposals=ActorRollouts(p.model, p.actor, count, c.actor_noise) if p.actor and count else None,
        constraint=p.constraint,
    )


def cem(c: PlannerSettings, parts: Parts) -> Search:
    """Return the cross-entropy method: ARC's search with equal weights for the best."""
    return replace(arc(c, parts), weighting=Elites(c.elites or ELITES, parts.constraint))


def mbop(c: PlannerSettings, parts: Parts) -> Search:
    """Return MBOP: the actor's sequences alone, each action mixed with the previous solution's (Algorithm 2)."""
    p, found = parts, arc(c, parts)
    assert p.actor is not None and c.horizon is not None
    return replace(
        found,
        proposals=ActorRollouts(p.model, p.actor, c.from_actor, c.actor_noise, c.actor_mixture),
        space=ActionSequences(c.horizon, p.act_dim, keeps_last=c.actor_mixture > 0),  # its last action is mixed, too
    )


def mppi(c: PlannerSettings, parts: Parts) -> Search:
    """Return MPPI (Williams et al., 2017): one iteration around the last solution, with noise of a fixed variance."""
    assert c.horizon is not None and c.noise_correlation is not None
    space = ActionSequences(c.horizon, parts.act_dim, c.noise_correlation, narrowed=False, draws_mean=True)
    return replace(arc(c, parts), space=space, refit=refit_mean, iterations=1)


def random_shooting(c: PlannerSettings, parts: Parts) -> Search:
    """Return random shooting: the best of sequences that are drawn uniformly, once."""
    assert c.horizon is not None
    best = Elites(1, parts.constraint)
    space = UniformSequences(c.horizon, parts.act_dim)
    return replace(arc(c, parts), space=space, weighting=best, refit=refit_mean, iterations=1)


PLANNERS: dict[str, Callable[[PlannerSettings, Parts], Search]] = {
    "arc": arc, "cem": cem, "mbop": mbop, "mppi": mppi, "random": random_shooting,
}  # fmt: skip


def planner(
    settings: PlannerSettings, parts: Parts, generators: Generators, draws: bool = False, space: Space | None = None
) -> Planner:
    """Return the planner that the settings name, of as many episodes as there are generators.

    It searches in `space` where one is given, in place of action sequences.
    """
    bf16 = settings.precision == "bfloat16"
    if settings.precision == "auto":
        bf16 = bf16_is_fast(str(generators[0].device))
    search = replace(PLANNERS[settings.search](settings, parts), draws=draws, bf16=bf16)
    if space is not None:
        search = replace(search, space=space)
    perception = Perception(parts.follows) if parts.follows else None
    if parts.delay is None:
        return Planner(search, generators, parts.actor, perception)
    pending = Pending(parts.delay, parts.model, parts.act_dim, len(generators), generators[0].device)
    return Planner(search, generators, parts.actor, perception, pending)
