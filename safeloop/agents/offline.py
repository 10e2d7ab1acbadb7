"""Offline agents: a learner of a dataset, and LOOP on top: models of the dataset and a planner over both.

CoRL 2021, Algorithm 2. The trainer is in `safeloop/training/offline.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from safeloop.agents.offline_settings import OfflinePlanSettings
from safeloop.agents.parts import constraint, ensemble, planner, planning_world
from safeloop.agents.policies import ActorPolicy, PlannerPolicy
from safeloop.cmdp import EnvSpec
from safeloop.data.datasets import Dataset
from safeloop.data.replay import Batch, Replay
from safeloop.errors import UsageError
from safeloop.learners.crr import CRR
from safeloop.learners.mbop import MBOP, truncated_returns
from safeloop.learners.plas import PLAS
from safeloop.networks import Streams
from safeloop.planning.search import Plan, Planner
from safeloop.rng import AGENT, derived_seed

if TYPE_CHECKING:
    from safeloop.algorithms.offline import Offline
    from safeloop.registry import Policy


PLANNER_NUMBERS = ("pessimism", "actor_noise", "actor_mixture")
"""Settings that only offline agents hand to their planners."""
WATCHED = 1000
"""Observations of the dataset whose mean value a run reports."""


def events(dataset: Dataset, spec: EnvSpec) -> np.ndarray:
    """Whether a goal was met and jumped, `[T]`: as recorded, or where the reward is more than half of its bonus.

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
    """The dataset's transitions, or `rows` of them, as a replay buffer."""
    data = dataset
    cost = np.zeros(len(data), np.float32) if data.cost is None else data.cost
    columns = (data.obs, data.act, data.reward, cost, data.terminated, events(data, spec), data.next_obs)
    chosen = slice(None) if rows is None else rows
    batch = Batch(*(torch.as_tensor(x[chosen], dtype=torch.float32, device=device) for x in columns))
    replay = Replay(len(batch.reward), data.obs.shape[1], data.act.shape[1], device)
    replay.extend(batch)
    return replay


def taught(dataset: Dataset, horizon: int, discount: float) -> np.ndarray:
    """What a truncated value is taught, `[T]`, NaN where that is not known (`truncated_returns`).

    Raises `UsageError` where it is known nowhere.
    """
    found = truncated_returns(dataset.reward, dataset.terminated, dataset.truncated, horizon, discount)
    if np.isnan(found).all():
        raise UsageError(
            f"{dataset.path}: nowhere are return_horizon={horizon} decisions in a row recorded: give a smaller one"
        )
    return found


class OfflineAgent:
    """A learner of a dataset, for `steps` gradient steps. Without one (`dataset` None) it can only act."""

    def __init__(
        self,
        algorithm: Offline,
        spec: EnvSpec,
        obs_dim: int,
        act_dim: int,
        settings: Any,
        dataset: Dataset | None,
        steps: int,
        seed: int,
        device: str,
    ):
        self.algorithm, self.spec, self.settings, self.device = algorithm, spec, settings, device
        self.dataset, self.act_dim = dataset, act_dim
        self.generators = [torch.Generator(device=device).manual_seed(derived_seed(seed, AGENT, i)) for i in range(4)]
        c, generator = settings, self.generators[2]
        self.learner: CRR | PLAS | MBOP
        if algorithm.learner == "crr":
            self.learner = CRR(obs_dim, act_dim, c, generator, device)
        elif algorithm.learner == "plas":
            self.learner = PLAS(obs_dim, act_dim, c, round(c.pretraining * steps), generator, device)
        else:
            self.learner = MBOP(obs_dim, act_dim, c, generator, device)
        if dataset is not None:
            self.replay = buffer(dataset, spec, device)
            size = (WATCHED,)
            self.watched = torch.randint(len(self.replay), size, generator=self.generators[3], device=device)
            if algorithm.learner == "mbop":  # its value is of what followed, not of a step
                returns = taught(dataset, c.return_horizon, c.discount)
                self.replay.data.reward[:] = torch.as_tensor(returns, device=device)

    def update(self) -> None:
        """One gradient step of the learner."""
        self.learner.update(self.replay.sample(self.settings.batch_size, self.generators[0]))

    def value(self) -> float:
        """Return the mean value of some of the dataset's observations, drawn from all of them once for the run."""
        return self.learner.value(self.replay.data.obs[self.watched]).mean().item()

    def policy(self, seed: int) -> Policy:
        """The agent as it acts in evaluation."""
        return ActorPolicy(self.learner, self.device)

    def checkpoint(self) -> dict[str, Any]:
        """Everything that training has changed."""
        return {"learner": self.learner.checkpoint(), "generator": self.generators[0].get_state()}

    def restore(self, state: dict[str, Any]) -> None:
        """Restore `checkpoint`."""
        self.learner.restore(state["learner"])
        self.generators[0].set_state(state["generator"])


class OfflinePlanner(OfflineAgent):
    """The learner, and in evaluation a planner over it and models of the dataset."""

    settings: OfflinePlanSettings

    def __init__(self, algorithm: Offline, spec: EnvSpec, obs_dim: int, act_dim: int, settings: Any, *others: Any):
        settings = settings.filled(spec)
        super().__init__(algorithm, spec, obs_dim, act_dim, settings, *others)
        constrained, device = algorithm.constrained, self.device
        self.dynamics = ensemble(settings, spec, constrained, obs_dim, act_dim, self.generators[1], device)
        self.model = planning_world(self.dynamics, settings, spec, constrained)
        self.constraint = constraint(settings, spec, constrained)
        self.value_after_event = torch.zeros((), device=device)

    def fit(self) -> tuple[int, float, float]:
        """Fit the models on all transitions whose outcome was recorded; see `Ensemble.fit`."""
        c, data = self.settings, self.dataset
        assert data is not None
        replay = self.replay
        if not data.complete.all() or self.algorithm.learner == "mbop":
            replay = buffer(data, self.spec, self.device, np.flatnonzero(data.complete))
        return self.dynamics.fit(replay, c.fit_steps, c.batch_size, c.fit_patience)

    def refresh(self) -> None:
        """The mean value of the states that followed events, for imagined rollouts to go on with.

        Without the dataset, in a loaded agent, that of the checkpoint stands.
        """
        if self.dataset is not None and self.spec.has_events and self.settings.value != "none":
            rows = self.replay.data.event.nonzero()[-256:, 0]
            if len(rows):
                self.value_after_event = self.learner.value(self.replay.rows(rows).next_obs).mean()

    def new_planner(self, streams: Streams) -> Planner:
        """A planner over what was learned, of as many episodes as there are random streams."""
        c = self.settings
        more = {name: getattr(c, name) for name in PLANNER_NUMBERS if hasattr(c, name)}
        value = None if c.value == "none" else self.learner.value
        limit, act_dim = self.constraint, self.act_dim
        return planner(c, self.spec, limit, self.model, act_dim, self._actor, value, streams, **more)

    def _actor(self, obs: Tensor, streams: Streams | None) -> Tensor:
        """The actor's mean action: what differs between its sequences is `actor_noise`."""
        return self.learner.act(obs, None)

    def plan(self, obs: np.ndarray, t0: bool, planner: Planner | None = None) -> Plan:
        """The planner's decisions for `obs [B, S]`."""
        assert planner is not None
        state = torch.as_tensor(obs, dtype=torch.float32, device=self.device)
        return planner.plan(state, t0, self.value_after_event)

    def policy(self, seed: int) -> Policy:
        """The planner, with random streams of its own."""
        self.refresh()
        return PlannerPolicy(self, seed)

    def checkpoint(self) -> dict[str, Any]:
        """Everything that training has changed."""
        self.refresh()
        return {
            **super().checkpoint(),
            "dynamics": self.dynamics.checkpoint(),
            "value_after_event": self.value_after_event,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Restore `checkpoint`."""
        super().restore(state)
        self.dynamics.restore(state["dynamics"])
        self.value_after_event = state["value_after_event"].to(self.device)
