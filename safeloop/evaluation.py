"""Evaluation: a separate environment, a separate planner, seeds of its own; training is not touched."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from safeloop.cmdp import EnvSpec
from safeloop.registry import Policy
from safeloop.runs import EVALUATION, EvaluationEpisode, Recorder, Run, derived_seed


def evaluate(
    policy: Policy,
    spec: EnvSpec,
    episodes: int,
    seed: int,
    simulator_steps: int = 0,
    on_frame: Callable[[np.ndarray], None] | None = None,
) -> Iterable[EvaluationEpisode]:
    """Yield `episodes` whole episodes of `policy` in an environment of their own.

    Episode i starts from `derived_seed(seed, EVALUATION, i)`: the same episodes for every algorithm.
    `on_frame` receives each decision's frame (`uint8 [height, width, 3]`), for videos.
    """
    env = spec.make(render_mode="rgb_array" if on_frame else None)
    try:
        for index in range(episodes):
            obs, _ = env.reset(seed=derived_seed(seed, EVALUATION, index))
            policy.reset()
            total, cost, violations, length, done = 0.0, 0.0, 0, 0, False
            while not done:
                if on_frame:
                    on_frame(np.asarray(env.render()))
                obs, reward, terminated, truncated, info = env.step(policy.act(obs))
                total += float(reward)
                cost += float(info["cost"])
                violations += int(info["violations"])
                length += int(info["simulator_steps"])
                done = terminated or truncated
            yield EvaluationEpisode(simulator_steps, index, total, cost, violations, length)
    finally:
        env.close()


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
    """Evaluate `policy` now and append the episodes to the run's; its time does not count as training."""
    with env.clock_stopped():
        episodes, seed = run.settings.eval_episodes, run.settings.seed
        for row in evaluate(policy, env.safeloop_spec, episodes, seed, env.simulator_steps):
            run.evaluations.append(row)
