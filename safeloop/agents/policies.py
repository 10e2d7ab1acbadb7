"""Trained agents as policies (`registry.Policy`), for evaluation: a learner's actor, or a planner."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor

from safeloop.cmdp import EnvSpec
from safeloop.errors import UsageError
from safeloop.networks import Streams
from safeloop.planning.search import Plan, Planner
from safeloop.rng import EVALUATION, derived_seed
from safeloop.settings import MOST_EPISODES, check_whole

if TYPE_CHECKING:
    from safeloop.registry import Policy

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


class Checked:
    """A policy that refuses what is no observation of its environment, for whoever calls it from elsewhere."""

    def __init__(self, policy: Policy, spec: EnvSpec):
        self.policy, self.name, self.episodes = policy, spec.id, 0
        env = spec.make()
        self.shape = env.observation_space.shape or ()
        env.close()

    def reset(self, episodes: int = 1) -> None:
        """Begin so many episodes. Raises `UsageError` for a number below 1."""
        self.episodes = check_whole("episodes", episodes, 1, MOST_EPISODES)
        self.policy.reset(self.episodes)

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with the episodes at these places alone."""
        self.episodes = len(rows)
        if hasattr(self.policy, "keep"):
            self.policy.keep(rows)

    def act(self, obs: np.ndarray) -> np.ndarray:
        """Observations `[B, S]`, one of each episode under way, to actions `[B, A]`; one, `[S]`, to `[A]`.

        Raises `UsageError` for another shape, another number of episodes, and what is not a finite number.
        """
        try:
            values = np.asarray(obs)
        except (TypeError, ValueError, RuntimeError):
            values = np.array(None)  # ragged, or a tensor elsewhere
        sizes = ", ".join(map(str, self.shape))
        if values.dtype.kind not in "fiu":
            raise UsageError(
                f"an observation of {self.name} is an array [{sizes}] of numbers, not {type(obs).__name__}"
            )
        if values.shape[-len(self.shape) :] != self.shape or values.ndim > len(self.shape) + 1:
            raise UsageError(
                f"an observation of {self.name} has the shape [{sizes}], several together [B, {sizes}]: "
                f"got {list(values.shape)}"
            )
        given = 1 if values.shape == self.shape else len(values)
        if self.episodes and given != self.episodes:
            raise UsageError(f"{given} observations where reset() began {self.episodes} episodes: give one of each")
        with np.errstate(over="ignore"):
            finite = np.isfinite(values.astype(np.float32))
        if not finite.all():
            where = [int(i) for i in np.argwhere(~finite)[0]]
            raise UsageError(f"the observation's number {where} is {values[tuple(where)]}: expected finite numbers")
        return self.policy.act(values)


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
