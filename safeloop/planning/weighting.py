"""Weigh candidates by their scores: those that the constraint allows first, then softly or elites alone.

Letters: B plans at once, N candidates.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from safeloop.cmdp import Constraint
from safeloop.planning.objective import Scores

LEAST = 1e-6
"""Least threshold that costs are measured in."""


def feasible(scores: Scores, constraint: Constraint | None) -> Tensor:
    """Return which candidates are allowed, bool `[B, N]`: finite and, under a constraint, each cost <= its d0."""
    finite = scores.returns.isfinite()
    if constraint is None:
        return finite
    within = scores.costs <= constraint.threshold
    return finite & (within if within.ndim == 2 else within.all(2))


def compared(scores: Scores, constraint: Constraint | None) -> Tensor:
    """Return the costs that candidates are compared by, `[B, N]`: of several the sum, in units of their thresholds."""
    if constraint is None or scores.costs.ndim == 2:
        return scores.costs
    unit = constraint.threshold  # of a threshold of 0 any cost is too many units
    unit = unit.clamp(min=LEAST) if isinstance(unit, Tensor) else max(unit, LEAST)
    return (scores.costs / unit).sum(2)


def feasible_first(scores: Scores, constraint: Constraint | None) -> Tensor:
    """Return the number that candidates are preferred by, `[B, N]` (Algorithm 4, lines 29 to 38).

    With at least m feasible candidates those alone count, by return R; the others have -infinity. Otherwise all count,
    by `-C`, or with a penalty by `R - penalty * C`: by cost alone, a way back that costs more within the horizon than
    waiting is never taken. Of several costs C is their sum, in units of their thresholds.
    """
    allowed = feasible(scores, constraint)
    preference = torch.where(allowed, scores.returns, -torch.inf)
    if constraint is None:
        return preference
    penalty, cost = constraint.penalty, compared(scores, constraint)
    otherwise = -cost if penalty is None else scores.returns - penalty * cost
    otherwise = torch.where(scores.returns.isfinite(), otherwise, -torch.inf)
    enough = allowed.sum(1, keepdim=True) >= min(constraint.min_feasible, allowed.shape[1])
    return torch.where(enough, preference, otherwise)


@dataclass(frozen=True)
class Softmax:
    """Weights `exp(preference / eta)`, each plan's summing to 1 (CoRL 2021, Eq. 8; MPPI's with one iteration).

    A plan without any finite candidate has weights NaN.
    """

    inverse_temperature: float
    """1/eta, per unit of return (and of cost, where too few candidates are feasible)."""
    constraint: Constraint | None = None
    standardised: bool = False
    """The unit is the standard deviation of each plan's own finite preferences."""
    size: float | None = None
    """Effective size that the temperature of each plan is chosen for; None: that of `inverse_temperature`."""

    def __call__(self, scores: Scores) -> Tensor:
        """Return the weights `[B, N]`."""
        preference = feasible_first(scores, self.constraint)
        if self.size is not None:
            return weights_of_size(preference, self.size)
        if self.standardised:
            preference = standardised(preference)
        return torch.softmax(self.inverse_temperature * preference, 1)


def standardised(preference: Tensor) -> Tensor:
    """Return preferences `[B, N]` less their mean, in standard deviations; those of -infinity stay."""
    finite = preference.isfinite()
    count = finite.sum(1, keepdim=True)
    mean = torch.where(finite, preference, 0.0).sum(1, keepdim=True) / count
    centred = torch.where(finite, preference - mean, 0.0)
    deviation = (centred.square().sum(1, keepdim=True) / count).sqrt()
    return torch.where(finite, centred / (deviation + 1e-6), -torch.inf)


def effective_size(weights: Tensor) -> Tensor:
    """Return the number of equally weighed candidates that weights `[B, N]` are worth, `1 / sum w^2`, `[B]`."""
    return 1 / weights.square().sum(1)


HALVINGS = 24
"""Halvings of the range in which the logarithm of a temperature is looked for."""


def weights_of_size(preference: Tensor, size: float) -> Tensor:
    """Return softmax weights `[B, N]` of preferences `[B, N]` at temperatures that give them an effective size.

    The size of a plan's weights can't be beyond the number of its finite preferences, nor below that of its best ones
    that are equal.
    """
    unit = standardised(preference)
    low, high = (torch.full_like(unit[:, :1], bound) for bound in (-8.0, 12.0))
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        wide = (effective_size(torch.softmax(middle.exp() * unit, 1)) > size)[:, None]
        low, high = torch.where(wide, middle, low), torch.where(wide, high, middle)
    return torch.softmax(((low + high) / 2).exp() * unit, 1)


@dataclass(frozen=True)
class Elites:
    """Equal weights for the best candidates: the cross-entropy method.

    A plan without any finite candidate has weights NaN.
    """

    count: int
    constraint: Constraint | None = None

    def __call__(self, scores: Scores) -> Tensor:
        """Return the weights `[B, N]`."""
        preference = feasible_first(scores, self.constraint)
        best, which = preference.topk(min(self.count, preference.shape[1]), 1)
        equal = best.isfinite().float()
        return torch.zeros_like(preference).scatter(1, which, equal / equal.sum(1, keepdim=True))
