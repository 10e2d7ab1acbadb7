"""The command that makes a run anew: the command line takes it, and what it asks for are the run's settings."""

import json
import shlex
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from safeloop import api, cli
from safeloop.experiments import specify
from safeloop.experiments.specify import Request
from safeloop.recording import reader
from safeloop.recording.run import RunSettings
from safeloop.registry import find_algorithm, find_env
from safeloop.report.commands import command
from safeloop.settings import build, flat

RESULTS = Path(__file__).parents[2] / "results"


@pytest.fixture
def asked_for(monkeypatch):
    """The settings of the runs that a command line asks for."""

    def parse(line):
        found = []

        def run(env, algos=None, **options):
            found.extend(specify.specify(Request(algos=algos, **options), env))
            return SimpleNamespace(text="", notices=[], failures=[], unwritten="")

        monkeypatch.setattr(api, "run", run)
        words = shlex.split(line)
        assert words[0] == "safeloop"
        cli.app(words[1:], standalone_mode=False)
        return found

    return parse


@pytest.mark.parametrize(
    ("env", "algo", "asked"),
    [
        ("PointGoal1", "safeloop", {}),
        ("PointGoal1", "cpo", {"steps": 5000, "budget": 7.5, "seeds": [3]}),
        ("PointGoal2", "cpo", {"budget": {"vases": 7.5}, "env_options": {"costs": "separate"}}),
        ("PointGoal2", "cpo", {"budget": {"vases": 7.5, "": 3}, "env_options": {"costs": "separate"}}),
        ("PointGoal1", "omnisafe:PPO", {"variant": "a=b", "env_options": {"observation": "task"}}),
        ("PointGoal1", "safeloop", {"settings": {"dynamics": "full", "cost": "learned", "horizon": 4}}),
        ("PointGoal1", "safeloop", {"preset": "paper", "settings": {"inverse_temperature": 50}, "eval_every": 1000}),
        ("RCCarDrift", "safeloop", {"preset": "rc-car", "settings": {"penalty": None}, "env_options": {"limit": 1.1}}),
        ("HalfCheetah", "loop-sac", {"keep_every": 10_000, "threads": 2, "eval_episodes": 0}),
        ("HumanoidGetup", "polo", {"reset_free": True}),
        ("HalfCheetah", "td3", {"settings": {"layer_norm": False, "discount": 0.9}}),
    ],
)
def test_a_command_asks_for_the_same_settings(asked_for, env, algo, asked):
    (settings,) = specify.specify(Request(algos=[algo], **asked), env)
    assert asked_for(command(settings)) == [settings]


def test_it_names_only_what_differs():
    (settings,) = specify.specify(Request(algos=["safeloop"], settings={"dynamics": "full"}), "PointGoal1")
    steps = find_algorithm("safeloop").info.default_steps
    assert command(settings) == f"safeloop run PointGoal1 --algo safeloop --steps {steps} --seed 0 --set dynamics=full"


@pytest.mark.parametrize("folder", ["safe/PointGoal1", "safe/lidar/CarGoal1", "rc_car", "online/HalfCheetah"])
def test_commands_of_recorded_runs_ask_for_their_settings(asked_for, folder):
    """Where a run recorded null, it used a default: that is what a command leaves out."""
    by_name = {run.settings.name: run.settings for run in reader.runs_under(RESULTS / folder)}
    for settings in by_name.values():
        (found,) = asked_for(command(settings))
        algorithm, spec = find_algorithm(settings.algo), find_env(settings.env, settings.env_options)
        built = build(algorithm.info.settings, settings.algo_settings, owner=settings.algo)
        resolved = json.loads(json.dumps(flat(algorithm.resolve(built, spec).settings)))
        assert asdict(found) == asdict(replace(settings, algo_settings=resolved))


def test_of_what_is_not_installed_everything_is_named():
    settings = RunSettings("Toy", "mine", 100, 0, 4.0, env_options={"size": 3}, algo_settings={"deep": True, "w": None})
    assert command(settings) == (
        "safeloop run Toy --algo mine --steps 100 --seed 0 --set deep=true --set w=none --env-set size=3 --budget 4.0"
    )


def test_a_dataset_is_named():
    (settings,) = specify.specify(Request(algos=["sac"]), "HalfCheetah")
    settings = replace(settings, algo="crr", algo_settings={}, dataset="half data", eval_episodes=20)
    assert command(settings).startswith("safeloop offline 'half data' --algo crr --steps")
    assert "--eval" not in command(settings)
