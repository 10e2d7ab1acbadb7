"""Evaluation: a separate environment, a separate planner, seeds of its own; training is not touched."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from safeloop.cmdp import EnvSpec
from safeloop.registry import Policy
from safeloop.runs import EVALUATION, EvaluationEpisode, Recorder, Run, derived_seed

TOGETHER = 5
"""Episodes that are planned together, unless they are filmed."""


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
        for first in range(0, episodes, together):
            group = range(first, min(first + together, episodes))
            rows = _drive(policy, envs, [derived_seed(seed, EVALUATION, i) for i in group], on_frame)
            for index, row in zip(group, rows, strict=True):
                yield EvaluationEpisode(simulator_steps, index, *row)
    finally:
        for env in envs:
            env.close()


def _drive(
    policy: Policy, envs: list[Any], seeds: list[int], on_frame: Callable[[np.ndarray], None] | None
) -> list[Any]:
    """Drive an episode from each seed, all at once: rows of return, cost return, violations, length."""
    obs = np.stack([env.reset(seed=seed)[0] for env, seed in zip(envs, seeds, strict=False)])
    totals = [[0.0, 0.0, 0, 0] for _ in seeds]
    going = set(range(len(seeds)))
    policy.reset(len(seeds))
    while going:
        if on_frame:
            on_frame(np.asarray(envs[0].render()))
        actions = policy.act(obs)  # of episodes that have ended too: what these would do is not used
        for i in sorted(going):
            obs[i], reward, terminated, truncated, info = envs[i].step(actions[i])
            new = (float(reward), float(info["cost"]), int(info["violations"]), int(info["simulator_steps"]))
            totals[i] = [a + b for a, b in zip(totals[i], new, strict=True)]
            if terminated or truncated:
                going.remove(i)
    return totals


def evaluate_when_due(env: Recorder, run: Run, before: int, make_policy: Callable[[], Policy]) -> None:
    """Evaluate and record, where an evaluation fell due since `before` simulator steps, or at the end.

    Call it between episodes. The schedule depends on simulator steps alone, so a resumed run keeps it.
    """
    every, steps = run.settings.eval_every, env.simulator_steps
    last = steps >= run.settings.steps
    due = last or (every > 0 and steps // every > before // every)
    if not due or run.settings.eval_episodes == 0:
        return
    record_evaluation(env, run, make_policy())


def record_evaluation(env: Recorder, run: Run, policy: Policy) -> None:
    """Evaluate `policy` now and append the episodes to the run's; its time does not count as training.

    An evaluation after as many simulator steps, of a policy that has learned since, is replaced.
    """
    with env.clock_stopped():
        before = run.evaluations.read()
        if before and before[-1].simulator_steps == env.simulator_steps:
            run.evaluations.keep([row for row in before if row.simulator_steps < env.simulator_steps])
        episodes, seed = run.settings.eval_episodes, run.settings.seed
        for row in evaluate(policy, env.safeloop_spec, episodes, seed, env.simulator_steps):
            run.evaluations.append(row)
