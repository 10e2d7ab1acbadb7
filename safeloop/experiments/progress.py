"""Progress of runs and of other long work: bars on a terminal, a line now and then elsewhere, or nothing."""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, Task, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Column
from rich.text import Text

from safeloop.activity import EVALUATING, TRAINING, under_way
from safeloop.texts import clock, per_second

LINE_EVERY = 10.0
"""Seconds between two lines of one run where there is no terminal, and after which news are called old."""
LOOK_EVERY = 0.5
"""Seconds between two looks at what this process is doing."""


class Rate:
    """The speed of some work, and the time left, from the latest numbers."""

    def __init__(self) -> None:
        self.seen: deque[tuple[float, int]] = deque(maxlen=120)

    def add(self, done: int) -> None:
        """Take in a number; a smaller one than before begins anew."""
        if self.seen and done < self.seen[-1][1]:
            self.seen.clear()
        self.seen.append((time.monotonic(), done))

    def text(self, total: int) -> str:
        """Return `", 1.2/s, 0:01:02 left"`; "" where that is not known yet."""
        if len(self.seen) < 2:
            return ""
        (t0, done0), (t1, done1) = self.seen[0], self.seen[-1]
        if t1 <= t0 or done1 <= done0:
            return ""
        rate = (done1 - done0) / (t1 - t0)
        return f", {per_second(rate)}, {clock(max(0, total - done1) / rate)} left"


class Track:
    """The news of one run, or of other work, which has no steps (`total` 0)."""

    def __init__(self, total: int, fresh: bool):
        self.total, self.steps, self.message = total, 0, dict[str, Any]()
        self.rate, self.inner_rate = Rate(), Rate()
        self.outer: list[dict[str, Any]] = []
        self.inner: dict[str, Any] = {"doing": "starting"} if total else {}
        self.news = self.since = self.shown = time.monotonic()
        """When the last news came, what is done now began, and a line was shown."""
        if fresh:
            self.rate.add(0)

    def update(self, message: dict[str, Any]) -> None:
        """Take in a message: the latest numbers of a run, and what is `under_way` (`safeloop.activity`)."""
        if message == self.message:
            return
        self.message, self.news = message, time.monotonic()
        doing = list(message.get("under_way", ()))
        if self.total and doing and doing[0]["doing"] == TRAINING:
            self.steps = doing.pop(0)["done"]
        else:
            self.steps = message.get("steps", self.steps)
        *self.outer, inner = doing or [{}]
        if inner.get("doing") == EVALUATING:
            self.rate.seen.clear()  # no steps are taken meanwhile
        else:
            self.rate.add(self.steps)
        if inner.get("doing") != self.inner.get("doing"):
            self.since = self.news
            self.inner_rate.seen.clear()
        self.inner_rate.add(inner.get("done", 0))
        self.inner = inner

    def text(self) -> str:
        """Return what is known now: steps, what is being done, rate and time left, and how old news are."""
        now, inner = time.monotonic(), self.inner
        parts = [f"{self.steps:,}/{self.total:,} steps{'' if inner else self.rate.text(self.total)}"] * bool(self.total)
        parts += [counted(each) for each in self.outer]
        if inner.get("of"):
            parts.append(counted(inner) + self.inner_rate.text(inner["of"]))
        elif inner or not self.total:
            parts.append(f"{counted(inner) if inner else 'working'} for {clock(now - self.since)}")
        elif found := latest(self.message):
            parts.append(found)
        if now - self.news >= LINE_EVERY and (inner.get("of") if inner else self.total):
            parts.append(f"last news {now - self.news:.0f} s ago")
        return ", ".join(parts)

    @property
    def share(self) -> tuple[float, float | None]:
        """How much is done, and of how much where that is known; all is done only at the end."""
        done, of = (self.steps, self.total) if self.total else (self.inner.get("done", 0), self.inner.get("of", 0))
        return min(done, of * (1 - 1e-6)), of or None


def counted(activity: dict[str, Any]) -> str:
    """Return `"evaluating, episodes 1 to 5 of 10, 430/1,000 decisions"`, as far as it is known."""
    parts = [activity["doing"], activity.get("detail", "")]
    if activity.get("of"):
        parts.append(f"{activity['done']:,}/{activity['of']:,} {activity['unit']}")
    return ", ".join(part for part in parts if part)


def latest(message: dict[str, Any]) -> str:
    """Return `"return 12.3, cost 4.0"`, without the cost in environments that have none; offline `"mean value 4.0"`."""
    if "return" not in message:
        return f"mean value {message['value']:.1f}" if "value" in message else ""
    cost = f", cost {message['cost_return']:.1f}" if "cost_return" in message else ""
    return f"return {message['return']:.1f}{cost}"


class Quiet:
    """Shows nothing."""

    def __enter__(self) -> Quiet:
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def note(self, text: str) -> None:
        """Something to know before the runs start."""

    def begin(self, name: str, total: int, fresh: bool) -> None:
        """Show that a run starts (`fresh`) or continues. With `total` 0 it is other work, which has no steps."""

    def update(self, name: str, message: dict[str, Any]) -> None:
        """Take in the news of a run (`Track.update`)."""

    def tick(self) -> None:
        """Show that time passes. It is to be called several times a second, whether there are news or not."""

    def end(self, name: str, outcome: str) -> None:
        """Show that a run has ended."""


class Lines(Quiet):
    """Plain lines on stderr: one in `LINE_EVERY` seconds for each run."""

    def __init__(self) -> None:
        self.tracks: dict[str, Track] = {}

    def begin(self, name: str, total: int, fresh: bool) -> None:
        """Show that a run starts (`fresh`) or continues; other work is shown only where it takes long."""
        self.tracks[name] = Track(total, fresh)
        if total:
            self.note(f"{name}: {'started' if fresh else 'continued'}, {total:,} steps")

    def update(self, name: str, message: dict[str, Any]) -> None:
        """Take in the news of a run."""
        self.tracks[name].update(message)

    def tick(self) -> None:
        """Print a line for each run that had none for long."""
        for name, track in self.tracks.items():
            if due := int((time.monotonic() - track.shown) / LINE_EVERY):
                track.shown += due * LINE_EVERY
                self.note(f"{name}: {track.text()}")

    def end(self, name: str, outcome: str) -> None:
        """Show that a run has ended."""
        del self.tracks[name]
        self.note(f"{name}: {outcome}")

    def note(self, text: str) -> None:
        """Something to know before the runs start."""
        print(text, file=sys.stderr, flush=True)


class _Spinner(SpinnerColumn):
    """Turns until a run has ended, whatever its bar says."""

    def render(self, task: Task) -> Any:
        """Return the next picture, or none."""
        return Text(" ") if task.stop_time is not None else super().render(task)


class Bars(Quiet):
    """One bar for each run, on a terminal; those of other work vanish when it is done."""

    def __init__(self, lasting: bool) -> None:
        columns = (
            _Spinner(), TextColumn("{task.description}", markup=False), BarColumn(bar_width=12), TimeElapsedColumn(),
            TextColumn("{task.fields[text]}", markup=False, table_column=Column(overflow="fold")),
        )  # fmt: skip
        to_terminal = sys.stdout.isatty()  # what goes to a file or a pipe is to arrive there
        self.progress = Progress(
            *columns, console=Console(stderr=True), transient=not lasting, redirect_stdout=to_terminal,
            refresh_per_second=4,
        )  # fmt: skip
        self.tracks: dict[str, Track] = {}
        self.tasks: dict[str, TaskID] = {}
        self.looked = 0.0

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
        track = self.tracks[name] = Track(total, fresh)
        self.tasks[name] = self.progress.add_task(name, total=total or None, text=track.text())

    def update(self, name: str, message: dict[str, Any]) -> None:
        """Take in the news of a run."""
        self.tracks[name].update(message)

    def tick(self) -> None:
        """Show the news of all runs."""
        if time.monotonic() - self.looked < LOOK_EVERY:
            return
        self.looked = time.monotonic()
        for name, track in self.tracks.items():
            done, of = track.share
            self.progress.update(self.tasks[name], completed=done, total=of, text=track.text())

    def end(self, name: str, outcome: str) -> None:
        """Show that a run has ended."""
        done, of = self.tracks.pop(name).share
        self.progress.update(self.tasks[name], completed=of if outcome == "finished" else done, text=outcome)
        self.progress.stop_task(self.tasks[name])


def display(quiet: bool, lasting: bool = True) -> Quiet:
    """Return the display that suits the terminal or file that this process writes to."""
    if quiet:
        return Quiet()
    return Bars(lasting) if sys.stderr.isatty() else Lines()


@contextmanager
def heartbeat(name: str, quiet: bool = False) -> Iterator[None]:
    """Show what this process is doing (`safeloop.activity`) while the block runs; where that is short, nothing."""
    if quiet:
        yield
        return
    ended = threading.Event()
    with display(quiet, lasting=False) as shown:
        shown.begin(name, 0, True)

        def look() -> None:
            while not ended.wait(min(LOOK_EVERY, LINE_EVERY)):
                shown.update(name, {"under_way": under_way()})
                shown.tick()

        watcher = threading.Thread(target=look, daemon=True)
        watcher.start()
        try:
            yield
        finally:
            ended.set()
            watcher.join()
