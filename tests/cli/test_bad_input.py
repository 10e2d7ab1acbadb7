"""Bad input: one clear line, exit code 2, nothing overwritten."""

import json
import shutil
from contextlib import nullcontext

import pytest
import torch

import safeloop
from safeloop.errors import UsageError
from safeloop.experiments.specify import check_device
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
        (["run", "Hopper", "--budget", "5"], "--budget 5: Hopper has no cost; leave it out"),
        (["run", "Hopper", "--algo", "safeloop"], "Hopper has no cost, and safeloop keeps a cost within a limit"),
        (["run", "Hopper", "--algo", "cpo"], "Hopper has no cost, and cpo keeps a cost within a limit"),
        (["run", "Hopper", "--algo", "omnisafe:TRPOLag"], "Hopper has no cost, and omnisafe:TRPOLag keeps"),
        (["run", "Hopper", "--algo", "lbpo"], "Hopper has no cost, and lbpo keeps a cost within a limit"),
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
        ([*RUN, "--device", "cuda:"], "--device cuda:: expected cpu or cuda, or cuda:N"),
        ([*RUN, "--device", "cuda:01"], "--device cuda:01: expected cpu or cuda, or cuda:N"),
        ([*RUN, "--steps", "99999999999"], "--steps 99999999999: expected at most 1,000,000,000"),
        ([*RUN, "--steps", "9" * 5000], "(5000 characters): expected a whole number"),
        ([*RUN, "--seeds", "99999999999"], "--seeds 99999999999: expected at most 1,000"),
        ([*RUN, "--seed", "4294967296"], "--seed 4294967296: expected at most 4,294,967,295"),
        ([*RUN, "--jobs", "99999999"], "--jobs 99999999: expected at most 1,024"),
        ([*RUN, "--threads", "99999999"], "--threads 99999999: expected at most 1,024"),
        ([*RUN, "--eval-episodes", "99999999"], "--eval-episodes 99999999: expected at most 100,000"),
        (["collect", "Hopper", "--policy", "random", "--episodes", "99999999", "--out", "d"], "at most 100,000"),
        (["run", "Hopper", "--env-set", "action_repeat=99999999"], "action_repeat=99999999: expected at most 1000"),
        ([*RUN, "--seed", "１２"], "'--seed': １２: expected a whole number"),
        ([*RUN, "--seed", "1_000"], "'--seed': 1_000: expected a whole number"),
        ([*RUN, "--steps", "１２"], "--steps １２: expected a whole number"),
        ([*RUN, "--steps", "1_000"], "--steps 1_000: expected a whole number"),
        ([*RUN, "--budget", "١٢"], "'--budget': ١٢: expected a number"),
        ([*RUN, "--set", "population=١٢"], "population=١٢: expected a whole number"),
        ([*RUN, "--set", "penalty=1_0"], "penalty=1_0: expected a number"),
        ([*RUN, "--variant", "."], "--variant '.': expected at most 40 letters"),
        ([*RUN, "--variant", ".."], "--variant '..': expected at most 40 letters"),
        ([*RUN, "--variant", "a/b"], "--variant 'a/b': expected at most 40 letters"),
        (["speed", "plan"], "No such command 'plan'"),
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
        (["report", "nowhere"], "nowhere is not a folder"),
        (["report"], "RUNS"),
    ],
)
def test_one_clear_line_and_nothing_written(main, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    code, out, errors = main(*arguments)
    assert code == 2 and out == ""
    assert errors.startswith("safeloop: error: ") and errors.count("\n") == 1 and message in errors
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("device", ["cuda", "cuda:0", "cuda:3"])
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_a_device_that_is_not_there_is_refused(main, tmp_path, device):
    code, _, errors = main(*RUN, "--device", device, "--out", tmp_path / "out")
    assert code == 2 and f"--device {device}: this machine has no CUDA device" in errors
    assert errors.count("\n") == 1 and not (tmp_path / "out").exists()


@pytest.mark.parametrize(("device", "refused"), [("cuda", False), ("cuda:1", False), ("cuda:2", True)])
def test_a_cuda_device_is_chosen_by_its_number(monkeypatch, device, refused):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(UsageError, match="no such device; it has cuda:0, cuda:1") if refused else nullcontext():
        check_device(device)


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
@pytest.mark.parametrize("verb", ["resume", "show", "plot", "report", "run"])
def test_a_damaged_run_is_refused(main, trained, damage, verb):
    run = trained / "WallStop/cem-linear/seed-0"
    DAMAGE[damage](run)
    before = contents(trained)
    whole = {"plot": ["plot", trained], "report": ["report", trained], "run": [*TRAIN, "--out", trained]}
    arguments = whole.get(verb, [verb, run])
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


def test_a_loaded_policy_refuses_what_is_no_observation(trained):
    policy = safeloop.load(trained / "WallStop/cem-linear/seed-0")
    policy.reset()
    for wrong in ([0.8], [0.8, float("nan")], "here", {"position": 0.8}):
        with pytest.raises(UsageError, match="observation"):
            policy.act(wrong)
    assert policy.act([0.8, 0.0]).shape == (1,)
