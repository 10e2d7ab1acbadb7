"""Compare an environment's simulator with the environment, on random decisions from states of it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from safeloop.checks.driving import Trial, actions, advance, begin
from safeloop.checks.findings import Check, Fault, NotApplicable, many, told
from safeloop.cmdp import complete
from safeloop.protocols import Simulated, Simulator
from safeloop.rng import TRAINING, derived_seed

STARTS, BEFORE, DECISIONS = 4, 10, 20
"""Number of states that are compared, of decisions before each, and of decisions from each."""
APART = 0.02
"""Share of the spread of rewards by which they may differ in the mean."""
OBSERVED = 1e-4
"""Difference that observations may have, beside the same share of their value."""


class Stretch(NamedTuple):
    """The decisions of an environment from a full state, until the first event or end, at most `DECISIONS`."""

    seed: int
    states: list[np.ndarray]  # one more than there are decisions
    acts: list[np.ndarray]
    rows: list[tuple[float, float, bool, bool]]  # reward, cost, terminated, event
    last: np.ndarray  # the last observation


def simulator(trial: Trial) -> str:
    """A simulator's rollouts are the environment's decisions, from states of the environment."""
    if trial.spec.simulator is None:
        raise NotApplicable("none: EnvSpec.simulator is None")
    try:
        simulated: Simulator = trial.spec.simulator(1)
    except Exception as error:
        raise Fault(f"EnvSpec.simulator(1) raised {told(error)}") from error
    stretches = [_stretch(trial, derived_seed(0, TRAINING, i)) for i in range(STARTS)]
    rewards, apart = [], []
    for stretch in stretches:
        found = _rolled_out(simulated, stretch)
        whole = np.array(stretch.rows, float)
        rewards.append(whole[:, 0])
        apart.append(np.abs(found.reward[0] - whole[:, 0]))
        _equal("cost", found.cost[0], whole[:, 1], stretch)
        for name, given, seen in (("terminated", found.terminated, 2), ("event", found.event, 3)):
            _equal(name, np.zeros(len(whole)) if given is None else given[0], whole[:, seen], stretch)
        _observed(simulated, stretch)
    together, spread = np.concatenate(apart), np.concatenate(rewards).std()
    if not together.mean() <= APART * spread + 1e-6:
        raise Fault(
            f"rewards of the simulator differ by {together.mean():.3g} in the mean (rewards vary by {spread:.3g}), "
            f"expected at most {APART:.0%} of that: compare the simulator's reward with the environment's"
        )
    count = sum(len(stretch.acts) for stretch in stretches)
    return f"repeats {many(count, 'decision')} from {many(STARTS, 'state')}; rewards differ by {together.max():.1g}"


def _stretch(trial: Trial, seed: int) -> Stretch:
    """Drive an episode's first decisions, and then those that are compared."""
    env: Any = trial.env
    episode, seen = begin(env, seed)
    drawn = actions(env.action_space.shape[0], np.random.default_rng(seed))
    for _ in range(BEFORE):
        seen = advance(env, episode, next(drawn), seen)
        if episode.steps[-1].ended:
            episode, seen = begin(env, None)
    states, acts, rows = [_state(env)], [], []
    for _ in range(DECISIONS):
        acts.append(next(drawn))
        seen = advance(env, episode, acts[-1], seen)
        states.append(_state(env))
        step = episode.steps[-1]
        info = complete(step.info, trial.spec)
        rows.append((float(step.reward), info["cost"], bool(step.terminated), bool(info.get("event"))))
        if step.ended or rows[-1][3]:
            break
    return Stretch(seed, states, acts, rows, np.asarray(episode.steps[-1].obs))


def _state(env: Any) -> np.ndarray:
    try:
        state = env.unwrapped.get_state()
    except Exception as error:
        raise Fault(f"get_state() raised {told(error)}; an environment with a simulator has it") from error
    if not isinstance(state, np.ndarray) or state.ndim != 1 or state.dtype != np.float64:
        raise Fault("get_state() returned no vector of float64, expected the full state [F]")
    return state


def _rolled_out(simulated: Simulator, stretch: Stretch) -> Simulated:
    horizon, size = len(stretch.acts), len(stretch.states[0])
    try:
        found = simulated.rollout(stretch.states[0][None], np.stack(stretch.acts)[None])
    except Exception as error:
        raise Fault(f"the simulator's rollout raised {told(error)}") from error
    shapes = [list(found.state.shape), list(found.reward.shape), list(found.cost.shape)]
    expected = [[1, horizon + 1, size], [1, horizon], [1, horizon]]
    if shapes != expected:
        raise Fault(f"the simulator's states, rewards and costs have shapes {shapes}, expected {expected}")
    if not found.valid.all():
        raise Fault(f"the simulator's rollout from the episode of seed {stretch.seed} is not valid")
    return found


def _equal(name: str, given: np.ndarray, seen: np.ndarray, stretch: Stretch) -> None:
    wrong = np.flatnonzero(given != seen)
    if len(wrong):
        first = wrong[0]
        raise Fault(
            f"{name} of the simulator differs at decision {BEFORE + first + 1} of the episode of seed {stretch.seed}: "
            f"simulator {given[first]:g}, environment {seen[first]:g}"
        )


def _observed(simulated: Simulator, stretch: Stretch) -> None:
    try:
        given = simulated.observe(stretch.states[-1][None])[0]
    except Exception as error:
        raise Fault(f"the simulator's observe raised {told(error)}") from error
    if given.shape != stretch.last.shape or not np.allclose(given, stretch.last, OBSERVED, OBSERVED):
        raise Fault(
            f"the simulator's observation of the state after decision {BEFORE + len(stretch.acts)} of the episode of "
            f"seed {stretch.seed} is not the environment's"
        )


NEEDED = ("observations", "rewards", "costs", "ends", "reset", "arrays")
CHECKS = (Check("simulator", simulator, NEEDED),)
