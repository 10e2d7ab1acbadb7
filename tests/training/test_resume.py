"""A safeloop run on the real PointGoal1, killed and resumed, against an uninterrupted one."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict

import pytest

from safeloop.recording.run import Run, RunSettings
from safeloop.registry import find_algorithm
from safeloop.settings import build, flat

SMALL = {
    "ensemble_size": 2, "population": 8, "iterations": 1, "horizon": 3, "width": 16, "entity_width": 8, "hidden": 32,
    "warmup": 250, "fit_every": 150, "fit_steps": 5, "first_fit_steps": 10, "batch_size": 32, "actor_fraction": 0.25,
}  # fmt: skip


DYNAMICS = {"paper": "factored", "task": "points"}
"""By observation: entities of positions; and the stock lidar, decoded into points that planners remember."""


def make(out, algo="safeloop", observation="paper", **settings):
    settings = {"dynamics": DYNAMICS[observation], **settings}
    values = flat(build(find_algorithm(algo).info.settings, SMALL, settings, owner=algo))
    asked = RunSettings(
        "PointGoal1",
        algo,
        3000,
        seed=3,
        budget=25.0,
        env_options={"observation": observation},
        algo_settings=values,
        eval_every=2000,
        eval_episodes=1,
    )
    return Run.create(out, asked)


def start(run):
    command = [sys.executable, "-m", "safeloop.experiments.worker", str(run.path)]
    with open(run.path / "log.txt", "a") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "OMP_NUM_THREADS": "1"})


def finish(run):
    assert start(run).wait(timeout=300) == 0, (run.path / "log.txt").read_text()


def records(run):
    """Every record of a run but its wall-clock seconds."""
    episodes = run.episodes.read()
    return episodes, run.evaluations.read(), run.fits.read(), run.plans.read()


@pytest.fixture(scope="module", params=DYNAMICS)
def uninterrupted(request, tmp_path_factory):
    run = make(tmp_path_factory.mktemp("whole"), observation=request.param)
    finish(run)
    return run


def again(uninterrupted, out):
    """A run of the same settings."""
    return make(out, observation=uninterrupted.settings.env_options["observation"])


def test_a_killed_and_resumed_run_equals_an_uninterrupted_one(uninterrupted, tmp_path):
    run = again(uninterrupted, tmp_path)
    kills = 0
    for seen in (1, 2):  # once in the warm-up, once while planning
        process = start(run)
        while process.poll() is None and len(run.episodes.read()) < seen:
            time.sleep(0.02)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.wait()
    finish(run)
    assert kills == 2
    assert records(run) == records(uninterrupted)
    assert len(run.episodes.read()) == 3 and len(run.evaluations.read()) == 2


def test_rows_beyond_the_checkpoint_are_dropped(uninterrupted, tmp_path):
    """A kill between an episode's row and its checkpoint leaves a row that the resumed run writes anew."""
    run = again(uninterrupted, tmp_path)
    process = start(run)
    while process.poll() is None and not run.has_checkpoint:
        time.sleep(0.02)
    process.kill()
    process.wait()
    last = run.episodes.read()[-1]
    beyond = (last.episode + 1, last.simulator_steps + 1000, last.decisions + 9, 9.0, 9.0, 9, 9, 9.0)
    run.episodes.append(type(last)(*beyond))
    (run.path / "episodes.csv").open("a").write("7,70")  # and half a line
    finish(run)
    assert records(run) == records(uninterrupted)


def test_the_same_seed_gives_the_same_run_and_another_seed_another(uninterrupted, tmp_path):
    run = again(uninterrupted, tmp_path)
    finish(run)
    assert records(run) == records(uninterrupted)
    other = Run.create(tmp_path, RunSettings(**(asdict(run.settings) | {"seed": 4, "steps": 1000, "eval_every": 0})))
    finish(other)
    assert records(other)[0] != records(uninterrupted)[0][:1]


def test_evaluations_change_nothing_in_training(uninterrupted, tmp_path):
    settings = asdict(again(uninterrupted, tmp_path).settings) | {"eval_every": 0, "eval_episodes": 0, "seed": 3}
    run = Run.create(tmp_path / "quiet", RunSettings(**settings))
    finish(run)
    assert records(run)[0] == records(uninterrupted)[0] and records(run)[1] == []
