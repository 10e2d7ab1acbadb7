"""LOOP on MOPO, trained while acting (CoRL 2021, D.7; Yu et al., 2020)."""

from __future__ import annotations

from typing import Any

from safeloop.agents.imagination_settings import LoopMOPOSettings
from safeloop.agents.parts import Fitted
from safeloop.agents.planning import PlanningAgent
from safeloop.data.replay import Batch, Replay
from safeloop.learners.imagined import Penalised, branch, mixed
from safeloop.models.world import World


class LoopMOPOAgent(PlanningAgent):
    """A planner over SAC, which learns from rollouts of its actor in the models, with rewards less their doubt."""

    settings: LoopMOPOSettings

    def __init__(self, *parts: Any, **options: Any):
        super().__init__(*parts, **options)
        c, data = self.settings, self.replay.data
        self.imagined = Replay(c.branches.kept(c.refits), data.obs.shape[1], data.act.shape[1], self.device)

    def fit(self) -> Fitted:
        """Fit the ensemble, then imagine anew."""
        found, c = super().fit(), self.settings
        assert self.learner is not None and isinstance(self.model, World)
        self.imagined.added = 0
        start = self.replay.sample(c.refits.fit_every * c.branches.rollouts, self.generator).obs
        world = Penalised(self.model, c.mopo.doubt_weight)
        branch(world, self.learner.explore, start, c.branches.rollout_length, self.generator, self.imagined)
        return found

    def learn(self, batch: Batch) -> None:
        """Take one gradient step, on imagined transitions but for a `real_fraction`."""
        super().learn(mixed(batch, self.imagined, self.settings.branches.real_fraction, self.generator))

    def checkpoint(self) -> dict[str, Any]:
        """Return everything that training has changed."""
        return {**super().checkpoint(), "imagined": self.imagined.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        """Restore `checkpoint`."""
        super().restore(state)
        self.imagined.load_state_dict(state["imagined"])
