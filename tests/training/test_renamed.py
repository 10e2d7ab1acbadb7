"""An algorithm that was renamed: commands with its earlier name work, and so do runs that were recorded under it."""

import json

import pytest

import safeloop
from safeloop.algorithms.pets import rce
from safeloop.experiments.prepare import prepare
from safeloop.experiments.specify import Request, specify
from safeloop.recording.reader import open_run
from safeloop.recording.run import Run
from safeloop.registry import RENAMED, algorithm_names, find_algorithm

SMALL = {
    "ensemble_size": 2, "population": 8, "elites": 3, "iterations": 1, "horizon": 3, "width": 16, "entity_width": 8,
    "warmup": 50, "fit_every": 75, "fit_steps": 5, "first_fit_steps": 10, "batch_size": 32,
}  # fmt: skip


def ask(out, algo="safepets", steps=100, **options):
    return safeloop.run(
        "RCCarDrift", [algo], steps=steps, settings=SMALL, out=out, eval_episodes=1, quiet=True, jobs=1, **options
    )


def as_recorded_before(run):
    """Have a run look as one of the time before: its folder and settings with the earlier name."""
    file = run / "settings.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "algo": "safepets"}))
    moved = run.parents[1] / run.parent.name.replace("rce", "safepets") / run.name
    moved.parent.mkdir(exist_ok=True)
    return run.rename(moved)


@pytest.mark.parametrize("name", ["safepets", "SafePETS", "safe-pets"])
def test_the_earlier_name_stands_for_the_algorithm_and_is_not_listed(name):
    assert find_algorithm(name) is rce
    assert "safepets" not in algorithm_names() and set(RENAMED.values()) <= set(algorithm_names())


def test_a_run_that_is_asked_for_by_the_earlier_name_has_the_present_one():
    asked = Request(algos=["safepets", "rce"], steps={"safepets": 700}, settings={"safepets.horizon": 4})
    (found,) = specify(asked, "PointGoal1")
    assert (found.algo, found.steps, found.algo_settings["horizon"]) == ("rce", 700, 4)


def test_a_run_of_the_earlier_name_is_read_reported_kept_and_resumed(tmp_path):
    old = as_recorded_before(ask(tmp_path / "one").folder / "rce/seed-0")
    before = (old / "settings.json").read_bytes()
    assert open_run(old).settings.algo == "rce"
    safeloop.load(old).reset()
    assert len(safeloop.evaluate(old, episodes=1).episodes) == 1
    ask(tmp_path / "one")  # finished, so it is kept
    (comparison,) = safeloop.plot(tmp_path / "one")
    assert [(row.algo, row.seed) for row in comparison.rows] == [("rce", 0)]
    assert "rce" in comparison.text and "safepets" not in comparison.text

    whole = ask(tmp_path / "two", steps=200).folder / "rce/seed-0"
    (old / "settings.json").write_text(json.dumps({**json.loads(before), "steps": 200}))
    (old / "status.json").write_text(json.dumps({"state": "interrupted", "reason": ""}))
    safeloop.resume(old, quiet=True)
    resumed, uninterrupted = open_run(old), open_run(whole)
    assert resumed.status["state"] == "finished" and resumed.path == old
    assert json.loads((old / "settings.json").read_text())["algo"] == "safepets"  # files stay as they were written
    rows = [[(row.simulator_steps, row.return_) for row in each.episodes.read()] for each in (resumed, uninterrupted)]
    assert rows[0] == rows[1] and len(rows[0]) == 2


def test_where_both_folders_exist_the_present_name_is_first(tmp_path):
    (settings,) = specify(Request(algos=["rce"], variant="H=4"), "PointGoal1")
    place = tmp_path / "PointGoal1"
    assert Run.directory(tmp_path, settings) == place / "rce-H=4/seed-0"
    old = as_recorded_before(Run.create(tmp_path, settings).path)
    assert old == place / "safepets-H=4/seed-0" == Run.directory(tmp_path, settings)
    assert [job.run.path for job in prepare(tmp_path, [settings]).jobs] == [old]
    (place / "rce-H=4/seed-0").mkdir(parents=True, exist_ok=True)
    (place / "rce-H=4/seed-0/settings.json").write_bytes((old / "settings.json").read_bytes())
    assert Run.directory(tmp_path, settings) == place / "rce-H=4/seed-0"
