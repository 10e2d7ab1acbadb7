"""Trained agents as policies (`protocols.Policy`), for evaluation: a learner's actor, or a planner."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from safeloop.cmdp import EnvSpec
from safeloop.errors import UsageError
from safeloop.networks import Generators
from safeloop.planning.search import Plan, Planner
from safeloop.protocols import Policy, needs_states
from safeloop.rng import EVALUATION, derived_seed
from safeloop.settings import MOST_EPISODES, check_whole

PLANNER = 2**31
"""Index of the first seed of the evaluation planners, above the index of every episode."""


class Plans(Protocol):
    """An agent with a planner."""

    device: str

    def new_planner(self, generators: Generators) -> Planner:
        """Return a planner of as many episodes as there are generators."""
        ...

    def plan(self, obs: np.ndarray, t0: bool, planner: Planner | None = None) -> Plan:
        """Return the planner's decisions for `obs [B, S]`, or for full states `[B, F]` with a simulator."""
        ...


class Checked:
    """A policy that refuses invalid observations of its environment, for callers outside the package."""

    def __init__(self, policy: Policy, spec: EnvSpec):
        self.policy, self.name, self.episodes = policy, spec.id, 0
        env = spec.make()
        self.shape = env.observation_space.shape or ()
        env.close()

    def reset(self, episodes: int = 1) -> None:
        """Start `episodes` episodes. Raises `UsageError` for a number below 1."""
        self.episodes = check_whole("episodes", episodes, 1, MOST_EPISODES)
        self.policy.reset(self.episodes)

    def keep(self, rows: Sequence[int]) -> None:
        """Continue only the episodes at the places `rows`."""
        self.episodes = len(rows)
        if hasattr(self.policy, "keep"):
            self.policy.keep(rows)

    @property
    def needs_states(self) -> bool:
        """True where the policy has to be given full states before each decision."""
        return needs_states(self.policy)

    def see(self, states: np.ndarray) -> None:
        """Take the full states `[B, F]` of the running episodes, for a policy that needs them."""
        if self.needs_states:
            self.policy.see(states)  # type: ignore[attr-defined]

    def act(self, obs: np.ndarray) -> np.ndarray:
        """Return actions `[B, A]` for observations `[B, S]`, one of each running episode, or `[A]` for one, `[S]`.

        Raises `UsageError` for another shape, another number of episodes, and numbers that are not finite.
        """
        try:
            values = np.asarray(obs)
        except (TypeError, ValueError, RuntimeError):
            values = np.array(None)  # ragged, or a tensor on another device
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
            raise UsageError(f"{given} observations, but reset() started {self.episodes} episodes: give one for each")
        with np.errstate(over="ignore"):
            finite = np.isfinite(values.astype(np.float32))
        if not finite.all():
            where = [int(i) for i in np.argwhere(~finite)[0]]
            raise UsageError(f"the observation's number {where} is {values[tuple(where)]}: expected finite numbers")
        return self.policy.act(values)


class ActorPolicy:
    """The policy of a learner's actor, which takes the mean action; `reads` maps observations to its inputs."""

    def __init__(self, learner: Any, device: str, reads: Callable[[Tensor], Tensor] | None = None):
        self.learner, self.device, self.reads = learner, device, reads

    def reset(self, episodes: int = 1) -> None:
        """Do nothing: no state is kept from one decision to the next."""

    def act(self, obs: np.ndarray) -> np.ndarray:
        """Return actions `[..., A]` for observations `[..., S]`."""
        return self.actions(torch.as_tensor(obs, dtype=torch.float32, device=self.device)).cpu().numpy()

    def actions(self, obs: Tensor) -> Tensor:
        """Return actions `[..., A]` for observations `[..., S]`."""
        return self._chosen(self.reads(obs) if self.reads else obs)

    def _chosen(self, obs: Tensor) -> Tensor:
        return self.learner.act(obs, None)


class Exploring(ActorPolicy):
    """The policy of a learner's actor with its exploration."""

    def __init__(
        self,
        learner: Any,
        device: str,
        generator: torch.Generator,
        reads: Callable[[Tensor], Tensor] | None = None,
    ):
        super().__init__(learner, device, reads)
        self.generator = generator

    def _chosen(self, obs: Tensor) -> Tensor:
        return self.learner.explore(obs, [self.generator])


class PlannerPolicy:
    """The policy of a planner, which executes the planned mean and is deterministic given its seed.

    Every episode has its own random generator, so its actions do not depend on the number of episodes planned together,
    except for rounding. `new_planner` may replace the agent's.
    """

    def __init__(self, agent: Plans, seed: int, new_planner: Callable[[Generators], Planner] | None = None):
        self.agent, self.seed, self.begun, self.t0 = agent, seed, 0, True
        self.new_planner = new_planner or agent.new_planner
        self.planner: Planner | None = None
        self.needs_states = needs_states(agent)
        self.full: np.ndarray | None = None

    def reset(self, episodes: int = 1) -> None:
        """Start `episodes` episodes."""
        generators = [derived_seed(self.seed, EVALUATION, PLANNER + self.begun + i) for i in range(episodes)]
        device = self.agent.device
        self.planner = self.new_planner([torch.Generator(device=device).manual_seed(s) for s in generators])
        self.begun, self.t0 = self.begun + episodes, True

    def keep(self, rows: Sequence[int]) -> None:
        """Continue only the episodes at the places `rows`."""
        assert self.planner is not None
        self.planner.keep(rows)

    def see(self, states: np.ndarray) -> None:
        """Take the full states `[B, F]` that the next decisions are planned from, where the agent needs them."""
        self.full = np.atleast_2d(states)

    def plan(self, obs: np.ndarray) -> Plan:
        """Return the plans for observations `[B, S]`, one of each running episode, or for `[S]`.

        Raises `RuntimeError` where no episode was started, `UsageError` where full states are needed and not given.
        """
        if self.planner is None:
            raise RuntimeError("no episode is under way: call reset() before act()")
        seen = np.atleast_2d(obs)
        if self.needs_states:
            if self.full is None:
                raise UsageError("this policy plans with a simulator: call see() with the full states before act()")
            seen, self.full = self.full, None
        plan = self.agent.plan(seen, self.t0, self.planner)
        self.t0 = False
        return plan

    def act(self, obs: np.ndarray) -> np.ndarray:
        """Return actions `[B, A]` for observations `[B, S]`, or `[A]` for `[S]`. Raises what `plan` does."""
        return self.plan(obs).action.cpu().numpy().reshape(*np.shape(obs)[:-1], -1)
