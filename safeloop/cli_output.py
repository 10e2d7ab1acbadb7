"""Print the outcome of runs: tables, notices and failures, with the exit code that they stand for."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import typer


def tell(comparison: Any, quiet: bool) -> None:
    """Print a comparison. Raises `typer.Exit` where a run failed, or there are no pictures and tables."""
    if not quiet and comparison.text:
        show(comparison)
    for notice in comparison.notices:
        print(f"safeloop: {notice}", file=sys.stderr)
    code = tell_failures(comparison.failures)
    if comparison.unwritten:
        print(f"safeloop: error: {comparison.unwritten}", file=sys.stderr)
    if code or comparison.unwritten:
        raise typer.Exit(code or 1)


def tell_failures(failures: Sequence[Any]) -> int:
    """Print a line for each run that failed; return the exit code, 2 where none could even be tried."""
    for failure in failures:
        kind = "error:" if failure.refused else f"{failure.job.name} failed:"
        print(f"safeloop: {kind} {failure.reason} (log: {failure.job.run.path / 'log.txt'})", file=sys.stderr)
    return (2 if all(failure.refused for failure in failures) else 1) if failures else 0


def show(comparison: Any) -> None:
    """Print the tables of a comparison, and where they are."""
    print(f"{comparison.text}\n\npictures and tables: {comparison.folder}")
