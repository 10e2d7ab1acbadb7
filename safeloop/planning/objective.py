"""Score action sequences: the H-step return with a terminal value, and the ensemble-worst-case cost.

CoRL 2021, Eq. 3 (return), Eq. 9 (pessimism), Eq. 10 (worst case over the ensemble), Algorithm 4. Letters:
K models, B plans at once (each of its own observation), P particles, N sequences, H steps, S observation, A action.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from safeloop.models.trajectories import Model, rollout, survival
from safeloop.networks import Streams


class Scores(NamedTuple):
    """Scores of N sequences of each plan. One with any non-finite prediction has return -inf and cost inf."""

    returns: Tensor  # [B, N]
    costs: Tensor  # [B, N], the maximum over models and particles (or the mean)


@torch.no_grad()
def lookahead(
    model: Model,
    obs: Tensor,
    actions: Tensor,
    *,
    particles: int,
    discount: float,
    streams: Streams,
    value: Callable[[Tensor], Tensor] | None = None,
    value_after_event: Tensor | float = 0.0,
    pessimism: float = 0.0,
    worst_case: bool = True,
) -> Scores:
    """Score `actions [B, N, H, A]` from `obs [B, S]`; plan b draws from stream b alone.

    Return: `sum_{t<H} gamma^t r_t + gamma^H value(s_H)`, the mean over models and particles, minus
    `pessimism` times the standard deviation over models of the particle mean (Eq. 9). Cost: for each model
    and particle `sum_{t<H} gamma^t c_t`, then the maximum (Eq. 10), or the mean without `worst_case`. `value` maps
    `[K, M, S] -> [K, M]`.

    Termination ends reward and cost. An event (a goal met, which then jumps) ends what can be imagined of
    the reward: its bonus counts once, followed by `value_after_event`, the mean value of the states that
    follow events, unless the same step ends the episode; costs go on.
    """
    k, (b, n, horizon, _) = model.members, actions.shape
    plan = actions.repeat(1, particles, 1, 1).flatten(0, 1).transpose(0, 1).expand(k, -1, -1, -1)  # [K, H, B*P*N, A]
    start = obs.repeat_interleave(particles * n, 0).expand(k, -1, -1)
    imagined = rollout(model, start, lambda t, _: plan[:, t], horizon, streams)
    reward, cost, terminated, event = imagined.outcome
    going, pursuing = survival(terminated, reward), survival(event, reward)
    if event is not None:
        following = discount * value_after_event * event
        reward = reward + (following if terminated is None else (1 - terminated) * following)
    gamma = discount ** torch.arange(horizon + 1, device=obs.device).view(-1, 1)
    returns = (gamma[:-1] * going[:, :-1] * pursuing[:, :-1] * reward).sum(1)  # [K, B*P*N]
    costs = (gamma[:-1] * going[:, :-1] * cost).sum(1)
    if value is not None:
        with torch.autocast(obs.device.type, enabled=False):  # a value of hundreds in bfloat16 is off by whole units
            returns = returns + gamma[-1] * going[:, -1] * pursuing[:, -1] * value(
                imagined.obs[:, -1].contiguous().float()
            )
    rows = (k, b, particles, n)
    finite = (returns + costs + imagined.obs.sum((1, 3))).isfinite().view(rows).all(2).all(0)  # [B, N]
    by_model = returns.view(rows).mean(2)  # [K, B, N]
    mean = by_model.mean(0)
    if pessimism:
        mean = mean - pessimism * by_model.std(0, unbiased=False)
    each = costs.view(rows)
    cost = each.amax((0, 2)) if worst_case else each.mean((0, 2))  # a maximum of sums, never a sum of maxima
    return Scores(torch.where(finite, mean, -torch.inf), torch.where(finite, cost, torch.inf))
