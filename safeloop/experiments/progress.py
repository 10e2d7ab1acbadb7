"""Progress of runs while they train: bars on a terminal, a line now and then elsewhere, or nothing."""

from __future__ import annotations

import sys
import time
from collections import deque
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

LINE_EVERY = 30.0
"""Seconds between two lines of one run where there is no terminal."""


class Rate:
    """Steps a second and time left, from the latest messages."""

    def __init__(self, total: int, fresh: bool):
        self.total = total
        self.seen = deque([(time.monotonic(), 0)] if fresh else [], maxlen=20)

    def add(self, steps: int) -> None:
        """Take in a message."""
        self.seen.append((time.monotonic(), steps))

    def text(self) -> str:
        """`"1,234 steps/s, 0:01:02 left"`."""
        if len(self.seen) < 2 or self.seen[-1][0] <= self.seen[0][0]:
            return "..."
        (t0, s0), (t1, s1) = self.seen[0], self.seen[-1]
        rate = (s1 - s0) / (t1 - t0)
        if rate <= 0:
            return "..."
        left = int(max(0, self.total - s1) / rate)
        return f"{rate:,.0f} steps/s, {left // 3600}:{left // 60 % 60:02}:{left % 60:02} left"


class Quiet:
    """Shows nothing."""

    def __enter__(self) -> Quiet:
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def note(self, text: str) -> None:
        """Something to know before the runs start."""

    def begin(self, name: str, total: int, fresh: bool) -> None:
        """Show that a run starts (`fresh`) or continues."""

    def update(self, name: str, message: dict[str, Any]) -> None:
        """Show the news of a run."""

    def end(self, name: str, outcome: str) -> None:
        """Show that a run has ended."""


class Lines(Quiet):
    """Plain lines on stderr, at most one in `LINE_EVERY` seconds for each run."""

    def __init__(self) -> None:
        self.rates: dict[str, Rate] = {}
        self.shown: dict[str, float] = {}

    def begin(self, name: str, total: int, fresh: bool) -> None:
        """Show that a run starts (`fresh`) or continues."""
        self.rates[name], self.shown[name] = Rate(total, fresh), time.monotonic()
        self._say(f"{name}: {'started' if fresh else 'continued'}, {total:,} steps")

    def update(self, name: str, message: dict[str, Any]) -> None:
        """Show the news of a run."""
        self.rates[name].add(message["steps"])
        if time.monotonic() - self.shown[name] >= LINE_EVERY:
            self.shown[name] = time.monotonic()
            rate = self.rates[name]
            self._say(f"{name}: {message['steps']:,}/{rate.total:,} steps, {rate.text()}, {latest(message)}")

    def end(self, name: str, outcome: str) -> None:
        """Show that a run has ended."""
        self._say(f"{name}: {outcome}")

    def note(self, text: str) -> None:
        """Something to know before the runs start."""
        self._say(text)

    def _say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)


class Bars(Quiet):
    """One bar for each run, on a terminal."""

    def __init__(self) -> None:
        columns = (
            TextColumn("{task.description}"), BarColumn(bar_width=20), MofNCompleteColumn(),
            TextColumn("{task.fields[text]}"),
        )  # fmt: skip
        self.progress = Progress(*columns, console=Console(stderr=True))
        self.rates: dict[str, Rate] = {}
        self.tasks: dict[str, Any] = {}

    def __enter__(self) -> Bars:
        self.progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.progress.stop()

    def note(self, text: str) -> None:
        """Something to know before the runs start."""
        self.progress.console.print(text, markup=False, highlight=False)

    def begin(self, name: str, total: int, fresh: bool) -> None:
        """Show that a run starts (`fresh`) or continues."""
        self.rates[name] = Rate(total, fresh)
        self.tasks[name] = self.progress.add_task(name, total=total, text="starting")

    def update(self, name: str, message: dict[str, Any]) -> None:
        """Show the news of a run."""
        self.rates[name].add(message["steps"])
        text = f"{self.rates[name].text()}, {latest(message)}"
        done = min(message["steps"], self.rates[name].total)
        self.progress.update(self.tasks[name], completed=done, text=text)

    def end(self, name: str, outcome: str) -> None:
        """Show that a run has ended."""
        self.progress.update(self.tasks[name], text=outcome)


def latest(message: dict[str, Any]) -> str:
    """Return `"return 12.3, cost 4.0"`, without the cost in environments that have none; offline `"mean value 4.0"`."""
    if "return" not in message:
        return f"mean value {message['value']:.1f}" if "value" in message else str(message.get("doing", ""))
    cost = f", cost {message['cost_return']:.1f}" if "cost_return" in message else ""
    return f"return {message['return']:.1f}{cost}"


def display(quiet: bool) -> Quiet:
    """Return the display that suits the terminal or file that this process writes to."""
    if quiet:
        return Quiet()
    return Bars() if sys.stderr.isatty() else Lines()
