"""Programs: that which acts, as a function of tensors alone, which torch can export.

A program takes an observation, whether it is an episode's first, the normals that it draws, and its memory; it returns
an action and the next memory. Letters: S observation, A action, T state.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from safeloop.agents.policies import PlannerPolicy
from safeloop.networks import Drawn
from safeloop.planning.pending import Pending
from safeloop.planning.search import Planner
from safeloop.protocols import needs_states

NORMALS = 2**26
"""More normals than any decision takes."""


class Program(nn.Module):
    """A policy of one episode as a function of tensors."""

    memory: list[Tensor]
    """The memory between decisions, as it is before the first."""
    noise: int
    """Standard normals that a decision takes."""

    def forward(self, obs: Tensor, first: Tensor, noise: Tensor, *memory: Tensor) -> tuple[Tensor, ...]:
        """Return the action `[1, A]` and the next memory, for `obs [1, S]`, `first []`, bool, and `noise [n]`."""
        raise NotImplementedError


def program(policy: Any, obs_dim: int) -> Program:
    """Return the program of a trained policy. Raises `ValueError` with the reason where it can't be one."""
    if needs_states(policy):
        raise ValueError("it plans with the simulator, which is no program of torch")
    if isinstance(policy, PlannerPolicy):
        return PlannerProgram(policy, obs_dim)
    if hasattr(policy, "actions"):
        return ActorProgram(policy)
    raise ValueError("its algorithm offers no function of tensors (`actions`)")


class ActorProgram(Program):
    """A policy without memory or draws, which offers `actions`."""

    def __init__(self, policy: Any):
        super().__init__()
        self.actions, self.memory, self.noise = policy.actions, [], 0

    def forward(self, obs: Tensor, first: Tensor, noise: Tensor, *memory: Tensor) -> tuple[Tensor, ...]:
        """Return the action `[1, A]` of `obs [1, S]`."""
        return (self.actions(obs),)


class PlannerProgram(Program):
    """A planner with its models, values, warm start, and memory of objects and of actions under way.

    Products are in float32 whatever the run's precision is.
    """

    def __init__(self, policy: PlannerPolicy, obs_dim: int):
        super().__init__()
        agent: Any = policy.agent
        planner = policy.new_planner([torch.Generator()])
        if planner.pending and planner.pending.delay.observation:
            raise ValueError("its plans reckon with a delay of observations")
        self.search, self.actor, self.after = planner.search, planner.actor, agent.value_after_event
        self.perception, self.pending = planner.perception, planner.pending
        obs = torch.zeros(1, obs_dim)
        self.memory = [planner.mean]
        if self.perception:
            self.memory += [self.perception.model.first(obs), obs.new_zeros(1, self.search.space.act_dim)]
        if self.pending:
            self.memory.append(self.pending.sent)
        self.noise = self._counted(obs)

    def _counted(self, obs: Tensor) -> int:
        """Return the number of normals that a decision takes."""
        counting = Drawn(torch.zeros(1).expand(NORMALS))
        self._decide(obs, torch.tensor(True), counting, self.memory)
        return counting.taken

    def forward(self, obs: Tensor, first: Tensor, noise: Tensor, *memory: Tensor) -> tuple[Tensor, ...]:
        """Return the planned action `[1, A]`, and the next memory."""
        return self._decide(obs, first, Drawn(noise), list(memory))

    def _decide(self, obs: Tensor, first: Tensor, drawn: Drawn, memory: list[Tensor]) -> tuple[Tensor, ...]:
        """Decide as `search.Planner.plan` does."""
        mean, *others = memory
        planner = Planner(self.search, [drawn], self.actor)
        start = torch.where(first, torch.zeros_like(mean), self.search.space.shift(mean))
        near = state = obs
        if self.perception:
            model = self.perception.model
            state = torch.where(first, model.first(obs), model.follow(others[0], others[1], obs))
            near = model.near(state)
        pending = None
        if self.pending:
            pending = Pending(self.pending.delay, self.pending.model, self.search.space.act_dim, 1, obs.device)
            pending.sent = torch.where(first, torch.zeros_like(others[-1]), others[-1])
            near = pending.ahead(near, [drawn])
        plan = planner._search(near, start, self.after)
        executed = pending.acted(plan.action) if pending else plan.action
        assert executed is not None  # without a delay of observations
        found = [plan.action, plan.mean]
        if self.perception:
            found += [state, executed]
        if pending:
            found.append(pending.sent)
        return tuple(found)
