"""Train runs by SLURM, one job a run, through submitit; the extra `safeloop[slurm]`."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safeloop.errors import UsageError
from safeloop.experiments.executor import Failure, Job
from safeloop.experiments.local import tracked
from safeloop.experiments.shared import RETRIES, Distant, WorkerDied, train_there
from safeloop.settings import MOST_THREADS
from safeloop.texts import one_line

LOOK_EVERY = 1.0
"""Seconds between two looks at the jobs."""


class SlurmExecutor:
    """Jobs of SLURM, on machines that share the runs' folder and this Python environment.

    The `resources` are `cores` (of a run: its threads) and `gpus`, and parameters of submitit (`timeout_min`,
    `slurm_partition`, ...). A job that SLURM ends for its time is queued again, and goes on from its last checkpoint.
    """

    def __init__(self, limit: int | None, folder: Path, resources: Mapping[str, Any], cluster: str | None = None):
        """Keep submitit's files in `folder`. The `cluster` is SLURM's, or `local` for processes here.

        Raises `UsageError` where submitit is not installed, where there is no SLURM, or for an unknown resource.
        """
        try:
            import submitit
        except ImportError:
            raise UsageError("--executor slurm: submitit is not installed: pip install 'safeloop[slurm]'") from None
        self.limit, self.resources = limit or MOST_THREADS, dict(resources)
        try:
            self.executor = submitit.AutoExecutor(folder=folder, cluster=cluster or "slurm")
            self.executor.update_parameters(**self._parameters(1))
        except (RuntimeError, NameError, TypeError, AssertionError) as error:
            raise UsageError(f"--executor slurm: {one_line(str(error))}") from None

    def _parameters(self, threads: int) -> dict[str, Any]:
        wanted = dict(self.resources)
        found = {"cpus_per_task": int(wanted.pop("cores", threads)), "name": "safeloop", **wanted}
        return {**found, "gpus_per_node": int(found.pop("gpus"))} if "gpus" in found else found

    def start(self, job: Job) -> Submitted:
        """Submit a run. Raises `OSError` where SLURM refuses it."""
        self.executor.update_parameters(**self._parameters(job.threads))
        try:
            return Submitted(
                job, self.executor.submit(Training(), str(job.run.path.resolve()), job.threads, tracked(job))
            )
        except Exception as error:  # submitit has exceptions of its own for each command that fails
            raise OSError(one_line(str(error))) from None

    def wait(self, seconds: float) -> None:
        """Return after so many seconds."""
        time.sleep(seconds)

    def close(self) -> None:
        """Do nothing: jobs have ended."""


class Training:
    """A run's training as a job: it is submitted again where SLURM ends it early."""

    def __call__(self, path: str, threads: int, told: Sequence[str]) -> int:
        """Train the run at `path`, and return its worker's exit code."""
        for _ in range(RETRIES):
            try:
                return train_there(path, threads, told)
            except WorkerDied:
                continue
        return train_there(path, threads, told)

    def checkpoint(self, path: str, threads: int, told: Sequence[str]) -> Any:
        """Return the job that goes on with this one (submitit calls it before SLURM's limit of time)."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(Training(), path, threads, told)


class Submitted(Distant):
    """A run that SLURM trains."""

    def __init__(self, job: Job, submitted: Any):
        super().__init__(job)
        self.submitted, self.looked, self.done = submitted, 0.0, False

    def ended(self) -> bool:
        """Return whether the job has ended."""
        if not self.done and time.monotonic() - self.looked > LOOK_EVERY:
            self.looked, self.done = time.monotonic(), self.submitted.done()
        return self.done

    def failure(self) -> Failure | None:
        """Return why the run did not finish, or None where it did."""
        try:
            return self.outcome(self.submitted.result())
        except Exception as error:  # the run's, or submitit's own of many kinds
            return self.lost(error)

    def stop(self) -> None:
        """Ask SLURM to end the job."""
        self.submitted.cancel(check=False)

    def kill(self) -> None:
        """Wait until the job has ended, which SLURM forces."""
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline and not self.submitted.done():
            time.sleep(0.1)
