"""Train runs on other machines that share the runs' folder: what Ray and SLURM have in common."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from safeloop.experiments.executor import STOP_SECONDS, Failure, Job, failed
from safeloop.experiments.local import ended_by, failure, worker
from safeloop.files import disk_fault
from safeloop.texts import one_line

RETRIES = 3
"""Times that a run goes on from its last checkpoint after its process, the cluster's, or their machine died."""
NEWS = ".news.json"
"""File in the run's folder with the last message of its worker."""


class WorkerDied(RuntimeError):
    """The process that trained a run was ended by a signal; the run goes on from its checkpoint."""


def train_there(path: str, threads: int, told: Sequence[str]) -> int:
    """Train the run at `path` in a process of its own on this machine, and return its exit code.

    `told` are more arguments of the worker.
    Raises `WorkerDied` where a signal ended it, `OSError` where it can't be started. When this process dies, or is told
    to stop, the run's process ends too.
    """
    leash, held = os.pipe()
    try:
        own = ["--news", str(Path(path) / NEWS), "--leash", str(leash)]
        process = worker(Path(path), threads, [*own, *told], (leash,))
        try:
            code = process.wait()
        except BaseException:
            _end(process)
            raise
    finally:
        os.close(leash)
        os.close(held)
    if code < 0:
        raise WorkerDied(ended_by(code))
    return code


def _end(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
            return


class Distant:
    """The news and the end of a run that is trained elsewhere."""

    def __init__(self, job: Job):
        self.job, self.message, self.seen = job, dict[str, Any](), 0
        self.news = job.run.path / NEWS
        self.news.unlink(missing_ok=True)

    def messages(self) -> Iterator[dict[str, Any]]:
        """Yield the last message, where it is a new one."""
        with suppress(OSError, ValueError):  # there is none yet
            written = self.news.stat().st_mtime_ns
            if written != self.seen:
                self.message = json.loads(self.news.read_text())
                self.seen = written
                yield self.message

    def outcome(self, code: int) -> Failure | None:
        """Return why a worker with this exit code ended, or None where its run is finished."""
        return failure(self.job, code, self.message)

    def lost(self, error: Exception) -> Failure:
        """Return why a run ended that no exit code is known of, and note it in its status."""
        reason = disk_fault(error, self.job.run.path) or one_line(f"{type(error).__name__}: {error}")
        return failed(self.job, reason)

    def close(self) -> None:
        """Remove the file of messages."""
        with suppress(OSError):
            self.news.unlink(missing_ok=True)
