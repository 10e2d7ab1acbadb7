"""The recorder of training episodes, a wrapper of the environment that is the same for every algorithm."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import fmean
from typing import Any

import gymnasium

from safeloop.cmdp import EnvSpec, complete
from safeloop.recording.rows import Diagnostic, Episode
from safeloop.recording.run import Run
from safeloop.recording.tally import Tally
from safeloop.rng import TRAINING, derived_seed


class Recorder(gymnasium.Wrapper):
    """A wrapper that records and seeds the true episodes of an environment, in the same way for every algorithm.

    Episode i of a run starts from `derived_seed(seed, TRAINING, i)` whatever the algorithm, so that all algorithms of a
    comparison have the same sequence of episodes and a resumed run has the rest of it. For that reason a `seed` given
    to `reset` is ignored. In a run without resets an episode begins in the full state that the last one ended in.

    The steps of an episode that the algorithm abandons by an early `reset` count, but its row is not written, since its
    return is not that of a whole episode.
    """

    def __init__(self, env: gymnasium.Env, spec: EnvSpec, run: Run):
        super().__init__(env)
        self.safeloop_spec, self.run = spec, run
        self.after_episode: Callable[[Episode], None] = lambda episode: None
        """Called after each finished episode's row is written."""
        self.episode, self.simulator_steps, self.decisions, self.wall_seconds = 0, 0, 0, 0.0
        self.ended_in: list[float] | None = None
        """The full state at the end of the last episode, in a run without resets."""
        self._clock = time.perf_counter()
        self._begin()

    @property
    def between_episodes(self) -> bool:
        """True where no decision of an episode was made yet."""
        return self._tally.length == 0

    def _begin(self) -> None:
        self._tally = Tally()
        self._diagnostics: dict[str, list[float]] = {}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Start the next episode (`seed` is ignored, see above)."""
        self._begin()
        if self.ended_in is not None:
            options = {**(options or {}), "state": self.ended_in}
        return self.env.reset(seed=derived_seed(self.run.settings.seed, TRAINING, self.episode), options=options)

    def step(self, action: Any) -> Any:
        """Step the environment and record. Raises `ValueError` where `info` lacks a key that `cmdp` requires."""
        obs, reward, terminated, truncated, info = self.env.step(action)
        info = complete(info, self.safeloop_spec)
        self._tally.add(float(reward), info)
        self.simulator_steps += int(info["simulator_steps"])
        self.decisions += 1
        for name, value in info.get("diagnostics", {}).items():
            self._diagnostics.setdefault(name, []).append(float(value))
        if terminated or truncated:
            self._finish()
        return obs, reward, terminated, truncated, info

    def _finish(self) -> None:
        self._tick()
        total = self._tally
        if not math.isfinite(total.return_ + total.cost_return):
            raise ValueError(
                f"episode {self.episode} is not finite (return {total.return_}, cost return {total.cost_return}): "
                "the simulator diverged"
            )
        row = Episode(
            self.episode, self.simulator_steps, self.decisions, wall_seconds=self.wall_seconds, **total.columns
        )
        for name, values in self._diagnostics.items():
            self.run.diagnostics.append(Diagnostic(self.simulator_steps, self.episode, name, fmean(values)))
        self.run.episodes.append(row)
        if self.run.settings.reset_free:
            self.ended_in = self.env.unwrapped.get_state().tolist()  # type: ignore[attr-defined]
        cost = {} if self.run.settings.budget is None else {"cost_return": total.cost_return}
        self.run.report({"steps": self.simulator_steps, "return": total.return_, **cost})
        self.episode += 1
        self.after_episode(row)

    def _tick(self) -> None:
        now = time.perf_counter()
        self.wall_seconds += now - self._clock
        self._clock = now

    @contextmanager
    def clock_stopped(self) -> Iterator[None]:
        """Stop the clock of the training time within this context."""
        self._tick()
        try:
            yield
        finally:
            self._clock = time.perf_counter()

    def state_dict(self) -> dict[str, Any]:
        """Return the counters, to be restored between episodes."""
        self._tick()
        names = ("episode", "simulator_steps", "decisions", "wall_seconds", "ended_in")
        return {name: getattr(self, name) for name in names}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the counters of `state_dict`."""
        for name, value in state.items():
            setattr(self, name, value)
        self._clock = time.perf_counter()
