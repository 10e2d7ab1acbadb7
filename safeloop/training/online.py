"""The online training loop, shared by every agent of ours (CoRL 2021, Figure 1). The trainer owns the loop."""

from __future__ import annotations

import math
from statistics import fmean
from typing import TYPE_CHECKING, Any

from safeloop.planning.search import Plan
from safeloop.recording.recorder import Recorder
from safeloop.recording.rows import Fit, PlanSummary
from safeloop.recording.run import Run
from safeloop.training.evaluation import evaluate_when_due

if TYPE_CHECKING:
    from safeloop.agents.online import Agent

CHECKPOINT_EVERY = 200


def train(agent: Agent[Any], env: Recorder, run: Run) -> None:
    """Train until `run.settings.steps` simulator steps, to the end of that episode; resume where a checkpoint is.

    A checkpoint is written at an episode's end, `CHECKPOINT_EVERY` decisions after the last at the earliest. A resumed
    run drops the rows that its checkpoint has not seen, and ends as an uninterrupted one would.
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
        agent.after_episode()
        evaluate_when_due(env, run, before, lambda: agent.policy(run.settings.seed))
        keep = every and env.simulator_steps // every > before // every
        if env.decisions - saved >= CHECKPOINT_EVERY or env.simulator_steps >= run.settings.steps or keep:
            run.save_checkpoint({"agent": agent.checkpoint(), "recorder": env.state_dict()})
            saved = env.decisions
        if keep:
            run.keep_checkpoint(env.simulator_steps // every * every)


def train_episode(agent: Agent[Any], env: Recorder, run: Run) -> None:
    """One episode: act, store, learn, and fit the ensemble every `fit_every` decisions."""
    settings = agent.settings
    obs, _ = env.reset()
    plans: list[Plan] = []
    errors: list[float] = []
    t0, done = True, False
    while not done:
        if env.decisions < settings.warmup:
            action = agent.random_action()
        else:
            action, plan = agent.act(obs, t0)
            plans += [plan] if plan else []
        next_obs, reward, terminated, truncated, info = env.step(action)
        agent.replay.add(obs, action, float(reward), float(info["cost"]), terminated, bool(info.get("event")), next_obs)
        obs, t0, done = next_obs, False, terminated or truncated
        if env.decisions >= settings.warmup:
            agent.update()
            if agent.fit_every and (env.decisions - settings.warmup) % agent.fit_every == 0:
                errors += agent.model_errors(len(plans) - len(errors))
                run.fits.append(Fit(env.simulator_steps, *agent.fit()))
    if plans:
        errors += agent.model_errors(len(plans) - len(errors))
        known = (env.simulator_steps, agent.settings.min_feasible, errors, agent.value_error(len(plans)))
        run.plans.append(summarise(plans, *known))


def summarise(
    plans: list[Plan], simulator_steps: int, min_feasible: int, errors: list[float], value_error: float
) -> PlanSummary:
    """Means over an episode's planned decisions; `errors` are the model's squared ones."""
    return PlanSummary(
        simulator_steps,
        len(plans),
        best_return=fmean(p.best_return.item() for p in plans),
        lowest_cost=fmean(p.lowest_cost.item() for p in plans),
        feasible=fmean(p.feasible.item() for p in plans),
        unsafe=fmean(p.feasible.item() < min_feasible for p in plans),
        divergence=fmean(p.divergence.item() for p in plans),
        usage=fmean(p.usage.item() for p in plans),
        model_error=math.sqrt(fmean(errors)),
        value_error=value_error,
    )
