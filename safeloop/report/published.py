"""Results that others have published, for tables beside ours: `published.csv`, not run by us."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files


@dataclass(frozen=True)
class Published:
    """One published result, as a row of `published.csv`."""

    env: str
    observation: str
    """`positions` of things, `lidar` (the task's own observation), or `state` (of a task without things)."""
    algo: str
    return_: float
    cost_return: float
    budget: float
    steps: int
    """Simulator steps of training."""
    privileged: str
    """The privileged information that the algorithm used besides its samples."""
    episodes_cut: bool
    """Whether episodes were cut short at a violation."""
    source: str
    note: str


@cache
def published() -> tuple[Published, ...]:
    """Return all published results, in the order of the file."""
    text = (files("safeloop.report") / "published.csv").read_text()
    return tuple(
        Published(
            line["env"], line["observation"], line["algo"], float(line["return"]), float(line["cost_return"]),
            float(line["budget"]), int(line["steps"]), line["privileged"], line["episodes_cut"] == "yes",
            line["source"], line["note"],
        )
        for line in csv.DictReader(text.splitlines())
    )  # fmt: skip


def of(env: str) -> list[Published]:
    """Return the published results of an environment."""
    return [each for each in published() if each.env == env]
