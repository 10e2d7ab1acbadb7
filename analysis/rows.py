"""Open runs and write rows to CSV files, for the scripts that measure runs."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch

import safeloop
from safeloop.cmdp import EnvSpec
from safeloop.recording.run import Run
from safeloop.registry import find_env


def opened(path: str) -> tuple[Run, EnvSpec]:
    """Return the run at `path` and the spec of its environment."""
    run = Run.open(Path(path))
    return run, find_env(run.settings.env, run.settings.env_options)


def trained_agent(path: str) -> Any:
    """Return the agent of the run at `path`, one that plans."""
    return safeloop.load(path).policy.agent


def label(path: str, folders: int = 3) -> str:
    """Return the last so many folders of a path: "Hopper/loop-sac/seed-0"."""
    return "/".join(Path(path).parts[-folders:])


def write_table(path: str | Path, header: Sequence[str], rows: Iterable[Sequence[Any]], ending: str = "\n") -> None:
    """Write a CSV file: the header, then the rows as they come. `ending` ends each line."""
    with open(path, "w", newline="") as file:
        writer = csv.writer(file, lineterminator=ending)
        writer.writerow(header)
        for row in rows:
            writer.writerow(row)
            file.flush()


def write_rows(usage: str | None, header: Sequence[str], rows: Callable[[str], Iterable[Sequence[Any]]]) -> None:
    """Write OUT.csv: the header, then the rows of each RUN on the command line as they come.

    Without an OUT.csv and a RUN it prints `usage` and exits.
    """
    if len(sys.argv) < 3:
        sys.exit(usage)
    torch.set_num_threads(1)
    out, *runs = sys.argv[1:]
    write_table(out, header, (row for run in runs for row in rows(run)), "\r\n")
