"""The happy path of every command, on an environment and algorithms from another package."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import safeloop
from safeloop.experiments import prepare, specify
from safeloop.experiments.specify import Request
from safeloop.registry import whole_steps
from tests.cli.conftest import TRAIN, table


def test_run_leaves_runs_tables_and_pictures(trained, printed):
    folder = trained / "WallStop"
    for algo in ("cem-linear", "random-walk"):
        run = folder / algo / "seed-0"
        assert json.loads((run / "status.json").read_text())["state"] == "finished"
        assert (run / "checkpoint" / "state.pt").is_file() and (run / "log.txt").is_file()
        assert len(table(run / "episodes.csv")) == 30
    for name in ("curves.png", "violations.png"):
        assert (folder / name).stat().st_size > 10_000
    rows = table(folder / "summary.csv")
    assert [(r["algo"], r["seed"], r["state"]) for r in rows] == [
        ("cem-linear", "0", "finished"),
        ("random-walk", "0", "finished"),
    ]
    assert "WallStop" in printed.stdout and "Budget: cost return 5" in printed.stdout
    assert "Privileged information: nothing at all" in printed.stdout and "action repeat 2" in printed.stdout
    assert "started" in printed.stderr and "finished" in printed.stderr


def test_the_same_command_again_keeps_everything_and_redraws(trained, main):
    episodes = trained / "WallStop/cem-linear/seed-0/episodes.csv"
    before = episodes.stat().st_mtime_ns
    (trained / "WallStop/curves.png").unlink()
    code, _, errors = main(*TRAIN, "--out", trained)
    assert code == 0 and errors.count("already finished, kept") == 2
    assert episodes.stat().st_mtime_ns == before
    assert (trained / "WallStop/curves.png").is_file()


def test_seeds_settings_and_options_reach_the_run(main, tmp_path):
    code, out, errors = main(
        "run", "wallstop", "--algo", "cem-linear", "--steps", "600", "--seeds", "2", "--set", "population=6",
        "--set", "cem-linear.elites=2", "--budget", "7", "--env-set", "wall=0.5", "--eval-every", "0",
        "--eval-episodes", "1", "--out", tmp_path, "-q",
    )  # fmt: skip
    assert (code, out, errors) == (0, "", "")
    for seed in (0, 1):
        settings = json.loads((tmp_path / f"WallStop/cem-linear/seed-{seed}/settings.json").read_text())
        assert settings["steps"] == 600 and settings["seed"] == seed and settings["budget"] == 7.0
        assert settings["algo_settings"] == {"population": 6, "elites": 2, "penalty": 10.0}
        assert settings["env_options"] == {"wall": 0.5} and settings["threads"] == 1
    rows = table(tmp_path / "WallStop/summary.csv")
    assert [r["seed"] for r in rows] == ["0", "1"]
    assert [(r["algo"], r["n"]) for r in table(tmp_path / "WallStop/aggregates.csv")] == [("cem-linear", "2")]
    assert rows[0]["settings"] == "default; population=6; elites=2"
    assert rows[0]["evaluation_episodes"] == "1"


def test_variants_of_an_algorithm_stand_side_by_side(main, tmp_path):
    line = ("run", "WallStop", "--algo", "cem-linear", "--steps", "300", "--eval-episodes", "1", "--out", tmp_path)
    assert main(*line, "-q")[0] == 0
    code, out, _ = main(*line, "--variant", "N=6", "--set", "population=6")
    assert code == 0 and any(line.startswith("cem-linear N=6 ") for line in out.splitlines())
    rows = table(tmp_path / "WallStop/summary.csv")
    assert [(r["algo"], r["seed"], r["settings"]) for r in rows] == [
        ("cem-linear", "0", "default"),
        ("cem-linear N=6", "0", "default; population=6"),
    ]
    assert (tmp_path / "WallStop/cem-linear-N=6/seed-0/checkpoint/state.pt").is_file()
    code, _, errors = main(*line, "--variant", "N=6", "--set", "population=7")
    assert code == 2 and "other settings" in errors


def test_a_run_from_before_there_was_a_setting_has_its_default(main, tmp_path):
    line = ("run", "WallStop", "--algo", "cem-linear", "--steps", "300", "--eval-episodes", "1", "--out", tmp_path)
    assert main(*line, "-q")[0] == 0
    file = tmp_path / "WallStop/cem-linear/seed-0/settings.json"
    settings = json.loads(file.read_text())
    del settings["algo_settings"]["penalty"]
    file.write_text(json.dumps(settings))
    code, _, errors = main(*line)
    assert code == 0 and "already finished, kept" in errors
    code, _, errors = main(*line, "--set", "penalty=7")
    assert code == 2 and "penalty is 10.0 there, 7.0 here" in errors
    settings["algo_settings"]["of_old"] = 1  # a setting that is no more: nothing is known of its meaning
    file.write_text(json.dumps(settings))
    code, _, errors = main(*line)
    assert code == 2 and "of_old is 1 there, 'missing' here" in errors


def planned(**options):
    """The settings of each algorithm's run, by name."""
    env = options.pop("env", "WallStop")
    asked = Request(**{"algos": ["cem-linear", "random-walk"], "eval_episodes": 1, **options})
    return {s.algo: s for s in specify.specify(asked, env)}


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (None, (20_000, 20_000)),
        (["400"], (400, 400)),
        (["cem-linear=600", "400"], (600, 400)),
        ({"random-walk": 600}, (20_000, 600)),
        (400, (400, 400)),
    ],
)
def test_steps_are_for_all_or_for_one_algorithm(steps, expected):
    assert tuple(settings.steps for settings in planned(steps=steps).values()) == expected


def test_terminal_and_table_tell_of_steps_beyond_those_asked_for(main, tmp_path):
    asked = ["run", "WallStop", "--algo", "cem-linear", "--algo", "random-walk", "--steps", "300", "--out", tmp_path]
    code, out, errors = main(*asked, "--seeds", "2")
    assert code == 0
    told = "cem-linear: 300 steps are asked for; it ends with the epoch or episode that reaches them, so it takes 1,000"
    assert errors.count(told) == 1 and "cem-linear seed 0: started, 1,000 steps" in errors
    assert "Steps: training ends with a whole episode or epoch: cem-linear 300 asked for, 1,000 taken." in out
    assert "random-walk: 300" not in errors and "random-walk seed 0: started, 300 steps" in errors


@pytest.mark.parametrize(
    ("algo", "settings", "told"),
    [
        ("rce", {}, "its planner keeps to a threshold of its own; --set constraint=adaptive follows it"),
        ("safepoplin-p", {}, "its planner keeps to a threshold of its own; --set constraint=adaptive follows it"),
        ("safeloop", {"constraint": "adaptive"}, ""),
        ("safemaac", {}, ""),
        ("cpo", {}, ""),
        ("loop", {}, ""),
    ],
)
def test_a_planner_that_keeps_to_its_threshold_whatever_the_budget_is_told(algo, settings, told):
    (asked,) = specify.specify(Request(algos=[algo], steps=1000, budget=5.0, settings=settings), "PointGoal1")
    assert prepare.keeps_threshold(asked) == (f"{algo}: by --budget 5 it is judged; {told}" if told else "")


@pytest.mark.parametrize(
    ("algo", "env", "steps", "taken"),
    [
        ("cpo", "PointGoal1", 3_000, 10_000), ("omnisafe:SACLag", "PointGoal1", 3_000, 4_000),
        ("lbpo", "PointCircle1", 5_001, 10_000), ("safeloop", "PointGoal1", 1_500, 2_000),
        ("loop-sac", "Hopper", 1_500, 1_500), ("loop-sac", "HalfCheetah", 2_000, 2_000),
    ],
)  # fmt: skip
def test_steps_are_rounded_up_to_epochs_or_episodes(algo, env, steps, taken):
    (asked,) = specify.specify(Request(algos=[algo], steps=steps, eval_episodes=0), env)
    assert whole_steps(asked) == taken


def test_a_setting_reaches_every_algorithm_that_has_it_or_the_one_named():
    found = planned(settings=["population=6", "cem-linear.elites=2"])
    assert found["cem-linear"].algo_settings == {"population": 6, "elites": 2, "penalty": 10.0}
    assert found["random-walk"].algo_settings == {"population": 6, "elites": 3, "penalty": 10.0}


def test_a_preset_goes_to_the_algorithms_that_have_it():
    found = planned(preset="wide")
    assert found["cem-linear"].preset == "wide" and found["cem-linear"].algo_settings["population"] == 30
    assert found["random-walk"].preset == "default" and found["random-walk"].algo_settings["population"] == 10


def test_a_failing_run_is_told_and_does_not_stop_the_others(main, tmp_path):
    arguments = ["run", "WallStop", "--algo", "broken", "--algo", "cem-linear", "--steps", "300"]
    code, out, errors = main(*arguments, "--out", tmp_path)
    assert code == 1
    assert "broken seed 0 failed: ArithmeticError: episode 0 went wrong" in errors
    found = table(tmp_path / "WallStop/summary.csv")
    reason = "ArithmeticError: episode 0 went wrong"
    assert [(r["state"], r["reason"]) for r in found] == [("failed", reason), ("finished", "")]
    assert reason not in out  # it is told once, with the log
    assert f"broken seed 0 failed: {reason}\n" in main("plot", tmp_path)[1]
    assert "Traceback" in (tmp_path / "WallStop/broken/seed-0/log.txt").read_text()


def test_eval_prints_and_writes_nothing_to_the_run(trained, main):
    run = trained / "WallStop/cem-linear/seed-0"
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    code, out, _ = main("eval", run, "--episodes", "3", "--json")
    result = json.loads(out)
    assert code == 0 and len(result["episodes"]) == 3
    assert result["mean"]["return"] == pytest.approx(sum(e["return"] for e in result["episodes"]) / 3)
    assert result["within_budget"] == (result["mean"]["cost_return"] <= 5.0)
    costs = [e["cost_return"] for e in result["episodes"]]
    assert result["safety"]["cvar"] == max(costs) and result["safety"]["over_budget"] == sum(c > 5 for c in costs) / 3
    assert result["safety"]["longest_run"] == max(e["longest_run"] for e in result["episodes"])
    code, out, _ = main("eval", run, "--episodes", "2")
    assert code == 0 and "mean" in out and "budget of 5" in out and "Worst tenth of episodes (CVaR)" in out
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before


def test_eval_meets_the_episodes_of_the_last_evaluation(trained, main):
    run = trained / "WallStop/cem-linear/seed-0"
    recorded = table(run / "evaluations.csv")[-5:]
    evaluated = json.loads(main("eval", run, "--episodes", "5", "--json")[1])["episodes"]
    assert [float(r["return"]) for r in recorded] == pytest.approx([e["return"] for e in evaluated], abs=1e-6)


@pytest.mark.parametrize("name", ["drive.mp4", "drive.gif"])
def test_a_video_is_recorded_once_and_never_overwritten(trained, main, tmp_path, name):
    run, video = trained / "WallStop/cem-linear/seed-0", tmp_path / name
    assert main("eval", run, "--episodes", "1", "--video", video, "-q") == (0, "", "")
    content = video.read_bytes()
    assert len(content) > 1000 and [p.name for p in tmp_path.glob("*drive*")] == [name]
    code, _, errors = main("eval", run, "--episodes", "1", "--video", video)
    assert code == 2 and "exists already" in errors and video.read_bytes() == content


def test_plot_show_and_lists(trained, main):
    picture = trained / "WallStop/violations.png"
    for folder in (trained, trained / "WallStop"):
        picture.unlink()
        code, out, _ = main("plot", folder)
        assert code == 0 and "cem-linear" in out and picture.is_file()
    code, out, _ = main("show", trained / "WallStop/cem-linear/seed-0")
    assert code == 0 and "finished" in out and "population" in out and "torch" in out and "3,000 steps" in out
    envs = {e["name"]: e for e in json.loads(main("list", "envs", "--json")[1])}
    assert envs["WallStop"] == {
        "name": "WallStop", "suite": "wallstop 1.0.0", "action_repeat": 2, "episode_steps": 100,
        "budget": 5.0, "cost_meaning": "a simulator step behind the wall", "known": ["cost"],
    }  # fmt: skip
    algos = {a["name"]: a for a in json.loads(main("list", "algos", "--json")[1])}
    assert algos["cem-linear"]["resumable"] is True and algos["cem-linear"]["default_steps"] == 20_000
    assert algos["cem-linear"]["settings"][0]["default"] == 10
    assert algos["random-walk"]["privileged"] == "nothing at all"
    assert "WallStop" in main("list", "envs")[1] and "cem-linear" in main("list", "algos")[1]


def test_an_algorithm_of_a_family_has_a_colon_in_its_name_and_none_in_its_folders(main, tmp_path):
    options = ["--steps", "odd:stroll=300", "--set", "odd:stroll.population=4", "--out", tmp_path]
    code, out, _ = main("run", "WallStop", "--algo", "odd:stroll", *options)
    assert code == 0 and "odd:stroll" in out
    run = tmp_path / "WallStop/odd-stroll/seed-0"
    settings = json.loads((run / "settings.json").read_text())
    assert (settings["algo"], settings["steps"], settings["algo_settings"]["population"]) == ("odd:stroll", 300, 4)
    assert [row["algo"] for row in table(tmp_path / "WallStop/summary.csv")] == ["odd:stroll"]
    assert "settings of odd:stroll" in main("show", run)[1]
    (run / "status.json").write_text('{"state": "failed", "reason": "x"}')
    assert main("resume", run, "-q")[0] == 0
    assert main("eval", run, "--episodes", "1", "-q")[0] == 0
    assert main("plot", tmp_path, "-q")[0] == 0
    assert not [path for path in tmp_path.rglob("*") if ":" in path.name]


def test_diagnostics_that_are_not_there_are_told_and_the_rest_is_drawn(trained, main):
    folder = trained / "WallStop"
    (folder / "curves.png").unlink()
    code, out, errors = main("plot", trained, "--diagnostics")
    assert code == 0 and "cem-linear" in out and (folder / "curves.png").is_file()
    assert errors == (
        f"safeloop: --diagnostics: no run in {folder} uses a planner in training, so there is no planning.png\n"
    )


def test_an_environment_of_gymnasiums_needs_nothing_in_info_but_its_cost(tmp_path):
    small = {"ensemble_size": 2, "width": 16, "layers": 1, "population": 10, "iterations": 1, "fit_steps": 5,
             "first_fit_steps": 10, "warmup": 100, "hidden": 16}  # fmt: skip
    comparison = safeloop.run("Pendulum", ["safeloop", "cem-linear"], steps=400, settings=small, out=tmp_path,
                              eval_episodes=1, quiet=True)  # fmt: skip
    assert not comparison.failures
    rows = table(tmp_path / "Pendulum/cem-linear/seed-0/episodes.csv")
    assert all(row["length"] == "200" and float(row["cost_return"]) == int(row["violations"]) for row in rows)
    assert sum(int(row["violations"]) for row in rows) > 0
    assert {int(row["simulator_steps"]) for row in table(tmp_path / "Pendulum/safeloop/seed-0/episodes.csv")} == {
        200,
        400,
    }


def test_an_environment_and_a_policy_can_be_driven_by_hand(tmp_path):
    safeloop.run("WallStop", ["cem-linear"], steps=1000, out=tmp_path, eval_episodes=0, quiet=True,
                 env_options={"wall": 0.5})  # fmt: skip
    policy, env = safeloop.load(tmp_path / "WallStop/cem-linear/seed-0"), safeloop.make("WallStop", {"wall": 0.5})
    observation, _ = env.reset(seed=0)
    assert observation[0] == pytest.approx(0.5, abs=0.2)  # its option reached it
    policy.reset()
    observation, reward, *_ = env.step(policy.act(observation))
    assert observation.shape == (2,) and reward < 0
    for wrong, text in ((("WalStop",), "nearest: WallStop"), (("WallStop", ["hole=1"]), "no option 'hole'")):
        with pytest.raises(safeloop.UsageError, match=text):
            safeloop.make(*wrong)


def test_families_are_listed_and_a_broken_one_says_why(main):
    algos = {a["name"]: a for a in json.loads(main("list", "algos", "--json")[1])}
    assert algos["odd:stroll"]["default_steps"] == 20_000
    assert algos["torn:"]["error"] is True and "can't be loaded" in algos["torn:"]["summary"]


def test_the_python_interface_has_the_same_verbs(tmp_path):
    comparison = safeloop.run(
        "WallStop",
        ["cem-linear"],
        steps=300,
        settings={"population": 3},
        out=tmp_path,
        eval_episodes=2,
        quiet=True,
    )
    assert comparison.failures == [] and comparison.rows[0].steps == 300
    run = tmp_path / "WallStop/cem-linear/seed-0"
    assert safeloop.resume(run, quiet=True).rows == comparison.rows
    assert safeloop.plot(tmp_path)[0].rows == comparison.rows
    evaluation = safeloop.evaluate(run, episodes=2)
    assert evaluation.means["return"] == pytest.approx(comparison.rows[0].evaluation_return, abs=1e-5)
    policy = safeloop.load(run)
    policy.reset()
    assert policy.act([0.8, 0.0]).shape == (1,)
    for wrong, text in (
        ({"steps": 0}, "expected at least 1"), ({"seeds": "0"}, "seeds='0': expected a list"),
        ({"seeds": 3}, r"seeds=3: expected a list of whole numbers, \[0, 1, 2\]"),
        ({"seeds": [0.5]}, "--seed 0.5: expected a whole number"),
        ({"eval_episodes": "two"}, "--eval-episodes two: expected a whole number"),
    ):  # fmt: skip
        with pytest.raises(safeloop.UsageError, match=text):
            safeloop.run("WallStop", ["cem-linear"], **{"steps": 300, "out": tmp_path / "new", **wrong})
    with pytest.raises(safeloop.UsageError, match="--episodes few: expected a whole number"):
        safeloop.evaluate(run, episodes="few")
    assert not (tmp_path / "new").exists()


def test_help_answers_at_once_without_torch():
    script = (
        "import sys, time; begin = time.perf_counter(); sys.argv = ['safeloop', '--help']\n"
        "from safeloop import cli\n"
        "try: cli.main()\n"
        "except SystemExit as stop: assert not stop.code\n"
        "assert time.perf_counter() - begin < 1.0, time.perf_counter() - begin\n"
        "heavy = {'torch', 'gymnasium', 'matplotlib', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, cwd=Path.home())


@pytest.mark.parametrize(
    "words", [["run"], ["resume"], ["eval"], ["plot"], ["report"], ["watch"], ["show"], ["list", "envs"], ["doctor"]]
)
def test_every_command_has_help_with_an_example(main, words):
    code, out, _ = main(*words, "--help")
    assert code == 0 and "Example" in out and "safeloop " + " ".join(words) in out
