"""What planning adds to what was learned of a dataset: which runs are compared, and the numbers and files of that."""

from dataclasses import fields, replace
from functools import partial

import pytest

import safeloop
from safeloop.recording.reader import read as recorded
from safeloop.recording.reader import runs_under
from safeloop.recording.run import Run
from safeloop.registry import find_env
from safeloop.report import offline as report
from safeloop.report.aggregates import aggregates
from safeloop.report.rows import Row, rows, score
from tests.offline.conftest import small, specified, trained


def test_planning_is_compared_with_its_base_after_as_many_steps(pendulum, tmp_path):
    runs = [trained(tmp_path, pendulum, name, eval_episodes=1) for name in ("crr", "loop-crr")]
    assert report.improvements([recorded(run) for run in runs]) == []  # neither says that it has finished
    for run in runs:
        run.set_status("finished")
    assert len(report.improvements([recorded(run) for run in runs])) == 1
    table = runs[1].evaluations
    table.keep([replace(row, simulator_steps=20) for row in table.read()])
    assert report.improvements([recorded(run) for run in runs]) == []


def test_a_base_stands_before_what_plans_on_it(pendulum, tmp_path):
    runs = [
        Run.create(tmp_path, specified(pendulum, name)) for name in ("loop-plas", "mbop", "loop-crr", "plas", "crr")
    ]
    names = [r.algo for r in rows([recorded(run) for run in runs])]
    assert names == ["crr", "loop-crr", "mbop", "plas", "loop-plas"]


def test_learning_compares_and_shows_what_planning_adds(pendulum, tmp_path):
    learn = partial(safeloop.offline, pendulum, ["crr", "loop-crr"], steps=20, seeds=[0, 1], out=tmp_path,
                    settings=small("loop-crr"), eval_episodes=2, quiet=True)  # fmt: skip
    found = learn()
    folder = tmp_path / "pendulum-random"
    assert found.folder == folder and not found.failures
    assert [(r.algo, r.seed) for r in found.rows] == [
        ("crr", 0), ("crr", 1), ("loop-crr", 0), ("loop-crr", 1)
    ]  # fmt: skip
    gain = report.improvements([recorded(run) for run in runs_under(folder)])[0]
    groups = aggregates([recorded(run) for run in runs_under(folder)])
    middle = {group.first.algo: group.median("evaluation_return") for group in groups}
    assert (gain.base_return, gain.return_, gain.seeds) == (middle["crr"], middle["loop-crr"], 2)
    assert gain.improvement == pytest.approx(100 * (middle["loop-crr"] / middle["crr"] - 1))
    for name in ("summary.csv", "aggregates.csv", "summary.md", "improvement.csv", "returns.png"):
        assert (folder / name).stat().st_size > 80
    assert "score" not in found.text  # D4RL has no references for this task
    before = (folder / "crr" / "seed-0" / "updates.csv").stat().st_mtime_ns
    assert learn().text == found.text and (folder / "crr" / "seed-0" / "updates.csv").stat().st_mtime_ns == before
    assert safeloop.plot(tmp_path)[0].text == found.text


def test_a_score_is_d4rls(tmp_path):
    for env, random, expert in (
        ("Hopper", -20.272305, 3234.3), ("HalfCheetah", -280.178953, 12135.0), ("Walker2d", 1.629008, 4592.3),
    ):  # fmt: skip
        settings = type("S", (), {"env": env, "env_options": find_env(env).options})
        assert score(settings, expert) == pytest.approx(100)
        assert score(settings, random) == pytest.approx(0)


def test_a_gain_is_the_median_of_the_seeds_own_gains():
    def seeds(*returns):
        none = dict.fromkeys(f.name for f in fields(Row))
        return [Row(**{**none, "seed": seed, "evaluation_return": value}) for seed, value in enumerate(returns)]

    found = report._improvement("a", "b", list(zip(seeds(100.0, 800.0, 90.0), seeds(500.0, 830.0, 121.0), strict=True)))
    assert (found.base_return, found.return_, found.gain, found.seeds) == (100.0, 500.0, 31.0, 3)
    assert found.improvement == pytest.approx(31.0)


def test_planning_is_compared_with_a_base_that_learned_alike(pendulum, tmp_path):
    def learn(algos, variant="", **settings):
        given = small(algos[0], **settings)
        safeloop.offline(pendulum, algos, steps=10, settings=given, out=tmp_path, variant=variant, eval_episodes=1,
                       quiet=True)  # fmt: skip
        found = [recorded(run) for run in runs_under(tmp_path / "pendulum-random")]
        return [(g.base, g.algo) for g in report.improvements(found)]

    learn(["crr"])
    assert learn(["loop-crr"], "big", hidden=24) == []
    assert learn(["crr"], "big", hidden=24) == [("crr big", "loop-crr big")]
    assert learn(["loop-crr"], "far", horizon=5) == [("crr big", "loop-crr big"), ("crr", "loop-crr far")]
