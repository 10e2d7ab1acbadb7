"""Off-policy agents: a learner and its data, alone or beside an ensemble of models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from safeloop.agents.imagination_settings import MBPOSettings, SVGSettings, ValueExpansionSettings
from safeloop.agents.parts import Fitted, Learner
from safeloop.agents.policies import ActorPolicy, Exploring
from safeloop.agents.settings import OffPolicy, OnlinePlanning
from safeloop.data.replay import Batch, Replay
from safeloop.learners.expansion import expanded
from safeloop.learners.imagined import branch, mixed
from safeloop.learners.sac import SAC
from safeloop.models.ensemble import Ensemble
from safeloop.models.point_ensemble import PointEnsemble
from safeloop.models.simulator import SimulatorModel
from safeloop.models.trajectories import Model
from safeloop.networks import Generators
from safeloop.protocols import Policy, Transition


class OffPolicyLearner(Learner, Protocol):
    """A learner that explores."""

    def explore(self, obs: Tensor, generators: Generators) -> Tensor:
        """Return actions `[..., A]` with exploration."""
        ...


class OffPolicyAgent:
    """A learner (or none) and its data: it acts as its actor does."""

    def __init__(
        self, learner: OffPolicyLearner | None, replay: Replay, settings: OffPolicy, generator: torch.Generator
    ):
        self.learner, self.replay, self.settings, self.generator = learner, replay, settings, generator
        assert settings.online.warmup is not None  # `filled`
        self.warmup = settings.online.warmup
        self.device, act_dim = replay.device, replay.data.act.shape[1]
        self.held_action = torch.zeros(act_dim, device=self.device)

    @property
    def warming_up(self) -> bool:
        """Return whether decisions are still random."""
        return self.replay.added < self.warmup

    def act(self, obs: np.ndarray, t0: bool) -> np.ndarray:
        """Return the action `[A]` for `obs [S]` in training; `t0`: an episode's first decision."""
        return self.random_action() if self.warming_up else self.decide(obs, t0)

    def random_action(self) -> np.ndarray:
        """Return a uniform action `[A]`, held for `warmup_hold` decisions on average."""
        size = len(self.held_action) + 1
        fresh = torch.rand(size, generator=self.generator, device=self.device)
        if len(self.replay) == 0 or fresh[0] < 1 / self.settings.online.warmup_hold:
            self.held_action = 2 * fresh[1:] - 1
        return self.held_action.cpu().numpy()

    def decide(self, obs: np.ndarray, t0: bool) -> np.ndarray:
        """Return the action `[A]` for `obs [S]` after the warm-up."""
        assert self.learner is not None
        return self.learner.explore(self.reads(self.state(obs[None])), [self.generator])[0].cpu().numpy()

    def reads(self, obs: Tensor) -> Tensor:
        """Return the learner's inputs for observations `[..., S]`: the observations themselves."""
        return obs

    def state(self, obs: np.ndarray) -> Tensor:
        """Return observations as a tensor of the agent's device."""
        return torch.as_tensor(obs, dtype=torch.float32, device=self.device)

    def observe(self, transition: Transition) -> None:
        """Store a transition. Raises `ValueError` where a number is not finite."""
        obs, act, reward, terminated, _, info, next_obs = transition
        self.replay.add(obs, act, reward, self.costs_of(info), terminated, bool(info.get("event")), next_obs)

    def costs_of(self, info: Mapping[str, Any]) -> float | list[float]:
        """Return the cost of a decision, or each of several that are told apart."""
        return list(info["named_costs"].values()) if self.replay.data.cost.ndim > 1 else float(info["cost"])

    def update(self) -> Fitted | None:
        """Take the learner's gradient steps of one decision."""
        if not self.warming_up and self.learns:
            for _ in range(self.settings.online.updates_per_decision):
                self.learn(self.replay.sample(self.settings.learner.batch_size, self.generator))
        return None

    @property
    def learns(self) -> bool:
        """Whether there is anything that takes gradient steps."""
        return self.learner is not None

    def learn(self, batch: Batch) -> None:
        """Take one gradient step."""
        if self.learner is not None:
            self.learner.update(batch)

    def diagnostics(self) -> dict[str, float] | None:
        """Return nothing: there are no plans."""
        return None

    def policy(self, seed: int) -> Policy:
        """Return the agent as it acts in evaluation; `seed` seeds its draws."""
        return ActorPolicy(self.learner, self.device, self.reads)

    def explorer(self, seed: int) -> Policy:
        """Return the agent as it explores."""
        generator = torch.Generator(device=self.device).manual_seed(seed)
        return Exploring(self.learner, self.device, generator, self.reads)

    def checkpoint(self) -> dict[str, Any]:
        """Return everything that training has changed."""
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


EARLY = 4
"""At first models are fitted as soon as there is one more for each so many decisions: what is new counts most then."""


class ModelAgent(OffPolicyAgent):
    """A learner with an ensemble of models, which is fitted every `fit_every` decisions, at first more often."""

    settings: MBPOSettings | ValueExpansionSettings | SVGSettings | OnlinePlanning

    def __init__(
        self,
        learner: OffPolicyLearner | None,
        replay: Replay,
        settings: MBPOSettings | ValueExpansionSettings | SVGSettings | OnlinePlanning,
        generator: torch.Generator,
        ensemble: Ensemble | PointEnsemble | SimulatorModel,
        model: Model,
    ):
        super().__init__(learner, replay, settings, generator)
        self.ensemble, self.model, self.fitted = ensemble, model, False
        self.fit_at = self.warmup
        """Number of decisions at which the next fit is due."""

    def reads(self, obs: Tensor) -> Tensor:
        """Return the learner's inputs for observations `[..., S]`: those that the models give it."""
        if isinstance(self.ensemble, SimulatorModel):
            return obs
        return self.ensemble.features(self.ensemble.first(obs))

    def update(self) -> Fitted | None:
        """Take the learner's gradient steps of one decision, then fit the models where that is due."""
        super().update()
        made = self.replay.added
        if made < self.fit_at or isinstance(self.ensemble, SimulatorModel):
            return None
        self.fit_at = made + min(self.settings.refits.fit_every, max(1, made // EARLY))
        return self.fit()

    def fit(self) -> Fitted:
        """Fit the ensemble on the replay buffer."""
        assert not isinstance(self.ensemble, SimulatorModel)
        c = self.settings.models
        steps = c.fit_steps if self.fitted else self.settings.refits.first_fit_steps
        self.fitted = True
        return self.ensemble.fit(self.replay, steps, self.settings.learner.batch_size, c.fit_patience, c.fit_epochs)

    def checkpoint(self) -> dict[str, Any]:
        """Return everything that training has changed."""
        models = {"dynamics": self.ensemble.checkpoint(), "fitted": self.fitted, "fit_at": self.fit_at}
        return {**super().checkpoint(), **models}

    def restore(self, state: dict[str, Any]) -> None:
        """Restore `checkpoint`."""
        super().restore(state)
        self.ensemble.restore(state["dynamics"])
        self.fitted, self.fit_at = state["fitted"], state["fit_at"]


class MBPOAgent(ModelAgent):
    """SAC on short rollouts of its actor in the models (Janner et al., 2019): those since the last fit."""

    settings: MBPOSettings

    def __init__(self, *parts: Any):
        super().__init__(*parts)
        c, data = self.settings, self.replay.data
        self.imagined = Replay(c.branches.kept(c.refits), data.obs.shape[1], data.act.shape[1], self.device)

    def fit(self) -> Fitted:
        """Fit the ensemble, then imagine anew."""
        found, c = super().fit(), self.settings
        assert self.learner is not None
        self.imagined.added = 0
        if c.branches.real_fraction == 1:
            return found
        start = self.replay.sample(c.refits.fit_every * c.branches.rollouts, self.generator).obs
        branch(self.model, self.learner.explore, start, c.branches.rollout_length, self.generator, self.imagined)
        return found

    def learn(self, batch: Batch) -> None:
        """Take one gradient step, on imagined transitions but for a `real_fraction`."""
        super().learn(self.mixed(batch))

    def mixed(self, batch: Batch) -> Batch:
        """Return the first part of a real batch with imagined transitions in place of the rest."""
        return mixed(batch, self.imagined, self.settings.branches.real_fraction, self.generator)

    def checkpoint(self) -> dict[str, Any]:
        """Return everything that training has changed."""
        return {**super().checkpoint(), "imagined": self.imagined.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        """Restore `checkpoint`."""
        super().restore(state)
        self.imagined.load_state_dict(state["imagined"])


class ValueExpansionAgent(ModelAgent):
    """SAC whose critics look `horizon` steps into the models first (Feinberg et al., 2018)."""

    settings: ValueExpansionSettings

    def learn(self, batch: Batch) -> None:
        """Take one gradient step."""
        assert isinstance(self.learner, SAC)
        horizon = self.settings.expansion.horizon
        self.learner.update(batch, expanded(self.learner, self.model, batch, horizon) if self.fitted else None)
