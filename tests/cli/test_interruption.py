"""Runs that are killed, stopped or left half-written, and what the next command makes of them."""

import fcntl
import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

import safeloop
from tests.cli.conftest import is_alive, lines, table, wait_for, worker_of

EPISODES, EVAL_EVERY = 1_200, 35_000
STEPS = EPISODES * 100
"""Seconds of training, so that a busy machine kills it in time."""

LONG = ["run", "WallStop", "--algo", "cem-linear", "--steps", f"{STEPS}", "--eval-every", f"{EVAL_EVERY}"]
RUN = "WallStop/cem-linear/seed-0"


def rows(path):
    """Rows of a table, without the column that measures time."""
    return [{k: v for k, v in row.items() if k != "wall_seconds"} for row in table(path)]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    out = tmp_path_factory.mktemp("uninterrupted")
    safeloop.run("WallStop", ["cem-linear"], steps=STEPS, eval_every=EVAL_EVERY, out=out, quiet=True)
    assert len(rows(out / RUN / "episodes.csv")) == EPISODES
    return out / RUN


def assert_same(run, uninterrupted):
    for name in ("episodes.csv", "evaluations.csv"):
        assert rows(run / name) == rows(uninterrupted / name)
    assert json.loads((run / "status.json").read_text()) == {"state": "finished", "reason": ""}


@pytest.mark.parametrize("episodes", [3, 65])
def test_a_killed_worker_resumes_to_the_same_episodes(start, main, tmp_path, uninterrupted, episodes):
    launcher = start(*LONG, "--out", tmp_path)
    run = tmp_path / RUN
    wait_for(lambda: len(lines(run / "episodes.csv")) > episodes)
    os.kill(worker_of(launcher.pid), signal.SIGKILL)
    _, errors = launcher.communicate(timeout=60)
    assert launcher.returncode == 1 and "ended by SIGKILL" in errors
    assert 0 < len(lines(run / "episodes.csv")) < EPISODES
    with open(run / "episodes.csv", "a") as file:
        file.write("77,77")  # a line cut short by the kill
    code, _, errors = main("resume", run)
    assert code == 0 and "resumed (failed: the process was ended by SIGKILL)" in errors
    assert_same(run, uninterrupted)


def test_a_killed_launcher_takes_its_worker_along_and_the_command_resumes(start, main, tmp_path, uninterrupted):
    launcher = start(*LONG, "--out", tmp_path)
    run = tmp_path / RUN
    wait_for(lambda: len(lines(run / "episodes.csv")) > 40)
    worker = worker_of(launcher.pid)
    launcher.kill()
    wait_for(lambda: not is_alive(worker), seconds=10)
    assert len(lines(run / "episodes.csv")) < EPISODES
    wait_for(lambda: f"{run}: interrupted" in main("show", run)[1], seconds=10)
    assert json.loads((run / "status.json").read_text())["state"] == "running"  # stale: no process holds it
    code, _, errors = main(*LONG, "--out", tmp_path)
    assert code == 0 and "resumed (interrupted)" in errors
    assert_same(run, uninterrupted)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_command_says_how_to_go_on(start, main, tmp_path, number):
    launcher = start("run", "WallStop", "--algo", "cem-linear", "--steps", "1000000", "--out", tmp_path)
    run = tmp_path / RUN
    wait_for(lambda: len(lines(run / "episodes.csv")) > 20)
    worker = worker_of(launcher.pid)
    launcher.send_signal(number)
    _, errors = launcher.communicate(timeout=60)
    assert launcher.returncode == 130 and not is_alive(worker)
    assert errors.splitlines()[-1] == f"safeloop: stopped; to continue: safeloop resume {run}"
    assert "Traceback" not in errors
    assert json.loads((run / "status.json").read_text()) == {"state": "interrupted", "reason": ""}
    assert f"{run}: interrupted" in main("show", run)[1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_there_is_of_stopped_runs_is_drawn_and_those_not_begun_are_new(start, main, tmp_path, number):
    algorithms = ["--algo", "cem-linear", "--algo", "random-walk", "--jobs", "1"]
    launcher = start("run", "WallStop", *algorithms, "--steps", f"{STEPS}", "--out", tmp_path)
    run, waiting = tmp_path / RUN, tmp_path / "WallStop/random-walk/seed-0"
    wait_for(lambda: len(lines(run / "episodes.csv")) > 20)
    launcher.send_signal(number)
    printed, errors = launcher.communicate(timeout=60)
    folder = tmp_path / "WallStop"
    assert launcher.returncode == 130 and errors.splitlines()[-1].startswith("safeloop: stopped; to continue: ")
    assert [row["state"] for row in table(folder / "summary.csv")] == ["interrupted", "new"]
    assert (folder / "curves.png").is_file() and (folder / "violations.png").is_file()
    assert "interrupted" in printed and f"pictures and tables: {folder}" in printed
    assert json.loads((waiting / "status.json").read_text())["state"] == "new"
    code, _, errors = main("resume", run)
    assert code == 0 and f"{run}: resumed (interrupted)" in errors


def test_what_cannot_be_resumed_is_kept_and_started_anew(start, main, tmp_path):
    arguments = ["run", "WallStop", "--algo", "random-walk", "--steps", "100000", "--out", tmp_path]
    run = tmp_path / "WallStop/random-walk/seed-0"
    launcher = start(*arguments)
    wait_for(lambda: len(lines(run / "episodes.csv")) > 5)
    launcher.send_signal(signal.SIGINT)
    _, errors = launcher.communicate(timeout=60)
    assert f"safeloop resume {run} (random-walk: from the start)" in errors
    recorded = (run / "episodes.csv").read_bytes()
    assert recorded.count(b"\n") < 1001
    code, _, errors = main(*arguments)
    assert code == 0 and "can't resume" in errors and "seed-0.interrupted-1" in errors
    aside = run.with_name("seed-0.interrupted-1")
    assert (aside / "episodes.csv").read_bytes() == recorded
    assert len(lines(run / "episodes.csv")) == 1001
    assert len(table(tmp_path / "WallStop/summary.csv")) == 1  # what is aside is left out


def test_without_its_checkpoint_a_run_is_kept_and_started_anew(trained, main):
    run = trained / RUN
    recorded = (run / "episodes.csv").read_bytes()
    shutil.rmtree(run / "checkpoint")
    (run / "status.json").write_text('{"state": "running", "reason": ""}')
    code, _, errors = main("resume", run)
    assert code == 0 and "its checkpoint is missing; what it recorded is kept in seed-0.interrupted-" in errors
    (aside,) = run.parent.glob("seed-0.interrupted-*")
    assert (aside / "episodes.csv").read_bytes() == recorded
    assert json.loads((run / "status.json").read_text())["state"] == "finished"


def test_resume_of_what_cannot_be_resumed_does_the_same(trained, main):
    run = trained / "WallStop/random-walk/seed-0"
    (run / "status.json").write_text('{"state": "failed", "reason": "x"}')
    code, _, errors = main("resume", run)
    assert code == 0 and "seed-0.interrupted-1" in errors
    assert (run.with_name("seed-0.interrupted-1") / "episodes.csv").is_file()
    assert json.loads((run / "status.json").read_text())["state"] == "finished"


def test_resuming_a_finished_run_does_nothing(trained, main):
    run = trained / "WallStop/cem-linear/seed-0"
    before = (run / "episodes.csv").stat().st_mtime_ns
    code, _, errors = main("resume", run)
    assert code == 0 and "already finished, kept" in errors
    assert (run / "episodes.csv").stat().st_mtime_ns == before


def test_another_number_of_threads_is_refused_unless_forced(trained, main):
    run = trained / "WallStop/cem-linear/seed-0"
    (run / "status.json").write_text('{"state": "running", "reason": ""}')
    code, _, errors = main("resume", run, "--threads", "2")
    assert code == 2 and "threads=1" in errors and "--force-threads" in errors
    assert main("resume", run, "--threads", "2", "--force-threads", "-q")[0] == 0
    assert "started with 2 thread(s)" in (run / "log.txt").read_text()


def test_a_run_in_use_is_refused_and_other_versions_are_told(trained, main):
    run = trained / "WallStop/cem-linear/seed-0"
    (run / "status.json").write_text('{"state": "running", "reason": ""}')
    with open(run / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        code, _, errors = main("resume", run)
        assert code == 2 and "in use by another process" in errors
    versions = json.loads((run / "versions.json").read_text())
    here = Path(__file__).parent
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=False).stdout
    assert versions.get("commit", "")[:12] == head[:12]
    (run / "versions.json").write_text(json.dumps({**versions, "torch": "1.0.0"}))
    code, _, errors = main("resume", run)
    assert code == 0 and "torch 1.0.0, now" in errors
