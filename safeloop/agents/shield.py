"""A shield: actions of any policy pass if the models find a feasible way to go on, else a planner's are taken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeGuard

import numpy as np
import torch
from torch import Tensor

from safeloop.agents.policies import PlannerPolicy
from safeloop.models.trajectories import Controller
from safeloop.planning.search import Plan, Planner
from safeloop.planning.spaces import ActionSequences
from safeloop.protocols import Policy


class Shield:
    """A policy whose actions a planner under a constraint checks, and replaces where it has to.

    An action passes where a search among the sequences that begin with it ends with a feasible one: its worst cost over
    the models is within the threshold (CoRL 2021, Eq. 10).
    """

    def __init__(self, policy: Policy, guard: PlannerPolicy):
        self.policy, self.guard = policy, guard
        self.asked, self.passed = 0, 0
        """Actions so far, and those of them that passed."""

    @property
    def agent(self) -> Any:
        """The agent of the planner that checks."""
        return self.guard.agent

    def reset(self, episodes: int = 1) -> None:
        """Start `episodes` episodes."""
        self.policy.reset(episodes)
        self.guard.reset(episodes)

    def keep(self, rows: Sequence[int]) -> None:
        """Continue only the episodes at the places `rows`."""
        if hasattr(self.policy, "keep"):
            self.policy.keep(rows)
        self.guard.keep(rows)

    def act(self, obs: np.ndarray) -> np.ndarray:
        """Return actions `[B, A]` for observations `[B, S]`."""
        seen = np.atleast_2d(obs)
        plan, planner = self.guard.plan(seen), self.guard.planner
        assert planner is not None
        wanted = torch.as_tensor(np.clip(self.policy.act(seen), -1, 1)).to(plan.action)
        passes = begun_with(wanted, planner, plan, self.guard.agent).feasible > 0
        action = torch.where(passes.unsqueeze(1), wanted, plan.action)
        if planner.perception:
            planner.perception.acted(action)  # in place of the planned one
        self.asked, self.passed = self.asked + len(seen), self.passed + int(passes.sum())
        return action.cpu().numpy().reshape(*np.shape(obs)[:-1], -1)


def guards(policy: Policy) -> TypeGuard[PlannerPolicy]:
    """Return whether a policy can be a shield: a planner of action sequences under a constraint, without a delay."""
    if not isinstance(policy, PlannerPolicy) or policy.needs_states:
        return False
    planner = policy.new_planner([torch.Generator(device=policy.agent.device)])
    search = planner.search
    return search.constraint is not None and planner.pending is None and isinstance(search.space, ActionSequences)


@torch.no_grad()
def begun_with(wanted: Tensor, planner: Planner, plan: Plan, agent: Any) -> Plan:
    """Search again from the states of a plan, among sequences whose first actions are `wanted [B, A]`."""
    space = planner.search.space
    assert isinstance(space, ActionSequences)
    own = {each.name: getattr(space, each.name) for each in fields(ActionSequences)}
    search = replace(planner.search, space=Begun(**own, first=wanted), draws=False)
    after = torch.as_tensor(agent.value_after_event, device=plan.mean.device)
    return Planner(search, planner.generators)._plan(planner.state, plan.mean, after)


@dataclass(frozen=True)
class Begun(ActionSequences):
    """Sequences of H actions whose first one is given."""

    first: Tensor = field(default_factory=lambda: torch.empty(0))
    """`[B, A]`."""

    def controller(self, candidates: Tensor, ensemble_size: int, particles: int) -> Controller:
        """Return the sequences as a controller, with the given first actions."""
        begun = torch.cat((self.first[:, None, None].expand(-1, candidates.shape[1], -1, -1), candidates[:, :, 1:]), 2)
        return super().controller(begun, ensemble_size, particles)
