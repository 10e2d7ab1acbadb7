"""Score action sequences: the H-step return with a terminal value, and the ensemble-worst-case cost.

CoRL 2021, Eq. 3 (return), Eq. 9 (pessimism), Eq. 10 (worst case over the ensemble), Algorithm 4. Letters:
K models, P particles, N sequences, H steps, S observation, A action.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from safeloop.cmdp import Known
from safeloop.dynamics import Dynamics


class Step(NamedTuple):
    """One step of every model."""

    next_obs: Tensor  # [K, M, S]
    reward: Tensor  # [K, M], the bonus of an event included
    cost: Tensor  # [K, M]
    terminated: Tensor | None  # [K, M], probability; None where it can't happen
    event: Tensor | None  # [K, M], probability; None where there are none


class Model(Protocol):
    """What the lookahead needs of a model."""

    members: int

    def step(self, obs: Tensor, act: Tensor, generator: torch.Generator) -> Step:
        """One step of `obs [K, M, S]` under `act [K, M, A]`; model k keeps row k."""
        ...


class Scores(NamedTuple):
    """Scores of N sequences. A sequence with any non-finite prediction has return -inf and cost inf."""

    returns: Tensor  # [N]
    costs: Tensor  # [N], the maximum over models and particles


class WorldModel:
    """The ensemble's observations, with each of reward, cost, termination and event known or learned."""

    def __init__(
        self,
        dynamics: Dynamics,
        *,
        reward: Known | None = None,
        cost: Known | None = None,
        terminated: Known | None = None,
        event: Known | None = None,
        event_bonus: float = 0.0,
    ):
        self.dynamics, self.members = dynamics, dynamics.members
        self.reward, self.cost, self.terminated, self.event = reward, cost, terminated, event
        self.event_bonus = event_bonus

    def step(self, obs: Tensor, act: Tensor, generator: torch.Generator) -> Step:
        """One step: known models where given, the ensemble's heads otherwise."""
        next_obs, reward, chance = self.dynamics.sample(obs, act, generator)
        args = (obs, act, next_obs)
        event = self.event(*args).float() if self.event else chance.get("event")
        if self.reward is not None:
            reward = self.reward(*args)
            if event is not None:
                reward = reward + event * self.event_bonus
        cost = self.cost(*args) if self.cost else chance["violated"]
        terminated = self.terminated(*args).float() if self.terminated else chance.get("terminated")
        return Step(next_obs, reward, cost, terminated, event)


@torch.no_grad()
def lookahead(
    model: Model,
    obs: Tensor,
    actions: Tensor,
    *,
    particles: int,
    discount: float,
    generator: torch.Generator,
    value: Callable[[Tensor], Tensor] | None = None,
    value_after_event: Tensor | float = 0.0,
    pessimism: float = 0.0,
) -> Scores:
    """Score `actions [N, H, A]` from `obs [S]`.

    Return: `sum_{t<H} gamma^t r_t + gamma^H value(s_H)`, the mean over models and particles, minus
    `pessimism` times the standard deviation over models of the particle mean (Eq. 9). Cost: for each model
    and particle `sum_{t<H} gamma^t c_t`, then the maximum (Eq. 10). `value` maps `[K, M, S] -> [K, M]`.

    Termination ends reward and cost. An event (a goal met, which then jumps) ends what can be imagined of
    the reward: its bonus counts once, followed by `value_after_event`, the mean value of the states that
    follow events; costs go on.
    """
    k, n, horizon = model.members, actions.shape[0], actions.shape[1]
    s = obs.expand(k, particles * n, -1)  # [K, P*N, S]
    plan = actions.repeat(particles, 1, 1).expand(k, -1, -1, -1)  # [K, P*N, H, A]
    returns = torch.zeros(k, particles * n, device=obs.device)
    costs = torch.zeros_like(returns)
    going, pursuing = torch.ones_like(returns), torch.ones_like(returns)
    for t in range(horizon):
        step = model.step(s, plan[:, :, t], generator)
        reward = step.reward
        if step.event is not None:
            reward = reward + discount * value_after_event * step.event
        returns = returns + discount**t * going * pursuing * reward
        costs = costs + discount**t * going * step.cost
        if step.event is not None:
            pursuing = pursuing * (1 - step.event)
        if step.terminated is not None:
            going = going * (1 - step.terminated)
        s = step.next_obs
    if value is not None:
        returns = returns + discount**horizon * going * pursuing * value(s)
    finite = (returns.isfinite() & costs.isfinite() & s.isfinite().all(-1)).view(-1, n).all(0)  # [N]
    by_model = returns.view(k, particles, n).mean(1)  # [K, N]
    mean = by_model.mean(0)
    if pessimism:
        mean = mean - pessimism * by_model.std(0, unbiased=False)
    worst = costs.view(-1, n).amax(0)  # a maximum of sums, never a sum of maxima
    return Scores(torch.where(finite, mean, -torch.inf), torch.where(finite, worst, torch.inf))
