"""Our own agents: an off-policy learner and its data, models beside it, a planner over both.

What each named algorithm is made of stands in `safeloop/algorithms/online.py`. The trainer owns the loop.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from safeloop.agents.parts import constraint, ensemble, planner, planning_world, world
from safeloop.agents.policies import ActorPolicy, PlannerPolicy
from safeloop.agents.settings import (
    ExpansionSettings,
    MBPOSettings,
    OnlineLearnerSettings,
    Settings,
)
from safeloop.cmdp import EnvSpec
from safeloop.data.replay import Batch, Replay
from safeloop.errors import UsageError
from safeloop.learners.expansion import expanded
from safeloop.learners.imagined import Witness, branch, mixed
from safeloop.learners.sac import SAC, SACSettings
from safeloop.learners.td3 import TD3, TD3Settings
from safeloop.learners.value import BehaviourValue
from safeloop.models.trajectories import Model
from safeloop.networks import Streams
from safeloop.planning.search import Plan, Planner
from safeloop.rng import AGENT, derived_seed

if TYPE_CHECKING:
    from safeloop.algorithms.online import OffPolicy
    from safeloop.registry import Policy

C = TypeVar("C", bound=OnlineLearnerSettings)

AUGMENTATION, WITNESSED = 12_000, 50
"""Size of the buffer of what planning imagined (workshop paper, appendix D), and transitions kept of an iteration."""


class Agent(Generic[C]):
    """A learner (SAC, TD3 or none) and its data: it acts as its actor does."""

    fit_every: int | None = None
    """Decisions between fits of models, where there are any."""

    def __init__(
        self, algorithm: OffPolicy, spec: EnvSpec, obs_dim: int, act_dim: int, settings: C, seed: int, device: str
    ):
        self.algorithm, self.spec, self.settings, self.device = algorithm, spec, settings, device
        self.obs_dim, self.act_dim, c = obs_dim, act_dim, settings
        self.generators = [torch.Generator(device=device).manual_seed(derived_seed(seed, AGENT, i)) for i in range(6)]
        self.generator = self.generators[0]
        self.learner: SAC | TD3 | None = None
        if algorithm.learner == "sac":
            own = (c.initial_temperature, c.backup_entropy, c.layer_norm)
            sac = SACSettings(c.discount, c.learning_rate, c.polyak, c.hidden, *own)
            self.learner = SAC(obs_dim, act_dim, sac, self.generators[2], device)
        elif algorithm.learner == "td3":
            td3 = TD3Settings(c.discount, c.learning_rate, c.polyak, c.hidden, c.layer_norm)
            self.learner = TD3(obs_dim, act_dim, td3, self.generators[2], device)
        self.learns = self.learner is not None
        self.replay = Replay(c.capacity, obs_dim, act_dim, device)
        self.held_action = torch.zeros(act_dim, device=device)

    def random_action(self) -> np.ndarray:
        """A uniform action `[A]`, held for `warmup_hold` decisions on average."""
        fresh = torch.rand(self.act_dim + 1, generator=self.generator, device=self.device)
        if len(self.replay) == 0 or fresh[0] < 1 / self.settings.warmup_hold:
            self.held_action = 2 * fresh[1:] - 1
        return self.held_action.cpu().numpy()

    def _state(self, obs: np.ndarray) -> Tensor:
        return torch.as_tensor(obs, dtype=torch.float32, device=self.device)

    def act(self, obs: np.ndarray, t0: bool) -> tuple[np.ndarray, Plan | None]:
        """The action `[A]` for `obs [S]` in training, and the plan behind it; `t0`: an episode's first decision."""
        assert self.learner is not None
        return self.learner.explore(self._state(obs[None]), [self.generator])[0].cpu().numpy(), None

    def fit(self) -> tuple[int, float, float]:
        """Fit the models on the replay buffer; returns steps taken and held-out error before and after."""
        raise NotImplementedError

    def update(self) -> None:
        """The learner's gradient steps of one decision."""
        if not self.learns:
            return
        for _ in range(self.settings.updates_per_decision):
            self.learn(self.replay.sample(self.settings.batch_size, self.generator))

    def learn(self, batch: Batch) -> None:
        """One gradient step."""
        if self.learner is not None:
            self.learner.update(batch)

    def after_episode(self) -> None:
        """What is refreshed between training episodes."""

    def model_errors(self, count: int) -> list[float]:
        """The models' squared one-step errors on the last `count` transitions; none without models."""
        return []

    def value_error(self, count: int) -> float:
        """How far the value at the horizon is off over the last `count` decisions; NaN without one."""
        return math.nan

    def policy(self, seed: int) -> Policy:
        """The agent as it acts in evaluation; `seed` seeds what it draws."""
        return ActorPolicy(self.learner, self.device)

    def checkpoint(self) -> dict[str, Any]:
        """Everything that training has changed."""
        return {
            "learner": self.learner.checkpoint() if self.learner else {},
            "replay": self.replay.state_dict(),
            "generator": self.generator.get_state(),
            "held_action": self.held_action,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Restore `checkpoint`."""
        if self.learner is not None:
            self.learner.restore(state["learner"])
        self.replay.load_state_dict(state["replay"])
        self.generator.set_state(state["generator"])
        self.held_action = state["held_action"].to(self.device)


M = TypeVar("M", bound=MBPOSettings | ExpansionSettings | Settings)


class ModelAgent(Agent[M]):
    """A learner with an ensemble of models."""

    def __init__(
        self, algorithm: OffPolicy, spec: EnvSpec, obs_dim: int, act_dim: int, settings: M, seed: int, device: str
    ):
        super().__init__(algorithm, spec, obs_dim, act_dim, settings, seed, device)
        self.dynamics = ensemble(settings, spec, algorithm.constrained, obs_dim, act_dim, self.generators[1], device)
        self.model = world(self.dynamics, settings, spec)
        self.fit_every, self.fitted = settings.fit_every, False

    def fit(self) -> tuple[int, float, float]:
        """Fit the ensemble on the replay buffer; returns steps taken and held-out error before and after."""
        c = self.settings
        steps = c.fit_steps if self.fitted else c.first_fit_steps
        self.fitted = True
        return self.dynamics.fit(self.replay, steps, c.batch_size, c.fit_patience)

    def checkpoint(self) -> dict[str, Any]:
        """Everything that training has changed."""
        return {**super().checkpoint(), "dynamics": self.dynamics.checkpoint(), "fitted": self.fitted}

    def restore(self, state: dict[str, Any]) -> None:
        """Restore `checkpoint`."""
        super().restore(state)
        self.dynamics.restore(state["dynamics"])
        self.fitted = state["fitted"]


class MBPO(ModelAgent[MBPOSettings]):
    """SAC on short rollouts of its actor in the models (Janner et al., 2019): those since the last fit."""

    def __init__(self, *arguments: Any):
        super().__init__(*arguments)
        c = self.settings
        self.imagined = Replay(c.fit_every * c.rollouts * c.rollout_length, self.obs_dim, self.act_dim, self.device)

    def fit(self) -> tuple[int, float, float]:
        """Fit the ensemble, then imagine anew."""
        found, c = super().fit(), self.settings
        assert self.learner is not None
        self.imagined.added = 0
        start = self.replay.sample(c.fit_every * c.rollouts, self.generator).obs
        branch(self.model, self.learner.explore, start, c.rollout_length, self.generator, self.imagined)
        return found

    def learn(self, batch: Batch) -> None:
        """One gradient step, on imagined transitions but for a `real_fraction`."""
        n = round(self.settings.real_fraction * len(batch.reward))
        if len(self.imagined):
            some = self.imagined.sample(len(batch.reward) - n, self.generator)
            batch = mixed(Batch(*(x[:n] for x in batch)), some)
        super().learn(batch)

    def checkpoint(self) -> dict[str, Any]:
        """Everything that training has changed."""
        return {**super().checkpoint(), "imagined": self.imagined.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        """Restore `checkpoint`."""
        super().restore(state)
        self.imagined.load_state_dict(state["imagined"])


class ValueExpansion(ModelAgent[ExpansionSettings]):
    """SAC whose critics look `horizon` steps into the models first (Feinberg et al., 2018)."""

    def learn(self, batch: Batch) -> None:
        """One gradient step."""
        assert isinstance(self.learner, SAC)
        targets = expanded(self.learner, self.model, batch, self.settings.horizon) if self.fitted else None
        self.learner.update(batch, targets)


class PlanningAgent(ModelAgent[Settings]):
    """A learner (or none), an ensemble, and a planner over both."""

    def __init__(
        self,
        algorithm: OffPolicy,
        spec: EnvSpec,
        obs_dim: int,
        act_dim: int,
        settings: Settings,
        seed: int,
        device: str,
    ):
        c = settings.filled(spec)
        if c.augmentation and torch.device(device).type == "cuda":
            raise UsageError(f"augmentation={c.augmentation}: planning on CUDA is captured; use --device cpu")
        super().__init__(algorithm, spec, obs_dim, act_dim, c, seed, device)
        constrained = algorithm.constrained
        self.behaviour: BehaviourValue | None = None
        self.value_of = c.value_of(constrained, self.learner is not None)
        if self.value_of == "behaviour":
            self.behaviour = BehaviourValue(
                obs_dim, c.discount, c.learning_rate, c.polyak, c.behaviour_hidden, self.generators[4], device,
                spec.entities if c.sees_entities(spec) else None, c.entity_width,
            )  # fmt: skip
        self.model = planning_world(self.dynamics, c, spec, constrained)
        self.constraint = constraint(c, spec, constrained)
        self.value_after_event = torch.zeros((), device=device)
        self.learns = self.learner is not None or self.behaviour is not None
        self.imagined, model = None, None
        if c.augmentation:
            self.imagined = Replay(AUGMENTATION, obs_dim, act_dim, device)
            model = Witness(self.model, WITNESSED, self.imagined, self.generators[5])
        self.planner = self.new_planner([self.generators[3]], model, draws=c.exploration == "draw")

    @property
    def value(self) -> Callable[[Tensor], Tensor] | None:
        """The value at the horizon, `[..., S] -> [...]`; None without a learner or where none is asked for."""
        learner = self.behaviour or self.learner
        return learner.value if learner and self.value_of != "none" else None

    def new_planner(self, streams: Streams, model: Model | None = None, draws: bool = False) -> Planner:
        """A planner over this agent's models, of as many episodes as there are random streams."""
        actor, model = self.learner.act if self.learner else None, model or self.model
        return planner(
            self.settings, self.spec, self.constraint, model, self.act_dim, actor, self.value, streams, draws=draws
        )

    def act(self, obs: np.ndarray, t0: bool) -> tuple[np.ndarray, Plan | None]:
        """The action `[A]` for `obs [S]` in training, and the plan behind it; `t0`: an episode's first decision."""
        if self.algorithm.plans == "evaluation":
            return super().act(obs, t0)
        plan = self.plan(obs[None], t0)
        return plan.action[0].cpu().numpy(), plan

    def plan(self, obs: np.ndarray, t0: bool, planner: Planner | None = None) -> Plan:
        """The planner's decisions for `obs [B, S]`."""
        return (planner or self.planner).plan(self._state(obs), t0, self.value_after_event)

    def learn(self, batch: Batch) -> None:
        """One gradient step of the learner and of the behaviour's value."""
        if self.imagined is not None and len(self.imagined):
            n = round((1 - self.settings.augmentation) * len(batch.reward))
            some = self.imagined.sample(len(batch.reward) - n, self.generator)
            super().learn(mixed(Batch(*(x[:n] for x in batch)), some))
        else:
            super().learn(batch)
        if self.behaviour is not None:
            self.behaviour.update(batch)

    def after_episode(self) -> None:
        """Refresh the mean value of the states that followed the latest events, for imagined rollouts to go on with."""
        if self.spec.has_events and self.value is not None:
            rows = self.replay.data.event[: len(self.replay)].nonzero()[-256:, 0]
            if len(rows):
                self.value_after_event = self.value(self.replay.rows(rows).next_obs).mean()

    def model_errors(self, count: int) -> list[float]:
        """The ensemble's squared one-step errors on the last `count` transitions (`Ensemble.errors`)."""
        return self.dynamics.errors(self.replay.last(count)).tolist() if count else []

    def value_error(self, count: int) -> float:
        """The value less the discounted return that followed, a mean over the last `count` decisions of one episode.

        A truncated episode goes on with the value of its last state. NaN without a value.
        """
        if self.value is None:
            return math.nan
        batch = self.replay.last(count)
        following = (1 - batch.terminated[-1]) * self.value(batch.next_obs[-1:])[0]
        returned = []
        for reward in batch.reward.flip(0):
            following = reward + self.settings.discount * following
            returned.append(following)
        return (self.value(batch.obs) - torch.stack(returned).flip(0)).mean().item()

    def policy(self, seed: int, draws: bool = False) -> PlannerPolicy:
        """The agent as it acts in evaluation, with planners and random streams of its own.

        The same `seed` gives the same actions, so `safeloop eval` repeats the evaluation that a run recorded.
        With `draws` it executes drawn sequences, as training may (`exploration`).
        """
        return PlannerPolicy(self, seed, partial(self.new_planner, draws=draws))

    def checkpoint(self) -> dict[str, Any]:
        """Everything that training has changed."""
        return {
            **super().checkpoint(),
            "behaviour": self.behaviour.checkpoint() if self.behaviour else {},
            "planner": self.planner.state_dict(),
            "value_after_event": self.value_after_event,
            "imagined": {} if self.imagined is None else self.imagined.state_dict(),
            "witness": self.generators[5].get_state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Restore `checkpoint`."""
        super().restore(state)
        if self.behaviour is not None:
            self.behaviour.restore(state["behaviour"])
        self.planner.load_state_dict(state["planner"])
        self.value_after_event = state["value_after_event"].to(self.device)
        if self.imagined is not None:
            self.imagined.load_state_dict(state["imagined"])
            self.generators[5].set_state(state["witness"])
