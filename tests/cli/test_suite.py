"""Suites: their files, runs that are stopped, extended and started twice, states, and what is taken from elsewhere."""

import json
import random
import subprocess
import time
from pathlib import Path

import pytest

from safeloop import api
from safeloop.errors import UsageError
from safeloop.experiments import suite as launching
from safeloop.experiments import suite_file, suite_status
from tests.cli.conftest import lines, table, wait_for

SUITE = """name: small
version: 1
tasks:
  - env: WallStop
    options: {wall: 0.7}
    budget: 4
algorithms:
  - algo: cem-linear
    settings: {elites: 2}
  - algo: cem-linear
    variant: four
    settings: {elites: 4}
seeds: 2
steps: 20000
evaluation: {episodes: 2}
"""
RUNS = [f"WallStop/{algo}/seed-{seed}" for algo in ("cem-linear", "cem-linear-four") for seed in range(2)]


def write(folder: Path, text: str = SUITE) -> Path:
    file = folder / "small.yaml"
    file.write_text(text)
    return file


def found(folder):
    """The rows of every run in a suite's folder, without the columns that measure time."""
    return {
        str(path.relative_to(folder)): [
            {k: v for k, v in row.items() if k != "wall_seconds"}
            for name in ("episodes.csv", "evaluations.csv")
            if (path / name).exists()
            for row in table(path / name)
        ]
        for path in sorted(folder.glob("*/*/seed-?"))
    }


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The suite, run without interruption."""
    folder = tmp_path_factory.mktemp("whole")
    made = api.run_suite(write(folder), out=folder, quiet=True)
    assert not made.failures and made.folder == folder / "small@1"
    return made.folder


def test_every_run_of_a_suite_is_made_and_compared(whole):
    assert list(found(whole)) == RUNS and all(found(whole).values())
    settings = json.loads((whole / RUNS[0] / "settings.json").read_text())
    assert (
        settings["budget"] == 4 and settings["env_options"]["wall"] == 0.7 and settings["algo_settings"]["elites"] == 2
    )
    assert settings["steps"] == 20_000 and settings["eval_episodes"] == 2
    assert "cem-linear" in (whole / "WallStop/summary.md").read_text()


def test_killed_at_random_and_started_again_it_ends_as_an_uninterrupted_one(whole, start, tmp_path):
    draw, asked = random.Random(3), ["suite", "run", write(tmp_path), "--out", tmp_path, "--quiet"]
    for attempt in range(5):
        launcher = start(*asked)
        time.sleep(1.0 + 2 * draw.random())
        if attempt % 2:  # single workers
            subprocess.run(["pkill", "-KILL", "-f", f"experiments.worker {tmp_path}"], check=False)
        else:
            launcher.kill()
        launcher.communicate(timeout=60)
    assert start(*asked).wait(60) == 0
    assert found(tmp_path / "small@1") == found(whole)


def test_started_twice_at_once_both_end_and_every_run_is_made_once(whole, start, tmp_path):
    asked = ["suite", "run", write(tmp_path), "--out", tmp_path, "--jobs", "2"]
    both = [start(*asked), start(*asked)]
    told = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    assert found(tmp_path / "small@1") == found(whole)


def test_it_is_extended_by_seeds_and_algorithms_and_finished_runs_stay(whole, main, tmp_path):
    suite = write(tmp_path)
    assert main("suite", "run", suite, "--out", tmp_path, "--seeds", "1", "-q")[0] == 0
    first = tmp_path / "small@1" / RUNS[0]
    before = first.joinpath("episodes.csv").stat().st_mtime_ns
    code, out, errors = main("suite", "run", suite, "--out", tmp_path)
    assert code == 0 and f"{first}: already finished, kept" in errors and "small@1; its page" in out
    assert first.joinpath("episodes.csv").stat().st_mtime_ns == before and found(tmp_path / "small@1") == found(whole)
    assert main("suite", "run", suite, "--out", tmp_path, "--algo", "slow", "--seeds", "1", "-q")[0] == 0
    recorded = launching.recorded(tmp_path / "small@1")
    assert [each.algo for each in recorded.algorithms] == ["cem-linear", "cem-linear", "slow"] and recorded.seeds == 2


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("budget: 4", "budget: 5"), "tasks"),
        (("20000", "300"), "steps"),
        (("episodes: 2", "episodes: 3"), "evaluation"),
    ],
)
def test_other_terms_are_another_version(whole, main, tmp_path, change, told):
    changed = write(tmp_path, SUITE.replace(*change))
    code, _, errors = main("suite", "run", changed, "--out", whole.parent)
    assert code == 2 and f"holds small@1 with other {told}: results of two versions never share a table" in errors
    newer = suite_file.read(write(tmp_path, SUITE.replace("version: 1", "version: 2").replace(*change)))
    assert launching.folder(whole.parent, newer) != whole


def test_runs_that_are_held_elsewhere_are_taken(whole, main, tmp_path):
    text = SUITE.replace("name: small", "name: other").replace("elites: 2", "elites: 3")
    code, _, errors = main("suite", "run", write(tmp_path, text), "--out", tmp_path, "--held", whole)
    assert code == 0
    assert [line.split(": taken from ")[1] for line in errors.splitlines() if "taken" in line] == [
        str(whole / run) for run in RUNS[2:]
    ]
    made = found(tmp_path / "other@1")
    assert made[RUNS[2]] == found(whole)[RUNS[2]] and made[RUNS[0]] != found(whole)[RUNS[0]]


def test_one_run_that_fails_stops_no_other(main, tmp_path):
    four = "cem-linear\n    variant: four\n    settings: {elites: 4}"
    code, _, errors = main("suite", "run", write(tmp_path, SUITE.replace(four, "broken")), "--out", tmp_path)
    assert code == 1 and "broken seed 0 failed" in errors
    states = suite_status.status(launching.recorded(tmp_path / "small@1"), tmp_path / "small@1")
    assert [each.state for each in states] == ["finished", "finished", "failed", "failed"]


def test_runs_of_two_tasks_side_by_side_have_names_of_their_own(main, tmp_path):
    both = SUITE.replace("algorithms:", "  - env: PointBox\nalgorithms:").replace("steps: 20000", "steps: 3000")
    code, _, errors = main("suite", "run", write(tmp_path, both), "--out", tmp_path, "--jobs", 2, "--seeds", 1)
    assert code == 0
    for task in ("WallStop", "PointBox"):
        assert f"{task} cem-linear seed 0: started" in errors and f"{task} cem-linear four seed 0: finished" in errors


def test_the_state_of_every_run_is_told_while_it_trains(main, start, tmp_path):
    suite = write(tmp_path, SUITE.replace("steps: 20000", "steps: 3000000"))
    code, out, _ = main("suite", "status", suite, "--out", tmp_path)
    assert code == 0 and "small@1: 4 runs: 4 not begun" in out
    start("suite", "run", suite, "--out", tmp_path, "--jobs", "1")
    folder = tmp_path / "small@1"
    wait_for(lambda: len(lines(folder / RUNS[0] / "episodes.csv")) > 20)
    for given in ([suite, "--out", tmp_path], [folder]):
        states = json.loads(main("suite", "status", *given, "--json")[1])["runs"]
        assert [each["state"] for each in states] == ["running", "new", "new", "new"]
        assert 2000 <= states[0]["steps"] <= states[0]["of"] == 3_000_000
    assert "seed 0" in main("suite", "status", folder)[1]


def test_shipped_suites_can_be_run_as_they_are(main, tmp_path):
    code, out, _ = main("suite", "list")
    assert code == 0 and len(suite_file.shipped()) >= 7
    for name in suite_file.shipped():
        suite = suite_file.find(name)
        launching.Launcher(tmp_path, suite, suite)
        assert suite.id in out and suite.name == name and suite_file.find(suite.id) == suite
    assert not list(tmp_path.iterdir())
    assert {each["name"] for each in json.loads(main("suite", "list", "--json")[1])} == set(suite_file.shipped())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("seeds: 2", "sedes: 2"), "line 13: unknown key 'sedes'; nearest: seeds"),
        (("version: 1\n", ""), "line 1: key 'version' is missing; add it"),
        (("  - env: WallStop\n    options", "  - options"), "line 4: key 'env' is missing; add it"),
        (("steps: 20000", "steps: many"), "line 14: steps: 'many': expected a valid integer"),
        (("seeds: 2", "seeds: 0"), "line 13: seeds: 0: expected greater than or equal to 1"),
        (("name: small", "name: Small One"), "line 1: name: 'Small One': expected"),
        (("budget: 4", "budget: [4]"), "line 6: budget: [4]: expected"),
        (("{elites: 2}", "{elites: {a: 1}}"), "line 9: settings: {'a': 1}: expected"),
        (("{episodes: 2}", "{episode: 2}"), "line 15: unknown key 'episode'; nearest: episodes"),
        (("    variant: four\n", ""), "algorithms: cem-linear is there twice; give each a variant of its own"),
        (("algorithms:", "  - env: WallStop\nalgorithms:"), "tasks: WallStop is there twice"),
        (("elites: 2", "elite: 2"), "small@1, task WallStop: cem-linear: no setting 'elite'; nearest: elites"),
        (("env: WallStop", "env: WallStap"), "small@1, task WallStap: unknown environment 'WallStap'"),
        (("tasks:", "tasks"), "line 4:"),
        ((SUITE, "- 1\n"), "expected keys and values"),
        ((SUITE, "[" * 5000), "correct the file"),
    ],
)
def test_mistakes_in_a_file_are_one_line(main, tmp_path, change, message):
    code, out, errors = main("suite", "run", write(tmp_path, SUITE.replace(*change)), "--out", tmp_path / "out")
    assert code == 2 and message in errors and errors.count("\n") == 1 and not out
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (["rc-cars"], "no suite 'rc-cars'; nearest: rc-car"),
        (["rc-car@7"], "rc-car@7: this version of safeloop has rc-car@1"),
        (["no/such.yaml"], "no/such.yaml: No such file or directory"),
        (["rc-car", "--task", "PointGoal1"], "--task PointGoal1: rc-car@1 has RCCarDrift, RCCarCircle, RCCarStraight"),
        (["rc-car", "--algo", "saveloop"], "unknown algorithm 'saveloop'"),
        (["rc-car", "--seeds", "0"], "--seeds 0: expected at least 1"),
        (["rc-car", "--executor", "cluster"], "--executor cluster: expected"),
        (["rc-car", "--address", "a:1"], "--address a:1: it is of a Ray cluster; give --executor ray too"),
        (["rc-car", "--resource", "gpus=1"], "--resource gpus: it is for clusters; give --executor ray or slurm"),
        (["rc-car", "--executor", "ray", "--resource", "gpus=x"], "--resource gpus=x: expected a number of at least 0"),
    ],
)
def test_what_can_not_be_asked_for_is_one_line(main, tmp_path, monkeypatch, asked, message):
    monkeypatch.chdir(tmp_path)
    code, _, errors = main("suite", "run", *asked)
    assert code == 2 and message in errors and not list(tmp_path.iterdir())


def test_a_folder_without_a_suite_or_with_a_damaged_one_is_one_line(tmp_path):
    with pytest.raises(UsageError, match="holds no suite: give the folder of one"):
        launching.recorded(tmp_path)
    (tmp_path / launching.RECORD).write_text("{")
    with pytest.raises(UsageError, match="is damaged: restore it"):
        launching.recorded(tmp_path)
