"""Targets of critics over several lookaheads, weighed by their agreement: STEVE (Buckman et al., 2018).

Letters: C critics, K models, B transitions, H steps, S observation.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from safeloop.data.replay import Batch
from safeloop.learners.pathwise import sampled
from safeloop.learners.sac import SAC
from safeloop.learners.targets import Targets
from safeloop.models.trajectories import Model, rollout, survival
from safeloop.networks import q_values

SMALLEST = 1e-8
"""Added to variances."""


class Weighed(NamedTuple):
    """Targets as means of those of several lookaheads."""

    target: Tensor  # [B]
    weights: Tensor  # [H+1, B], of the lookaheads, which sum to 1


def weighed(candidates: Tensor) -> Weighed:
    """Weigh candidate targets `[C, K, H+1, B]` by the inverse of their variance over critics and models.

    Where the mean has a variance of 0 at several lookaheads, these count alike.
    """
    each = candidates.flatten(0, 1)
    weights = 1 / (each.var(0, unbiased=False) + SMALLEST)
    weights = weights / weights.sum(0)
    return Weighed((weights * each.mean(0)).sum(0), weights)


@torch.no_grad()
def steve(sac: SAC, model: Model, batch: Batch, horizon: int, collapsed: bool = False) -> tuple[Targets, Tensor]:
    """Return targets over 0 to `horizon` imagined steps after each real transition, and the lookaheads' mean weights.

    The target of lookahead i by critic c and model k is
    `r + gamma (sum_{t<i} gamma^t r_t + gamma^i Q_c(s_i, a_i))` from `next_obs`, with the actor's entropy where the
    critics' targets have it. The actor's noise is the same in every model, so that they alone, and the critics, differ.
    `collapsed`: with the lower critic in place of each, as in MAAC's program; the shortest lookahead then has no
    variance, and all of the weight. `horizon` is 1 or more.
    """
    k, gamma = model.ensemble_size, sac.shared.discount
    controller, log_probs = sampled(sac, k, shared=True)
    start = batch.next_obs.expand(k, -1, -1)
    found = rollout(model, start, controller, horizon, [sac.generator])
    states = found.obs.transpose(0, 1)  # [H+1, K, B, S]
    last = controller(horizon, states[horizon])
    acts = torch.cat((found.act.transpose(0, 1), last.unsqueeze(0)))
    bonus = sac.bonus(torch.stack(log_probs))  # [H+1, K, B]
    q = q_values(sac.target, states.flatten(0, 2), acts.flatten(0, 2)).view(-1, *bonus.shape)  # [C, H+1, K, B]
    value = (q.amin(0, keepdim=True) if collapsed else q) + bonus
    outcome = found.outcome
    rewards = outcome.reward.transpose(0, 1) + bonus[:-1]  # [H, K, B]
    going = survival(outcome.terminated, outcome.reward).transpose(0, 1)  # [H+1, K, B]
    powers = gamma ** torch.arange(horizon + 1, device=q.device).view(-1, 1, 1)
    sums = torch.cat((torch.zeros_like(bonus[:1]), (powers[:-1] * going[:-1] * rewards).cumsum(0)))
    lookaheads = sums + powers * going * value  # [C, H+1, K, B]
    candidates = batch.reward + gamma * (1 - batch.terminated) * lookaheads
    result = weighed(candidates.transpose(1, 2))
    finite = result.target.isfinite()
    targets = Targets(batch.obs, batch.act, torch.where(finite, result.target, 0.0), finite.float())
    return targets, result.weights.mean(1)
