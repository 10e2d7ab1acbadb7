"""Bad input: one clear line, exit code 2, nothing overwritten."""

import json
import shutil

import pytest
import torch

from tests.cli.conftest import TRAIN, contents

RUN = ["run", "WallStop", "--algo", "cem-linear", "--steps", "300"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "WalStop", "--algo", "cem-linear"], "unknown environment 'WalStop'; nearest: WallStop"),
        (["run", "WallStop", "--algo", "cem-liner"], "unknown algorithm 'cem-liner'; nearest: cem-linear"),
        (["run", "WallStop", "--algo", "odd:strol"], "unknown algorithm 'odd:strol'; nearest: odd:stroll"),
        (["run", "WallStop", "--algo", "stroll"], "unknown algorithm 'stroll'; nearest: odd:stroll"),
        (["run", "WallStop", "--algo", "torn:x"], "algorithm family 'torn' can't be loaded"),
        ([*RUN, "--set", "populaton=3"], "cem-linear: no setting 'populaton'; nearest: population"),
        (
            [*RUN, "--set", "cem-linear.populaton=3"],
            "cem-linear: no setting 'populaton'; nearest: population",
        ),
        ([*RUN, "--set", "cpo.population=3"], "'cpo' is not a selected algorithm"),
        ([*RUN, "--set", "population"], "expected key=value"),
        ([*RUN, "--set", "population=many"], "expected a whole number"),
        ([*RUN, "--set", "elites=99"], "elites=99: expected 1 to population=10"),
        ([*RUN, "--env-set", "hole=1"], "WallStop has no option 'hole'"),
        ([*RUN, "--env-set", "wall=far"], "expected a number of metres"),
        ([*RUN, "--preset", "papr"], "no selected algorithm has the preset 'papr'"),
        ([*RUN, "--steps", "0"], "--steps 0: expected at least 1"),
        ([*RUN, "--steps", "-5"], "--steps -5: expected at least 1"),
        ([*RUN, "--steps", "lots"], "--steps lots: expected a whole number"),
        ([*RUN, "--steps", "cpo=10"], "'cpo' is not a selected algorithm"),
        ([*RUN, "--budget", "-1"], "--budget -1: expected a cost return of at least 0"),
        ([*RUN, "--budget", "nan"], "--budget nan"),
        (["run", "Hopper", "--budget", "5"], "--budget 5: nothing costs in Hopper; leave it out"),
        (["run", "Hopper", "--algo", "safeloop"], "nothing costs in Hopper, and safeloop keeps a cost within a limit"),
        (["run", "Hopper", "--algo", "cpo"], "nothing costs in Hopper, and cpo keeps a cost within a limit"),
        (["run", "Hopper", "--algo", "omnisafe:TRPOLag"], "nothing costs in Hopper, and omnisafe:TRPOLag keeps"),
        (["run", "Hopper", "--algo", "lbpo"], "nothing costs in Hopper, and lbpo keeps a cost within a limit"),
        (["run", "Hopper", "--algo", "crr"], "crr learns from a dataset: use `safeloop offline DATASET --algo crr`"),
        (["offline", "nowhere"], "nowhere does not exist: D4RL's and DSRL's files come from their projects' servers"),
        (["offline", "nowhere", "--algo"], "--algo"),
        (["collect", "Hoper", "--policy", "random", "--out", "d"], "unknown environment 'Hoper'; nearest: Hopper"),
        (["collect", "Hopper", "--policy", "nowhere", "--out", "d"], "nowhere is not a run"),
        (["collect", "Hopper", "--policy", "nowhere@5", "--out", "d"], "nowhere is not a run"),
        (["collect", "Hopper", "--policy", "random", "--replay", "--out", "d"], "--replay: give one run as --policy"),
        (
            ["collect", "Hopper", "--policy", "random", "--episodes", "0", "--out", "d"],
            "--episodes 0: expected at least",
        ),
        (["collect", "Hopper", "--out", "d"], "--policy"),
        ([*RUN, "--keep-every", "-1"], "--keep-every -1: expected at least 0"),
        ([*RUN, "--keep-every", "100"], "--keep-every 100: cem-linear keeps no earlier checkpoints; leave it out"),
        ([*RUN, "--seed", "1", "--seeds", "2"], "not both"),
        ([*RUN, "--seeds", "0"], "--seeds 0: expected at least 1"),
        ([*RUN, "--seed", "-1"], "--seed -1: expected at least 0"),
        ([*RUN, "--jobs", "0"], "--jobs 0: expected at least 1"),
        ([*RUN, "--threads", "0"], "--threads 0: expected at least 1"),
        ([*RUN, "--eval-every", "-1"], "--eval-every -1: expected at least 0"),
        ([*RUN, "--device", "tpu"], "--device tpu: expected cpu or cuda"),
        ([*RUN, "--seed", "one"], "--seed"),
        ([*RUN, "--variant", "a/b"], "--variant 'a/b': expected at most 40 letters"),
        (["speed", "plan"], "'plan': expected one of planner, env, train, all"),
        (["speed", "planner", "--against", "omnisave"], "--against omnisave: expected one of"),
        (["speed", "planner", "--env", "PointGaol1"], "unknown environment 'PointGaol1'"),
        (["speed", "env", "--threads", "0"], "--threads 0: expected at least 1"),
        ([*RUN, "--bogus"], "--bogus"),
        (["run"], "ENV"),
        (["walk"], "walk"),
        (["resume", "nowhere"], "nowhere is not a run"),
        (["eval", "nowhere"], "nowhere is not a run"),
        (["show", "nowhere"], "nowhere is not a run"),
        (["plot", "nowhere"], "nowhere is not a folder"),
    ],
)
def test_one_clear_line_and_nothing_written(main, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    code, out, errors = main(*arguments)
    assert code == 2 and out == ""
    assert errors.startswith("safeloop: error: ") and errors.count("\n") == 1 and message in errors
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_a_device_that_is_not_there_is_refused(main, tmp_path):
    code, _, errors = main(*RUN, "--device", "cuda", "--out", tmp_path / "out")
    assert code == 2 and "no CUDA device" in errors and not (tmp_path / "out").exists()


def test_an_output_folder_that_cannot_be_written_is_refused(main, tmp_path):
    (tmp_path / "file").write_text("mine")
    code, _, errors = main(*RUN, "--out", tmp_path / "file")
    assert code == 2 and "can't write" in errors and errors.count("\n") == 1
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--steps", "4000"], "steps is 3000 there, 4000 here"),
        (["--set", "population=4"], "population is 10 there, 4 here"),
        (["--threads", "2"], "threads is 1 there, 2 here"),
        (["--budget", "6"], "budget is 5.0 there, 6.0 here"),
    ],
)
def test_a_run_with_other_settings_is_never_overwritten(main, trained, change, message):
    before = contents(trained)
    code, _, errors = main(*TRAIN, *change, "--out", trained)
    assert code == 2 and message in errors and errors.count("\n") == 1
    assert contents(trained) == before


@pytest.mark.parametrize("change", [["--budget", "6"], ["--env-set", "wall=0.7"]])
def test_runs_in_one_folder_share_budget_and_environment_options(main, trained, change):
    before = contents(trained)
    code, _, errors = main(*RUN, "--seed", "5", *change, "--out", trained)
    assert code == 2 and "cem-linear/seed-0 ran with" in errors
    assert contents(trained) == before


def _edit(name, **changes):
    def edit(run):
        values = json.loads((run / name).read_text())
        (run / name).write_text(json.dumps({**values, **changes}))

    return edit


DAMAGE = {
    "settings that are not JSON": lambda run: (run / "settings.json").write_text("{"),
    "settings that are a list": lambda run: (run / "settings.json").write_text("[1]"),
    "another version": _edit("settings.json", schema=99),
    "a setting of a wrong type": _edit("settings.json", steps="many"),
    "a setting unknown": _edit("settings.json", colour="red"),
    "no status": lambda run: (run / "status.json").unlink(),
    "an unknown state": _edit("status.json", state="asleep"),
    "another table": lambda run: (run / "episodes.csv").write_text("a,b\n1,2\n"),
    "a table of bytes": lambda run: (run / "episodes.csv").write_bytes(b"\xff\xfe\n"),
    "a number that is none": lambda run: (run / "episodes.csv").write_text(
        (run / "episodes.csv").read_text().replace("\n1,", "\none,")
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("verb", ["resume", "show", "plot", "run"])
def test_a_damaged_run_is_refused(main, trained, damage, verb):
    run = trained / "WallStop/cem-linear/seed-0"
    DAMAGE[damage](run)
    before = contents(trained)
    arguments = {"plot": ["plot", trained], "run": [*TRAIN, "--out", trained]}.get(verb, [verb, run])
    code, out, errors = main(*arguments)
    assert code == 2 and out == "" and errors.count("\n") == 1
    assert "damaged" in errors or "another version" in errors
    assert contents(trained) == before


@pytest.mark.parametrize("content", [b"", b"not a checkpoint"])
def test_a_damaged_checkpoint_is_refused_and_the_run_left_as_it_was(main, trained, content):
    run = trained / "WallStop/cem-linear/seed-0"
    (run / "checkpoint/state.pt").write_bytes(content)
    code, _, errors = main("eval", run)
    assert code == 2 and "damaged" in errors and errors.count("\n") == 1
    _edit("status.json", state="running")(run)
    before = (run / "episodes.csv").read_bytes()
    code, _, errors = main("resume", run, "-q")
    assert code == 2 and "damaged" in errors and errors.count("\n") == 1
    assert (run / "episodes.csv").read_bytes() == before
    assert json.loads((run / "status.json").read_text())["state"] == "running"


def test_results_without_settings_are_not_overwritten(main, trained):
    run = trained / "WallStop/cem-linear/seed-0"
    (run / "settings.json").unlink()
    before = contents(trained)
    code, _, errors = main(*TRAIN, "--out", trained)
    assert code == 2 and "holds results but no settings.json" in errors
    assert contents(trained) == before


def test_a_run_without_a_checkpoint_cannot_be_evaluated(main, trained):
    shutil.rmtree(trained / "WallStop/cem-linear/seed-0/checkpoint")
    code, _, errors = main("eval", trained / "WallStop/cem-linear/seed-0")
    assert code == 2 and "no checkpoint" in errors


@pytest.mark.parametrize("name", ["drive.avi", "nowhere/drive.mp4", f"{'a' * 300}.mp4"])
def test_a_video_that_cannot_be_written_is_refused(main, trained, tmp_path, name):
    code, _, errors = main("eval", trained / "WallStop/cem-linear/seed-0", "--video", tmp_path / name)
    assert code == 2 and "--video" in errors and errors.count("\n") == 1


def test_eval_wants_at_least_one_episode(main, trained):
    code, _, errors = main("eval", trained / "WallStop/cem-linear/seed-0", "--episodes", "0")
    assert code == 2 and "expected at least 1" in errors
