"""The world model in which agents imagine: the ensemble's next observations, and outcomes known or learned."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy

import torch
from torch import Tensor

from safeloop.cmdp import Known, zero_cost
from safeloop.models.ensemble import Ensemble
from safeloop.models.point_ensemble import PointEnsemble
from safeloop.models.trajectories import Controller, Outcome, Trajectories
from safeloop.networks import Generators


class World:
    """An ensemble of models in which reward, cost, termination and event are each known or learned.

    Rollouts start from the ensemble's states, which are observations `[K, M, S]` but for dynamics over points. All
    steps are taken first, then all outcomes are computed together, because one wide matrix product is faster than many
    narrow ones.
    """

    def __init__(
        self,
        ensemble: Ensemble | PointEnsemble,
        *,
        reward: Known | None = None,
        cost: Known | None = None,
        terminated: Known | None = None,
        event: Known | None = None,
        event_bonus: float = 0.0,
        noise: bool = True,
        expected: bool = False,
    ):
        """Keep the known models; with `expected` every model goes on from the mean of all models' predictions."""
        self.ensemble, self.ensemble_size = ensemble, ensemble.ensemble_size
        self.reward, self.cost, self.terminated, self.event = reward, cost, terminated, event
        self.event_bonus, self.noise, self.expected = event_bonus, noise, expected
        self.rules: tuple[Known, ...] = ()
        """More known costs; with any of them outcomes have several costs, `[K, M, C]`, the first ones being `cost`."""
        self.reads = any(known not in (None, zero_cost) for known in (reward, cost, terminated, event))
        """True where a known model reads observations."""

    def under(self, rules: Sequence[Known]) -> World:
        """Return the same world with more known costs."""
        found = copy(self)
        found.rules, found.reads = (*self.rules, *rules), True
        return found

    def start(self, start: Tensor) -> tuple[Tensor, Tensor]:
        """Return the observations twice: as the carry and as the first observations."""
        return start, start

    def step(self, carry: Tensor, act: Tensor, generators: Generators) -> tuple[Tensor, Tensor, Outcome]:
        """Return the ensemble's next observations (its means without `noise`) and their outcome."""
        following, memory = self._next(carry, act, generators)
        return following, following, self.outcome(carry, act, following, memory)

    def _next(self, obs: Tensor, act: Tensor, generators: Generators) -> tuple[Tensor, Tensor]:
        following, memory = self.ensemble.step(obs, act, generators if self.noise else None)
        return following.mean(0, keepdim=True).expand_as(following) if self.expected else following, memory

    def rollout(
        self, start: Tensor, controller: Controller, horizon: int, generators: Generators, judged: bool = True
    ) -> Trajectories:
        """Return the rollouts of `trajectories.rollout`, with all outcomes computed at once."""
        path, actions, memories = [start], [], []
        for t in range(horizon):
            act = controller(t, path[-1])
            following, memory = self._next(path[-1], act, generators)
            path.append(following)
            actions.append(act)
            memories.append(memory)
        obs, act = torch.stack(path, 1), torch.stack(actions, 1)
        if not judged:
            return Trajectories(obs, act, UNJUDGED)
        transitions = (obs[:, :-1], act, obs[:, 1:], torch.stack(memories, 1))
        found = self.outcome(*(x.flatten(1, 2) for x in transitions))
        steps = (None if x is None else x.unflatten(1, (horizon, -1)) for x in found)
        return Trajectories(obs, act, Outcome(*steps))  # type: ignore[arg-type]

    def outcome(self, obs: Tensor, act: Tensor, next_obs: Tensor, memory: Tensor) -> Outcome:
        """Return the outcome of `[K, M, .]`: from a known model where one is given, else from the ensemble's heads."""
        reward, chance = self.ensemble.judge(obs, act, next_obs, memory)
        if self.reads:
            obs, next_obs = self.ensemble.observed(obs), self.ensemble.observed(next_obs)
        transition = (obs, act, next_obs)
        event = self.event(*transition).float() if self.event else chance.get("event")
        if self.reward is not None:
            reward = self.reward(*transition)
            if event is not None:
                reward = reward + event * self.event_bonus
        cost = self.cost(*transition) if self.cost else chance["violated"]
        if self.rules:
            own = cost if cost.ndim == 3 else cost.unsqueeze(2)
            cost = torch.cat((own, *(rule(*transition).unsqueeze(2) for rule in self.rules)), 2)
        terminated = self.terminated(*transition).float() if self.terminated else chance.get("terminated")
        return Outcome(reward, cost, terminated, event)


UNJUDGED = Outcome(torch.empty(0), torch.empty(0), None, None)
