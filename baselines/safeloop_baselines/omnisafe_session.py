"""One run of an algorithm of OmniSafe: its checkpoints, and what is done between its episodes and its epochs."""

from __future__ import annotations

import sys
from typing import Any

from safeloop.recording.recorder import Recorder
from safeloop.recording.run import Run
from safeloop_baselines import session
from safeloop_baselines.frozen_policy import snapshot
from safeloop_baselines.omnisafe_state import at_borders, beginning_at, capture, restore


class Session(session.Session):
    """A run that begins, or goes on from its checkpoint.

    Checkpoints are written at an epoch's border, off-policy (with all data) at most each `session.SAVE_EVERY` seconds.
    """

    def __init__(self, name: str, env: Recorder, run: Run):
        """Take up the run where its checkpoint left it. Raises `UsageError` for one that has the policy alone."""
        super().__init__(name, env, run)
        self.begun = self.before["epoch"] if self.before else 0
        """The epoch that the run begins or goes on with."""
        self.agent: Any = None
        self.on_policy = True

    def learn(self, agent: Any) -> None:
        """Have an algorithm of OmniSafe, new and of this run's settings, learn to the end."""
        self.use_threads()  # OmniSafe sets 1 where it trains on a GPU
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

    def at_border(self, epoch: int) -> None:
        """Write a checkpoint before an epoch's first decision, where the run can go on from there."""
        if epoch == self.begun:
            return
        if self.on_policy or self.save_is_due:  # on-policy an epoch begins with a reset
            self.save(**self.resumable(capture(self.agent)), epoch=epoch)

    def end(self) -> None:
        """Save the policy, and evaluate it."""
        self.save()
        self.evaluate_at_end()
