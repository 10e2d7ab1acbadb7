"""The offline training loop: fit the models once, then the learner, both on the dataset alone (CoRL 2021, Alg. 2)."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

from safeloop.cmdp import EnvSpec
from safeloop.protocols import OfflineAgent
from safeloop.recording.rows import Fit, Update
from safeloop.recording.run import Run
from safeloop.training.evaluation import timed_evaluation

REPORT_EVERY, CHECKPOINT_EVERY = 1000, 10_000
"""Gradient steps between reports, and between checkpoints."""
MARGIN = 0.1
"""Share of the range of the dataset's returns by which mean values may leave it without a warning."""


def train(agent: OfflineAgent, spec: EnvSpec, run: Run) -> None:
    """Take `run.settings.steps` gradient steps of the learner; resume from the checkpoint where there is one.

    A resumed run removes the rows after its checkpoint, and ends as an uninterrupted one would. The environment is used
    in evaluations only.
    """
    settings, done, seconds = run.settings, 0, 0.0
    if run.has_checkpoint:
        state = run.load_checkpoint()
        agent.restore(state["agent"])
        done, seconds = state["steps"], state["seconds"]
    run.drop_rows_after(done if run.has_checkpoint else -1)
    warned = any(map(implausible, run.updates.read()))
    clock = time.perf_counter() - seconds
    run.report({"steps": done})
    if not run.has_checkpoint and (fitted := agent.fit()):
        run.fits.append(Fit(0, *fitted))
        run.save_checkpoint({"agent": agent.checkpoint(), "steps": 0, "seconds": time.perf_counter() - clock})
    while done < settings.steps:
        agent.update()
        done += 1
        last = done == settings.steps
        run.report({"steps": done, **(_value(agent) if done % 100 == 0 else {})})
        if done % REPORT_EVERY == 0 or last:
            row = Update(done, time.perf_counter() - clock, agent.value(), **getattr(agent, "measured", dict)())
            run.updates.append(row)
            if not warned and (warned := implausible(row)):
                run.notify(warning(row, settings.algo_settings))
        due = last or (settings.eval_every and done % settings.eval_every == 0)
        if due and settings.eval_episodes:
            before = time.perf_counter()
            timed_evaluation(agent.policy(settings.seed), spec, run, done)
            clock += time.perf_counter() - before
        if done % CHECKPOINT_EVERY == 0 or last:
            run.save_checkpoint({"agent": agent.checkpoint(), "steps": done, "seconds": time.perf_counter() - clock})


def _value(agent: OfflineAgent) -> dict[str, float]:
    """Return the mean value for the display; nothing where no value is learned."""
    value = agent.value()
    return {} if math.isnan(value) else {"value": value}


def implausible(row: Update) -> bool:
    """Return whether the mean value is none that the dataset's returns allow.

    Values begin near 0, so 0 belongs to the range. A policy that is better than the dataset can have values above it,
    but hardly in the mean over all of the dataset's states.
    """
    if math.isnan(row.data_return):  # nothing to compare with
        return False
    low, high = min(row.data_lowest, 0.0), max(row.data_highest, 0.0)
    margin = MARGIN * (high - low)
    return not low - margin <= row.value <= high + margin


def warning(row: Update, settings: Mapping[str, Any]) -> str:
    """Return the notice about an implausible value, with a setting that is there to prevent it."""
    remedies = (name for name in ("layer_norm", "clamp_targets") if settings.get(name) is False)
    remedy = next((f": try --set {name}=true" for name in remedies), "")
    return (
        f"after {row.simulator_steps:,} gradient steps the mean value is {row.value:.4g}, while the returns of the "
        f"dataset that values stand for are {row.data_lowest:.4g} to {row.data_highest:.4g}{remedy}"
    )
