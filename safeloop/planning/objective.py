"""Score candidates: the H-step return with a terminal value, and the ensemble-worst-case cost.

CoRL 2021, Eq. 3 (return), Eq. 9 (pessimism), Eq. 10 (worst case over the ensemble), Algorithm 4. Letters:
K models, B plans at once (each of its own observation), P particles, N candidates, H steps, S observation, A action.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from safeloop.models.trajectories import Model, Trajectories, rollout, survival
from safeloop.networks import Generators
from safeloop.planning.spaces import Space

Value = Callable[[Tensor], Tensor]
"""The value of states, `[K, M, S] -> [K, M]`."""


class Scores(NamedTuple):
    """Scores of N candidates for each of B plans."""

    returns: Tensor  # [B, N]; -inf where any imagined number was not finite
    costs: Tensor  # [B, N], of several costs [B, N, C]; +inf there


@dataclass(frozen=True)
class Objective:
    """The score of candidates: they are rolled out in every model, with P particles each."""

    model: Model
    discount: float
    particles: int = 1
    value: Value | None = None
    """Ends the return at the horizon."""
    cost_value: Value | None = None
    """Ends the cost at the horizon."""
    pessimism: float = 0.0
    """beta_pess, Eq. 9."""
    worst_case: bool = True
    """Whether a candidate costs what the worst model and particle say (Eq. 10), or their mean."""

    def __call__(
        self,
        obs: Tensor,
        space: Space,
        candidates: Tensor,
        generators: Generators,
        value_after_event: Tensor | float = 0.0,
    ) -> Scores:
        """Score `candidates [B, N, ...]` of a space from `obs [B, S]`; plan b draws from stream b alone.

        `obs [K, B, S]`: each model starts from a state of its own.
        """
        k, (b, n) = self.model.ensemble_size, candidates.shape[:2]
        start = obs.repeat_interleave(self.particles * n, -2).expand(k, -1, -1)  # [K, B*P*N, S]
        controller = space.controller(candidates, k, self.particles)
        imagined = rollout(self.model, start, controller, space.horizon, generators)
        returns, costs, finite = lookahead(imagined, self.discount, self.value, self.cost_value, value_after_event)
        rows = (k, b, self.particles, n)
        allowed = finite.view(rows).all(2).all(0)  # [B, N]
        by_model = returns.view(rows).mean(2)  # [K, B, N]
        mean = by_model.mean(0)
        if self.pessimism:
            mean = mean - self.pessimism * by_model.std(0, unbiased=False)
        each = costs.view(*rows, *costs.shape[2:])
        cost = each.amax((0, 2)) if self.worst_case else each.mean((0, 2))  # a maximum of sums, never a sum of maxima
        finite = allowed if cost.ndim == 2 else allowed.unsqueeze(2)
        return Scores(torch.where(allowed, mean, -torch.inf), torch.where(finite, cost, torch.inf))


def lookahead(
    imagined: Trajectories,
    discount: float,
    value: Value | None = None,
    cost_value: Value | None = None,
    value_after_event: Tensor | float = 0.0,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return each rollout's return `sum_{t<H} gamma^t r_t + gamma^H value(s_H)`, its cost likewise, and if both hold.

    All three are `[K, M]`, several costs `[K, M, C]`; the last tells whether every number of the rollout is finite.
    `cost_value` is of the first of several.

    Termination ends reward and cost. An event (a goal met, which then jumps) ends what can be imagined of
    the reward: its bonus counts once, followed by `value_after_event`, the mean value of the states that
    follow events, unless the same step ends the episode; costs go on.
    """
    reward, cost, terminated, event = imagined.outcome  # [K, H, M]
    going, pursuing = survival(terminated, reward), survival(event, reward)  # [K, H+1, M]
    if event is not None:
        following = discount * value_after_event * event
        reward = reward + (following if terminated is None else (1 - terminated) * following)
    gamma = discount ** torch.arange(reward.shape[1] + 1, device=reward.device).view(-1, 1)
    returns = (gamma[:-1] * going[:, :-1] * pursuing[:, :-1] * reward).sum(1)
    counts = gamma[:-1] * going[:, :-1]
    costs = ((counts if cost.ndim == 3 else counts.unsqueeze(3)) * cost).sum(1)
    if value is not None or cost_value is not None:
        with torch.autocast(reward.device.type, enabled=False):  # a value of hundreds in bfloat16 is off by whole units
            final = imagined.obs[:, -1].contiguous()
            final = final.to(torch.promote_types(final.dtype, torch.float32))
            if value is not None:
                returns = returns + gamma[-1] * going[:, -1] * pursuing[:, -1] * value(final)
            if cost_value is not None:
                tail = gamma[-1] * going[:, -1] * cost_value(final)  # of the first of several costs
                costs = costs + (tail if costs.ndim == 2 else pad(tail.unsqueeze(2), (0, costs.shape[2] - 1)))
    total = costs if costs.ndim == 2 else costs.sum(2)
    return returns, costs, (returns + total + imagined.obs.sum((1, 3))).isfinite()
