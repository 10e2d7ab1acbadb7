"""Executors by name, of this machine and of clusters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safeloop.errors import UsageError
from safeloop.experiments.executor import Executor, check_jobs
from safeloop.experiments.local import LocalExecutor
from safeloop.settings import nearest

NAMES = ("local", "ray", "slurm")


@dataclass(frozen=True)
class Place:
    """The place that runs are trained in, and what each of them needs there."""

    executor: str = "local"
    """`local`: processes on this machine; `ray`: a Ray cluster; `slurm`: SLURM."""
    address: str | None = None
    """Ray: the address of a running cluster; None: one is started on this machine."""
    jobs: int | None = None
    """Runs side by side; None: the cores, on a cluster as many as it takes."""
    resources: Mapping[str, Any] = field(default_factory=dict)
    """Resources of each run on a cluster: `cores`, `gpus`, and others by the cluster's own names."""

    def check(self) -> None:
        """Raise `UsageError` for what can't be, before anything is written."""
        if self.executor not in NAMES:
            raise UsageError(f"--executor {self.executor}: expected {nearest(self.executor, NAMES)}")
        check_jobs(self.jobs)
        wanted = self.wanted
        if self.address is not None and self.executor != "ray":
            raise UsageError(f"--address {self.address}: it is of a Ray cluster; give --executor ray too")
        if self.executor == "local" and wanted:
            raise UsageError(f"--resource {next(iter(wanted))}: it is for clusters; give --executor ray or slurm")

    @property
    def wanted(self) -> dict[str, Any]:
        """The resources by name. Raises `UsageError` for `cores` and `gpus` that are no numbers."""
        found = dict(self.resources)
        for name, value in found.items():
            try:
                number = float(value)
            except (TypeError, ValueError):
                if name in ("cores", "gpus") or self.executor == "ray":
                    raise UsageError(f"--resource {name}={value}: expected a number of at least 0") from None
                continue
            if not 0 <= number < float("inf"):
                raise UsageError(f"--resource {name}={value}: expected a number of at least 0")
            found[name] = int(number) if number.is_integer() else number
        return found

    def make(self, folder: Path) -> Executor:
        """Return a new executor, whose own files go into `folder`. Raises `UsageError` where it can't be had."""
        if self.executor == "ray":
            from safeloop.experiments.ray import RayExecutor

            return RayExecutor(self.jobs, self.address, self.wanted)
        if self.executor == "slurm":
            from safeloop.experiments.slurm import SlurmExecutor

            return SlurmExecutor(self.jobs, folder / ".slurm", self.wanted)
        return LocalExecutor(check_jobs(self.jobs))
