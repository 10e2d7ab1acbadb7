"""One run of an algorithm of OmniSafe: its checkpoints, and what is done between its episodes and its epochs."""

from __future__ import annotations

import sys
import time
from typing import Any

import torch

from safeloop.errors import UsageError
from safeloop.recording.recorder import Recorder
from safeloop.recording.run import Run
from safeloop.training.evaluation import evaluate_when_due, record_evaluation
from safeloop_baselines.frozen_policy import FrozenPolicy, snapshot
from safeloop_baselines.omnisafe_state import at_borders, beginning_at, capture, restore

SAVE_EVERY = 60.0
"""Seconds between checkpoints of off-policy algorithms, which hold all data."""


class Session:
    """A run that begins, or goes on from its checkpoint.

    Checkpoints are written at an epoch's border, off-policy (with all data) at most each `SAVE_EVERY` seconds.
    """

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
        self.begun = self.before["epoch"] if self.before else 0
        """The epoch that the run begins or goes on with."""
        self.saved_at = time.monotonic()
        self.agent: Any = None
        self.on_policy = True

    def learn(self, agent: Any) -> None:
        """Have an algorithm of OmniSafe, new and of this run's settings, learn to the end."""
        torch.set_num_threads(self.run.settings.threads)  # OmniSafe sets 1 where it trains on a GPU
        self.agent, self.on_policy = agent, not hasattr(agent, "_samples_per_epoch")
        at_borders(agent, self.begun, 1 if self.on_policy else agent._samples_per_epoch, self.at_border)
        if self.before is not None:
            restore(agent, self.before["learner"])
            self.before = None  # off-policy it holds all data
        with beginning_at(sys.modules[type(agent).learn.__module__], self.begun):
            agent.learn()

    def policy(self) -> dict[str, Any]:
        """Return the present policy (`FrozenPolicy`)."""
        normaliser = self.agent._env.save().get("obs_normalizer")
        return snapshot(self.agent._actor_critic.actor, normaliser, self.env.action_space)  # type: ignore[arg-type]

    def save(self, **more: Any) -> None:
        """Write the policy into the checkpoint, with more."""
        steps = self.env.simulator_steps
        self.run.save_checkpoint({"algo": self.name, "simulator_steps": steps, **self.policy(), **more})

    def at_border(self, epoch: int) -> None:
        """Write a checkpoint before an epoch's first decision, where the run can go on from there."""
        if epoch == self.begun:
            return
        due = time.monotonic() - self.saved_at >= SAVE_EVERY and self.env.between_episodes
        if self.on_policy or due:  # on-policy an epoch begins with a reset
            state = capture(self.agent)
            self.save(learner=state, recorder=self.env.state_dict(), epoch=epoch, checked=self.checked)
            self.saved_at = time.monotonic()

    def between_episodes(self) -> None:
        """Evaluate where that is due."""
        if self.env.simulator_steps < self.run.settings.steps:
            evaluate_when_due(self.env, self.run, self.checked, lambda: FrozenPolicy(self.policy()))
        self.checked = self.env.simulator_steps

    def end(self) -> None:
        """Save the policy, and evaluate it."""
        self.save()
        record_evaluation(self.env, self.run, FrozenPolicy(self.policy()))
