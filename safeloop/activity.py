"""Hold the long activities of this process: the work writes them here, and displays of progress read them.

To say it costs as much as to count, nothing waits for a display, and no result depends on one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

Item = TypeVar("Item")

TRAINING = "training"
"""The activity of a run that counts its steps."""
EVALUATING = "evaluating"
"""The activity of an evaluation, in whose time a run takes no steps."""


@dataclass(eq=False)
class Activity:
    """One thing that is being done. Whoever does it changes these numbers as it goes on."""

    doing: str
    """The name of the activity: `"fitting the models"`."""
    of: int = 0
    """The largest number of units to do; 0 where that is not known."""
    unit: str = ""
    """The unit that is counted: `"gradient steps"`."""
    done: int = 0
    detail: str = ""
    """The present part of it: `"episodes 1 to 5 of 10"`."""
    count: Callable[[], int] | None = None
    """Returns `done`, where something else counts."""

    def as_dict(self) -> dict[str, Any]:
        """Return the numbers of this moment."""
        done = self.count() if self.count else self.done
        of = max(self.of, done) if self.of else 0
        return {"doing": self.doing, "detail": self.detail, "done": done, "of": of, "unit": self.unit}


_under_way: list[Activity] = []


def under_way() -> list[dict[str, Any]]:
    """Return the activities that are under way, each within the one before it."""
    return [each.as_dict() for each in tuple(_under_way)]


@contextmanager
def doing(what: str, of: int = 0, unit: str = "", count: Callable[[], int] | None = None) -> Iterator[Activity]:
    """Have an activity under way while the block runs."""
    activity = Activity(what, of, unit, count=count)
    _under_way.append(activity)
    try:
        yield activity
    finally:
        _under_way.remove(activity)


def tracked(items: Sequence[Item], what: str, unit: str) -> Iterator[Item]:
    """Yield the items, and have an activity under way that counts those that are done."""
    with doing(what, len(items), unit) as activity:
        for item in items:
            yield item
            activity.done += 1
