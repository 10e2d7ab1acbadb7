"""The content of the page about several tasks together: scores, and what they say of pairs of algorithms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from safeloop.report import across
from safeloop.report.aggregates import Group
from safeloop.report.page.content import Line, Table
from safeloop.report.page.figures import Look
from safeloop.report.tables import number, spread


def profile(tasks: Mapping[str, Sequence[Group]]) -> tuple[list[str], list[str], dict[str, list[list[float]]]]:
    """Return the tasks with scores, the algorithms left out, and for the others the scores by task of finished runs.

    `tasks` are the algorithms of each task. One is left out where it has no finished run with a score in one of these.
    """
    scores: dict[str, dict[str, list[float]]] = {}
    for label, groups in tasks.items():
        for row in (row for group in groups for row in group.finished):
            if row.score is not None:
                scores.setdefault(label, {}).setdefault(row.algo, []).append(row.score)
    names = list(dict.fromkeys(name for found in scores.values() for name in found))
    whole = [name for name in names if all(name in found for found in scores.values())]
    left = [name for name in names if name not in whole]
    return list(scores), left, {name: [found[name] for found in scores.values()] for name in whole}


def over_tasks(tasks: Mapping[str, Sequence[Group]], looks: Mapping[str, Look]) -> list[Table]:
    """Return the tables of scores over several tasks, two for each kind of privileged information.

    The first has each algorithm's estimate, the second the probabilities of improvement, where there are any.
    """
    scores, found = across.scores(tasks), []
    estimates, pairs = across.algorithms(scores), across.pairs(scores)
    for privileged in dict.fromkeys(privileged for privileged, _ in scores):
        end = f"privileged information: {privileged}"
        lines = [
            Line(a.algo, [", ".join(a.tasks), number(a.score.n, 0), spread(*a.score[:3])], looks[a.algo])
            for a in estimates
            if a.privileged == privileged
        ]
        found.append(Table(f"Score over tasks; {end}", ["tasks", "seeds of each", "score"], lines))
        lines = [
            Line(p.algo, [p.other, ", ".join(p.tasks), spread(*p.probability[:3])], looks[p.algo])
            for p in pairs
            if p.privileged == privileged
        ]
        if lines:
            heads = ["compared with", "tasks", "probability of a higher score"]
            found.append(Table(f"Probability of improvement; {end}", heads, lines))
    return found
