"""Trained policies in changed environments: `safeloop eval --env-set`, `safeloop.robustness`."""

import json

import pytest
import torch

import safeloop
from safeloop.errors import UsageError
from safeloop.experiments import trained as module
from safeloop.experiments.robustness import combinations
from safeloop.recording.run import RunSettings
from tests.short_runs import short_rce


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A short run of `rce`, under a delay."""
    return short_rce(tmp_path_factory.mktemp("robustness"), env_options={"action_delay": 1})


def returns(evaluation):
    """The returns of its episodes."""
    return [episode.return_ for episode in evaluation.episodes]


def test_only_the_environment_changes_and_not_what_the_policy_knows(run):
    usual, same = safeloop.evaluate(run, episodes=2), safeloop.evaluate(run, episodes=2, env_options={"grip": 1.0})
    icy = safeloop.evaluate(run, episodes=2, env_options={"grip": 0.3, "action_delay": 3})
    assert returns(usual) == returns(same) != returns(icy)
    assert icy.env_options == {"grip": 0.3, "action_delay": 3} and usual.env_options == {}
    assert icy.as_dict()["env_options"] == icy.env_options and "env_options" not in usual.as_dict()


def test_the_policy_keeps_the_delay_and_the_models_of_its_run(run, monkeypatch):
    driven, drive = [], module.evaluation_episodes

    def watched(policy, spec, *arguments, **given):
        driven.append((policy, spec))
        return drive(policy, spec, *arguments, **given)

    monkeypatch.setattr(module, "evaluation_episodes", watched)
    safeloop.evaluate(run, episodes=1, env_options=["limit=2", "action_delay=0"])
    ((policy, spec),) = driven
    assert spec.options["limit"] == 2 and spec.delay is None
    parts, circle = policy.policy.agent.parts, torch.tensor([1.5, 0, 0, 0, 0, 0])
    assert parts.delay.action == 1 and spec.cost(circle, circle, circle) == 0
    assert parts.model.cost(circle, circle, circle) > 0


def test_several_values_make_a_table_with_the_trained_environment_first(run, main):
    asked = ["eval", run, "--episodes", "2", "--env-set", "grip=0.5,2", "--env-set", "observation_delay=1"]
    code, out, _ = main(*asked)
    assert code == 0
    rows = [line.split("  ")[0] for line in out.splitlines()[-3:]]
    assert rows == ["as trained", "grip=0.5, observation_delay=1", "grip=2.0, observation_delay=1"]
    head = " ".join(out.splitlines()[:2])
    assert all(word in head for word in ("return", "cost", "CVaR", "over", "in"))
    code, out, _ = main(*asked, "--json")
    found = json.loads(out)["evaluations"]
    assert code == 0 and [each["env_options"] for each in found] == [
        {}, {"grip": 0.5, "observation_delay": 1}, {"grip": 2.0, "observation_delay": 1},
    ]  # fmt: skip
    assert found[0]["mean"] == safeloop.evaluate(run, episodes=2).means


def test_rules_and_thresholds_go_with_it(run):
    found = safeloop.robustness(
        run, {"grip": 0.5}, episodes=1, threshold=0.3, watch=["safeloop_envs.rules:rc_car_strip"]
    )
    assert [each.threshold for each in found.evaluations] == [0.3, 0.3]
    assert "broken safeloop_envs.rules:rc_car_strip" in found.cells[1]


def test_combinations_of_values():
    assert combinations({"grip": [0.5, 2.0], "mass": 3}) == [{"grip": 0.5, "mass": 3}, {"grip": 2.0, "mass": 3}]
    assert combinations(["grip=1", "mass=2, 3", "grip=4"]) == [
        {"grip": "1", "mass": "2"}, {"grip": "1", "mass": "3"}, {"grip": "4", "mass": "2"}, {"grip": "4", "mass": "3"},
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (["observation=path"], "--env-set observation=path: the policy was trained with observation=pose: train"),
        (["grpi=2"], "RCCarDrift has no setting 'grpi'; nearest: grip"),
        (["grip=0.5,0"], "grip=0.0: expected at least 0.1 and at most 10"),
        (["grip="], "--env-set grip=: expected KEY=VALUE or KEY=VALUE,VALUE"),
        (["grip"], "--env-set grip=: expected KEY=VALUE"),
        (["=1"], "--env-set =1: expected KEY=VALUE"),
        (["grip=" + ",".join(["1"] * 101)], "--env-set: 101 combinations of values: expected at most 100"),
        (["grip=2", "--budget", "3"], "--env-set makes a table of environments: leave --budget"),
        (["grip=2", "--video", "x.mp4"], "--env-set makes a table of environments: leave --budget"),
    ],
)
def test_what_can_not_be_changed_is_one_line(run, main, asked, message):
    code, out, errors = main("eval", run, "--env-set", *asked)
    assert code == 2 and out == "" and message in errors and errors.count("\n") == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"action_repeat": 1}, "trained with action_repeat=5"),
        ({"costs": "separate"}, "trained with one cost"),
        ({"observation": "task"}, "trained with observation=paper"),
    ],
)
def test_options_that_change_what_a_decision_is_are_refused(changes, message):
    settings = RunSettings("PointGoal1", "sac", 1, 0, 25.0)
    with pytest.raises(UsageError, match=message):
        module.changed_env(settings, changes)


def test_observations_of_another_shape_are_refused(monkeypatch):
    settings = RunSettings("PointGoal1", "sac", 1, 0, 25.0)
    shapes = iter([((3,), (2,)), ((4,), (2,))])
    monkeypatch.setattr("safeloop.experiments.changed._sizes", lambda spec: next(shapes))
    with pytest.raises(UsageError, match=r"observations of the shape \[3\], there they have \[4\]: train a run"):
        module.changed_env(settings, {"mass": 2})
