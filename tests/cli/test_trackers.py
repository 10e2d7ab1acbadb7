"""Trackers (`--track`): they mirror a run's tables, change nothing, and stop nothing. With the real packages."""

import os
import subprocess
import sys
from statistics import fmean

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import safeloop
from safeloop.errors import UsageError
from safeloop.experiments import worker
from safeloop.recording import trackers
from safeloop.recording.reader import open_run, read
from safeloop.recording.rows import Episode, EvaluationEpisode
from safeloop.recording.run import Run, RunSettings

SMALL = {"hidden": 8, "batch_size": 8, "warmup": 20}
ASKED = {"steps": 300, "eval_every": 100, "eval_episodes": 2, "settings": SMALL, "keep_every": 100, "quiet": True}


def train(out, **given):
    """Train `sac` for three episodes; its run."""
    found = safeloop.run("RCCarDrift", ["sac"], out=out, **ASKED, **given)
    assert found.failures == []
    return open_run(out / "RCCarDrift/sac/seed-0")


def points(run, name):
    """The steps and values of a number in the run's event files."""
    events = EventAccumulator(str(run.path / "tensorboard"))
    events.Reload()
    return [(event.step, pytest.approx(event.value, rel=1e-5)) for event in events.Scalars(name)]


def mirrors_its_tables(run):
    """Check that TensorBoard shows what the tables hold, each number once."""
    episodes, evaluations = run.episodes.read(), run.evaluations.read()
    assert points(run, "episode/return") == [(e.simulator_steps, e.return_) for e in episodes]
    assert points(run, "episode/violations") == [(e.simulator_steps, e.violations) for e in episodes]
    by_step = {e.simulator_steps: [] for e in evaluations}
    for each in evaluations:
        by_step[each.simulator_steps].append(each.cost_return)
    assert points(run, "evaluation/cost_return") == [(step, fmean(costs)) for step, costs in by_step.items()]
    drifting = [(d.simulator_steps, d.mean) for d in run.diagnostics.read() if d.name == "drifting"]
    assert points(run, "diagnostic/drifting") == drifting


@pytest.fixture(scope="module")
def tracked(tmp_path_factory):
    """A run that TensorBoard and Weights & Biases followed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_MODE", "offline")
        return train(tmp_path_factory.mktemp("tracked"), track=["tensorboard", "wandb", "tensorboard"])


def test_tensorboard_shows_what_the_tables_hold(tracked):
    mirrors_its_tables(tracked)


def test_weights_and_biases_keep_their_files_beside_the_run(tracked):
    (folder,) = (tracked.path / "wandb").glob("offline-run-*")
    assert [file for file in folder.iterdir() if file.suffix == ".wandb" and file.stat().st_size > 1000]
    assert (tracked.path / "wandb/id.txt").read_text() in folder.name


def test_results_are_the_same_without_and_the_run_is_the_same(tracked, tmp_path, monkeypatch):
    plain = train(tmp_path)
    for table, other in zip(plain.tables, tracked.tables, strict=True):
        assert table.read() == other.read()
    assert plain.settings == tracked.settings and not (plain.path / "tensorboard").exists()
    assert train(tmp_path, track=["tensorboard"]).settings == plain.settings  # finished: kept
    assert read(tracked).state == "finished" and not (plain.path / "tensorboard").exists()


def test_a_resumed_run_goes_on_without_a_point_twice(tmp_path):
    run = train(tmp_path, track=["tensorboard"])
    safeloop.resume(run.path, from_step=100, track=["tensorboard"], quiet=True)
    assert len(list((run.path / "tensorboard").iterdir())) == 2
    mirrors_its_tables(run)


def test_nothing_is_imported_unless_it_is_asked_for():
    code = "import sys, safeloop.experiments.worker, safeloop.api; "
    code += "print([n for n in ('tensorboard', 'wandb', 'torch.utils.tensorboard') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("comet", "--track comet: expected tensorboard or wandb"),
        ("wandb", "--track wandb: it is not installed: pip install 'safeloop[wandb]'"),
    ],
)
def test_what_is_not_there_is_one_line_and_nothing_is_written(main, tmp_path, monkeypatch, name, message):
    monkeypatch.setattr(trackers, "find_spec", lambda name: None)
    monkeypatch.chdir(tmp_path)
    for verb in (["run", "RCCarDrift"], ["offline", "nowhere"], ["resume", "nowhere"]):
        code, out, errors = main(*verb, "--track", name)
        assert code == 2 and out == "" and message in errors and errors.count("\n") == 1
    assert not os.listdir(tmp_path)


def test_a_text_is_no_list_of_names():
    with pytest.raises(UsageError, match=r"track='wandb': expected a list of names, \['wandb'\]"):
        trackers.checked("wandb")


class Failing:
    """A tracker that fails at its second row, or when it is opened."""

    def __init__(self, run, step, at=2):
        self.left = at
        if not self.left:
            raise RuntimeError("no\nnetwork")

    def add(self, values, step):
        self.left -= 1
        if not self.left:
            raise OSError(28, "No space left on device")

    def close(self):
        raise AssertionError("it failed before")


@pytest.mark.parametrize(("at", "told"), [(0, "RuntimeError: no network"), (1, "OSError: [Errno 28] No space left")])
def test_a_tracker_that_fails_is_one_notice_and_training_goes_on(tmp_path, monkeypatch, capsys, at, told):
    monkeypatch.setitem(trackers.TRACKERS, "tensorboard", lambda run, step: Failing(run, step, at))
    run = Run.create(tmp_path, RunSettings("RCCarDrift", "sac", 1, 0, 5.0))
    episode = Episode(0, 100, 100, -1.0, 0.0, 0, 100, 1.0)

    def trains(run, threads):
        run.episodes.append(episode)
        run.evaluations.append(EvaluationEpisode(100, 0, -1.0, 0.0, 0, 100))

    sent = []
    monkeypatch.setattr(worker, "train", trains)
    assert worker.work(run, 1, sent.append, ["tensorboard"]) == 0 and run.status["state"] == "finished"
    (notice,) = [each["notice"] for each in sent if "notice" in each]
    assert notice.startswith(f"--track tensorboard: {told}") and notice.endswith("; left out from here")
    assert f"safeloop: {notice}\n" in capsys.readouterr().err and run.episodes.read() == [episode]


def test_the_numbers_of_an_environment_without_a_cost(tmp_path):
    seen = []
    run = Run.create(tmp_path, RunSettings("Hopper", "sac", 1, 0, None, eval_episodes=1))
    mirror = trackers.Mirror(run, "tensorboard", seen.append)
    mirror.tracker = type("Seen", (), {"add": lambda self, values, step: seen.append((step, values))})()
    mirror.add(Episode(0, 100, 100, -1.0, 0.0, 0, 100, 1.0))
    mirror.add(EvaluationEpisode(100, 0, -2.0, 0.0, 0, 90, control="policy"))
    assert seen == [
        (100, {"episode/return": -1.0, "episode/length": 100.0}),
        (100, {"evaluation of the policy alone/return": -2.0, "evaluation of the policy alone/length": 90.0}),
    ]
