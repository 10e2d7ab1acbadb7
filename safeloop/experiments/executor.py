"""Train runs side by side: one loop over executors, which start runs here or elsewhere.

The code that trains (`worker.py`) does not know which executor started it.
"""

from __future__ import annotations

import os
import shlex
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from safeloop.experiments.progress import Quiet
from safeloop.files import disk_fault
from safeloop.recording.run import Run
from safeloop.registry import find_algorithm, whole_steps
from safeloop.settings import MOST_THREADS, check_whole

STOP_SECONDS = 10.0
"""Time that a run has to end by itself when it is told to stop."""


@dataclass(frozen=True)
class Job:
    """One run that is to be trained."""

    run: Run
    threads: int
    fresh: bool
    track: tuple[str, ...] = ()
    """Trackers that its rows are mirrored to (`recording/trackers.py`)."""
    one_of_tasks: bool = False
    """True beside runs of other environments: its name has the environment then."""

    @property
    def name(self) -> str:
        """`cpo seed 0`, or `PointGoal1 cpo seed 0`: the only one of its name among those trained side by side."""
        settings = self.run.settings
        return f"{settings.env} " * self.one_of_tasks + f"{settings.name} seed {settings.seed}"

    @property
    def steps(self) -> int:
        """Simulator steps that it takes, or gradient steps of a dataset."""
        return whole_steps(self.run.settings)


@dataclass
class Work:
    """The runs that `prepare` found to train, and notices to the user about the others."""

    jobs: list[Job] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Failure:
    """A run that did not finish. `refused`: it could not even be tried, because of bad input."""

    job: Job
    reason: str
    refused: bool = False


class Stopped(KeyboardInterrupt):
    """The user stopped the runs; the message says how to go on."""

    comparison: Any = None
    """The comparison of the runs that exist (`api.Comparison`), where it could be drawn."""


def failed(job: Job, reason: str) -> Failure:
    """Return the failure of a run, and note it in the run's status."""
    with suppress(OSError):
        job.run.set_status("failed", reason)
    return Failure(job, reason)


class Running(Protocol):
    """A run that an executor has started."""

    job: Job

    def messages(self) -> Iterator[dict[str, Any]]:
        """Yield the news that have arrived (`progress.Track.update`)."""
        ...

    def ended(self) -> bool:
        """Return whether nothing more will come."""
        ...

    def failure(self) -> Failure | None:
        """Return why the run did not finish, or None where it did. It has ended."""
        ...

    def stop(self) -> None:
        """Ask the run to end, so that it can be resumed. This returns at once."""
        ...

    def kill(self) -> None:
        """End the run, and wait until it has ended."""
        ...

    def close(self) -> None:
        """Let go of what was held for the run, which has ended."""
        ...


class Executor(Protocol):
    """Starts runs in some place: processes here, a cluster."""

    limit: int
    """The number of runs that are under way at once."""

    def start(self, job: Job) -> Running:
        """Start a run. Raises `OSError` where that can't be."""
        ...

    def wait(self, seconds: float) -> None:
        """Return when there may be news, at the latest after so many seconds."""
        ...

    def close(self) -> None:
        """Let go of everything; no run is under way."""
        ...


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def check_jobs(jobs: int | None) -> int:
    """Return the number of runs to train side by side: `jobs`, or one for each core. Raises `UsageError`."""
    return cores() if jobs is None else check_whole("--jobs", jobs, 1, MOST_THREADS)


def execute(work: Work, executor: Executor, display: Quiet) -> list[Failure]:
    """Train all, and close the executor. Raises `Stopped` when told to stop; all can be resumed then."""
    waiting, active, failures = list(work.jobs), list[Running](), list[Failure]()
    with _signals_interrupt(), display:
        try:
            for notice in work.notices:
                display.note(notice)
            while waiting or active:
                while waiting and len(active) < executor.limit:
                    job = waiting.pop(0)
                    try:
                        active.append(executor.start(job))
                    except OSError as error:
                        reason = disk_fault(error, job.run.path) or f"{job.run.path} can't be started: {error}"
                        failures.append(Failure(job, reason, refused=True))
                        continue
                    display.begin(job.name, job.steps, job.fresh)
                executor.wait(0.1)
                display.tick()
                for running in list(active):
                    ended = running.ended()  # before the last messages are read
                    for message in running.messages():
                        if "under_way" in message:  # the others tell how it ended
                            display.update(running.job.name, message)
                        if "notice" in message:
                            display.note(f"{running.job.name}: {message['notice']}")
                    if ended:
                        failure = running.failure()
                        failures += [failure] if failure else []
                        display.end(running.job.name, f"failed: {failure.reason}" if failure else "finished")
                        running.close()
                        active.remove(running)
        except KeyboardInterrupt:
            unfinished = [running.job.run for running in active] + [job.run for job in waiting]
            raise Stopped(_how_to_go_on(unfinished)) from None
        finally:
            _stop(active)
            executor.close()
    return failures


def _how_to_go_on(unfinished: Sequence[Run]) -> str:
    commands = " ; ".join(f"safeloop resume {shlex.quote(str(run.path))}" for run in unfinished)
    anew = dict.fromkeys(
        run.settings.algo for run in unfinished if not find_algorithm(run.settings.algo).info.resumable
    )
    return f"stopped; to continue: {commands}" + (f" ({', '.join(anew)}: from the start)" if anew else "")


def _stop(active: Sequence[Running]) -> None:
    for running in active:
        running.stop()
    deadline = time.monotonic() + STOP_SECONDS
    while time.monotonic() < deadline and not all(running.ended() for running in active):
        time.sleep(0.02)
    for running in active:
        if not running.ended():
            running.kill()
        note_interruption(running.job.run)
        running.close()


def note_interruption(run: Run) -> None:
    """Say in a run's status that it was stopped, where it was; its process has ended."""
    with suppress(OSError, ValueError, KeyError, TypeError):  # a status that is lost or damaged stays so
        if run.status["state"] == "running":
            run.set_status("interrupted")


@contextmanager
def _signals_interrupt() -> Iterator[None]:
    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [n for n in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(n) is not signal.SIG_IGN]
    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
