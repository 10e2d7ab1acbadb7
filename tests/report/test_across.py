"""Algorithms over several tasks, with scores written by hand."""

from dataclasses import fields

import pytest

from safeloop.report import across
from safeloop.report.aggregates import Group
from safeloop.report.rows import Row

NONE = dict.fromkeys(f.name for f in fields(Row))


def group(env, algo, scores, privileged="nothing"):
    rows = [
        Row(**{**NONE, "env": env, "dataset": "", "algo": algo, "seed": seed, "privileged": privileged, "score": score})
        for seed, score in enumerate(scores)
    ]
    return Group(rows, rows, {}, None, None)


TASKS = {
    "A": [group("A", "x", [10, 20, 30]), group("A", "y", [0, 15, 25]), group("A", "z", [99] * 3, "known reward")],
    "B": [group("B", "x", [40, 50, 60, 70]), group("B", "y", [45, 50, 80]), group("B", "w", [1, 2, 3])],
    "C": [group("C", "x", [None, 1.0]), group("C", "z", [90] * 3, "known reward")],
}


def test_scores_are_of_algorithms_with_at_least_two_tasks():
    found = across.scores(TASKS)
    assert {key: list(of) for key, of in found.items()} == {
        ("nothing", "x"): ["A", "B"], ("nothing", "y"): ["A", "B"], ("known reward", "z"): ["A", "C"],
    }  # fmt: skip


def test_an_algorithm_over_tasks_has_the_interquartile_mean_of_its_runs():
    x, _y, z = across.algorithms(across.scores(TASKS))
    assert (x.algo, x.tasks, x.score.n) == ("x", ["A", "B"], 3)  # three seeds of each task: the fourth is left out
    assert x.score.value == pytest.approx((20 + 30 + 40 + 50) / 4) and x.score.low < x.score.value < x.score.high
    assert z.score == (94.5, 94.5, 94.5, 3) and z.privileged == "known reward"


def test_pairs_have_the_same_privileged_information():
    """x against y: in A 10 beats 0, 20 beats 0 and 15, 30 all; in B 40 none, 50 beats 45 and ties, 60 beats two."""
    found = {(b.algo, b.other): b.probability.value for b in across.pairs(across.scores(TASKS))}
    assert found == {("x", "y"): pytest.approx((6 / 9 + 3.5 / 9) / 2), ("y", "x"): pytest.approx(1 - 9.5 / 18)}
