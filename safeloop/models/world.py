"""The world that agents imagine in: the ensemble's observations, and each outcome either known or learned."""

from __future__ import annotations

import torch
from torch import Tensor

from safeloop.cmdp import Known
from safeloop.models.ensemble import Ensemble
from safeloop.models.trajectories import Controller, Outcome, Trajectories
from safeloop.networks import Streams


class World:
    """The ensemble, with each of reward, cost, termination and event known or learned.

    Rollouts start from observations `[K, M, S]`. They are stepped first and judged after, all steps at once: one wide
    product is faster than many narrow ones.
    """

    def __init__(
        self,
        ensemble: Ensemble,
        *,
        reward: Known | None = None,
        cost: Known | None = None,
        terminated: Known | None = None,
        event: Known | None = None,
        event_bonus: float = 0.0,
        noise: bool = True,
    ):
        self.ensemble, self.members = ensemble, ensemble.members
        self.reward, self.cost, self.terminated, self.event = reward, cost, terminated, event
        self.event_bonus, self.noise = event_bonus, noise

    def start(self, start: Tensor) -> tuple[Tensor, Tensor]:
        """Return the observations as they are: they are all that is carried."""
        return start, start

    def step(self, carry: Tensor, act: Tensor, streams: Streams) -> tuple[Tensor, Tensor, Outcome]:
        """Return the ensemble's next observations (its means without `noise`) and their outcome."""
        following, memory = self.ensemble.step(carry, act, streams if self.noise else None)
        return following, following, self._outcome(carry, act, following, memory)

    def rollout(
        self, start: Tensor, controller: Controller, horizon: int, streams: Streams, judged: bool = True
    ) -> Trajectories:
        """Return the rollouts of `trajectories.rollout`, with all outcomes worked out at once."""
        path, actions, memories = [start], [], []
        for t in range(horizon):
            act = controller(t, path[-1])
            following, memory = self.ensemble.step(path[-1], act, streams if self.noise else None)
            path.append(following)
            actions.append(act)
            memories.append(memory)
        obs, act = torch.stack(path, 1), torch.stack(actions, 1)
        if not judged:
            return Trajectories(obs, act, UNJUDGED)
        transitions = (obs[:, :-1], act, obs[:, 1:], torch.stack(memories, 1))
        found = self._outcome(*(x.flatten(1, 2) for x in transitions))
        steps = (None if x is None else x.view(len(x), horizon, -1) for x in found)
        return Trajectories(obs, act, Outcome(*steps))  # type: ignore[arg-type]

    def _outcome(self, obs: Tensor, act: Tensor, next_obs: Tensor, memory: Tensor) -> Outcome:
        """The outcome of `[K, M, .]`: known where a model is given, the ensemble's heads' otherwise."""
        reward, chance = self.ensemble.judge(obs, act, next_obs, memory)
        transition = (obs, act, next_obs)
        event = self.event(*transition).float() if self.event else chance.get("event")
        if self.reward is not None:
            reward = self.reward(*transition)
            if event is not None:
                reward = reward + event * self.event_bonus
        cost = self.cost(*transition) if self.cost else chance["violated"]
        terminated = self.terminated(*transition).float() if self.terminated else chance.get("terminated")
        return Outcome(reward, cost, terminated, event)


UNJUDGED = Outcome(torch.empty(0), torch.empty(0), None, None)
