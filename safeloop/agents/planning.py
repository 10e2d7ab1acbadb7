"""Planning agents: a learner (or none), an ensemble of models, and a planner over both."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from statistics import fmean
from typing import Any

import numpy as np
import torch
from torch import Tensor

from safeloop.agents.off_policy import ModelAgent, OffPolicyLearner
from safeloop.agents.parts import Fitted, value_after_events
from safeloop.agents.policies import PlannerPolicy
from safeloop.agents.settings import OnlinePlanning
from safeloop.cmdp import Constraint, Known
from safeloop.data.replay import Batch, Replay
from safeloop.learners.imagined import Witness, mixed
from safeloop.learners.value import BehaviourCost, BehaviourValue
from safeloop.models.ensemble import Ensemble
from safeloop.models.lidar_tracks import LidarTracks
from safeloop.models.point_ensemble import PointEnsemble
from safeloop.models.simulator import SimulatorModel
from safeloop.models.world import World
from safeloop.networks import Generators
from safeloop.planning.budget import AdaptiveThreshold
from safeloop.planning.planners import Parts, planner
from safeloop.planning.search import Plan, Planner
from safeloop.protocols import Policy, Transition

NOTHING = torch.empty(0)
"""In place of candidates and weights of plans that are kept for their summaries."""


class PlanningAgent(ModelAgent):
    """A learner (or none), an ensemble, and a planner over both.

    It plans in evaluation, and in training but for episodes in which its actor acts (`actor_episodes`).
    """

    settings: OnlinePlanning

    def __init__(
        self,
        learner: OffPolicyLearner | None,
        replay: Replay,
        settings: OnlinePlanning,
        generator: torch.Generator,
        ensemble: Ensemble | PointEnsemble | SimulatorModel,
        parts: Parts,
        planner_generator: torch.Generator,
        value: Callable[[Tensor], Tensor] | None,
        *,
        behaviour: BehaviourValue | None = None,
        witness: Witness | None = None,
        has_events: bool = False,
        threshold: AdaptiveThreshold | None = None,
        behaviour_cost: BehaviourCost | None = None,
        cost_names: Sequence[str] = (),
    ):
        super().__init__(learner, replay, settings, generator, ensemble, parts.model)
        self.parts, self.behaviour, self.witness, self.has_events = parts, behaviour, witness, has_events
        self.behaviour_cost = behaviour_cost
        self.threshold = threshold
        """The threshold of the constraint where it follows costs towards a budget."""
        self.cost_names = cost_names
        """The names of its costs, where several are told apart."""
        self.value = value
        """The value at the horizon, a function of what the learner reads, `[..., S] -> [...]`; None without."""
        self.value_after_event = torch.zeros((), device=self.device)
        watched = parts if witness is None else replace(parts, model=witness)
        draws = settings.training.exploration == "draw"
        self.planner = planner(settings.planner, watched, [planner_generator], draws)
        self.actor_acts = False
        """Of the episode under way: whether the actor acts in it, in place of the planner."""
        self.full = np.empty((1, 0))
        self.latest: Plan | None = None
        """The whole plan of the last decision in training."""
        self.plans: list[Plan] = []
        """Plans of the episode under way."""
        self.errors: list[float] = []
        """The models' squared one-step errors at the first of them."""

    @property
    def needs_states(self) -> bool:
        """True where plans start from the environment's full states, to be given to `see` before each decision."""
        return isinstance(self.ensemble, SimulatorModel)

    def see(self, states: np.ndarray) -> None:
        """Take the full state `[1, F]` that the next decision is planned from."""
        self.full = states

    def value_of(self, obs: Tensor) -> Tensor:
        """Return the value `[...]` of observations `[..., S]`."""
        assert self.value is not None
        return self.value(self.reads(obs))

    def new_planner(self, generators: Generators, draws: bool = False) -> Planner:
        """Return a planner over this agent's models, of as many episodes as there are generators."""
        return planner(self.settings.planner, self.parts, generators, draws)

    def add_rules(self, rules: Sequence[Known], threshold: float) -> None:
        """Plan under more known costs (`EnvSpec.cost`'s form) from now on, each within the same threshold.

        Nothing is learned anew. Raises `TypeError` where the models' states are no observations.
        """
        c, model, own = self.settings.planner, self.parts.model, self.parts.constraint
        tracks = getattr(self.ensemble, "tracks", None)
        if not isinstance(model, World) or isinstance(tracks, LidarTracks):
            raise TypeError("a rule reads observations, and imagined states are none")
        assert c.cost_margin is not None and c.min_feasible is not None
        first = [float("inf")] if own is None else self._thresholds(own)  # without a constraint its cost is 0
        limits = torch.tensor([*first, *[threshold] * len(rules)], device=self.device)
        constraint = replace(own or Constraint(first[0], c.min_feasible, c.penalty), threshold=limits)
        widened = [partial(rule, margin=c.cost_margin) for rule in rules]
        self.parts = replace(self.parts, model=model.under(widened), constraint=constraint)

    def _thresholds(self, own: Constraint) -> list[float]:
        """Return the threshold of each cost."""
        count = self.replay.data.cost[0].numel()
        return torch.as_tensor(own.threshold, dtype=torch.float32).expand(count).tolist()

    def act(self, obs: np.ndarray, t0: bool) -> np.ndarray:
        """Return the action `[A]` for `obs [S]` in training; `t0`: an episode's first decision."""
        if t0:  # in the warm-up too, which may end within the episode
            self.refresh()
            self.actor_acts = self._drawn()
        at_random, action = self.warming_up, super().act(obs, t0)
        if at_random and self.parts.delay:
            self.planner.acted(torch.as_tensor(action, device=self.device)[None], t0)
        return action

    def _drawn(self) -> bool:
        """Return whether the actor acts in an episode; nothing is drawn where that is sure."""
        share = self.settings.training.actor_episodes
        if share in (0, 1):
            return share == 1
        return torch.rand((), generator=self.generator, device=self.device).item() < share

    def decide(self, obs: np.ndarray, t0: bool) -> np.ndarray:
        """Return the action `[A]` for `obs [S]` in training: planned, or the actor's in one of its episodes."""
        if self.actor_acts:
            return super().decide(obs, t0)
        plan = self.latest = self.plan(self.full if self.needs_states else obs[None], t0)
        self.plans.append(plan._replace(candidates=NOTHING, weights=NOTHING))  # summaries alone
        return plan.action[0].cpu().numpy()

    def plan(self, obs: np.ndarray, t0: bool, planner: Planner | None = None) -> Plan:
        """Return the planner's decisions for `obs [B, S]`, or for full states `[B, F]` with a simulator."""
        seen = torch.as_tensor(obs, device=self.device) if self.needs_states else self.state(obs)
        return (planner or self.planner).plan(seen, t0, self.value_after_event)

    def observe(self, transition: Transition) -> None:
        """Store a transition, or those that have arrived under a known delay; a threshold may follow its cost."""
        if self.threshold is not None:
            ended = transition.terminated or transition.truncated
            costs = self.costs_of(transition.info)
            not_planned = self.warming_up or self.actor_acts
            self.threshold.follow(costs if isinstance(costs, list) else [costs], ended, not_planned)
        for each in transition.info["arrived"] if self.parts.delay else [transition]:
            super().observe(each)

    def measured(self) -> dict[str, float]:
        """Return the threshold where it follows costs, each of several by the cost's name."""
        if self.threshold is None:
            return {}
        each = self.threshold.threshold.view(-1).tolist()
        names = [f"threshold_{name}" for name in self.cost_names] if len(each) > 1 else ["threshold"]
        return dict(zip(names, each, strict=True))

    @property
    def learns(self) -> bool:
        """Whether there is anything that takes gradient steps."""
        return any(each is not None for each in (self.learner, self.behaviour, self.behaviour_cost))

    def learn(self, batch: Batch) -> None:
        """Take one gradient step of the learner and of the behaviour's values."""
        costs = self.behaviour_cost.costs(batch) if self.behaviour_cost else None
        batch = batch._replace(obs=self.reads(batch.obs), next_obs=self.reads(batch.next_obs))
        imagined = self.witness.into if self.witness else None
        super().learn(mixed(batch, imagined, 1 - self.settings.training.augmentation, self.generator))
        if self.behaviour is not None:
            self.behaviour.update(batch)
        if self.behaviour_cost is not None:
            self.behaviour_cost.update(batch, costs)

    def fit(self) -> Fitted:
        """Fit the ensemble, after its errors on what it has not seen were taken."""
        self._take_errors()
        return super().fit()

    def _take_errors(self) -> None:
        count = len(self.plans) - len(self.errors)
        if isinstance(self.ensemble, SimulatorModel):
            self.errors += [0.0] * count
        elif count:
            self.errors += self.ensemble.errors(self.replay.last(count)).tolist()

    def refresh(self) -> None:
        """Renew the mean value of the states that followed the latest events."""
        if self.has_events and self.value is not None:
            found = value_after_events(self.replay, self.value_of)
            self.value_after_event = self.value_after_event if found is None else found

    def diagnostics(self) -> dict[str, float] | None:
        """Return means over the planned decisions of the episode that has ended; None without any."""
        if not self.plans:
            return None
        self._take_errors()
        plans, least = self.plans, self.settings.planner.min_feasible
        assert least is not None
        found = {
            "planned": len(plans),
            **{name: fmean(getattr(p, name).item() for p in plans) for name in ("best_return", "lowest_cost")},
            "feasible": fmean(p.feasible.item() for p in plans),
            "unsafe": fmean(p.feasible.item() < least for p in plans),
            **{name: fmean(getattr(p, name).item() for p in plans) for name in ("divergence", "usage")},
            "effective_size": fmean(p.effective_size.item() for p in plans),
            "model_error": math.sqrt(fmean(self.errors)),
            "value_error": self.value_error(len(plans)),
        }
        self.plans, self.errors = [], []
        return found

    def value_error(self, count: int) -> float:
        """Return the value less the discounted return that followed, a mean over the last `count` decisions.

        These are of one episode; a truncated one goes on with the value of its last state. NaN without a value.
        """
        if self.value is None:
            return math.nan
        batch = self.replay.last(count)
        following = (1 - batch.terminated[-1]) * self.value_of(batch.next_obs[-1:])[0]
        returned = []
        for reward in batch.reward.flip(0):
            following = reward + self.settings.learner.discount * following
            returned.append(following)
        return (self.value_of(batch.obs) - torch.stack(returned).flip(0)).mean().item()

    def policy(self, seed: int, draws: bool = False) -> PlannerPolicy:
        """Return the agent as it acts in evaluation, with planners and generators of its own.

        The same `seed` gives the same actions, so `safeloop eval` repeats the evaluation that a run recorded.
        With `draws` it executes drawn sequences, as training may (`exploration`).
        """
        self.refresh()
        return PlannerPolicy(self, seed, partial(self.new_planner, draws=draws))

    def explorer(self, seed: int) -> Policy:
        """Return the agent as it explores; one that executes means explores no more than in evaluation.

        That is the planner, but where the actor acts in all episodes.
        """
        if self.settings.training.actor_episodes == 1:
            return super().explorer(seed)
        return self.policy(seed, draws=self.settings.training.exploration == "draw")

    def checkpoint(self) -> dict[str, Any]:
        """Return everything that training has changed."""
        return {
            **super().checkpoint(),
            "behaviour": self.behaviour.checkpoint() if self.behaviour else {},
            "behaviour_cost": self.behaviour_cost.checkpoint() if self.behaviour_cost else {},
            "planner": self.planner.state_dict(),
            "threshold": self.threshold.state_dict() if self.threshold else {},
            **(self.witness.state_dict() if self.witness else {}),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Restore `checkpoint`."""
        super().restore(state)
        if self.behaviour is not None:
            self.behaviour.restore(state["behaviour"])
        if self.behaviour_cost is not None:
            self.behaviour_cost.restore(state["behaviour_cost"])
        self.planner.load_state_dict(state["planner"])
        if self.threshold is not None and state.get("threshold"):  # trained with it
            self.threshold.load_state_dict(state["threshold"])
        if self.witness is not None:
            self.witness.load_state_dict(state)
