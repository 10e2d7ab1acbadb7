"""Several costs by name, from environment to tables: `--env-set costs=separate`, `--budget NAME=COST`."""

import csv
import json

import pytest

import safeloop
from safeloop import api
from safeloop.errors import UsageError
from safeloop.experiments import prepare, specify
from safeloop.experiments.specify import Request

SMALL = {
    "population": 6, "horizon": 2, "iterations": 1, "ensemble_size": 2, "layers": 1, "width": 8, "entity_width": 4,
    "batch_size": 8, "warmup": 20, "first_fit_steps": 20, "fit_steps": 2, "hidden": 8,
}  # fmt: skip
SEPARATE = {"costs": "separate", "action_repeat": 25}


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """Runs of a planner that keeps each cost, and of one that has no constraint."""
    out = tmp_path_factory.mktemp("named")
    safeloop.run(
        "PointGoal2", ["safeloop", "loop"], steps=3000, eval_episodes=2, env_options=SEPARATE, out=out, quiet=True,
        budget={"hazards": 30, "vases": 4.0}, settings={**SMALL, "safeloop.constraint": "adaptive"},
    )  # fmt: skip
    return out / "PointGoal2"


def rows(path):
    with open(path) as file:
        return list(csv.DictReader(file))


def costs(row):
    return {name: float(value) for name, value in (each.split("=") for each in row["costs"].split())}


@pytest.mark.parametrize("algo", ["safeloop", "loop"])
def test_each_cost_is_recorded_beside_that_of_any(out, algo):
    folder = out / algo / "seed-0"
    settings = json.loads((folder / "settings.json").read_text())
    assert (settings["budget"], settings["budgets"]) == (34.0, {"hazards": 30.0, "vases": 4.0})
    for name in ("episodes.csv", "evaluations.csv"):
        found = rows(folder / name)
        assert found
        for row in found:
            each, any_cost = costs(row), float(row["cost_return"])
            assert list(each) == ["hazards", "vases"]
            assert max(each.values()) <= any_cost <= sum(each.values())
    assert sum(costs(row)["hazards"] for row in rows(folder / "episodes.csv")) > 0


def test_each_threshold_follows_its_own_budget(out):
    found = rows(out / "safeloop/seed-0/diagnostics.csv")
    last = {row["name"]: float(row["mean"]) for row in found}
    assert set(last) == {"threshold_hazards", "threshold_vases"}
    costs_of_last = costs(rows(out / "safeloop/seed-0/episodes.csv")[-1])
    before = {row["name"]: float(row["mean"]) for row in found[:-2]}
    for name, budget in (("hazards", 30), ("vases", 4)):
        moved = last[f"threshold_{name}"] - before[f"threshold_{name}"]
        assert moved == 0 or (moved > 0) == (costs_of_last[name] < budget)


def test_tables_and_pictures_show_each(out):
    text = (out / "summary.md").read_text()
    assert "Budgets by name: hazards 30, vases 4;" in text and "Note: loop: knows one cost" in text
    assert sum(line.startswith(("| safeloop | 0 | hazards", "| loop | 0 | vases")) for line in text.splitlines()) == 2
    (first, _) = rows(out / "summary.csv")
    mean = sum(costs(row)["hazards"] for row in rows(out / f"{first['algo']}/seed-0/evaluations.csv")) / 2
    assert float(first["evaluation_cost_return_hazards"]) == pytest.approx(mean)
    frame = safeloop.results(out).evaluations
    assert frame[frame.algo == first["algo"]].cost_return_hazards.mean() == pytest.approx(mean)
    page = api.report(out).read_text()
    assert "costs by name" in page and "Cost return of hazards in training" in page


def test_an_evaluation_tells_each_and_repeats_the_recorded_one(out, main):
    code, told, _ = main("eval", out / "safeloop/seed-0", "--episodes", "2")
    assert code == 0 and "Of hazards: mean cost return" in told and "the budget of 4." in told
    found = json.loads(main("eval", out / "safeloop/seed-0", "--episodes", "2", "--json")[1])
    recorded = [costs(row) for row in rows(out / "safeloop/seed-0/evaluations.csv")]
    assert [each["costs"] for each in found["episodes"]] == recorded
    assert found["budgets"] == {"hazards": 30.0, "vases": 4.0} and set(found["mean_costs"]) == {"hazards", "vases"}
    code, _, errors = main("eval", out / "safeloop/seed-0", "--budget", "3")
    assert code == 2 and "--budget 3: PointGoal2 has costs of hazards, vases" in errors


def test_the_same_command_keeps_the_runs_and_another_budget_is_refused(out, main):
    asked = ["run", "PointGoal2", "--algo", "loop", "--steps", "3000", "--eval-episodes", "2", "--out", out.parent]
    asked += [x for key, value in SEPARATE.items() for x in ("--env-set", f"{key}={value}")]
    asked += [x for key, value in SMALL.items() for x in ("--set", f"{key}={value}")]
    code, _, errors = main(*asked, "--budget", "hazards=30", "--budget", "vases=4")
    assert code == 0 and "finished" in errors
    code, _, errors = main(*asked, "--budget", "hazards=30", "--budget", "vases=5")
    assert code == 2 and "budget" in errors


def specified(budget, env="PointGoal2", **options):
    request = Request(algos=["safeloop"], steps=1000, budget=budget, env_options=options)
    (found,) = specify.specify(request, env)
    return found.budget, found.budgets


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (None, (50.0, {"hazards": 25.0, "vases": 25.0})),
        (7, (7.0, {"hazards": 7.0, "vases": 7.0})),
        ([7.0], (7.0, {"hazards": 7.0, "vases": 7.0})),
        ([("vases", 0.0)], (25.0, {"hazards": 25.0, "vases": 0.0})),
        ([("vases", 0.0), 9.0], (9.0, {"hazards": 9.0, "vases": 0.0})),
        ({"vases": 0, "hazards": 5}, (5.0, {"hazards": 5.0, "vases": 0.0})),
    ],
)
def test_each_cost_has_its_own_budget_or_that_of_all(asked, found):
    assert specified(asked, **SEPARATE) == found


@pytest.mark.parametrize(
    ("asked", "options", "message"),
    [
        ({"hazard": 3.0}, SEPARATE, r"--budget hazard=3: PointGoal2 has no cost 'hazard'; nearest: hazards"),
        ({"hazards": -1.0}, SEPARATE, r"--budget hazards=-1: expected a cost return of at least 0"),
        ({"hazards": True}, SEPARATE, r"--budget hazards=True: expected a cost return"),
        ({"hazards": 3.0}, {}, r"--budget hazards=3: PointGoal2 names no costs; give one number, or .*costs=separate"),
        ("hazards=3", SEPARATE, r"--budget hazards=3: expected a cost return"),
    ],
)
def test_bad_budgets_get_one_line(asked, options, message):
    with pytest.raises(UsageError, match=message):
        specified(asked, **options)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"cost_value": "behaviour"}, "cost_value=behaviour: it is of one cost; leave costs=separate out"),
        ({"dynamics": "simulator"}, "dynamics=simulator: it knows one cost in PointGoal2; leave costs=separate out"),
    ],
)
def test_settings_that_know_one_cost_are_refused(setting, message):
    with pytest.raises(UsageError, match=message):
        specify.specify(Request(algos=["safeloop"], steps=1000, settings=setting, env_options=SEPARATE), "PointGoal2")


def test_a_planner_that_keeps_to_its_thresholds_is_told_with_the_budgets():
    request = Request(algos=["safeloop"], steps=1000, budget={"vases": 3.0}, env_options=SEPARATE)
    (asked,) = specify.specify(request, "PointGoal2")
    assert prepare.keeps_threshold(asked).startswith("safeloop: by --budget hazards=25, vases=3 it is judged;")
