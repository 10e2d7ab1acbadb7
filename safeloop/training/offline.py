"""The offline training loop: fit the models once, then the learner, both on the dataset alone (CoRL 2021, Alg. 2)."""

from __future__ import annotations

import time

from safeloop.cmdp import EnvSpec
from safeloop.protocols import OfflineAgent
from safeloop.recording.rows import Fit, Update
from safeloop.recording.run import Run
from safeloop.training.evaluation import timed_evaluation

REPORT_EVERY, CHECKPOINT_EVERY = 1000, 10_000
"""Gradient steps between reports, and between checkpoints."""


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
    clock = time.perf_counter() - seconds
    run.report({"steps": done})
    if not run.has_checkpoint and (fitted := agent.fit()):
        run.fits.append(Fit(0, *fitted))
        run.save_checkpoint({"agent": agent.checkpoint(), "steps": 0, "seconds": time.perf_counter() - clock})
    while done < settings.steps:
        agent.update()
        done += 1
        last = done == settings.steps
        run.report({"steps": done, **({"value": agent.value()} if done % 100 == 0 else {})})
        if done % REPORT_EVERY == 0 or last:
            run.updates.append(Update(done, time.perf_counter() - clock, agent.value()))
        due = last or (settings.eval_every and done % settings.eval_every == 0)
        if due and settings.eval_episodes:
            before = time.perf_counter()
            timed_evaluation(agent.policy(settings.seed), spec, run, done)
            clock += time.perf_counter() - before
        if done % CHECKPOINT_EVERY == 0 or last:
            run.save_checkpoint({"agent": agent.checkpoint(), "steps": done, "seconds": time.perf_counter() - clock})
