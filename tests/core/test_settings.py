"""Settings: each alone, and together; every preset and every recorded run stays accepted."""

import re
from dataclasses import asdict
from pathlib import Path

import pytest

from safeloop.errors import UsageError
from safeloop.recording.reader import open_run
from safeloop.registry import algorithm_names, find_algorithm, find_env
from safeloop.settings import build, check_whole

RESULTS = Path(__file__).parents[2] / "results"


def built(name, preset="default", **changes):
    algorithm = find_algorithm(name)
    return build(algorithm.info.settings, algorithm.info.presets[preset], changes, owner=name)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("safeloop", {"actor_fraction": 1.5}, "actor_fraction=1.5: expected at least 0 and at most 1"),
        (
            "safeloop",
            {"search": "cem", "elites": 106},
            "elites=106: expected at most 105, the sequences of population=100",
        ),
        ("loop-sac-cem", {"population": 10}, "elites=20: expected at most 10, the sequences of population=10"),
        ("safeloop", {"elites": 20}, "elites=20: only search=cem has elites, this is search=arc"),
        ("loop-crr", {"actor_mixture": 0.5}, "actor_mixture=0.5: only search=mbop has one, this is arc"),
        ("mbop", {"actor_fraction": 0.5}, "actor_fraction=0.5: search=mbop needs exactly 1"),
        ("loop", {"search": "mppi", "actor_fraction": 1.0}, "actor_fraction=1.0: search=mppi needs less than 1"),
        ("safeloop", {"min_feasible": 106}, "min_feasible=106: expected at most 105, the sequences of population=100"),
        ("loop-crr", {"min_feasible": 101}, "min_feasible=101: expected at most 100, the sequences of"),
        ("safeloop", {"momentum": 1.0}, "momentum=1.0: expected at least 0 and below 1"),
        ("sac", {"capacity": 500}, "warmup=1000: expected at most capacity=500"),
        ("sac", {"capacity": 100, "warmup": 50}, "batch_size=256: expected at most capacity=100"),
        ("mbpo", {"fit_every": 100_000, "rollouts": 100_000}, "10,000,000,000 imagined transitions between fits"),
        ("loop-mopo", {"fit_every": 100_000, "rollouts": 100_000}, "10,000,000,000 imagined transitions"),
        ("mbpo", {"real_fraction": 1.1}, "real_fraction=1.1: expected at least 0 and at most 1"),
        ("loop-sac", {"augmentation": -0.1}, "augmentation=-0.1: expected at least 0 and at most 1"),
        ("safeloop", {"population": 10**9}, "population=1000000000: expected at least 1 and at most 100,000"),
        ("safeloop", {"horizon": 10**6}, "horizon=1000000: expected at least 1 and at most 1,000"),
        ("safeloop", {"layers": 10**6}, "layers=1000000: expected at least 1 and at most 100"),
        ("safeloop", {"discount": 10**400}, "expected a number"),
        ("mbop", {"return_horizon": 10**7}, "return_horizon=10000000: expected at least 1 and at most 100,000"),
        ("lbpo", {"hidden_layers": 10**6}, "hidden_layers=1000000: expected at least 1 and at most 100"),
        ("cpo", {"batch_size": 10**8}, "batch_size=100000000: expected at least 1 and at most 100,000"),
        ("omnisafe:SACLag", {"size": 100}, "batch_size=256: expected at most size=100"),
        ("omnisafe:SAC", {"size": 5000}, "start_learning_steps=10000: expected at most size=5000"),
    ],
)
def test_what_contradicts_another_setting_or_is_beyond_any_use_is_refused(name, changes, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        built(name, **changes)


def test_few_sequences_need_no_more_feasible_ones_than_there_are():
    def needed(**changes):
        resolved = find_algorithm("safeloop").resolve(built("safeloop", **changes), find_env("PointGoal1"))
        return resolved.settings.planner.min_feasible

    assert needed() == 10 and needed(population=5) == 5 and needed(population=5, min_feasible=2) == 2


@pytest.mark.parametrize("text", ["１２", "١٢", "1_000", "0x10", "1e3", "", " ", "nan", "9" * 5000])
def test_a_whole_number_is_written_in_plain_digits(text):
    with pytest.raises(UsageError, match="expected a whole number"):
        check_whole("--steps", text, 1)


def test_a_whole_number_from_json_stays_one():
    assert type(built("safeloop", population=50.0).planner.population) is int


def test_every_preset_is_accepted():
    for name in (name for name in algorithm_names() if not name.endswith(":")):  # a package may be torn
        for preset in find_algorithm(name).info.presets:
            built(name, preset)


def test_every_recorded_run_is_accepted():
    known, seen = algorithm_names(), 0
    for path in RESULTS.rglob("settings.json"):
        values = asdict(open_run(path.parent).settings)
        if values["algo"] in known:  # peers of other projects are recorded too
            spec = find_env(values["env"], values["env_options"])
            algorithm = find_algorithm(values["algo"])
            settings = build(algorithm.info.settings, values["algo_settings"], owner=values["algo"])
            assert algorithm.resolve(settings, spec).privileged == values["privileged"]
            seen += 1
    assert seen > 200
