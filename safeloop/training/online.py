"""The online training loop, shared by every agent of ours (CoRL 2021, Figure 1). The trainer owns the loop."""

from __future__ import annotations

from typing import Any

import numpy as np

from safeloop.protocols import Agent, Transition, needs_states
from safeloop.recording.recorder import Recorder
from safeloop.recording.rows import Diagnostic, Fit, PlanSummary
from safeloop.recording.run import Run
from safeloop.training.evaluation import evaluate_when_due

CHECKPOINT_EVERY = 200


def train(agent: Agent, env: Recorder, run: Run) -> None:
    """Train to the end of the episode that reaches `run.settings.steps` simulator steps; resume from a checkpoint.

    A checkpoint is written at the end of an episode, at least `CHECKPOINT_EVERY` decisions after the last. A resumed
    run removes the rows after its checkpoint, and ends as an uninterrupted one would.
    """
    saved, every = 0, run.settings.keep_every
    if run.has_checkpoint:
        state = run.load_checkpoint()
        agent.restore(state["agent"])
        env.load_state_dict(state["recorder"])
        saved = env.decisions
    run.drop_rows_after(env.simulator_steps)
    while env.simulator_steps < run.settings.steps:
        before = env.simulator_steps
        train_episode(agent, env, run)
        evaluate_when_due(env, run, before, lambda: agent.policy(run.settings.seed), getattr(agent, "alone", None))
        keep = every and env.simulator_steps // every > before // every
        if env.decisions - saved >= CHECKPOINT_EVERY or env.simulator_steps >= run.settings.steps or keep:
            run.save_checkpoint({"agent": agent.checkpoint(), "recorder": env.state_dict()})
            saved = env.decisions
        if keep:
            run.keep_checkpoint(env.simulator_steps // every * every)


def train_episode(agent: Agent, env: Recorder, run: Run) -> None:
    """Train for one episode: act, observe, update."""
    obs = np.array(env.reset()[0])
    t0, done = True, False
    while not done:
        if needs_states(agent):
            agent.see(env.unwrapped.get_state()[None])  # type: ignore[attr-defined]
        action = agent.act(obs, t0)
        found, reward, terminated, truncated, info = env.step(action)
        next_obs = np.array(found)  # an environment may write the next one into the same array
        agent.observe(Transition(obs, action, float(reward), terminated, truncated, info, next_obs))
        obs, t0, done = next_obs, False, terminated or truncated
        if fitted := agent.update():
            run.fits.append(Fit(env.simulator_steps, *fitted))
    for name, mean in getattr(agent, "measured", dict)().items():
        run.diagnostics.append(Diagnostic(env.simulator_steps, env.episode - 1, name, mean))
    numbers: Any = agent.diagnostics()
    if numbers:
        run.plans.append(PlanSummary(env.simulator_steps, **numbers))
