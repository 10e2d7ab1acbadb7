"""MAAC (Clavera et al., 2020, Algorithm 1): the policy gradient through models, and STEVE's targets."""

from __future__ import annotations

import math
from statistics import fmean
from typing import Any

from safeloop.agents.imagination_settings import MAACSettings
from safeloop.agents.off_policy import MBPOAgent
from safeloop.data.replay import Batch
from safeloop.learners.expansion import expanded
from safeloop.learners.pathwise import Pathwise
from safeloop.learners.sac import SAC
from safeloop.learners.steve import steve
from safeloop.learners.targets import Targets
from safeloop.models.ensemble import Ensemble


class MAACAgent(MBPOAgent):
    """SAC whose actor follows the gradient of imagined returns, on real and on imagined states."""

    settings: MAACSettings

    def __init__(self, *parts: Any):
        super().__init__(*parts)
        assert isinstance(self.learner, SAC)
        c = self.settings.pathwise
        self.objective = Pathwise(self.learner, self.model, c.gradient_horizon, c.gradient_samples)
        self.norms: list[float] = []
        """Norms of the actor's gradients in the episode under way."""
        self.shares: list[float] = []
        """Weights of STEVE's longest lookahead in it."""

    def learn(self, batch: Batch) -> None:
        """Take one gradient step; before the first fit of the models it is SAC's."""
        assert isinstance(self.learner, SAC) and isinstance(self.ensemble, Ensemble)
        if not self.fitted:
            self.learner.update(batch)
            return
        batch, bound = self.mixed(batch), self.settings.pathwise.gradient_bound
        self.ensemble.requires_grad_(False)  # the gradient goes through the models, and is not theirs
        self.learner.update(batch, self.targets(batch), self.objective, math.inf if bound is None else bound)
        self.ensemble.requires_grad_(True)
        self.norms.append(self.learner.gradient_norm)

    def targets(self, batch: Batch) -> Targets | None:
        """Return the critics' targets; None: SAC's own."""
        assert isinstance(self.learner, SAC)
        c = self.settings.pathwise
        if c.critic_targets == "plain":
            return None
        if c.critic_targets == "expanded":
            return expanded(self.learner, self.model, batch, c.steve_horizon)
        found, weights = steve(self.learner, self.model, batch, c.steve_horizon, c.steve_collapsed)
        self.shares.append(weights[-1].item())
        return found

    def measured(self) -> dict[str, float]:
        """Return the mean norm of the actor's gradients and the mean weight of STEVE's longest lookahead."""
        kept = {"gradient_norm": self.norms, "longest_lookahead": self.shares}
        self.norms, self.shares = [], []
        finite = {name: [x for x in values if math.isfinite(x)] for name, values in kept.items()}
        return {name: fmean(values) for name, values in finite.items() if values}
