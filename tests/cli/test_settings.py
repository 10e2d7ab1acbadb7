"""Settings that explain themselves: `list settings`, `--config`, and names that settings have elsewhere."""

import json
from pathlib import Path

import pytest

from safeloop import listing
from safeloop.experiments.config import with_config
from safeloop.experiments.specify import Request, specify
from safeloop.registry import algorithm_names, find_algorithm
from safeloop.settings import kinds

OURS = [name for name in algorithm_names() if ":" not in name and name not in ("cem-linear", "random-walk", "broken")]
RECORDED = Path(__file__).parents[2] / "results/point_goal1/factored/safeloop/seed-0/settings.json"


def defaults(*arguments):
    return {row["name"]: row["default"] for row in listing.settings(*arguments)}


@pytest.mark.parametrize("name", OURS)
def test_every_setting_of_ours_has_a_line_of_meaning(name):
    rows = listing.settings(name)
    assert [row["name"] for row in rows] == list(kinds(find_algorithm(name).info.settings))
    assert [row["name"] for row in rows if not row["meaning"]] == []


def test_defaults_are_those_of_a_run_in_the_environment():
    assert defaults("safeloop")["horizon"] is None
    assert defaults("safeloop", "PointGoal1")["horizon"] == 12
    assert defaults("safeloop", "PointGoal1", "paper")["horizon"] == 8
    assert defaults("loop", "Hopper")["horizon"] == 3  # the preset `online` stands for `default` there
    (run,) = specify(Request(algos=["loop-td3"]), "Hopper")
    assert run.algo_settings == defaults("loop-td3", "Hopper")


def test_settings_are_listed_for_people_and_programs(main):
    code, out, _ = main("list", "settings", "PPOLag", "PointGoal1")
    assert code == 0 and "multiplier_lr" in out
    code, out, _ = main("list", "settings", "safeloop", "PointGoal1", "--json")
    rows = json.loads(out)
    assert code == 0 and {"name", "type", "default", "meaning"} == rows[0].keys()
    for arguments in (
        ["nope"],
        ["safeloop", "Nope"],
        ["safeloop", "PointGoal1", "--preset", "nope"],
        ["mbpo", "PointGoal1"],
    ):
        code, out, errors = main("list", "settings", *arguments)
        assert code == 2 and not out and errors.count("\n") == 1


@pytest.mark.parametrize(
    ("algo", "given", "own"),
    [
        ("safeloop", "gamma", "discount"),
        ("safeloop", "members", "ensemble_size"),
        ("sac", "polyak", "tau"),
        ("sac", "lr", "learning_rate"),
        ("sac", "buffer_size", "capacity"),
        ("sac", "learning_starts", "warmup"),
        ("cpo", "gamma", "gamma"),
    ],
)
def test_names_that_settings_have_elsewhere_are_taken_and_recorded_as_ours(algo, given, own):
    value = 0.5 if isinstance(defaults(algo)[own], float) else {"capacity": 5000}.get(own, 97)
    for settings in ({given: value}, {f"{algo}.{given}": value}):
        (run,) = specify(Request(algos=[algo], settings=settings), "PointGoal1")
        assert run.algo_settings[own] == value and (given == own or given not in run.algo_settings)


def test_a_name_of_elsewhere_reaches_each_algorithm_by_its_own_name():
    runs = specify(Request(algos=["safeloop", "PPOLag"], settings={"gamma": 0.5}), "PointGoal1")
    assert [run.algo for run in runs] == ["safeloop", "ppo-lag"]
    assert runs[0].algo_settings["discount"] == runs[1].algo_settings["gamma"] == 0.5


@pytest.mark.parametrize("name", ["PPOLag", "ppo_lag", "PPO-Lag", "SafeLOOP", "Loop_SAC"])
def test_capitals_and_dashes_of_an_algorithm_do_not_matter(name):
    (run,) = specify(Request(algos=[name], steps={name: 3000}), "PointGoal1")
    assert run.algo in ("ppo-lag", "safeloop", "loop-sac") and run.steps == 3000


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--set", "cost_limit=10"], "--set cost_limit=10: that is an option here: --budget 10"),
        (["--set", "gama=1"], "no setting 'gama'; nearest: discount, "),
        (["--set", "horizn=4"], "nearest: horizon, "),
        (["--set", "gamma=0.5", "--set", "discount=0.9"], "gamma is discount here, which is given too"),
        (["--algo", "safelop"], "unknown algorithm 'safelop'; nearest: safeloop, "),
        (["--config", "nowhere.json"], "--config nowhere.json: No such file"),
    ],
)
def test_mistaken_names_are_answered_with_two_or_three_near_ones(main, arguments, words):
    code, _, errors = main("run", "PointGoal1", "--algo", "safeloop", *arguments)
    assert code == 2 and words in errors and errors.count("\n") == 1
    _, _, names = errors.partition("nearest: ")
    assert len(names.split(", ")) <= 3


def test_a_configuration_gives_what_is_not_asked_for(tmp_path):
    there = json.loads(RECORDED.read_text())
    asked, env = with_config(Request(config=RECORDED), None)
    (run,) = specify(asked, env)
    assert (run.env, run.algo, run.seed, run.steps) == ("PointGoal1", "safeloop", 0, there["steps"])
    assert run.algo_settings["ensemble_size"] == there["algo_settings"]["members"]  # of the first schema
    assert run.env_options == there["env_options"] and run.privileged == there["told"]

    given = Request(config=RECORDED, seeds=[3], steps=1000, settings={"gamma": 0.5, "population": "70"})
    asked, env = with_config(given, "CarGoal1")
    (run,) = specify(asked, env)
    assert (run.env, run.seed, run.steps) == ("CarGoal1", 3, 1000)
    assert run.algo_settings["discount"] == 0.5 and run.algo_settings["population"] == 70

    with_others, _ = with_config(Request(config=RECORDED, algos=["cpo"]), "PointGoal1")
    assert with_others.settings == {}  # the file's settings are of its own algorithm


@pytest.mark.parametrize(
    "content", ["", "[]", "{", '{"schema": 2, "nope": 1}', '{"algo_settings": 3}', '{"schema": 1}']
)
def test_a_file_that_is_no_configuration_is_refused_in_one_line(main, tmp_path, content):
    path = tmp_path / "settings.json"
    path.write_text(content)
    code, out, errors = main("run", "PointGoal1", "--config", str(path))
    assert (
        code == 2 and not out and errors.startswith(f"safeloop: error: --config {path}: ") and errors.count("\n") == 1
    )


def test_a_run_needs_an_environment_or_a_configuration(main):
    code, _, errors = main("run")
    assert code == 2 and "give an environment ENV, or --config FILE" in errors
