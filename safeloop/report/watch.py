"""A look at runs while they train, from their files alone: what `safeloop watch` shows. Nothing is written."""

from __future__ import annotations

import math
import os
import re
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from statistics import fmean
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table as Grid
from rich.text import Text

from safeloop.errors import UsageError
from safeloop.files import check_path
from safeloop.recording.reader import folders_under, in_use, open_run
from safeloop.recording.rows import AGENT, EvaluationEpisode
from safeloop.recording.run import Run
from safeloop.recording.tables import Table
from safeloop.registry import whole_steps
from safeloop.texts import clock, one_line, per_second

AVERAGED = 10
"""Number of episodes that a return or cost is averaged over."""
RATED = 20
"""Number of last rows that the rate is of."""
STARTS = 30.0
"""Seconds that a run which was started may need until its process says that it runs."""
FAILS = 10**9
"""Nanoseconds in which a run that fails writes the reason to its log."""
AGAIN = 0.2
"""Seconds until the second look at a run that can't be read, as it may just be deleted."""
OFTEN, SELDOM = 0.1, 3600.0
"""Seconds between two looks, at least and at most."""
BAR, SPARKS = 10, 12
"""Characters of a bar, and of a line of marks."""
WIDE = 1000
"""Characters of a line in a file: enough for all."""
MARKS, PLAIN_MARKS = "▁▂▃▄▅▆▇█", "_.-=+*#@"
TRENDS = ("return's trend", "cost's trend", "value's trend")
UNNAMED = ("bar", *TRENDS)
"""Columns without a heading."""
DROPPED = (TRENDS, ("bar",), ("evaluation", "last row"), ("rate", "left"))
"""Columns that go, in this order, where the terminal is too narrow."""


@dataclass(frozen=True)
class Row:
    """One run, as its files are now."""

    folder: str
    """The name of the environment or dataset."""
    run: str
    """`"safeloop seed 0"`."""
    state: str
    """`new`, `starting`, `running`, `interrupted`, `finished` or `failed`."""
    budget: float | None
    """None: the environment has no cost."""
    goes_on: bool
    """Whether a process works on it, or may be about to."""
    steps: int
    total: int
    rate: float | None
    """Steps per second of training, by the last rows."""
    returns: list[float]
    """Means over `AVERAGED` episodes, after each episode."""
    costs: list[float]
    """The same of the cost return; empty in environments without a cost."""
    values: list[float]
    """Mean values, of a run that learns from a dataset and learns values."""
    evaluation: list[EvaluationEpisode]
    """Episodes of the last evaluation, as far as it is."""
    age: float | None
    """Seconds since the last row."""
    reason: str = ""
    """Why a run failed."""

    @property
    def left(self) -> float | None:
        """Seconds of training left; None where that is not known."""
        return max(0, self.total - self.steps) / self.rate if self.state == "running" and self.rate else None


class Watcher:
    """The runs of a folder (`OUT`, or an environment's in it), looked at again and again."""

    def __init__(self, folder: str | Path):
        self.folder = check_path(folder)
        self.read: dict[Path, tuple[Any, list[Any]]] = {}
        """Rows of tables, with what was known of the file when they were read."""
        self.totals: dict[Path, int] = {}
        self.dead: dict[Path, int] = {}
        """Runs whose process is gone, with the time of their `status.json`."""
        if not _runs(self.folder):
            folders_under(self.folder)  # says why there are none

    def rows(self) -> list[Row]:
        """Return the runs as they are now. Raises `UsageError` where one is damaged."""
        paths = _runs(self.folder)
        found = [row for path in paths if (row := self._row(path))]
        if any(_lately(path / "status.json") for path in paths):  # one has ended or was made: the next may begin
            found = [replace(row, goes_on=row.goes_on or row.state == "new") for row in found]
        return found

    def _row(self, path: Path) -> Row | None:
        for last in (False, True):
            try:
                return self._look(path)
            except (UsageError, OSError) as error:
                if last and (path / "settings.json").exists():
                    raise UsageError(str(error)) from None
                time.sleep(0 if last else AGAIN)
        return None  # it was deleted

    def _look(self, path: Path) -> Row:
        run = open_run(path)
        settings, state = run.settings, self._state(run)
        episodes, updates, evaluations = (self._rows(t) for t in (run.episodes, run.updates, run.evaluations))
        last = evaluations[-1].simulator_steps if evaluations else 0
        learned = updates if settings.dataset else episodes
        times = [modified for table in run.tables if (modified := _modified(table.path))]
        return Row(
            folder=settings.folder,
            run=f"{settings.name} seed {settings.seed}",
            state=state,
            budget=settings.budget,
            goes_on=state in ("running", "starting"),
            steps=learned[-1].simulator_steps if learned else 0,
            total=self._total(run),
            rate=_rate(learned[-RATED:]),
            returns=averages([row.return_ for row in episodes]),
            costs=[] if settings.budget is None else averages([row.cost_return for row in episodes]),
            values=[row.value for row in updates if math.isfinite(row.value)],
            evaluation=[row for row in evaluations if row.simulator_steps == last and row.control == AGENT],
            age=max(0.0, time.time() - max(times) / 1e9) if times else None,
            reason=one_line(run.status["reason"]) if state == "failed" else "",
        )

    def _rows(self, table: Table) -> list[Any]:
        """Return the rows of a table, which is read only where its file has changed."""
        try:
            found = os.stat(table.path)
        except FileNotFoundError:
            return []
        now = found.st_ino, found.st_size, found.st_mtime_ns
        if self.read.get(table.path, (None,))[0] != now:
            self.read[table.path] = now, table.read()
        return self.read[table.path][1]

    def _total(self, run: Run) -> int:
        """Return the steps of a whole run; those asked for where its algorithm is not as it was, or not installed."""
        if run.path not in self.totals:
            try:
                self.totals[run.path] = whole_steps(run.settings)
            except (UsageError, ValueError, TypeError, LookupError):
                self.totals[run.path] = run.settings.steps
        return self.totals[run.path]

    def _state(self, run: Run) -> str:
        """Return the state of a run.

        Whether a process holds a run is asked only of one that is said to run, and never again once its process is
        gone: to ask takes the lock for a moment, which could be in the way of a process that starts.
        """
        state, status = run.status["state"], _modified(run.path / "status.json")
        if state == "running" and self.dead.get(run.path) != status:
            if in_use(run):
                return state
            if (state := run.status["state"]) == "running":  # it did not finish meanwhile
                self.dead[run.path] = status
        log = run.path / "log.txt"  # the launcher writes a line when it starts a process, and a run why it failed
        later = _modified(log) - status - (FAILS if state == "failed" else 0)
        if state != "finished" and later > 0 and _lately(log):
            return "starting"
        return "interrupted" if state == "running" else state


def _runs(folder: Path) -> list[Path]:
    """Return the folders of runs, in the folder of one environment or of several."""
    with suppress(OSError):
        found = [path.parent for deep in ("*", "*/*") for path in folder.glob(f"{deep}/seed-*/settings.json")]
        found = [path for path in found if re.fullmatch(r"seed-\d+", path.name)]
        return sorted(found, key=lambda path: (path.parent, int(path.name[5:])))
    return []


def _modified(path: Path) -> int:
    """Return when a file was last written, in nanoseconds; 0 where it does not exist."""
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def _lately(path: Path) -> bool:
    return time.time() - _modified(path) / 1e9 < STARTS


def _rate(rows: Sequence[Any]) -> float | None:
    if len(rows) < 2:
        steps, seconds = (rows[0].simulator_steps, rows[0].wall_seconds) if rows else (0, 0.0)
    else:
        steps = rows[-1].simulator_steps - rows[0].simulator_steps
        seconds = rows[-1].wall_seconds - rows[0].wall_seconds
    return steps / seconds if steps > 0 and seconds > 0 else None


def averages(values: Sequence[float], over: int = AVERAGED) -> list[float]:
    """Return the mean of each value and those before it, of `over` in all, or of as many as there are."""
    sums = [0.0, *accumulate(values)]
    return [(sums[i] - sums[max(0, i - over)]) / min(i, over) for i in range(1, len(sums))]


def sparks(values: Sequence[float], marks: str = MARKS, width: int = SPARKS) -> str:
    """Return values as a line of marks between the lowest and the highest; of many values several share a mark."""
    size = min(width, len(values))
    points = [fmean(values[i * len(values) // size : (i + 1) * len(values) // size]) for i in range(size)]
    low, high = (min(points), max(points)) if points else (0.0, 0.0)
    if not high > low:
        return marks[0] * size
    return "".join(marks[min(len(marks) - 1, int((p - low) / (high - low) * len(marks)))] for p in points)


# The table


def table(rows: Sequence[Row], several: bool, without: Sequence[str] = (), ascii_only: bool = False) -> Grid:
    """Return the runs, of one folder or several, as a table; columns that no run fills are left out, and `without`."""
    grid = Grid(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    lines = [_cells(row, several, PLAIN_MARKS if ascii_only else MARKS) for row in rows]
    filled = [head for head in (lines[0] if lines else ()) if any(line[head] not in ("", "-") for line in lines)]
    heads = [head for head in filled if head not in without]
    for head in heads:
        words = head in ("folder", "run", "state", "evaluation", *UNNAMED)
        grid.add_column("" if head in UNNAMED else head, no_wrap=True, justify="left" if words else "right")
    for line in lines:
        grid.add_row(*(line[head] for head in heads))
    return grid


def _cells(row: Row, several: bool, marks: str) -> dict[str, Any]:
    def last(values: list[float]) -> str:
        return f"{values[-1]:,.1f}" if values else "-"

    return {
        "folder": row.folder if several else "",
        "run": row.run,
        "state": row.state,
        "steps": f"{row.steps:,}/{row.total:,}",
        "bar": ProgressBar(total=row.total, completed=min(row.steps, row.total), width=BAR),
        "rate": "-" if row.rate is None else per_second(row.rate),
        "left": "-" if row.left is None else clock(row.left),
        "return": last(row.returns),
        "return's trend": sparks(row.returns, marks),
        "cost": last(row.costs),
        "cost's trend": sparks(row.costs, marks),
        "value": last(row.values),
        "value's trend": sparks(row.values, marks),
        "evaluation": _evaluation(row),
        "last row": f"{row.age:,.0f} s ago" if row.goes_on and row.age is not None else "-",
    }


def _evaluation(row: Row) -> str:
    if not row.evaluation:
        return "-"
    cost = "" if row.budget is None else f", cost {fmean(e.cost_return for e in row.evaluation):,.1f}"
    at = row.evaluation[-1].simulator_steps
    return f"{fmean(e.return_ for e in row.evaluation):,.1f}{cost} at {at:,}"


def picture(rows: Sequence[Row], console: Console, height: int | None = None) -> Group:
    """Return the table as it fits the console; where there are more runs than `height`, those that have ended go."""
    shown, rest = rows, 0
    if height is not None and len(rows) > height:
        first = sorted(range(len(rows)), key=lambda i: not rows[i].goes_on)[:height]
        shown, rest = [rows[i] for i in sorted(first)], len(rows) - height
    without: list[str] = []
    for dropped in ((), *DROPPED):
        without += dropped
        grid = table(shown, len({row.folder for row in rows}) > 1, without, console.options.ascii_only)
        if console.measure(grid, options=console.options.update(width=WIDE)).maximum <= console.width:
            break
    more = [f"and {rest:,} more"] if rest else []
    failed = [Text(f"{row.run} failed: {row.reason}") for row in shown if row.reason]
    return Group(*([grid] if rows else ["no runs any more"]), *more, *failed)


def watch(folder: str | Path, once: bool = False, every: float = 2.0) -> None:
    """Show the runs of a folder, anew each `every` seconds until none goes on; `once`, or not on a terminal, once.

    Raises `UsageError` where the folder holds no runs, or one of them is damaged.
    """
    if not OFTEN <= every <= SELDOM:
        raise UsageError(f"--every {every:g}: expected {OFTEN:g} to {SELDOM:g} seconds")
    console, watcher = Console(highlight=False, markup=False), Watcher(folder)
    rows = watcher.rows()
    if once or not console.is_terminal or console.is_dumb_terminal:
        console.width = console.width if console.is_terminal else WIDE
        with console.capture() as captured:
            console.print(picture(rows, console))
        print("\n".join(line.rstrip() for line in captured.get().splitlines()))
        return
    with Live(console=console, auto_refresh=False) as live:
        while True:
            live.update(picture(rows, console, max(1, console.height - 3)), refresh=True)
            if not any(row.goes_on for row in rows):
                live.update(picture(rows, console))  # whole, when all is over
                return
            time.sleep(every)
            begun = time.monotonic()
            rows = watcher.rows()
            time.sleep(3 * (time.monotonic() - begun))  # where there is much to read, look less often
