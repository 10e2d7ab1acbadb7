"""Train runs on a Ray cluster, one task a run; the extra `safeloop[ray]`."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

from safeloop.errors import UsageError
from safeloop.experiments.executor import Failure, Job, cores
from safeloop.experiments.local import tracked
from safeloop.experiments.shared import RETRIES, Distant, WorkerDied, train_there
from safeloop.settings import MOST_THREADS
from safeloop.texts import one_line


class RayExecutor:
    """Tasks of a Ray cluster, which share the runs' folder and this Python environment.

    Ray starts a task where its resources are free. The `resources` are `cores` (of a run: its threads) and `gpus`, also
    shares of one, and whatever the cluster names besides.
    """

    def __init__(self, limit: int | None, address: str | None, resources: Mapping[str, float]):
        """Connect to the cluster at an `address`, or start one on this machine, with `limit` cores.

        Raises `UsageError` where Ray is not installed, or the cluster can't be reached.
        """
        try:
            import ray as installed
        except ImportError:
            raise UsageError("--executor ray: Ray is not installed: pip install 'safeloop[ray]'") from None
        ray: Any = installed
        self.ray, self.resources = ray, dict(resources)
        here = {} if address else {"num_cpus": limit or cores(), "include_dashboard": False}
        try:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **here)
        except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
            raise UsageError(f"--address {address}: {one_line(str(error))}") from None
        self.limit = limit or MOST_THREADS
        self.train = ray.remote(max_retries=RETRIES, retry_exceptions=[WorkerDied])(train_there)

    def start(self, job: Job) -> Task:
        """Hand a run to the cluster."""
        wanted = dict(self.resources)
        options = {"num_cpus": wanted.pop("cores", job.threads), "num_gpus": wanted.pop("gpus", 0), "resources": wanted}
        return Task(
            job, self.ray, self.train.options(**options).remote(str(job.run.path.resolve()), job.threads, tracked(job))
        )

    def wait(self, seconds: float) -> None:
        """Return after so many seconds."""
        time.sleep(seconds)

    def close(self) -> None:
        """Leave the cluster; one that was started here ends."""
        self.ray.shutdown()


class Task(Distant):
    """A run that the cluster trains."""

    def __init__(self, job: Job, ray: Any, task: Any):
        super().__init__(job)
        self.ray, self.task = ray, task

    def ended(self) -> bool:
        """Return whether the task has ended, after all retries."""
        return bool(self.ray.wait([self.task], timeout=0)[0])

    def failure(self) -> Failure | None:
        """Return why the run did not finish, or None where it did."""
        try:
            return self.outcome(self.ray.get(self.task))
        except Exception as error:  # the run's, or Ray's own of many kinds
            return self.lost(getattr(error, "cause", None) or error)

    def stop(self) -> None:
        """Ask the task to end."""
        self.ray.cancel(self.task, force=False)

    def kill(self) -> None:
        """End the task's process, and with it that of the run."""
        self.ray.cancel(self.task, force=True)
        self.ray.wait([self.task], timeout=5)
