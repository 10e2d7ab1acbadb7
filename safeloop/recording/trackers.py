"""Mirror a run's rows to trackers, TensorBoard and Weights & Biases, as they are appended to its tables.

The tables remain the record. A tracker changes no result and stops no run: where it fails, one notice is given and the
run goes on without it. Its package is imported when the first row comes, and only where it was asked for.
"""

from __future__ import annotations

import math
import os
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from statistics import fmean
from typing import Any, Protocol

import numpy as np

from safeloop.errors import UsageError
from safeloop.recording.rows import AGENT, Diagnostic, Episode, EvaluationEpisode, Fit, PlanSummary, Update
from safeloop.recording.run import Run
from safeloop.recording.tally import UNKNOWN
from safeloop.texts import one_line, short

GROUPS = {Episode: "episode", EvaluationEpisode: "evaluation", Fit: "fit", PlanSummary: "plan", Update: "update"}
"""The first part of the names of a row's numbers; diagnostics have their own names."""
LEFT_OUT = ("simulator_steps", "episode", "decisions", "wall_seconds", "control", "costs")
OF_COSTS = ("cost_return", "violations", "longest_run")
"""Columns that mean nothing in environments without a cost."""
FLUSH_SECONDS = 5
"""Seconds after which TensorBoard's events are in their file."""


class Tracker(Protocol):
    """A place that numbers are mirrored to."""

    def add(self, values: Mapping[str, float], step: int) -> None:
        """Add numbers by name, at so many simulator steps; steps never decrease."""
        ...

    def close(self) -> None:
        """Write what is left."""
        ...


class TensorBoard:
    """Event files in `RUN/tensorboard/`. What an earlier process wrote from the first step on is hidden."""

    def __init__(self, run: Run, step: int):
        from torch.utils.tensorboard import SummaryWriter

        folder = str(run.path / "tensorboard")
        self.writer: Any = SummaryWriter(folder, purge_step=step, flush_secs=FLUSH_SECONDS)

    def add(self, values: Mapping[str, float], step: int) -> None:
        """Add numbers by name."""
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Write what is left."""
        self.writer.close()


class WeightsAndBiases:
    """A run of Weights & Biases, with its files in `RUN/wandb/`; the user's own settings (`WANDB_MODE`, ...) hold.

    The same run keeps its id, so that a resumed one goes on with it; steps that it has already are left out there.
    """

    def __init__(self, run: Run, step: int):
        import wandb

        settings = run.settings
        self.run: Any = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "safeloop"), id=self._id(run.path), resume="allow",
            dir=str(run.path), group=settings.folder, name=f"{settings.name} seed {settings.seed}",
            config=asdict(settings), settings=wandb.Settings(console="off", silent=True),
        )  # fmt: skip

    @staticmethod
    def _id(path: Path) -> str:
        """Return the run's id, which is made once."""
        file = path / "wandb" / "id.txt"
        if not file.exists():
            file.parent.mkdir(exist_ok=True)
            file.write_text(os.urandom(8).hex())
        return file.read_text().strip()

    def add(self, values: Mapping[str, float], step: int) -> None:
        """Add numbers by name."""
        self.run.log(dict(values), step=step)

    def close(self) -> None:
        """Write what is left."""
        self.run.finish()


TRACKERS: dict[str, Callable[[Run, int], Tracker]] = {"tensorboard": TensorBoard, "wandb": WeightsAndBiases}
"""Trackers by name, which is that of the package and of the extra to install too."""


def checked(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names of trackers, each once. Raises `UsageError` for one that is unknown or not installed."""
    if isinstance(names, str):
        raise UsageError(f"track={names!r}: expected a list of names, [{names!r}]")
    for name in names:
        if name not in TRACKERS:
            raise UsageError(f"--track {short(name)}: expected {' or '.join(TRACKERS)}")
        if find_spec(name) is None:
            raise UsageError(f"--track {name}: it is not installed: pip install 'safeloop[{name}]'")
    return tuple(dict.fromkeys(names))


@contextmanager
def mirrored(run: Run, names: Sequence[str], notify: Callable[[str], None]) -> Iterator[None]:
    """Mirror rows that are appended to the run's tables within the block; `notify` takes a line about a failure."""
    mirrors = [Mirror(run, name, notify) for name in names]

    def add(row: Any) -> None:
        for mirror in mirrors:
            mirror.add(row)

    for table in run.tables:
        table.appended = add
    try:
        yield
    finally:
        for mirror in mirrors:
            mirror.close()


class Mirror:
    """A run's rows in one tracker, which is opened with the first of them and given up where it fails."""

    def __init__(self, run: Run, name: str, notify: Callable[[str], None]):
        self.run, self.name, self.notify = run, name, notify
        self.tracker: Tracker | None = None
        self.failed = False
        self.evaluation: list[EvaluationEpisode] = []
        """The episodes of the evaluation under way."""

    def add(self, row: Any) -> None:
        """Mirror a row; of an evaluation the means, with its last episode."""
        if self.failed:
            return
        with self._harmless():
            values = self._means(row) if isinstance(row, EvaluationEpisode) else self._numbers(row)
            if not values:
                return
            if self.tracker is None:
                self.tracker = TRACKERS[self.name](self.run, row.simulator_steps)
            self.tracker.add(values, row.simulator_steps)

    def close(self) -> None:
        """Close the tracker."""
        if self.tracker is not None and not self.failed:
            with self._harmless():
                self.tracker.close()

    @contextmanager
    def _harmless(self) -> Iterator[None]:
        """Give the tracker up where it fails, and leave global random numbers as they were."""
        import torch

        states = random.getstate(), np.random.get_state(), torch.get_rng_state()
        try:
            yield
        except Exception as error:  # whatever a package of others does
            self.failed = True
            with suppress(OSError):
                self.notify(f"--track {self.name}: {one_line(f'{type(error).__name__}: {error}')}; left out from here")
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])
            torch.set_rng_state(states[2])

    def _means(self, row: EvaluationEpisode) -> dict[str, float]:
        """Return the means of an evaluation by name, where `row` is its last episode."""
        self.evaluation = [row] if row.episode == 0 else [*self.evaluation, row]
        if len(self.evaluation) < self.run.settings.eval_episodes:
            return {}
        each = [self._numbers(episode) for episode in self.evaluation]
        known = [name for name in each[0] if all(name in values for values in each)]
        return {name: fmean(values[name] for values in each) for name in known}

    def _numbers(self, row: Any) -> dict[str, float]:
        """Return the finite numbers of a row by name, `{"episode/return": 24.3}`."""
        if isinstance(row, Diagnostic):
            found = {f"diagnostic/{row.name}": row.mean}
        else:
            group = GROUPS[type(row)] if getattr(row, "control", AGENT) == AGENT else "evaluation of the policy alone"
            without = LEFT_OUT if self.run.settings.budget is not None else (*LEFT_OUT, *OF_COSTS)
            found = {f"{group}/{k.rstrip('_')}": v for k, v in asdict(row).items() if k not in without}
            found |= {f"{group}/cost of {name}": cost for name, cost in getattr(row, "costs", ())}
            if getattr(row, "longest_run", None) == UNKNOWN:
                found.pop(f"{group}/longest_run", None)
        return {name: float(value) for name, value in found.items() if math.isfinite(value)}
