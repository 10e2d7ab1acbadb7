"""One run of an algorithm of another package: its checkpoint, and what is done between its episodes and at its end."""

from __future__ import annotations

import time
from typing import Any

import torch

from safeloop.errors import UsageError
from safeloop.recording.recorder import Recorder
from safeloop.recording.run import Run
from safeloop.training.evaluation import evaluate_when_due, record_evaluation
from safeloop_baselines.frozen_policy import FrozenPolicy

SAVE_EVERY = 60.0
"""Seconds between checkpoints that hold all data."""


class Session:
    """A run that begins, or goes on from its checkpoint. Subclasses say what the policy is."""

    def __init__(self, name: str, env: Recorder, run: Run):
        """Take up the run where its checkpoint left it. Raises `UsageError` for one that has the policy alone."""
        self.name, self.env, self.run = name, env, run
        self.before = run.load_checkpoint() if run.has_checkpoint else None
        if self.before is not None:
            if "learner" not in self.before:
                raise UsageError(f"{run.checkpoint} has a policy alone, so training can't go on: start a new run")
            env.load_state_dict(self.before["recorder"])
        run.drop_rows_after(env.simulator_steps)
        self.checked = self.before["checked"] if self.before else 0
        """Simulator steps at the last look at the schedule of evaluations."""
        self.saved_at = time.monotonic()

    def policy(self) -> dict[str, Any]:
        """Return the present policy (`FrozenPolicy`)."""
        raise NotImplementedError

    def use_threads(self) -> None:
        """Give torch the run's threads. Call it after a package that sets a number of its own."""
        torch.set_num_threads(self.run.settings.threads)

    @property
    def save_is_due(self) -> bool:
        """True where the last checkpoint is `SAVE_EVERY` seconds old and the run can go on from here."""
        return self.env.between_episodes and time.monotonic() - self.saved_at >= SAVE_EVERY

    def save(self, **more: Any) -> None:
        """Write the policy into the checkpoint, with more."""
        steps = self.env.simulator_steps
        self.run.save_checkpoint({"algo": self.name, "simulator_steps": steps, **self.policy(), **more})
        self.saved_at = time.monotonic()

    def resumable(self, learner: dict[str, Any]) -> dict[str, Any]:
        """Return what a checkpoint has besides the policy so that the run can go on: the learner, and counters."""
        return {"learner": learner, "recorder": self.env.state_dict(), "checked": self.checked}

    def between_episodes(self) -> None:
        """Evaluate where that is due. Call it before the first decision of each episode."""
        if self.env.simulator_steps < self.run.settings.steps:
            evaluate_when_due(self.env, self.run, self.checked, lambda: FrozenPolicy(self.policy()))
        self.checked = self.env.simulator_steps

    def evaluate_at_end(self) -> None:
        """Evaluate the final policy."""
        record_evaluation(self.env, self.run, FrozenPolicy(self.policy()))
