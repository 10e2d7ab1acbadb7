"""Trained agents as policies (`registry.Policy`), for evaluation: a learner's actor, or a planner."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from safeloop.networks import Streams
from safeloop.planner import Plan, Planner
from safeloop.runs import EVALUATION, derived_seed

PLANNER = 2**31
"""Index of the evaluation planners' first random stream, beyond every episode's."""


class Plans(Protocol):
    """An agent that plans."""

    device: str

    def new_planner(self, streams: Streams) -> Planner:
        """A planner of as many episodes as there are streams."""
        ...

    def plan(self, obs: np.ndarray, t0: bool, planner: Planner | None = None) -> Plan:
        """The planner's decisions for `obs [B, S]`."""
        ...


class ActorPolicy:
    """A learner's actor: its mean action."""

    def __init__(self, learner: Any, device: str):
        self.learner, self.device = learner, device

    def reset(self, episodes: int = 1) -> None:
        """Nothing is kept from one decision to the next."""

    def act(self, obs: np.ndarray) -> np.ndarray:
        """Observations `[..., S]` to actions `[..., A]`."""
        return self._actions(torch.as_tensor(obs, dtype=torch.float32, device=self.device)).cpu().numpy()

    def _actions(self, obs: Tensor) -> Tensor:
        return self.learner.act(obs, None)


class Exploring(ActorPolicy):
    """A learner's actor as it explores."""

    def __init__(self, learner: Any, device: str, generator: torch.Generator):
        super().__init__(learner, device)
        self.generator = generator

    def _actions(self, obs: Tensor) -> Tensor:
        return self.learner.explore(obs, [self.generator])


class PlannerPolicy:
    """A planner: executes the planned mean, deterministic given its seed.

    Every episode has a random stream of its own, so what is done in it does not depend on how many are planned
    together, but for rounding. `new_planner` may stand for the agent's.
    """

    def __init__(self, agent: Plans, seed: int, new_planner: Callable[[Streams], Planner] | None = None):
        self.agent, self.seed, self.begun, self.t0 = agent, seed, 0, True
        self.new_planner = new_planner or agent.new_planner
        self.planner: Planner | None = None

    def reset(self, episodes: int = 1) -> None:
        """Begin so many episodes."""
        streams = [derived_seed(self.seed, EVALUATION, PLANNER + self.begun + i) for i in range(episodes)]
        device = self.agent.device
        self.planner = self.new_planner([torch.Generator(device=device).manual_seed(s) for s in streams])
        self.begun, self.t0 = self.begun + episodes, True

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with the episodes at these places alone."""
        assert self.planner is not None
        self.planner.keep(rows)

    def act(self, obs: np.ndarray) -> np.ndarray:
        """Observations `[B, S]`, one of each episode under way, to actions `[B, A]`; `[S]` to `[A]`."""
        if self.planner is None:
            raise RuntimeError("no episode is under way: call reset() before act()")
        action = self.agent.plan(np.atleast_2d(obs), self.t0, self.planner).action
        self.t0 = False
        return action.cpu().numpy().reshape(*np.shape(obs)[:-1], -1)
