"""Small MDPs whose values, plans and errors are computed exactly.

Letters: S states, A actions, H decisions of a plan. A policy is `[S, A]`, a plan `[H, S, A]`: probabilities of actions
in each state, for a plan at each of its decisions. Such a plan reacts to the states that it meets. A sequence of
actions `[H]` does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy import ndarray as Array

# Asymmetric on purpose, so that a transposed axis fails: S, A and H all differ.
S, A, H = 5, 3, 4
SLACK = 1e-9
"""By how much rounding may carry a number over a bound."""


class MDP(NamedTuple):
    """Transition probabilities `[S, A, S]`, rewards `[S, A]`, and the discount."""

    transitions: Array
    rewards: Array
    discount: float


def random_mdp(rng, discount=0.9, states=S, actions=A, deterministic=False) -> MDP:
    """Draw rewards in [0, 1], and transitions that often have one likely successor."""
    if deterministic:
        transitions = np.eye(states)[rng.integers(states, size=(states, actions))]
    else:
        transitions = rng.dirichlet(np.full(states, 0.3), size=(states, actions))
    return MDP(transitions, rng.uniform(size=(states, actions)), discount)


def random_model(rng, mdp: MDP, error: float) -> MDP:
    """Return a model of the MDP that is off by at most `error` in total variation."""
    other = random_mdp(rng, mdp.discount, *mdp.rewards.shape)
    return mdp._replace(transitions=(1 - error) * mdp.transitions + error * other.transitions)


def random_plan(rng, horizon=H, states=S, actions=A) -> Array:
    return rng.dirichlet(np.full(actions, 0.5), size=(horizon, states))


def total_variation(one: Array, other: Array) -> Array:
    """Return half the sum of absolute differences over the last axis: 1 for distributions that share nothing."""
    return np.abs(one - other).sum(-1) / 2


def backup(mdp: MDP, values: Array) -> Array:
    """Return each action's reward and discounted next value, `[S, A]`."""
    return mdp.rewards + mdp.discount * mdp.transitions @ values


def greedy(returns: Array) -> Array:
    """Return the policy, or the plan, of the best actions. Among equal ones it takes the first."""
    return np.eye(returns.shape[-1])[returns.argmax(-1)]


def under(mdp: MDP, policy: Array) -> tuple[Array, Array]:
    """Return the rewards `[S]` and the transitions `[S, S]` of the Markov chain under a policy."""
    return (policy * mdp.rewards).sum(-1), np.einsum("sa,sat->st", policy, mdp.transitions)


def evaluate(mdp: MDP, policy: Array) -> Array:
    rewards, transitions = under(mdp, policy)
    return np.linalg.solve(np.eye(len(rewards)) - mdp.discount * transitions, rewards)


def optimal_values(mdp: MDP) -> Array:
    """Return V*, `[S]`, by policy iteration, which ends at the exact values."""
    policy = greedy(mdp.rewards)
    while True:
        values = evaluate(mdp, policy)
        returns = backup(mdp, values)
        better = returns.max(-1) > (policy * returns).sum(-1) + 1e-12
        if not better.any():
            return values
        policy = np.where(better[:, None], greedy(returns), policy)


def lookahead(mdp: MDP, values: Array, horizon: int) -> Array:
    """Return for each decision of a plan the best return of each action with all that follows, `[H, S, A]`."""
    returns = []
    for _ in range(horizon):
        returns.append(backup(mdp, values))
        values = returns[-1].max(-1)
    return np.array(returns[::-1])


def plan_return(mdp: MDP, plan: Array, values: Array) -> Array:
    """Return the discounted rewards of a plan and the value at its end, for each start, `[S]`."""
    for policy in plan[::-1]:
        values = (policy * backup(mdp, values)).sum(-1)
    return values


def execute(mdp: MDP, plan: Array) -> tuple[Array, Array]:
    """Return a plan's discounted rewards `[S]`, and where it ends from each start, `[S, S]`."""
    total, reached = np.zeros(len(mdp.rewards)), np.eye(len(mdp.rewards))
    for t, policy in enumerate(plan):
        rewards, transitions = under(mdp, policy)
        total, reached = total + mdp.discount**t * reached @ rewards, reached @ transitions
    return total, reached


def repeat(mdp: MDP, plan: Array) -> Array:
    """Return the values `[S]` of executing a whole plan, then the plan from where it ended, and so on."""
    rewards, reached = execute(mdp, plan)
    return np.linalg.solve(np.eye(len(rewards)) - mdp.discount ** len(plan) * reached, rewards)


def sequence_returns(mdp: MDP, values: Array, horizon: int) -> tuple[Array, Array]:
    """Return all sequences of actions `[A^H, H]`, and the return of each from each start, `[A^H, S]`."""
    sequences = np.array(list(product(range(mdp.rewards.shape[1]), repeat=horizon)))
    returns = np.tile(values, (len(sequences), 1))
    for actions in sequences.T[::-1]:
        following = np.einsum("nst,nt->ns", mdp.transitions[:, actions].swapaxes(0, 1), returns)
        returns = mdp.rewards[:, actions].T + mdp.discount * following
    return sequences, returns


def best_sequences(mdp: MDP, values: Array, horizon: int) -> Array:
    """Return the best sequence of actions from each start, `[S, H]`. Among equal ones it takes the first."""
    sequences, returns = sequence_returns(mdp, values, horizon)
    return sequences[returns.argmax(0)]


def repeat_sequences(mdp: MDP, sequences: Array) -> Array:
    """Return the values `[S]` of executing the whole sequence of the state, then that of the next, and so on."""
    states, actions = mdp.rewards.shape
    starts = []
    for start, sequence in enumerate(sequences):
        blind = np.tile(np.eye(actions)[sequence][:, None], (1, states, 1))
        rewards, reached = execute(mdp, blind)
        starts.append((rewards[start], reached[start]))
    rewards, reached = (np.array(each) for each in zip(*starts, strict=True))
    return np.linalg.solve(np.eye(states) - mdp.discount ** sequences.shape[1] * reached, rewards)


@dataclass(frozen=True)
class Lookahead:
    """The plan `[H, S, A]` of a planner that knows a model and values `[S]` in place of the MDP and V*."""

    mdp: MDP
    model: MDP
    values: Array
    plan: Array

    @cached_property
    def optimal(self) -> Array:
        return optimal_values(self.mdp)

    @property
    def model_error(self) -> float:
        """Return eps_m: the largest total variation between the model and the MDP."""
        return total_variation(self.mdp.transitions, self.model.transitions).max()

    @property
    def value_error(self) -> float:
        """Return eps_v: the largest difference between the values and V*."""
        return np.abs(self.values - self.optimal).max()

    @property
    def plan_error(self) -> float:
        """Return eps_p: the most that the plan loses in the model against the best plan there."""
        best = lookahead(self.model, self.values, len(self.plan))[0].max(-1)
        return max(0.0, (best - plan_return(self.model, self.plan, self.values)).max())

    @property
    def loss(self) -> float:
        """Return the most that is lost from any state where each plan is executed to its end."""
        return (self.optimal - repeat(self.mdp, self.plan)).max()

    @property
    def replanning_loss(self) -> float:
        """Return the most that is lost from any state where a plan is made anew at each decision."""
        return (self.optimal - evaluate(self.mdp, self.plan[0])).max()


def random_lookahead(
    seed, horizon=H, discount=0.9, model_error=0.1, value_error=0.5, plan_error=0.0, deterministic=False
) -> Lookahead:
    """Draw an MDP and a planner with errors of about the given sizes. Its values are at least 0."""
    rng = np.random.default_rng(seed)
    mdp = random_mdp(rng, discount, deterministic=deterministic)
    model = random_model(rng, mdp, model_error)
    values = np.maximum(0, optimal_values(mdp) + rng.uniform(-value_error, value_error, S))
    best = greedy(lookahead(model, values, horizon))
    return Lookahead(mdp, model, values, (1 - plan_error) * best + plan_error * random_plan(rng, horizon))
