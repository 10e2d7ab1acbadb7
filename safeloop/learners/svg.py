"""SVG(1): the policy gradient through one step of a model, at real transitions (Heess et al., 2015).

Letters: K models, B transitions, S observation, A action.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from safeloop.data.replay import Batch
from safeloop.learners.sac import SAC
from safeloop.models.ensemble import Ensemble
from safeloop.models.trajectories import dealt
from safeloop.models.world import World


@dataclass(frozen=True)
class OneStep:
    """SVG(1)'s objective of a batch of real transitions, differentiable in the actor.

    The noise of actor and model is the one that gives the real action and the real next state, so that their values are
    the real ones, and only their derivatives are the model's. Each transition counts by the ratio of the actor's
    density of the action now to that when it was taken, at most `bound`.
    """

    sac: SAC
    world: World
    batch: Batch
    log_prob: Tensor
    """`[B]`, of the actions when they were taken."""
    bound: float = 10.0

    def __call__(self, obs: Tensor) -> tuple[Tensor, Tensor]:
        """Return the objective `[B]` at the batch's own states `obs [B, S]`, and `log pi` of drawn actions, `[B]`."""
        sac, models, (b, k) = self.sac, self.world.ensemble, (len(obs), self.world.ensemble_size)
        assert isinstance(models, Ensemble)
        with torch.no_grad():
            noise = sac.actor.noise_of(obs, self.batch.act)
            drawn = sac.actor.sample(obs, [sac.generator])[1]
        act, log_prob = sac.actor.drawn_with(obs, noise)
        rows = dealt(b, k, obs.device)
        before, acts, after = (x[rows].view(k, -1, x.shape[1]) for x in (obs, act, self.batch.next_obs))
        with torch.no_grad():
            of_model = models.noise_of(before, acts, after)
        following, memory = models.step(before, acts, None, of_model)
        outcome = self.world.outcome(before, acts, following, memory)
        value = sac.worth(following.flatten(0, 1))[0][:b]
        going = 1 - self.batch.terminated
        worth = outcome.reward.flatten()[:b] + sac.shared.discount * going * value - sac.temperature * log_prob
        ratio = (log_prob.detach() - self.log_prob).exp().clamp(max=self.bound)
        return torch.where(worth.isfinite(), ratio * worth, 0.0), drawn
