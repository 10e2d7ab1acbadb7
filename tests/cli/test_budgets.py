"""One trained planner under other budgets and thresholds: `safeloop eval --budget`, `--threshold`; and in Python."""

import json

import numpy as np
import pytest

import safeloop
from safeloop.errors import UsageError
from safeloop.experiments import trained
from safeloop.rng import CALIBRATION, EVALUATION, derived_seed
from safeloop.training import calibration
from tests.short_runs import short_rce


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A short run of `rce`, whose episodes have 100 decisions."""
    return short_rce(tmp_path_factory.mktemp("budgets"))


def test_a_threshold_is_the_planners(run, main):
    policy = safeloop.load(run, threshold=0.3).policy
    assert policy.agent.parts.constraint.threshold == 0.3
    code, out, _ = main("eval", run, "--threshold", "0.3", "--episodes", "1")
    assert code == 0 and "The planner's threshold was 0.3." in out
    assert safeloop.load(run).policy.agent.parts.constraint.threshold == 0.02


def test_a_budget_is_met_on_episodes_of_their_own_and_the_threshold_then_stays(run, monkeypatch):
    seen, drive = [], calibration.evaluate

    def watched(policy, spec, episodes, seed):
        seen.append((episodes, seed))
        yield from drive(policy, spec, episodes, seed)

    monkeypatch.setattr(calibration, "evaluate", watched)
    found = safeloop.evaluate(run, budget=1000.0, calibration=6, episodes=2)
    assert seen == [(6, derived_seed(0, CALIBRATION))] and derived_seed(0, EVALUATION) != derived_seed(0, CALIBRATION)
    assert found.budget == 1000 and found.within_budget and 0.02 < found.threshold <= 2
    again = safeloop.evaluate(run, threshold=found.threshold, episodes=2)
    assert [e.return_ for e in again.episodes] == [e.return_ for e in found.episodes]


def test_calibration_follows_each_episode_and_ends_with_the_mean_of_the_later_half(monkeypatch):
    class Follows:
        levels = (0.0,)

        def follow(self, costs, ended):
            self.levels = [self.levels[0] + costs[0]]
            assert ended

    rows = [type("Row", (), {"cost_return": cost}) for cost in (1.0, 2.0, 4.0, 8.0, 16.0)]
    monkeypatch.setattr(calibration, "evaluate", lambda *_: iter(rows))
    assert calibration.calibrated(None, Follows(), None, 5, 0) == pytest.approx(np.exp((7 + 15 + 31) / 3))


def test_several_budgets_make_a_table_and_a_picture(run, main, tmp_path):
    picture = tmp_path / "budgets.png"
    asked = ["eval", run, "--budget", "500", "--budget", "2", "--episodes", "2", "--calibration", "2"]
    code, out, _ = main(*asked, "--picture", picture)
    assert code == 0 and picture.read_bytes().startswith(b"\x89PNG")
    assert [line.split()[0] for line in out.splitlines()[-2:]] == ["500", "2"]
    code, out, _ = main(*asked, "--json")
    first, second = json.loads(out)["evaluations"]
    assert (first["budget"], second["budget"]) == (500, 2) and first["threshold"] > second["threshold"]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (["--budget", "-1"], "--budget -1: expected a finite number of at least 0"),
        (["--threshold", "nan"], "--threshold nan: expected a finite number of at least 0"),
        (["--budget", "3", "--threshold", "1"], "--budget 3 and --threshold 1: give one of them"),
        (["--budget", "3", "--calibration", "0"], "--calibration 0: expected"),
        (["--picture", "x.png"], "a picture or table of budgets needs at least one: give --budget COST"),
        (["--picture", "no/x.png", "--budget", "3"], "--picture no/x.png: can't write to the folder no"),
        (["--picture", "x.jpg", "--budget", "3"], "--picture x.jpg: expected a name that ends with .png"),
        (
            ["--budget", "3", "--budget", "4", "--video", "x.mp4"],
            "are for one evaluation",
        ),
    ],
)
def test_bad_budgets_get_one_line(run, main, asked, message):
    code, _, errors = main("eval", run, *asked)
    assert code == 2 and message in errors and errors.count("\n") == 1


def test_algorithms_that_plan_under_no_constraint_take_no_budget(trained, main):
    code, _, errors = main("eval", trained / "WallStop/cem-linear/seed-0", "--budget", "3")
    assert code == 2 and "--budget 3: cem-linear has no planner under a constraint" in errors


def test_a_planner_that_can_follow_no_budget_is_given_a_threshold(run, monkeypatch):
    monkeypatch.setattr(trained, "kinds", lambda settings: {"threshold": float})
    with pytest.raises(UsageError, match=r"--budget 3: rce can't follow a budget; give a threshold of its cost"):
        safeloop.load(run, budget=3.0)
