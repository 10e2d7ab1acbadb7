"""One run of an algorithm of stable-baselines3: its training loop, and its checkpoints."""

from __future__ import annotations

from typing import Any

from safeloop.recording.recorder import Recorder
from safeloop.recording.rows import Episode
from safeloop.recording.run import Run
from safeloop_baselines import session
from safeloop_baselines.sb3_bridge import new_model
from safeloop_baselines.sb3_policy import snapshot
from safeloop_baselines.sb3_settings import Sb3Settings
from safeloop_baselines.sb3_state import capture, restore


class Session(session.Session):
    """A run that begins, or goes on from its checkpoint.

    The loop is that of the library's `learn`, around its own `collect_rollouts` and `train`. Here it ends with a whole
    episode, and can begin where an earlier process stopped. Checkpoints hold all data and are written between episodes,
    at most each `session.SAVE_EVERY` seconds.
    """

    def __init__(self, name: str, env: Recorder, run: Run):
        """Take up the run where its checkpoint left it. Raises `UsageError` for one that has the policy alone."""
        super().__init__(name, env, run)
        self.model: Any = None
        self.ended = env.simulator_steps
        """Simulator steps at the end of the last episode."""
        env.after_episode = self._after_episode

    def _after_episode(self, episode: Episode) -> None:
        self.ended = episode.simulator_steps

    def learn(self, name: str, settings: Sb3Settings) -> None:
        """Have an algorithm of the library, by its class's name, learn to the end."""
        self.use_threads()
        self.model = new_model(name, settings, self.env, self.run, self.between_episodes)
        if self.before is not None:
            restore(self.model, self.before["learner"])
            self.before = None  # it holds all data
        if hasattr(self.model, "replay_buffer"):
            self._learn_off_policy()
        else:
            self._learn_on_policy()

    def _learn_off_policy(self) -> None:
        """Collect and update until an episode ends at the steps asked for, or after them."""
        model, callback = self.model, self.model._init_callback(None)
        while self.ended < self.run.settings.steps:
            model.collect_rollouts(
                model.env,
                callback,
                model.train_freq,
                model.replay_buffer,
                model.action_noise,
                model.learning_starts,
            )
            if model.num_timesteps > model.learning_starts:
                model.train(model.gradient_steps, model.batch_size)
            self._save_if_due()

    def _learn_on_policy(self) -> None:
        """Collect rollouts of `n_steps` decisions and update, until an episode ends at the steps asked for or after.

        An update needs a whole rollout: nothing is learned from one that the run's end cuts.
        """
        model, rollout, steps = self.model, self.model.rollout_buffer, self.run.settings.steps

        def goes_on(*_: Any) -> bool:  # asked before a decision is added
            return self.ended < steps or rollout.pos + 1 == rollout.buffer_size

        def added() -> None:
            if not rollout.full:  # else it is learned from first
                self._save_if_due()

        rollout.added, callback = added, model._init_callback(goes_on)
        while self.ended < steps:
            if model.collect_rollouts(model.env, callback, rollout, model.n_steps - rollout.kept):
                model.train()
                self._save_if_due()

    def _save_if_due(self) -> None:
        if self.save_is_due:
            self._save()

    def _save(self) -> None:
        self.save(**self.resumable(capture(self.model)))

    def policy(self) -> dict[str, Any]:
        """Return the present policy (`FrozenPolicy`)."""
        return snapshot(self.model)

    def end(self) -> None:
        """Save everything, so that a run which is stopped while it is evaluated can go on with that, and evaluate.

        A run too short for a single update says so.
        """
        self._save()
        if self.model._n_updates == 0:
            first = "n_steps" if hasattr(self.model, "n_steps") else "learning_starts"
            self.run.notify(
                f"{self.name} learned nothing: its first update is after {first}={getattr(self.model, first):,} "
                f"decisions, and this run had {self.model.num_timesteps:,}. Train for longer, or --set {first}=..."
            )
        self.evaluate_at_end()
