"""The policy gradient through a learned model: MAAC (Clavera et al., 2020).

Letters: K models, B states, P rollouts from each, H steps, M rows of a model, S observation, A action.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from safeloop.learners.sac import SAC
from safeloop.models.trajectories import Controller, Model, Trajectories, dealt, rollout
from safeloop.networks import q_values
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
        rows = dealt(self.samples * b, k, obs.device) % b
        controller, log_probs = sampled(self.sac, k)
        found = rollout(self.model, obs[rows].view(k, -1, obs.shape[1]), controller, self.horizon, [self.sac.generator])

        def value(state: Tensor) -> Tensor:
            return self.sac.worth(state.flatten(0, 1))[0].view(state.shape[:-1])

        returns, _, finite = lookahead(softened(self.sac, found, log_probs), self.sac.shared.discount, value)
        first = slice(0, self.samples * b)
        returns = torch.where(finite, returns, 0.0).flatten()[first].view(self.samples, b)
        return returns.mean(0), log_probs[0].flatten()[first]


@dataclass(frozen=True)
class SafePathwise:
    """The Lagrangian of MAAC's objective: return less a price of the worst cost over the models. The form is ours.

    Every state starts a rollout in each of the K models, with the same noise of the actor. The maximum over models
    hands its gradient to the model that attains it. Return and cost are divided by 1 + price, so that the gradient's
    size stays.
    """

    sac: SAC
    model: Model
    horizon: int
    samples: int
    critic: Callable[[Tensor, Tensor], Tensor]
    """The cost to come of pairs `[B, S], [B, A] -> [B]`."""
    price: Callable[[], float]
    """The present price of a unit of cost."""
    value_after_event: Callable[[], Tensor]
    """The mean value of the states that followed the latest events."""

    def __call__(self, obs: Tensor) -> tuple[Tensor, Tensor]:
        """Return the objective `[B]` in states `[B, S]`, and `log pi` of the first actions, `[P * B]`."""
        b, k, price = len(obs), self.model.ensemble_size, self.price()
        rows = obs.repeat(self.samples, 1)  # [P * B, S]
        last: list[Tensor] = []

        def value(state: Tensor) -> Tensor:
            act, log_prob = self.sac.actor.sample(state.flatten(0, 1), [self.sac.generator], len(state))
            last.extend((act, log_prob))
            worth = q_values(self.sac.critic, state.flatten(0, 1), act).amin(0) - self.sac.temperature * log_prob
            return worth.view(state.shape[:-1])

        def cost_value(state: Tensor) -> Tensor:  # of the actions that `value` has drawn
            return self.critic(state.flatten(0, 1), last[0]).view(state.shape[:-1])

        if self.horizon == 0:
            returns, costs = value(rows[None]), cost_value(rows[None])
            finite, log_prob = torch.ones_like(returns, dtype=torch.bool), last[1]
        else:
            controller, log_probs = sampled(self.sac, k, shared=True)
            start = rows.expand(k, -1, -1)
            found = rollout(self.model, start, controller, self.horizon, [self.sac.generator])
            soft = softened(self.sac, found, log_probs)
            discount, after = self.sac.shared.discount, self.value_after_event()
            returns, costs, finite = lookahead(soft, discount, value, cost_value, after)
            log_prob = log_probs[0][0]
        worth = (returns.mean(0) - price * costs.amax(0)) / (1 + price)
        return torch.where(finite.all(0), worth, 0.0).view(self.samples, b).mean(0), log_prob


def softened(sac: SAC, found: Trajectories, log_probs: list[Tensor]) -> Trajectories:
    """Return rollouts with rewards less `alpha log pi` of their actions, given `log pi [K, M]` of each step."""
    reward = found.outcome.reward - sac.temperature * torch.stack(log_probs, 1)
    return found._replace(outcome=found.outcome._replace(reward=reward))


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
