"""Evaluation in a separate environment, with a separate planner and separate seeds, so training is not changed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from safeloop.activity import EVALUATING, Activity, doing
from safeloop.cmdp import EnvSpec, complete
from safeloop.protocols import Policy, needs_states
from safeloop.recording.rows import AGENT, POLICY, EvaluationEpisode
from safeloop.recording.run import Run
from safeloop.recording.tally import Tally
from safeloop.rng import EVALUATION, derived_seed

if TYPE_CHECKING:
    from safeloop.recording.recorder import Recorder

TOGETHER = 5
"""Number of episodes that are planned together, unless they are filmed."""


def evaluate(
    policy: Policy,
    spec: EnvSpec,
    episodes: int,
    seed: int,
    simulator_steps: int = 0,
    on_frame: Callable[[np.ndarray], None] | None = None,
) -> Iterable[EvaluationEpisode]:
    """Yield `episodes` whole episodes of `policy` in environments of their own, in order.

    Episode i starts from `derived_seed(seed, EVALUATION, i)`: the same episodes for every algorithm.
    `on_frame` receives each decision's frame (`uint8 [height, width, 3]`), for videos.
    """
    together = 1 if on_frame else TOGETHER
    envs = [spec.make(render_mode="rgb_array" if on_frame else None) for _ in range(min(together, episodes))]
    try:
        with driving(EVALUATING, spec, episodes) as activity:
            for first in range(0, episodes, together):
                group = range(first, min(first + together, episodes))
                activity.detail = numbered(group, episodes)
                seeds = [derived_seed(seed, EVALUATION, i) for i in group]
                rows = _drive(policy, spec, envs, seeds, on_frame, activity)
                for index, row in zip(group, rows, strict=True):
                    yield EvaluationEpisode(simulator_steps, index, **row.columns)
    finally:
        for env in envs:
            env.close()


def driving(what: str, spec: EnvSpec, episodes: int) -> AbstractContextManager[Activity]:
    """Return the activity of driving so many episodes, which counts their decisions."""
    return doing(what, episodes * longest(spec), "decisions")


def longest(spec: EnvSpec) -> int:
    """Return the decisions of an episode that is not terminated."""
    return -(-spec.episode_steps // max(1, spec.action_repeat))


def numbered(group: range, episodes: int) -> str:
    """Return which episodes a group has, counted from 1: `"episodes 1 to 5 of 10"`, `"episode 3 of 10"`."""
    several = len(group) > 1
    return f"episode{'s' * several} {group.start + 1}{f' to {group.stop}' * several} of {episodes}"


def consecutive(policy: Policy, spec: EnvSpec, env: Any, seed: int) -> Iterator[tuple[Decision, bool]]:
    """Yield the decisions of an evaluation's episodes, one episode after the other without end.

    `seed` is the run's. The second of each pair tells whether the decision is its episode's first.
    """
    for episode in count():
        first = True
        for (decision,) in together(policy, spec, [env], [derived_seed(seed, EVALUATION, episode)]):
            yield decision, first
            first = False


def _drive(
    policy: Policy,
    spec: EnvSpec,
    envs: list[Any],
    seeds: list[int],
    on_frame: Callable[[np.ndarray], None] | None,
    activity: Activity | None = None,
) -> list[Tally]:
    """Run an episode from each seed, all at once, and return their sums."""
    totals = [Tally() for _ in seeds]
    film = (lambda: on_frame(np.asarray(envs[0].render()))) if on_frame else None
    for decisions in together(policy, spec, envs, seeds, film, activity):
        for d in decisions:
            totals[d.episode].add(d.reward, d.info)
    return totals


class Decision(NamedTuple):
    """A decision in one of several episodes."""

    episode: int
    obs: np.ndarray  # [S], before the decision
    action: np.ndarray  # [A]
    reward: float
    terminated: bool
    truncated: bool
    info: dict[str, Any]
    next_obs: np.ndarray  # [S]


def together(
    policy: Policy,
    spec: EnvSpec,
    envs: Sequence[Any],
    seeds: Sequence[int],
    before: Callable[[], None] | None = None,
    activity: Activity | None = None,
) -> Iterator[list[Decision]]:
    """Run an episode from each seed, one in each environment, and yield the decisions that are made at once.

    The policy sees only the episodes that are still running. `before` is called before each decision. The `activity`
    counts decisions; an episode that ends early leaves fewer to make.
    """
    activity, left = activity or Activity(EVALUATING), longest(spec)
    policy.reset(len(seeds))
    running = list(range(len(seeds)))
    obs = [np.array(env.reset(seed=seed)[0]) for env, seed in zip(envs, seeds, strict=False)]
    while running:
        if before:
            before()
        if needs_states(policy):
            policy.see(np.stack([envs[i].unwrapped.get_state() for i in running]))  # type: ignore[attr-defined]
        actions = policy.act(np.stack([obs[i] for i in running]))
        decisions = []
        for i, action in zip(running, actions, strict=True):
            next_obs, reward, terminated, truncated, info = envs[i].step(action)
            next_obs = np.array(next_obs)  # an environment may write the next one into the same array
            info = complete(info, spec)
            decisions.append(Decision(i, obs[i], action, float(reward), terminated, truncated, info, next_obs))
            obs[i] = next_obs
        left = max(0, left - 1)
        activity.done += len(decisions)
        activity.of -= left * sum(d.terminated or d.truncated for d in decisions)
        yield decisions
        going = [row for row, d in enumerate(decisions) if not (d.terminated or d.truncated)]
        if going and len(going) < len(running) and hasattr(policy, "keep"):
            policy.keep(going)
        running = [running[row] for row in going]


def evaluate_when_due(
    env: Recorder,
    run: Run,
    before: int,
    make_policy: Callable[[], Policy],
    make_alone: Callable[[], Policy] | None = None,
) -> None:
    """Evaluate and record if an evaluation has become due since `before` simulator steps, or at the end.

    Call it between episodes. The schedule depends on simulator steps alone, so a resumed run keeps it. `make_alone`
    makes the agent's policy without its planner, which is evaluated too.
    """
    every, steps = run.settings.eval_every, env.simulator_steps
    last = steps >= run.settings.steps
    due = last or (every > 0 and steps // every > before // every)
    if not due or run.settings.eval_episodes == 0:
        return
    record_evaluation(env, run, make_policy(), make_alone and make_alone())


def record_evaluation(env: Recorder, run: Run, policy: Policy, alone: Policy | None = None) -> None:
    """Evaluate `policy`, and `alone` where it is given, and append the episodes to the run's.

    This time does not count as training. An earlier evaluation at the same simulator step, of a policy that has learned
    since, is replaced.
    """
    with env.clock_stopped():
        before = run.evaluations.read()
        if before and before[-1].simulator_steps == env.simulator_steps:
            run.evaluations.keep([row for row in before if row.simulator_steps < env.simulator_steps])
        timed_evaluation(policy, env.safeloop_spec, run, env.simulator_steps)
        if alone is not None:
            timed_evaluation(alone, env.safeloop_spec, run, env.simulator_steps, POLICY)


def timed_evaluation(policy: Policy, spec: EnvSpec, run: Run, steps: int, control: str = AGENT) -> None:
    """Evaluate `policy` by the run's settings at step `steps`, and append the episodes with their seconds."""
    begun = time.perf_counter()
    for row in evaluate(policy, spec, run.settings.eval_episodes, run.settings.seed, steps):
        run.evaluations.append(replace(row, wall_seconds=time.perf_counter() - begun, control=control))
