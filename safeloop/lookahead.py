"""Score action sequences: the H-step return with a terminal value, and the ensemble-worst-case cost.

CoRL 2021, Eq. 3 (return), Eq. 9 (pessimism), Eq. 10 (worst case over the ensemble), Algorithm 4. Letters:
K models, B plans at once (each of its own observation), P particles, N sequences, H steps, S observation, A action.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from safeloop.cmdp import Known
from safeloop.dynamics import Dynamics
from safeloop.networks import Streams


class Judgement(NamedTuple):
    """What M transitions of each model bring."""

    reward: Tensor  # [K, M], the bonus of an event included
    cost: Tensor  # [K, M]
    terminated: Tensor | None  # [K, M], probability; None where it can't happen
    event: Tensor | None  # [K, M], probability; None where there are none


class Model(Protocol):
    """What the lookahead needs of a model. Rollouts are stepped first and judged after, all steps at once."""

    members: int

    def step(self, obs: Tensor, act: Tensor, streams: Streams) -> tuple[Tensor, Tensor]:
        """The next observations `[K, M, S]` of `obs [K, M, S]` under `act [K, M, A]`; model k keeps row k.

        The rows belong to the streams in equal parts, in order. Beside the observations whatever `judge` needs of
        the step, `[K, M, X]`.
        """
        ...

    def judge(self, obs: Tensor, act: Tensor, next_obs: Tensor, memory: Tensor) -> Judgement:
        """What transitions `[K, M, .]` bring; `memory [K, M, X]` is what `step` kept of each."""
        ...


class Scores(NamedTuple):
    """Scores of N sequences of each plan. One with any non-finite prediction has return -inf and cost inf."""

    returns: Tensor  # [B, N]
    costs: Tensor  # [B, N], the maximum over models and particles (or the mean)


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
        noise: bool = True,
    ):
        self.dynamics, self.members = dynamics, dynamics.members
        self.reward, self.cost, self.terminated, self.event = reward, cost, terminated, event
        self.event_bonus, self.noise = event_bonus, noise

    def step(self, obs: Tensor, act: Tensor, streams: Streams) -> tuple[Tensor, Tensor]:
        """The ensemble's next observations (its means without `noise`), and its networks' memory of the step."""
        return self.dynamics.step(obs, act, streams if self.noise else None)

    def judge(self, obs: Tensor, act: Tensor, next_obs: Tensor, memory: Tensor) -> Judgement:
        """Known models where given, the ensemble's heads otherwise."""
        reward, chance = self.dynamics.judge(obs, act, next_obs, memory)
        transition = (obs, act, next_obs)
        event = self.event(*transition).float() if self.event else chance.get("event")
        if self.reward is not None:
            reward = self.reward(*transition)
            if event is not None:
                reward = reward + event * self.event_bonus
        cost = self.cost(*transition) if self.cost else chance["violated"]
        terminated = self.terminated(*transition).float() if self.terminated else chance.get("terminated")
        return Judgement(reward, cost, terminated, event)


def survival(chance: Tensor | None, like: Tensor) -> Tensor:
    """Probability that nothing of `chance [K, H, M]` (None: 0, shaped as `like`) happened before step t = 0..H."""
    first = torch.ones_like(like[:, :1])
    return torch.cat((first, (1 - chance).cumprod(1) if chance is not None else torch.ones_like(like)), 1)


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
    path, memory = [obs.repeat_interleave(particles * n, 0).expand(k, -1, -1)], []
    for t in range(horizon):
        s, kept = model.step(path[-1], plan[:, t], streams)
        path.append(s)
        memory.append(kept)
    states = torch.stack(path, 1)  # [K, H+1, B*P*N, S]
    transitions = (states[:, :-1], plan, states[:, 1:], torch.stack(memory, 1))
    judged = model.judge(*(x.flatten(1, 2) for x in transitions))
    reward, cost, terminated, event = (None if x is None else x.view(k, horizon, -1) for x in judged)
    assert reward is not None and cost is not None
    going, pursuing = survival(terminated, reward), survival(event, reward)
    if event is not None:
        following = discount * value_after_event * event
        reward = reward + (following if terminated is None else (1 - terminated) * following)
    gamma = discount ** torch.arange(horizon + 1, device=obs.device).view(-1, 1)
    returns = (gamma[:-1] * going[:, :-1] * pursuing[:, :-1] * reward).sum(1)  # [K, B*P*N]
    costs = (gamma[:-1] * going[:, :-1] * cost).sum(1)
    if value is not None:
        with torch.autocast(s.device.type, enabled=False):  # a value of hundreds in bfloat16 is off by whole units
            returns = returns + gamma[-1] * going[:, -1] * pursuing[:, -1] * value(s.float())
    rows = (k, b, particles, n)
    finite = (returns + costs + states.sum((1, 3))).isfinite().view(rows).all(2).all(0)  # [B, N]
    by_model = returns.view(rows).mean(2)  # [K, B, N]
    mean = by_model.mean(0)
    if pessimism:
        mean = mean - pessimism * by_model.std(0, unbiased=False)
    each = costs.view(rows)
    cost = each.amax((0, 2)) if worst_case else each.mean((0, 2))  # a maximum of sums, never a sum of maxima
    return Scores(torch.where(finite, mean, -torch.inf), torch.where(finite, cost, torch.inf))
