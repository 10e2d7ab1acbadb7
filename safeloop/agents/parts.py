"""Build the parts of agents: generators, the ensemble with known models beside it, the constraint."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from safeloop.cmdp import Constraint, Delay, Entities, EnvSpec, Known, zero_cost
from safeloop.data.replay import Batch, Replay
from safeloop.models.ensemble import Ensemble
from safeloop.models.full import Heads
from safeloop.models.lidar_tracks import LidarTracks
from safeloop.models.perception import Follows
from safeloop.models.point_ensemble import PointEnsemble
from safeloop.models.position_tracks import PositionTracks
from safeloop.models.settings import ModelSettings
from safeloop.models.simulator import SimulatorModel
from safeloop.models.tracks import Tracks
from safeloop.models.trajectories import Model
from safeloop.models.world import World
from safeloop.networks import Generators
from safeloop.planning.budget import AdaptiveThreshold
from safeloop.planning.settings import BudgetSettings, PlannerSettings
from safeloop.rng import AGENT, derived_seed

AFTER_EVENTS = 256
"""Latest events whose following states' mean value imagined rollouts go on with."""


Fitted = tuple[int, float, float]
"""Gradient steps of a fit, and the models' held-out error before and after."""


F = TypeVar("F", bound=Callable[..., Tensor])


class Learner(Protocol):
    """A learner of actions and values."""

    def act(self, obs: Tensor, generators: Generators | None) -> Tensor:
        """Return actions `[..., A]`: drawn, or the means without generators."""
        ...

    def value(self, obs: Tensor) -> Tensor:
        """Return `Q(s, pi(s))`, `[..., S] -> [...]`."""
        ...

    def update(self, batch: Batch) -> None:
        """Take one gradient step."""
        ...

    def checkpoint(self) -> dict[str, Any]:
        """Return everything that learning has changed."""
        ...

    def restore(self, state: dict[str, Any]) -> None:
        """Restore `checkpoint`."""
        ...


def generators(seed: int, device: str, count: int) -> list[torch.Generator]:
    """Return an agent's random generators, one for each use."""
    return [torch.Generator(device=device).manual_seed(derived_seed(seed, AGENT, i)) for i in range(count)]


def value_after_events(replay: Replay, value: Callable[[Tensor], Tensor]) -> Tensor | None:
    """Return the mean value of the observations that followed the latest events; None where there were none."""
    rows = replay.data.event[: len(replay)].nonzero()[-AFTER_EVENTS:, 0]
    return value(replay.rows(rows).next_obs).mean() if len(rows) else None


def learns_cost(settings: ModelSettings, spec: EnvSpec, constrained: bool) -> bool:
    """Return whether the ensemble has to learn the cost."""
    return constrained and not settings.knows_cost(spec)


def ensemble(
    settings: ModelSettings,
    spec: EnvSpec,
    constrained: bool,
    obs_dim: int,
    act_dim: int,
    generator: torch.Generator,
    device: str,
    horizon: int = 1,
    margin: float = 0.0,
) -> Ensemble | PointEnsemble:
    """Return the models, with a head for whatever the environment does not give.

    Dynamics over points leave out what can't matter within `horizon` decisions, to a known cost of this margin too.
    """
    c, known_reward, kind = settings.filled(spec), settings.reward == "known", settings.kind(spec)
    assert c.layers is not None and c.width is not None
    assert c.ensemble_size is not None and c.fit_window is not None
    heads = Heads(
        reward=not known_reward,
        event=spec.has_events and not (known_reward and spec.event is not None),
        terminated=spec.terminates and spec.terminated is None,
        violated=learns_cost(c, spec, constrained) * spec.costs,
    )
    if kind == "points":
        return PointEnsemble(
            tracks(c, spec, device), act_dim,
            ensemble_size=c.ensemble_size, sizes=[c.width] * c.layers, heads=heads, width=c.entity_width,
            window=c.fit_window, horizon=horizon, margin=0.0 if heads.violated else margin,
            learning_rate=c.model_learning_rate, reward_weight=c.reward_weight, cost_weight=c.cost_weight,
            generator=generator, device=device,
        )  # fmt: skip
    return Ensemble(
        obs_dim, act_dim,
        ensemble_size=c.ensemble_size, sizes=[c.width] * c.layers,
        heads=heads, parts=spec.parts, factored=kind != "full", entity_width=c.entity_width,
        window=c.fit_window, learning_rate=c.model_learning_rate, reward_weight=c.reward_weight,
        cost_weight=c.cost_weight, limits=spec.clipped if c.censored else None,
        generator=generator, device=device,
    )  # fmt: skip


def models(
    settings: ModelSettings, planner: PlannerSettings, spec: EnvSpec, constrained: bool, obs_dim: int, act_dim: int,
    generator: torch.Generator, device: str, delay: Delay | None = None,
) -> Ensemble | PointEnsemble | SimulatorModel:  # fmt: skip
    """Return the models that an agent plans with: the environment's own physics, or an ensemble to fit.

    Where plans reckon with a `delay`, they reach as much further.
    """
    if settings.dynamics == "simulator":
        assert spec.simulator is not None  # `ModelSettings.privileged`
        return SimulatorModel(spec.simulator(settings.simulator_threads), obs_dim)
    assert planner.horizon is not None and planner.cost_margin is not None  # `filled`
    reach = planner.horizon + (delay.decisions if delay else 0)
    return ensemble(settings, spec, constrained, obs_dim, act_dim, generator, device, reach, planner.cost_margin)


def followed(models: Ensemble | PointEnsemble | SimulatorModel) -> Follows | None:
    """Return the models that follow states from observations; a simulator is given its states."""
    return None if isinstance(models, SimulatorModel) else models


def of_features(ensemble: Ensemble | PointEnsemble | SimulatorModel, function: F | None) -> F | None:
    """Return a learner's function of features as a function of the models' states; None remains None."""
    if function is None or isinstance(ensemble, Ensemble):  # its states are its features
        return function
    return lambda state, *others: function(ensemble.features(state), *others)  # type: ignore[return-value]


def tracks(settings: ModelSettings, spec: EnvSpec, device: str) -> Tracks:
    """Return the tracks of an environment's entities, or of what its lidars show."""
    if isinstance(spec.parts, Entities):
        return PositionTracks(spec.parts, device)
    assert spec.parts is not None
    return LidarTracks(spec.parts, settings.tracks, device)


def world(
    models: Ensemble | PointEnsemble,
    settings: ModelSettings,
    spec: EnvSpec,
    cost: Known | None = zero_cost,
    noise: bool = True,
    expected: bool = False,
) -> World:
    """Return the ensemble with known models beside it; `cost` None: it is learned."""
    known_reward = settings.reward == "known"
    return World(
        models,
        reward=spec.reward if known_reward else None,
        cost=cost,
        terminated=spec.terminated if spec.terminates else None,
        event=spec.event if known_reward else None,
        event_bonus=spec.event_bonus,
        noise=noise,
        expected=expected,
    )


def planning_world(
    models: Ensemble | PointEnsemble | SimulatorModel,
    settings: ModelSettings,
    planner: PlannerSettings,
    spec: EnvSpec,
    constrained: bool,
) -> Model:
    """Return the world that a planner sees: under a constraint with a cost, known (and its margin) or learned.

    A simulator is a world by itself.
    """
    if isinstance(models, SimulatorModel):
        return models
    assert planner.model_noise is not None and planner.cost_margin is not None  # `filled`
    cost: Known | None = zero_cost
    if learns_cost(settings, spec, constrained):
        cost = None
    elif constrained and spec.cost is not None:
        cost = partial(spec.cost, margin=planner.cost_margin)
    expected = planner.propagation == "expectation"
    return world(models, settings, spec, cost, planner.model_noise and not expected, expected)


def constraint(
    settings: ModelSettings, planner: PlannerSettings, spec: EnvSpec, constrained: bool
) -> Constraint | None:
    """Return a planner's constraint, its threshold in metres for a known cost, in violations for a learned one."""
    if not constrained:
        return None
    usual = 0.5 if learns_cost(settings, spec, constrained) else 0.02
    threshold = planner.threshold if planner.threshold is not None else usual
    assert planner.min_feasible is not None  # `filled`
    return Constraint(threshold, planner.min_feasible, planner.penalty)


def adaptive(
    found: Constraint | None, settings: BudgetSettings, planner: PlannerSettings, budgets: Sequence[float], device: str
) -> tuple[Constraint | None, AdaptiveThreshold | None]:
    """Return a constraint whose threshold follows costs towards the budget, and that threshold, where it is asked for.

    Else the constraint stays as it is. Each of several costs has a threshold and a budget of its own.
    """
    if found is None or not budgets or settings.constraint == "fixed":
        return found, None
    assert planner.horizon is not None and isinstance(found.threshold, float)
    follows = AdaptiveThreshold(settings.filled(found.threshold, planner.horizon), budgets, found.threshold, device)
    return replace(found, threshold=follows.threshold), follows
