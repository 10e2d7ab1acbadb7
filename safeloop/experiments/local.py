"""Train runs in processes of their own on this machine (`worker.py`)."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from safeloop.experiments.executor import Failure, Job, failed
from safeloop.files import append

ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": str(2**30), "MALLOC_TRIM_THRESHOLD_": str(2**31)}
"""glibc keeps freed memory, where it would otherwise fault in every page of every large tensor again."""
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


def worker(path: Path, threads: int, told: Sequence[str], descriptors: Sequence[int]) -> subprocess.Popen[bytes]:
    """Return a new process that trains the run at `path`, with more arguments `told` and open file descriptors.

    Raises `OSError` where it can't be started.
    """
    command = [sys.executable, "-m", "safeloop.experiments.worker", str(path), "--threads", str(threads), *told]
    began = f"{time.strftime('%Y-%m-%d %H:%M:%S')} started with {threads} thread(s)\n"
    append(path / "log.txt", began.encode())
    with open(path / "log.txt", "a") as log:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=descriptors, start_new_session=True,
            env={**os.environ, **ALLOCATOR, **dict.fromkeys(THREADS, str(threads))},
        )  # fmt: skip


def tracked(job: Job) -> list[str]:
    """Return the arguments of a worker that name a run's trackers."""
    return [f"--track={name}" for name in job.track]


def failure(job: Job, code: int, message: dict[str, Any]) -> Failure | None:
    """Return why a worker with this exit code and last message ended, or None where its run is finished."""
    if code == 0:
        return None
    if "refused" in message:
        return Failure(job, message["refused"], refused=True)
    if "failed" in message:  # its status says so
        return Failure(job, message["failed"])
    return failed(job, ended_by(code))


def ended_by(code: int) -> str:
    """Return why a worker ended that could not tell it, by its exit code."""
    return f"the process was ended by {signal.Signals(-code).name if code < 0 else f'exit code {code}'}"


class LocalExecutor:
    """Processes on this machine."""

    def __init__(self, limit: int):
        self.limit, self.selector = limit, selectors.DefaultSelector()

    def start(self, job: Job) -> Child:
        """Start a process. Raises `OSError` where that can't be."""
        return Child(job, self.selector)

    def wait(self, seconds: float) -> None:
        """Return when a process has news, at the latest after so many seconds."""
        self.selector.select(seconds)

    def close(self) -> None:
        """Let go of the selector."""
        self.selector.close()


class Child:
    """One worker process and the pipe that its progress comes through. Raises `OSError` where it can't be started."""

    def __init__(self, job: Job, selector: selectors.BaseSelector):
        self.job, self.selector, self.buffer, self.message = job, selector, b"", dict[str, Any]()
        self.pipe, report = os.pipe()
        leash, self.leash = os.pipe()
        os.set_blocking(self.pipe, False)
        try:
            told = ["--report", str(report), "--leash", str(leash)]
            self.process = worker(job.run.path, job.threads, [*told, *tracked(job)], (report, leash))
            self.selector.register(self.pipe, selectors.EVENT_READ)
        except OSError:
            self._let_go()
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
        """Return why the worker ended, or None where its run is finished."""
        return failure(self.job, self.process.wait(), self.message)

    def stop(self) -> None:
        """Ask the worker and whatever it started to end."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the worker and whatever it started."""
        self._signal(signal.SIGKILL)
        self.process.wait()

    def _signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def ended(self) -> bool:
        """Return whether the worker has ended."""
        return self.process.poll() is not None

    def close(self) -> None:
        """Let go of the pipes."""
        self.selector.unregister(self.pipe)
        self._let_go()

    def _let_go(self) -> None:
        os.close(self.pipe)
        os.close(self.leash)
