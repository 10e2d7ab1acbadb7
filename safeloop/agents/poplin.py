"""POPLIN (Wang & Ba, 2020, Algorithms 1 to 4): plan around a policy, and make the next policy of the plans."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from safeloop.agents.planning import PlanningAgent
from safeloop.agents.policies import ActorPolicy
from safeloop.agents.settings import PoplinSettings
from safeloop.data.replay import Replay
from safeloop.learners.distillation import Distillation, Planned
from safeloop.learners.flat_policy import FlatPolicy
from safeloop.models.ensemble import Ensemble
from safeloop.models.point_ensemble import PointEnsemble
from safeloop.models.simulator import SimulatorModel
from safeloop.networks import Generators
from safeloop.planning.budget import AdaptiveThreshold
from safeloop.planning.planners import Parts, planner
from safeloop.planning.policy_spaces import ActionNoise, Policy, ProposalNoise, WeightNoise
from safeloop.planning.search import Plan, Planner
from safeloop.planning.spaces import Space
from safeloop.protocols import Transition


class OfFeatures:
    """A policy of features as one of the models' states."""

    def __init__(self, policy: FlatPolicy, models: Ensemble | PointEnsemble | SimulatorModel):
        self.policy, self.models, self.size = policy, models, policy.size

    def __call__(self, obs: Tensor) -> Tensor:
        """Return the actions `[..., A]` in states of the models."""
        return self.policy(self.models.features(obs))

    def changed(self, obs: Tensor, noise: Tensor) -> Tensor:
        """Return the actions `[R, M, A]` in states `[R, M, .]`, with `noise [R, D]` added to the weights."""
        return self.policy.changed(self.models.features(obs), noise)


def space(settings: PoplinSettings, policy: Policy, parts: Parts) -> Space:
    """Return the search space that the settings name."""
    kind, horizon = settings.poplin.search_space, settings.planner.horizon
    assert horizon is not None  # `filled`
    if kind == "init":
        return ProposalNoise(horizon, parts.act_dim, policy, parts.model)
    if kind == "replan":
        return ActionNoise(horizon, parts.act_dim, policy)
    return WeightNoise(horizon, parts.act_dim, policy, each=kind == "sep")


class PoplinAgent(PlanningAgent):
    """A planner that searches around a policy, which is distilled from the plans of each episode when it ends."""

    settings: PoplinSettings

    def __init__(
        self,
        replay: Replay,
        settings: PoplinSettings,
        generator: torch.Generator,
        models: Ensemble | PointEnsemble | SimulatorModel,
        parts: Parts,
        planner_generator: torch.Generator,
        distillation: Distillation,
        threshold: AdaptiveThreshold | None = None,
        cost_names: Sequence[str] = (),
    ):
        super().__init__(
            None, replay, settings, generator, models, parts, planner_generator, None,
            threshold=threshold, cost_names=cost_names,
        )  # fmt: skip
        self.distillation = distillation
        self.space = space(settings, OfFeatures(distillation.policy, models), parts)
        self.planner = self.new_planner([planner_generator])
        self.planned: list[Planned] = []
        """Decisions of the episode under way."""

    def new_planner(self, generators: Generators, draws: bool = False) -> Planner:
        """Return a planner of as many episodes as there are generators."""
        return planner(self.settings.planner, self.parts, generators, draws, self.space)

    def alone(self) -> ActorPolicy:
        """Return the policy without the planner (4.4, "policy control")."""
        return ActorPolicy(self.distillation, self.device, self.reads)

    def observe(self, transition: Transition) -> None:
        """Store a transition, and the plan that led to it."""
        super().observe(transition)
        if self.latest is not None:
            self.planned.append(self._decided(transition.obs, self.latest))
            self.latest = None
        if (transition.terminated or transition.truncated) and self.planned:
            self.distillation.distil(Planned(*(torch.cat(x) for x in zip(*self.planned, strict=True))))
            self.planned = []

    @torch.no_grad()
    def _decided(self, obs: np.ndarray, plan: Plan) -> Planned:
        """Return the decision of a plan, and with `hallucination` those of its elite candidates."""
        first = plan.mean[:, 0]  # [1, A] or [1, D]
        if self.settings.poplin.hallucination:
            first = torch.cat((first, plan.candidates[0, plan.weights[0] > 0, 0]))
        seen = self.reads(self.state(obs[None])).expand(len(first), -1)
        if isinstance(self.space, WeightNoise):
            return Planned(seen, self.distillation.policy.changed(seen[:, None], first)[:, 0], first)
        act = (self.distillation.policy(seen) + first).clamp(-1, 1)
        return Planned(seen, act, first[:, :0])

    def checkpoint(self) -> dict[str, Any]:
        """Return everything that training has changed."""
        return {**super().checkpoint(), "distillation": self.distillation.checkpoint()}

    def restore(self, state: dict[str, Any]) -> None:
        """Restore `checkpoint`."""
        super().restore(state)
        self.distillation.restore(state["distillation"])
