"""The main of the scripts that measure runs: rows of every RUN go to OUT.csv."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch


def write_rows(usage: str | None, header: Sequence[str], rows: Callable[[str], Iterable[Sequence[Any]]]) -> None:
    """Write OUT.csv: the header, then the rows of each RUN on the command line as they come.

    Without an OUT.csv and a RUN it prints `usage` and exits.
    """
    if len(sys.argv) < 3:
        sys.exit(usage)
    torch.set_num_threads(1)
    out, *runs = sys.argv[1:]
    with open(out, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        for run in runs:
            for row in rows(run):
                writer.writerow(row)
                file.flush()
