"""Algorithms compared over several tasks, by the normalised scores of their runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

from safeloop.report.aggregates import Group
from safeloop.report.statistics import Estimate, improvement, over_tasks


@dataclass(frozen=True)
class Across:
    """An algorithm over the tasks in which all its finished runs have a score."""

    algo: str
    privileged: str
    """Algorithms are compared with those that had the same privileged information alone."""
    tasks: list[str]
    score: Estimate
    """Interquartile mean of all runs (`statistics.over_tasks`), over as many seeds as each task has at least."""


@dataclass(frozen=True)
class Better:
    """The probability that a run of one algorithm scores higher than one of another, mean over their common tasks."""

    algo: str
    other: str
    privileged: str
    tasks: list[str]
    probability: Estimate


Scores = dict[tuple[str, str], dict[str, list[float]]]
"""The scores of the finished seeds, by privileged information and algorithm, then by task; at least two tasks each."""


def scores(tasks: Mapping[str, Sequence[Group]]) -> Scores:
    """Return the scores of each algorithm that has them in at least two of the tasks, in the order of its seeds."""
    found: Scores = {}
    for task, groups in tasks.items():
        for group in groups:
            values = [row.score for row in sorted(group.finished, key=lambda row: row.seed)]
            known = [value for value in values if value is not None]
            if known and len(known) == len(values):
                by_task = found.setdefault((group.text("privileged"), group.first.algo), {})
                by_task[task] = known
    return {algorithm: by_task for algorithm, by_task in found.items() if len(by_task) > 1}


def algorithms(found: Scores) -> list[Across]:
    """Return each algorithm over its tasks; where these have unequal numbers of seeds, over the first of each."""
    return [
        Across(algo, privileged, list(by_task), over_tasks(_rectangle(list(by_task.values()))))
        for (privileged, algo), by_task in found.items()
    ]


def pairs(found: Scores) -> list[Better]:
    """Return the probability of improvement of each algorithm over each other with the same privileged information."""
    result = []
    for (privileged, algo), (others, other) in permutations(found, 2):
        ours, theirs = found[privileged, algo], found[others, other]
        common = [task for task in ours if task in theirs]
        if privileged == others and len(common) > 1:
            compared = improvement(*(_rectangle([of[task] for task in common]) for of in (ours, theirs)))
            result.append(Better(algo, other, privileged, common, compared))
    return result


def _rectangle(seeds: Sequence[Sequence[float]]) -> list[list[float]]:
    """Return as many seeds of each task as the task with the fewest has, the first ones: `[T][S]`."""
    fewest = min(map(len, seeds))
    return [list(each[:fewest]) for each in seeds]
