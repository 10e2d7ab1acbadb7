"""The time of a trained policy's decisions: `safeloop speed act`, `safeloop.latency`. The times are the machine's."""

import json

import pytest

import safeloop
from safeloop.cli import main as command_line
from safeloop.experiments.latency import Latency
from safeloop.registry import find_env
from safeloop.rng import EVALUATION, derived_seed
from safeloop.training import evaluation as module
from tests.short_runs import short_rce


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A short run of `rce`, whose episodes have 100 decisions."""
    return short_rce(tmp_path_factory.mktemp("latency"))


def told(monkeypatch, capsys, *arguments):
    """What the command line says: exit code, stdout, stderr."""
    monkeypatch.setattr("sys.argv", ["safeloop", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        command_line()
    return stop.value.code, *capsys.readouterr()


def test_so_many_decisions_are_timed_in_the_episodes_of_an_evaluation(run, monkeypatch):
    begun, drive = [], module.together

    def watched(policy, spec, envs, seeds):
        begun.append(seeds)
        return drive(policy, spec, envs, seeds)

    monkeypatch.setattr(module, "together", watched)
    found = safeloop.latency(run, decisions=120)
    assert len(found.milliseconds) == 120 and min(found.milliseconds) > 0
    assert begun == [[derived_seed(0, EVALUATION, episode)] for episode in range(2)]
    assert found.decision_seconds == 0.035 and found.device == "cpu" and found.threads == 1


def test_the_rate_is_that_of_the_99th_percentile():
    found = Latency("run", "PointGoal1, safeloop seed 0", "cpu", 1, [float(i) for i in range(101)], 0.1)
    assert found.percentiles == {"median": 50, "p95": 95, "p99": 99}
    assert found.rate == pytest.approx(1000 / 99) and found.in_time
    assert (
        "99th percentile       99.00 ms" in found.text and "lasts 100 ms (10 Hz): this policy is in time" in found.text
    )
    slow = Latency("run", "name", "cpu", 1, found.milliseconds, 0.09)
    assert not slow.in_time and "too slow for it" in slow.text


def test_a_period_that_is_not_known_is_left_out():
    found = Latency("run", "name", "cpu", 2, [1.0])
    assert found.in_time is None and "environment" not in found.text and "2 threads" in found.text


@pytest.mark.parametrize(("env", "seconds"), [("RCCarDrift", 0.035), ("PointGoal1", 0.1), ("Hopper", 0.008),
                                              ("PointBox", 0.05)])  # fmt: skip
def test_environments_say_how_long_a_decision_lasts(env, seconds):
    made = find_env(env, {"action_delay": 1}).make()
    assert made.metadata["decision_seconds"] == pytest.approx(seconds)
    made.close()


def test_the_command_tells_the_same(run, monkeypatch, capsys):
    code, out, _ = told(monkeypatch, capsys, "speed", "act", run, "--decisions", "7", "--json")
    found = json.loads(out)
    assert code == 0 and found["decisions"] == 7 and found["decision_seconds"] == 0.035
    assert found["rate"] == pytest.approx(1000 / found["milliseconds"]["p99"])
    code, out, _ = told(monkeypatch, capsys, "speed", "act", run, "--decisions", "7")
    assert code == 0 and out.startswith("RCCarDrift, rce seed 0: 7 decisions, 1 thread, cpu\n")


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (["nowhere"], "nowhere is not a run"),
        (["RUN", "--decisions", "0"], "--decisions 0: expected at least 1"),
        (["RUN", "--threads", "0"], "--threads 0: expected at least 1"),
    ],
)
def test_what_can_not_be_timed_is_one_line(run, monkeypatch, capsys, asked, message):
    code, out, errors = told(monkeypatch, capsys, "speed", "act", *(run if each == "RUN" else each for each in asked))
    assert code == 2 and out == "" and message in errors and errors.count("\n") == 1
