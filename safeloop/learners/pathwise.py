"""The policy gradient through a learned model: MAAC (Clavera et al., 2020).

Letters: K models, B states, P rollouts from each, H steps, M rows of a model, S observation, A action.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from safeloop.learners.sac import SAC
from safeloop.models.trajectories import Controller, Model, rollout
from safeloop.planning.objective import lookahead


@dataclass(frozen=True)
class Pathwise:
    """MAAC's objective (4.3): imagined returns of H steps with the critic at the end, differentiable in the actor.

    The soft critic at the end counts the entropy of later actions, so that of the imagined ones counts too. With H = 0
    this is SAC's objective.
    """

    sac: SAC
    model: Model
    horizon: int
    samples: int

    def __call__(self, obs: Tensor) -> tuple[Tensor, Tensor]:
        """Return the objective `[B]` in states `[B, S]`, and `log pi` of the first actions, `[P * B]`.

        A rollout goes through one of the K models; the P rollouts of a state go through several. Events and
        terminations end the imagined rewards.
        """
        b = len(obs)
        if self.horizon == 0:
            worth, log_prob = self.sac.worth(obs.repeat(self.samples, 1))
            return worth.view(self.samples, b).mean(0), log_prob
        k = self.model.ensemble_size
        rows = torch.arange(-(-self.samples * b // k) * k, device=obs.device) % b
        controller, log_probs = sampled(self.sac, k)
        found = rollout(self.model, obs[rows].view(k, -1, obs.shape[1]), controller, self.horizon, [self.sac.generator])
        bonus = self.sac.temperature * torch.stack(log_probs, 1)  # [K, H, M]
        soft = found._replace(outcome=found.outcome._replace(reward=found.outcome.reward - bonus))

        def value(state: Tensor) -> Tensor:
            return self.sac.worth(state.flatten(0, 1))[0].view(state.shape[:-1])

        returns, _, finite = lookahead(soft, self.sac.shared.discount, value)
        first = slice(0, self.samples * b)
        returns = torch.where(finite, returns, 0.0).flatten()[first].view(self.samples, b)
        return returns.mean(0), log_probs[0].flatten()[first]


def sampled(sac: SAC, k: int, shared: bool = False) -> tuple[Controller, list[Tensor]]:
    """Return a controller that draws the actor's actions in K models, and the list that gets their `log pi [K, M]`.

    With `shared` row m has the same noise in every model.
    """
    log_probs: list[Tensor] = []

    def controller(_: int, obs: Tensor) -> Tensor:
        act, log_prob = sac.actor.sample(obs.flatten(0, 1), [sac.generator], k if shared else 1)
        log_probs.append(log_prob.view(k, -1))
        return act.view(k, obs.shape[1], -1)

    return controller, log_probs
