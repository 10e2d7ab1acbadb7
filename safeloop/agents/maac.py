"""Agents whose actors follow gradients through models: MAAC (Clavera et al., 2020, Algorithm 1), and SVG(1)."""

from __future__ import annotations

import math
from statistics import fmean
from typing import Any

import numpy as np
import torch

from safeloop.agents.imagination_settings import MAACPlanningSettings, MAACSettings, SVGSettings
from safeloop.agents.off_policy import MBPOAgent, ModelAgent
from safeloop.agents.policies import PlannerPolicy
from safeloop.data.replay import Batch
from safeloop.learners.expansion import expanded
from safeloop.learners.pathwise import Pathwise
from safeloop.learners.sac import SAC, Objective
from safeloop.learners.steve import steve
from safeloop.learners.svg import OneStep
from safeloop.learners.targets import Targets
from safeloop.models.ensemble import Ensemble
from safeloop.models.world import World
from safeloop.networks import Generators
from safeloop.planning.planners import Parts, planner
from safeloop.planning.policy_spaces import ProposalNoise
from safeloop.planning.search import Plan, Planner
from safeloop.protocols import Policy, Transition


def follow(
    agent: ModelAgent, batch: Batch, targets: Targets | None, objective: Objective, bound: float | None
) -> float:
    """Take a gradient step of an agent's SAC along an objective, and return the gradient's norm.

    The models that it goes through stay as they are.
    """
    assert isinstance(agent.learner, SAC) and isinstance(agent.ensemble, Ensemble)
    agent.ensemble.requires_grad_(False)
    agent.learner.update(batch, targets, objective, math.inf if bound is None else bound)
    agent.ensemble.requires_grad_(True)
    return agent.learner.gradient_norm


def means(kept: dict[str, list[float]]) -> dict[str, float]:
    """Return the means of finite numbers by name, and forget them."""
    finite = {name: [x for x in values if math.isfinite(x)] for name, values in kept.items()}
    for values in kept.values():
        values.clear()
    return {name: fmean(values) for name, values in finite.items() if values}


class MAACAgent(MBPOAgent):
    """SAC whose actor follows the gradient of imagined returns, on real and on imagined states."""

    settings: MAACSettings

    def __init__(self, *parts: Any):
        super().__init__(*parts)
        assert isinstance(self.learner, SAC)
        c = self.settings.pathwise
        self.objective: Objective = Pathwise(self.learner, self.model, c.gradient_horizon, c.gradient_samples)
        self.kept: dict[str, list[float]] = {"gradient_norm": [], "longest_lookahead": []}
        """Norms of the actor's gradients and weights of STEVE's longest lookahead, in the episode under way."""

    def learn(self, batch: Batch) -> None:
        """Take one gradient step; before the first fit of the models it is SAC's."""
        assert isinstance(self.learner, SAC)
        if not self.fitted:
            self.learner.update(batch)
            return
        batch, bound = self.mixed(batch), self.settings.pathwise.gradient_bound
        self.kept["gradient_norm"].append(follow(self, batch, self.targets(batch), self.objective, bound))

    def targets(self, batch: Batch) -> Targets | None:
        """Return the critics' targets; None: SAC's own."""
        assert isinstance(self.learner, SAC)
        c = self.settings.pathwise
        if c.critic_targets == "plain":
            return None
        if c.critic_targets == "expanded":
            return expanded(self.learner, self.model, batch, c.steve_horizon)
        found, weights = steve(self.learner, self.model, batch, c.steve_horizon, c.steve_collapsed)
        self.kept["longest_lookahead"].append(weights[-1].item())
        return found

    def measured(self) -> dict[str, float]:
        """Return the mean norm of the actor's gradients and the mean weight of STEVE's longest lookahead."""
        return means(self.kept)


class MAACPlanner(MAACAgent):
    """MAAC that plans in evaluation, from its policy or among action sequences, with its critic at the end (5.4)."""

    settings: MAACPlanningSettings

    def new_planner(self, generators: Generators) -> Planner:
        """Return a planner of as many episodes as there are generators."""
        c, act_dim = self.settings, self.replay.data.act.shape[1]
        assert isinstance(self.learner, SAC) and c.planner.horizon is not None  # `filled`
        parts = Parts(self.model, act_dim, c.learner.discount, actor=self.learner.act, value=self.learner.value)
        around = None
        if c.test_time.around == "policy":
            around = ProposalNoise(c.planner.horizon, act_dim, self.learner.actor.mean, self.model)
        return planner(c.planner, parts, generators, space=around)

    def plan(self, obs: np.ndarray, t0: bool, planner: Planner | None = None) -> Plan:
        """Return the planner's decisions for `obs [B, S]`."""
        assert planner is not None
        return planner.plan(self.state(obs), t0)

    def policy(self, seed: int) -> Policy:
        """Return the planner, with generators of its own."""
        return PlannerPolicy(self, seed)

    def alone(self) -> Policy:
        """Return the actor without the planner."""
        return super().policy(0)


class SVGAgent(ModelAgent):
    """SAC whose actor follows SVG(1)'s gradient, at real transitions."""

    settings: SVGSettings

    def __init__(self, *parts: Any):
        super().__init__(*parts)
        self.log_prob = torch.zeros(self.replay.capacity, device=self.device)
        """Of the actions in the replay buffer, when they were taken."""
        self.kept: dict[str, list[float]] = {"gradient_norm": []}

    @torch.no_grad()
    def observe(self, transition: Transition) -> None:
        """Store a transition, and the density of its action."""
        assert isinstance(self.learner, SAC)
        random, place = self.warming_up, self.replay.added % self.replay.capacity
        super().observe(transition)
        if random:
            self.log_prob[place] = -math.log(2) * len(transition.act)  # uniform in [-1, 1]
            return
        actor, (obs, act) = self.learner.actor, (x[None].float() for x in map(torch.as_tensor, transition[:2]))
        self.log_prob[place] = actor.drawn_with(obs, actor.noise_of(obs, act))[1].item()

    def learn(self, batch: Batch) -> None:
        """Take one gradient step, on transitions of its own choice; before the first fit of the models it is SAC's."""
        assert isinstance(self.learner, SAC) and isinstance(self.model, World)
        if not self.fitted:
            self.learner.update(batch)
            return
        rows = torch.randint(len(self.replay), (len(batch.reward),), generator=self.generator, device=self.device)
        batch, c = self.replay.rows(rows), self.settings.svg
        objective = OneStep(self.learner, self.model, batch, self.log_prob[rows], c.ratio_bound)
        self.kept["gradient_norm"].append(follow(self, batch, None, objective, None))

    def measured(self) -> dict[str, float]:
        """Return the mean norm of the actor's gradients."""
        return means(self.kept)

    def checkpoint(self) -> dict[str, Any]:
        """Return everything that training has changed."""
        return {**super().checkpoint(), "log_prob": self.log_prob[: len(self.replay)].clone()}

    def restore(self, state: dict[str, Any]) -> None:
        """Restore `checkpoint`."""
        super().restore(state)
        self.log_prob[: len(state["log_prob"])] = state["log_prob"].to(self.device)
