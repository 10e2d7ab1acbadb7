"""MDPs and planners for which a bound is reached, or refuted."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from tests.theory.tabular import MDP, Lookahead, evaluate, greedy, lookahead, optimal_values


def fork(horizon: int, discount: float, fall: float, value_error: float, plan_error: float) -> Lookahead:
    """Return an MDP in which all errors speak for the worse of two branches, at each plan anew.

    A hub has two branches of H steps, each back to a hub like it. The good branch (action 0) pays 1 a step. The bad one
    pays less, and each of its steps falls with chance `fall` to where nothing is paid any more. The model has it the
    other way round: the good branch falls, the bad one never. Values are too low at the hub behind the good branch, too
    high at the one behind the bad. The bad branch pays so much that in the model it is worse by `plan_error` only.
    """
    steps = horizon - 1
    start, after_good, after_bad, fallen, states = 0, 1, 2, 3 + 2 * steps, 4 + 2 * steps
    branches = ([*range(3, 3 + steps), after_good], [*range(3 + steps, 3 + 2 * steps), after_bad])
    edges = []  # (state, action, next state, branch)
    for branch, path in enumerate(branches):
        edges += [(hub, branch, path[0], branch) for hub in (start, after_good, after_bad)]
        edges += [(s, a, s_next, branch) for s, s_next in pairwise(path) for a in (0, 1)]

    def transitions(falls):
        p = np.zeros((states, 2, states))
        p[fallen, :, fallen] = 1
        for s, a, s_next, branch in edges:
            p[s, a, s_next], p[s, a, fallen] = 1 - falls[branch], falls[branch]
        return p

    optimum, survives = 1 / (1 - discount), discount * (1 - fall)
    good = (1 - survives**horizon) / (1 - survives) + survives**horizon * (optimum - value_error)
    kept = (1 - discount**horizon) / (1 - discount)  # the discounted steps of a plan
    pay = (good - plan_error - discount**horizon * (optimum + value_error)) / kept + 1e-9  # the bad branch is preferred
    rewards = np.zeros((states, 2))
    for s, a, _, branch in edges:
        rewards[s, a] = pay if branch else 1.0
    mdp = MDP(transitions((0.0, fall)), rewards, discount)
    values = optimal_values(mdp)
    values[after_good] -= value_error
    values[after_bad] += value_error
    model = MDP(transitions((fall, 0.0)), rewards, discount)
    plan = greedy(lookahead(model, values, horizon))
    plan[0, [start, after_good, after_bad]] = [0.0, 1.0]
    return Lookahead(mdp, model, values, plan)


def wait_or_go(horizon: int, discount: float) -> Lookahead:
    """Return an MDP in which a planner that plans again at each decision waits for ever.

    In state 0 action 0 waits and pays nothing, action 1 goes. All else pays 1 and leads along a line. Values are too
    low, except in the state that is reached by waiting once and then going: in state 0 this is always the best plan.
    """
    states, error = horizon + 2, (1 + 1e-6) / (2 * discount**horizon)
    transitions, rewards = np.zeros((states, 2, states)), np.ones((states, 2))
    transitions[0, 0, 0] = transitions[0, 1, 1] = 1
    rewards[0, 0] = 0
    for s in range(1, states):
        transitions[s, :, min(s + 1, states - 1)] = 1
    mdp = MDP(transitions, rewards, discount)
    values = np.full(states, 1 / (1 - discount) - error)
    values[horizon - 1] += 2 * error
    return Lookahead(mdp, mdp, values, greedy(lookahead(mdp, values, horizon)))


def risky_or_safe(horizon: int, discount: float, fall: float) -> Lookahead:
    """Return an MDP in which a risk that the model leaves out is taken once, with exact values and an exact planner.

    At the start action 1 leads to a loop that pays 1 a step and falls with chance `fall`, where nothing is paid any
    more. The model never falls. Action 0 leads to safety, which pays a little less than the model promises of the loop.
    """
    start, risky, fallen, safe = range(4)
    loop = 1 / (1 - discount * (1 - fall))
    promised = (1 - discount**horizon) / (1 - discount) + discount**horizon * loop
    transitions, rewards = np.zeros((4, 2, 4)), np.zeros((4, 2))
    transitions[start, 0, safe] = transitions[safe, :, safe] = transitions[fallen, :, fallen] = 1
    model = transitions.copy()
    rewards[start, 0] = rewards[safe] = (promised - 1e-6) * (1 - discount)
    for s, actions in ((start, [1]), (risky, [0, 1])):
        rewards[s, actions] = 1
        transitions[s, actions, risky], transitions[s, actions, fallen] = 1 - fall, fall
        model[s, actions, risky] = 1
    mdp, model = MDP(transitions, rewards, discount), MDP(model, rewards, discount)
    values = optimal_values(mdp)
    return Lookahead(mdp, model, values, greedy(lookahead(model, values, horizon)))


def two_doors(discount: float) -> MDP:
    """Return an MDP in which the right second action depends on where chance led the first.

    Going (action 1) from state 0 leads to state 1 or 2, by chance. State 1 pays 1 for action 0, state 2 for action 1.
    Action 0 or 2 leads to state 3, which pays 0.7. All these lead back.
    """
    transitions, rewards = np.zeros((4, 3, 4)), np.zeros((4, 3))
    transitions[0, 1, 1:3] = 0.5
    transitions[0, [0, 2], 3] = 1
    transitions[1:, :, 0] = 1
    rewards[1, 0] = rewards[2, 1] = 1
    rewards[3] = 0.7
    return MDP(transitions, rewards, discount)


def unseen_edge(horizon: int, discount: float, chance: float) -> tuple[Lookahead, np.ndarray]:
    """Return a planner that sometimes takes an action whose danger the data lack, and the policy of the data.

    State 0 pays 1 for each of three actions. Action 2 leads to state 1, where nothing is paid any more; in the model it
    does not. The data have action 0 alone, so that the model is exact in them. To the planner all actions are the same,
    and it takes action 2 with the given chance.
    """
    transitions, rewards = np.zeros((2, 3, 2)), np.array([[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]])
    transitions[0, :, 0] = transitions[1, :, 1] = 1
    model = MDP(transitions.copy(), rewards, discount)
    transitions[0, 2] = [0, 1]
    mdp = MDP(transitions, rewards, discount)
    data = np.tile([1.0, 0.0, 0.0], (2, 1))
    policy = np.tile([1 - chance, 0.0, chance], (2, 1))
    return Lookahead(mdp, model, evaluate(mdp, data), np.tile(policy, (horizon, 1, 1))), data
