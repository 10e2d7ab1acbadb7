"""Offline agents: a learner of a dataset, and LOOP on top: models of the dataset and a planner over both.

CoRL 2021, Algorithm 2. The trainer is in `safeloop/training/offline.py`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from safeloop.agents.offline_settings import OfflinePlanning
from safeloop.agents.parts import Fitted, Learner, value_after_events
from safeloop.agents.policies import ActorPolicy, PlannerPolicy
from safeloop.cmdp import EnvSpec
from safeloop.data.datasets import Dataset
from safeloop.data.replay import Batch, Replay
from safeloop.errors import UsageError
from safeloop.learners.mbop import truncated_returns
from safeloop.models.ensemble import Ensemble
from safeloop.models.point_ensemble import PointEnsemble
from safeloop.networks import Generators
from safeloop.planning.planners import Parts, planner
from safeloop.planning.search import Plan, Planner
from safeloop.protocols import Policy

WATCHED = 1000
"""Places in the dataset whose mean value a run reports."""


def events(dataset: Dataset, spec: EnvSpec) -> np.ndarray:
    """Return whether a goal was met and jumped, `[T]`: as recorded, or where the reward is more than half of its bonus.

    Raises `UsageError` where it was not recorded and the environment does not say what meeting a goal pays.
    """
    if dataset.event is not None:
        return dataset.event
    if not spec.has_events:
        return np.zeros(len(dataset), bool)
    if not spec.event_bonus:
        raise UsageError(f"{dataset.path}: when goals of {spec.id} were met was not recorded (infos/event)")
    return dataset.reward > spec.event_bonus / 2


def buffer(dataset: Dataset, spec: EnvSpec, device: str, rows: np.ndarray | None = None) -> Replay:
    """Return the dataset's transitions, or `rows` of them, as a replay buffer."""
    data = dataset
    cost = np.zeros(len(data), np.float32) if data.cost is None else data.cost
    columns = (data.obs, data.act, data.reward, cost, data.terminated, events(data, spec), data.next_obs)
    chosen = slice(None) if rows is None else rows
    batch = Batch(*(torch.as_tensor(x[chosen], dtype=torch.float32, device=device) for x in columns))
    replay = Replay(len(batch.reward), data.obs.shape[1], data.act.shape[1], device)
    replay.extend(batch)
    return replay


def taught(dataset: Dataset, horizon: int, discount: float) -> np.ndarray:
    """Return the targets of a truncated value, `[T]`, NaN where they are not known (`truncated_returns`).

    Raises `UsageError` where it is known nowhere.
    """
    found = truncated_returns(dataset.reward, dataset.terminated, dataset.truncated, horizon, discount)
    if np.isnan(found).all():
        raise UsageError(
            f"{dataset.path}: nowhere are return_horizon={horizon} decisions in a row recorded: give a smaller one"
        )
    return found


class OfflineAgent:
    """A learner and its dataset, as a replay buffer. Without one (`replay` None) it can only act.

    `returns [T]` are what the learner's values should be if it behaved as the dataset does, NaN where that is not known
    (`data.episodes.discounted_returns`); None where it learns no values.
    """

    def __init__(
        self,
        learner: Learner,
        replay: Replay | None,
        batch_size: int,
        generator: torch.Generator,
        watching: torch.Generator,
        device: str,
        returns: np.ndarray | None = None,
    ):
        self.learner, self.batch_size, self.generator, self.device = learner, batch_size, generator, device
        self.returns = returns
        if replay is not None:
            self.replay = replay
            self.watched = torch.randint(len(replay), (WATCHED,), generator=watching, device=device)

    def fit(self) -> Fitted | None:
        """Return None: there are no models."""
        return None

    def reads(self, obs: Tensor) -> Tensor:
        """Return the learner's inputs for observations `[..., S]`: the observations themselves."""
        return obs

    def update(self) -> None:
        """Take one gradient step of the learner."""
        batch = self.replay.sample(self.batch_size, self.generator)
        self.learner.update(batch._replace(obs=self.reads(batch.obs), next_obs=self.reads(batch.next_obs)))

    def value(self) -> float:
        """Return the mean value of some of the dataset's observations, drawn from all of them once for the run."""
        return self.learner.value(self.reads(self.replay.data.obs[self.watched])).mean().item()

    def measured(self) -> dict[str, float]:
        """Return the dataset's returns and the difference from its actions, by columns of `recording.rows.Update`."""
        seen = self.replay.rows(self.watched)
        missed = self.learner.act(self.reads(seen.obs), None) - seen.act
        found = {"action_error": missed.square().mean().sqrt().item()}
        if self.returns is not None:
            there = self.returns[self.watched.cpu().numpy()]
            known = there[np.isfinite(there)]
            found["data_return"] = float(known.mean()) if len(known) else math.nan
            found["data_lowest"], found["data_highest"] = float(np.nanmin(self.returns)), float(np.nanmax(self.returns))
        return found

    def policy(self, seed: int) -> Policy:
        """Return the agent as it acts in evaluation."""
        return ActorPolicy(self.learner, self.device, self.reads)

    def checkpoint(self) -> dict[str, Any]:
        """Return everything that training has changed."""
        return {"learner": self.learner.checkpoint(), "generator": self.generator.get_state()}

    def restore(self, state: dict[str, Any]) -> None:
        """Restore `checkpoint`."""
        self.learner.restore(state["learner"])
        self.generator.set_state(state["generator"])


class OfflinePlanner(OfflineAgent):
    """The learner, and in evaluation a planner over it and models of the dataset.

    `complete` holds the transitions whose outcome was recorded: the models are fitted on those.
    """

    def __init__(
        self,
        *parts: Any,
        settings: OfflinePlanning,
        ensemble: Ensemble | PointEnsemble,
        planner_parts: Parts,
        complete: Replay | None,
        has_events: bool,
    ):
        super().__init__(*parts)
        self.settings, self.ensemble, self.parts, self.complete = settings, ensemble, planner_parts, complete
        self.model, self.has_events = planner_parts.model, has_events
        self.value_after_event = torch.zeros((), device=self.device)

    def fit(self) -> Fitted:
        """Fit the models on all transitions whose outcome was recorded; see `Ensemble.fit`."""
        assert self.complete is not None
        c = self.settings.models
        return self.ensemble.fit(self.complete, c.fit_steps, self.batch_size, c.fit_patience, c.fit_epochs)

    def reads(self, obs: Tensor) -> Tensor:
        """Return the learner's inputs for observations `[..., S]`: those that the models give it."""
        return self.ensemble.features(self.ensemble.first(obs))

    def refresh(self) -> None:
        """Renew the mean value of the states that followed events, for imagined rollouts to go on with.

        Without the dataset, in a loaded agent, that of the checkpoint stands.
        """
        if self.complete is not None and self.has_events and self.parts.value is not None:
            value = self.parts.value
            found = value_after_events(self.replay, lambda obs: value(self.ensemble.first(obs)))
            self.value_after_event = self.value_after_event if found is None else found

    def new_planner(self, generators: Generators) -> Planner:
        """Return a planner over what was learned, of as many episodes as there are generators."""
        return planner(self.settings.planner, self.parts, generators)

    def plan(self, obs: np.ndarray, t0: bool, planner: Planner | None = None) -> Plan:
        """Return the planner's decisions for `obs [B, S]`."""
        assert planner is not None
        state = torch.as_tensor(obs, dtype=torch.float32, device=self.device)
        return planner.plan(state, t0, self.value_after_event)

    def policy(self, seed: int) -> Policy:
        """Return the planner, with generators of its own."""
        self.refresh()
        return PlannerPolicy(self, seed)

    def checkpoint(self) -> dict[str, Any]:
        """Return everything that training has changed."""
        self.refresh()
        return {
            **super().checkpoint(),
            "dynamics": self.ensemble.checkpoint(),
            "value_after_event": self.value_after_event,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Restore `checkpoint`."""
        super().restore(state)
        self.ensemble.restore(state["dynamics"])
        self.value_after_event = state["value_after_event"].to(self.device)
