"""Train runs side by side, each in a process of its own (`worker.py`), and end them cleanly when told to."""

from __future__ import annotations

import json
import os
import selectors
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from safeloop.experiments.progress import Quiet
from safeloop.files import append, disk_fault
from safeloop.recording.run import Run
from safeloop.registry import find_algorithm, whole_steps
from safeloop.settings import MOST_THREADS, check_whole

ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": str(2**30), "MALLOC_TRIM_THRESHOLD_": str(2**31)}
"""glibc keeps freed memory, where it would otherwise fault in every page of every large tensor again."""

STOP_SECONDS = 10.0
"""Time that a worker has to end by itself when it is told to stop."""


@dataclass(frozen=True)
class Job:
    """One run that is to be trained."""

    run: Run
    threads: int
    fresh: bool

    @property
    def name(self) -> str:
        """`cpo seed 0`."""
        return f"{self.run.settings.name} seed {self.run.settings.seed}"

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


class _Child:
    """One worker process and the pipe that its progress comes through. Raises `OSError` where it can't be started."""

    def __init__(self, job: Job):
        self.job, self.buffer, self.message = job, b"", {}  # type: ignore[var-annotated]
        self.pipe, report = os.pipe()
        leash, self.leash = os.pipe()
        os.set_blocking(self.pipe, False)
        threads = str(job.threads)
        names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
        command = [
            sys.executable, "-m", "safeloop.experiments.worker", str(job.run.path), "--threads", threads,
            "--report", str(report), "--leash", str(leash),
        ]  # fmt: skip
        began = f"{time.strftime('%Y-%m-%d %H:%M:%S')} started with {threads} thread(s)\n"
        try:
            append(job.run.path / "log.txt", began.encode())
            with open(job.run.path / "log.txt", "a") as log:
                self.process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=(report, leash),
                    env={**os.environ, **ALLOCATOR, **dict.fromkeys(names, threads)}, start_new_session=True,
                )  # fmt: skip
        except OSError:
            self.close()
            raise
        finally:
            os.close(report)
            os.close(leash)

    def messages(self) -> Iterator[dict[str, Any]]:
        """Messages that have arrived."""
        try:
            while chunk := os.read(self.pipe, 65536):
                self.buffer += chunk
        except BlockingIOError:
            pass
        *lines, self.buffer = self.buffer.split(b"\n")
        for line in lines:
            self.message = json.loads(line)
            yield self.message

    def failure(self) -> Failure | None:
        """Why the worker ended, or None where its run is finished."""
        code = self.process.wait()
        if code == 0:
            return None
        if "refused" in self.message:
            return Failure(self.job, self.message["refused"], refused=True)
        reason = self.message.get("failed")
        if reason is None:
            signal_name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            reason = f"the process was ended by {signal_name}"
            with suppress(OSError):
                self.job.run.set_status("failed", reason)
        return Failure(self.job, reason)

    def signal(self, number: int) -> None:
        """Signal the worker and whatever it started."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def note_interruption(self) -> None:
        """Say in the run's status that it was stopped, where it was; the worker has ended."""
        with suppress(OSError, ValueError, KeyError, TypeError):  # a status that is lost or damaged stays so
            if self.job.run.status["state"] == "running":
                self.job.run.set_status("interrupted")

    def close(self) -> None:
        """Let go of the pipes."""
        os.close(self.pipe)
        os.close(self.leash)


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def check_jobs(jobs: int | None) -> int:
    """How many runs to train side by side: `jobs`, or one for each core."""
    return cores() if jobs is None else check_whole("--jobs", jobs, 1, MOST_THREADS)


def execute(work: Work, limit: int, display: Quiet) -> list[Failure]:
    """Train all, at most `limit` at once. Raises `Stopped` when told to stop; all can be resumed then."""
    waiting, active, failures = list(work.jobs), list[_Child](), list[Failure]()
    with _signals_interrupt(), display, selectors.DefaultSelector() as selector:
        try:
            for notice in work.notices:
                display.note(notice)
            while waiting or active:
                while waiting and len(active) < limit:
                    job = waiting.pop(0)
                    try:
                        child = _Child(job)
                    except OSError as error:
                        reason = disk_fault(error, job.run.path) or f"{job.run.path} can't be started: {error}"
                        failures.append(Failure(job, reason, refused=True))
                        continue
                    active.append(child)
                    selector.register(child.pipe, selectors.EVENT_READ)
                    display.begin(child.job.name, child.job.steps, child.job.fresh)
                selector.select(timeout=0.1)
                display.tick()
                for child in list(active):
                    ended = child.process.poll() is not None
                    for message in child.messages():
                        if "under_way" in message:  # the others tell how it ended
                            display.update(child.job.name, message)
                    if ended:
                        failure = child.failure()
                        failures += [failure] if failure else []
                        display.end(child.job.name, f"failed: {failure.reason}" if failure else "finished")
                        selector.unregister(child.pipe)
                        child.close()
                        active.remove(child)
        except KeyboardInterrupt:
            unfinished = [child.job.run for child in active] + [job.run for job in waiting]
            raise Stopped(_how_to_go_on(unfinished)) from None
        finally:
            _stop(active)
    return failures


def _how_to_go_on(unfinished: Sequence[Run]) -> str:
    commands = " ; ".join(f"safeloop resume {shlex.quote(str(run.path))}" for run in unfinished)
    anew = dict.fromkeys(
        run.settings.algo for run in unfinished if not find_algorithm(run.settings.algo).info.resumable
    )
    return f"stopped; to continue: {commands}" + (f" ({', '.join(anew)}: from the start)" if anew else "")


def _stop(children: Sequence[_Child]) -> None:
    for child in children:
        child.signal(signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    for child in children:
        try:
            child.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            child.signal(signal.SIGKILL)
            child.process.wait()
        child.note_interruption()
        child.close()


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
