"""The time that a trained policy takes to decide, in real episodes of its run's environment."""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from safeloop.activity import doing
from safeloop.experiments.trained import load, threads
from safeloop.experiments.wrapped import Wrapped
from safeloop.recording import reader
from safeloop.registry import find_env
from safeloop.settings import MANY, MOST_THREADS, check_whole
from safeloop.training.evaluation import consecutive

if TYPE_CHECKING:
    from safeloop.agents.policies import Checked

DECISIONS = 200
"""Decisions that are timed, where nothing else is asked for."""
UNCOUNTED = 5
"""Decisions before those that are timed: the first ones prepare what later ones use again."""
PERCENTILES = {"median": 50, "p95": 95, "p99": 99}


@dataclass(frozen=True)
class Latency:
    """Times of a trained policy's decisions, one episode at a time."""

    run: Path
    name: str
    """The run in a few words: `"PointGoal1, safeloop seed 0"`."""
    device: str
    threads: int
    milliseconds: list[float]
    """Of each decision, in order."""
    decision_seconds: float | None = None
    """Seconds of a decision in the environment, where it says so (`metadata["decision_seconds"]`)."""

    @property
    def percentiles(self) -> dict[str, float]:
        """Median, 95th and 99th percentile, in milliseconds: `median`, `p95`, `p99`."""
        return {name: float(np.percentile(self.milliseconds, share)) for name, share in PERCENTILES.items()}

    @property
    def rate(self) -> float:
        """The control rate in Hz at which 99 of 100 decisions are in time: the inverse of the 99th percentile."""
        return 1e3 / self.percentiles["p99"]

    @property
    def in_time(self) -> bool | None:
        """True where this rate is at least the environment's; None where that is not known."""
        return None if self.decision_seconds is None else self.rate * self.decision_seconds >= 1

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "run": str(self.run), "device": self.device, "threads": self.threads, "decisions": len(self.milliseconds),
            "milliseconds": self.percentiles, "rate": self.rate, "decision_seconds": self.decision_seconds,
            "in_time": self.in_time,
        }  # fmt: skip

    @property
    def text(self) -> str:
        """A few lines for a terminal."""
        found, threads = self.percentiles, f"{self.threads} thread{'s' * (self.threads > 1)}"
        lines = [
            f"{self.name}: {len(self.milliseconds):,} decisions, {threads}, {self.device}",
            f"  median           {found['median']:10.2f} ms",
            f"  95th percentile  {found['p95']:10.2f} ms",
            f"  99th percentile  {found['p99']:10.2f} ms",
            f"The 99th percentile allows a control rate of {self.rate:.4g} Hz.",
        ]
        if self.decision_seconds is not None:
            needed = f"{1e3 * self.decision_seconds:.4g} ms ({1 / self.decision_seconds:.4g} Hz)"
            verdict = "in time for it" if self.in_time else "too slow for it"
            lines.append(f"A decision of the environment lasts {needed}: this policy is {verdict}.")
        return "\n".join(lines)


class Timed(Wrapped):
    """A policy whose decisions are timed."""

    def __init__(self, policy: Checked):
        super().__init__(policy)
        self.milliseconds = list[float]()

    def act(self, obs: np.ndarray) -> np.ndarray:
        """Return the policy's actions `[B, A]` for `obs [B, S]`."""
        begun = time.perf_counter()
        action = super().act(obs)
        self.milliseconds.append(1e3 * (time.perf_counter() - begun))
        return action


def latency(path: str | Path, decisions: int = DECISIONS, number_of_threads: int = 1) -> Latency:
    """Return the time of each of so many decisions of the run at `path`, as its policy acts in evaluation.

    The policy, with its planner where it has one, drives one episode after the other of the run's environment, those
    of an evaluation, so that its memory and the planner's warm starts are real. The first few decisions are not
    counted. Torch has `number_of_threads`, and the device is the run's. Raises `UsageError` where the run can't be
    loaded or a number is out of range.
    """
    decisions = check_whole("--decisions", decisions, 1, MANY)
    number_of_threads = check_whole("--threads", number_of_threads, 1, MOST_THREADS)
    run = reader.open_run(path)
    settings, wanted = run.settings, decisions + UNCOUNTED
    with threads(number_of_threads), doing("timing decisions", wanted, "decisions") as activity:
        timed, spec = Timed(load(path)), find_env(settings.env, settings.env_options)
        env = spec.make()
        try:
            for _ in islice(consecutive(timed, spec, env, settings.seed), wanted):
                activity.done += 1
        finally:
            env.close()
    name, seconds = f"{settings.env}, {settings.name} seed {settings.seed}", env.metadata.get("decision_seconds")
    return Latency(run.path, name, settings.device, number_of_threads, timed.milliseconds[UNCOUNTED:], seconds)
