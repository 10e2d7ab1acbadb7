"""Settings chosen in trials: what judges them, the same trials whenever a study stops, and what is refused."""

import json
import sys
from statistics import median

import pytest

import safeloop
from safeloop import api
from safeloop.errors import UsageError
from safeloop.experiments import tuning
from safeloop.experiments.executor import Failure, Stopped
from safeloop.experiments.trials import Outcome, objective
from safeloop.recording import reader
from safeloop.recording.rows import EvaluationEpisode
from tests.cli.conftest import contents, table, wait_for

RANGES = {"elites": "int(1,6)", "penalty": "log(0.01,100)"}
TUNE = ["tune", "WallStop", "--algo", "cem-linear"]
REAL = [*TUNE, "--set", "elites=int(1,6)", "--set", "penalty=log(0.01,100)", "--steps", "300", "--seeds", "1",
        "--eval-episodes", "2"]  # fmt: skip


def peak(settings, seed):
    """Return and cost of a run: the best penalty is 10, seeds are apart by 0.1, nothing costs."""
    return -((settings["penalty"] - 10) ** 2) + 0.1 * (seed - 1000), 0.0


class Trained:
    """Training whose result is known at once, by settings and seed; it may be stopped, and trials may fail."""

    def __init__(self, monkeypatch, score=peak):
        self.score, self.jobs, self.stop_after, self.fails = score, [], 10**9, set()
        for module in (tuning, api):
            monkeypatch.setattr(module, "execute", self)

    def __call__(self, work, executor, display):
        executor.close()
        failures = []
        for job in work.jobs:
            s = job.run.settings
            if len(self.jobs) >= self.stop_after:
                raise Stopped("stopped")
            if self.fails & {s.variant, f"{s.variant} {s.seed}"}:
                job.run.set_status("failed", "it went wrong")
                failures.append(Failure(job, "it went wrong"))
                continue
            value, cost = self.score(s.algo_settings, s.seed)
            for episode in range(s.eval_episodes):
                job.run.evaluations.append(EvaluationEpisode(s.steps, episode, value, cost, 0, 1))
            job.run.set_status("finished")
            self.jobs.append(f"{s.variant} {s.seed}")
        return failures


@pytest.fixture
def trained(monkeypatch):
    return Trained(monkeypatch)


def tune(out, settings=RANGES, **options):
    options = {"trials": 12, "seeds": 3, "steps": 300, **options}
    return api.tune("WallStop", "cem-linear", settings, out=out, quiet=True, **options)


def told(folder):
    return [(folder / name).read_text() for name in ("trials.csv", "best.json", "study.json")]


def test_a_trial_is_judged_by_medians_and_by_the_budget_first():
    outcomes = [Outcome(5.0, (1.0, 0.0)), Outcome(-2.0, (9.0, 4.0)), Outcome(1.0, (3.0, 7.0))]
    assert objective(outcomes, (3.0, 4.0)) == 1.0
    assert objective(outcomes, (2.5, 4.0)) == -1e9 - 0.5 and objective(outcomes, (2.5, 1.0)) == -1e9 - 3.5
    assert objective(outcomes[:2], (5.0, 2.0)) == 1.5 and objective([Outcome(-1e6, ())], ()) == -1e6


def test_the_search_is_drawn_to_the_best_settings(trained, tmp_path):
    found = tune(tmp_path, {**RANGES, "penalty": "uniform(0,80)"}, trials=30, seeds=1, seed=1)
    far = [abs(trial.settings["penalty"] - 10) for trial in found.trials]
    assert median(far[20:]) < 0.5 * median(far[:10]) and found.best.objective == max(t.objective for t in found.trials)
    assert found.settings == found.best.settings and abs(found.best.settings["penalty"] - 10) == min(far) < 2
    assert all(1 <= t.settings["elites"] <= 6 and 0 <= t.settings["penalty"] <= 80 for t in found.trials)
    assert len(set(far[:10])) == 10 and {type(t.settings["elites"]) for t in found.trials} == {int}


def test_the_same_seed_draws_the_same_trials_and_another_others(trained, tmp_path):
    for batch in (1, 3):
        one, two, other = (
            tune(tmp_path / f"{batch}{name}", seed=seed, batch=batch, trials=6, seeds=1).trials
            for name, seed in (("one", 0), ("two", 0), ("other", 1))
        )
        assert one == two and [t.settings for t in one] != [t.settings for t in other]


@pytest.mark.parametrize("batch", [1, 3])
def test_a_study_that_is_stopped_anywhere_ends_as_an_uninterrupted_one(trained, tmp_path, batch):
    trained.fails = {"trial-1 1001", "trial-6"}
    whole = tune(tmp_path / "whole", batch=batch, trials=10)
    assert {t.state for t in whole.trials} == {"finished", "pruned", "failed"}
    jobs, trained.jobs, stops = trained.jobs, [], 0
    while True:
        trained.stop_after = len(trained.jobs) + 2 + stops % 3
        try:
            again = tune(tmp_path / "parts", batch=batch, trials=10)
            break
        except Stopped as stopped:
            stops += 1
            assert str(stopped) == "stopped; the same command goes on"
    assert stops > 4 and again.trials == whole.trials and sorted(trained.jobs) == sorted(jobs)
    here, there = told(again.folder), told(whole.folder)
    assert [text.replace("/parts", "/whole") for text in here] == there


def test_a_failed_trial_stays_failed_and_more_trials_go_on_from_those_that_are_there(trained, tmp_path):
    trained.fails = {"trial-1"}
    first = tune(tmp_path, trials=4)
    assert [t.state for t in first.trials] == ["finished", "failed", "finished", "finished"]
    row = table(first.folder / "trials.csv")[1]
    assert row["reason"] == "seed 1000: it went wrong" and row["objective"] == row["evaluation_return"] == ""
    jobs, trained.fails = list(trained.jobs), set()
    more = tune(tmp_path, trials=6)
    assert more.trials[:4] == first.trials and len(more.trials) == 6
    assert trained.jobs[: len(jobs)] == jobs and not any("trial-1 " in job for job in trained.jobs[len(jobs) :])
    assert tune(tmp_path, trials=2).trials == more.trials  # none is taken away


def test_a_trial_below_the_median_of_earlier_ones_after_its_first_seed_is_pruned(trained, tmp_path):
    found = tune(tmp_path, trials=20)
    firsts, pruned = [], 0
    for trial in found.trials:
        first = trial.outcomes[1000].return_
        below = len(firsts) >= 5 and first < median(firsts)
        assert (trial.state == "pruned") == below and list(trial.outcomes) == [1000, 1001, 1002][: 1 if below else 3]
        assert trial.objective == (first if below else trial.outcomes[1001].return_)
        firsts += [] if below else [first]
        pruned += below
    assert 3 < pruned < 16 and len(trained.jobs) == 60 - 2 * pruned
    rows = table(found.folder / "trials.csv")
    assert [row["state"] for row in rows] == [t.state for t in found.trials]
    assert {row["evaluation_return_1001"] == "" for row in rows if row["state"] == "pruned"} == {True}


def test_settings_within_the_budget_come_first(monkeypatch, tmp_path):
    Trained(monkeypatch, lambda s, seed: (s["penalty"], 2 * s["penalty"] + seed - 1001))  # the best return is too dear
    found = tune(tmp_path, budget=20, seeds=3)
    best = found.best
    assert best.feasible and best.middle(0) == pytest.approx(2 * best.settings["penalty"]) and best.middle(0) <= 20
    assert best.settings["penalty"] == max(t.settings["penalty"] for t in found.trials if t.settings["penalty"] <= 10)
    assert max(t.settings["penalty"] for t in found.trials) > 10
    told = json.loads((found.folder / "best.json").read_text())
    assert told["settings"] == best.settings and told["feasible"] and told["evaluation_cost_return"] == best.middle(0)
    over = tune(tmp_path / "over", {"penalty": "uniform(5,9)"}, budget=2)
    assert not over.best.feasible and f"No trial kept the budget; trial {over.best.number} came nearest" in over.text
    assert over.best.settings["penalty"] == min(t.settings["penalty"] for t in over.trials if t.state == "finished")


def test_choices_aliases_and_fixed_settings_go_to_the_runs(trained, tmp_path):
    settings = {"cem-linear.elites": "choice(2, 5)", "population": 7, "penalty": "uniform(1,2)"}
    found = tune(tmp_path, settings, trials=6, seeds=1)
    assert {t.settings["elites"] for t in found.trials} == {2, 5}
    for trial in found.trials:
        run = found.folder / "WallStop" / f"cem-linear-trial-{trial.number}" / "seed-1000"
        asked = reader.open_run(run).settings.algo_settings
        assert asked == {**trial.settings, "population": 7}
    best = found.best.settings
    assert f"--set population=7 --set elites={best['elites']} --set penalty={best['penalty']}" in found.command


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ([], "nothing to tune: give a range, --set KEY=uniform(a,b), log(a,b), int(a,b) or choice(x,y,...)"),
        (["elites=2"], "nothing to tune"),
        (["elites"], "--set 'elites': expected key=value"),
        (["elites=normal(1,2)"], "--set elites=normal(1,2): expected uniform(a,b), log(a,b), int(a,b) or choice"),
        (["elites=int(1,2"], "--set elites=int(1,2: expected uniform"),
        (["elites=int(1)"], "--set elites=int(1): expected int(a,b), two whole numbers up to 1,000,000,000, a below b"),
        (["elites=int(1.5,3)"], "expected int(a,b), two whole numbers"),
        (["elites=int(4,4)"], "a below b"),
        (["elites=uniform(1,4)"], "elites is a whole number; give int(a,b), or log(a,b)"),
        (["penalty=log(0,1)"], "expected log(a,b), two numbers above 0"),
        (["penalty=uniform(0,nan)"], "expected uniform(a,b), two numbers"),
        (["penalty=uniform(0,1e10)"], "expected uniform(a,b), two numbers up to"),
        (["penalty=uniform(0,1_0)"], "expected uniform(a,b), two numbers"),
        (["penalty=choice(1)"], "--set penalty=choice(1): expected at least two values, each once"),
        (["penalty=choice(1,1)"], "at least two values, each once"),
        (["penalty=choice(1,)"], "at least two values, each once"),
        (["penalty=choice(1,much)"], "--set penalty=choice(1,much): cem-linear: penalty=much: expected a number"),
        (["elites=int(0,3)"], "--set elites=int(0,3): cem-linear: elites=0: expected 1 to population=10"),
        (["elites=int(3,11)"], "cem-linear: elites=11: expected 1 to population=10"),
        (["elite=int(1,2)"], "cem-linear: no setting 'elite'; nearest: elites"),
        (["elites=int(1,2)", "penality=3"], "cem-linear: no setting 'penality'; nearest: penalty"),
        (["elites=int(1,2)", "--trials", "0"], "--trials 0: expected at least 1"),
        (["elites=int(1,2)", "--seeds", "0"], "--seeds 0: expected at least 1"),
        (["elites=int(1,2)", "--batch", "0"], "--batch 0: expected at least 1"),
        (["elites=int(1,2)", "--seed", "-1"], "--seed -1: expected at least 0"),
        (["elites=int(1,2)", "--jobs", "0"], "--jobs 0: expected at least 1"),
        (["elites=int(1,2)", "--steps", "0"], "--steps 0: expected at least 1"),
        (["elites=int(1,2)", "--eval-episodes", "0"], "--eval-episodes 0: trials are judged by their last evaluation"),
        (["elites=int(1,2)", "--executor", "cluster"], "--executor cluster: expected"),
        (["elites=int(1,2)", "--algo", "cem-liner"], "unknown algorithm 'cem-liner'; nearest: cem-linear"),
        (["elites=int(1,2)", "--algo", "crr"], "crr learns from a dataset"),
    ],
)
def test_what_can_not_be_is_one_line_before_anything_is_written(main, tmp_path, asked, message):
    words = [word for a in asked for word in (["--set", a] if "elit" in a or "penal" in a else [a])]
    code, out, errors = main(*TUNE, *words, "--out", tmp_path / "out")
    assert code == 2 and message in errors and errors.count("\n") == 1 and not out
    assert not (tmp_path / "out").exists()


def test_an_end_that_some_other_setting_makes_possible_is_taken(trained, tmp_path):
    found = tune(tmp_path, {"population": "int(12,14)", "elites": "int(11,13)"}, seeds=1)
    states = {t.settings["elites"] <= t.settings["population"]: t.state for t in found.trials}
    assert states == {True: "finished", False: "failed"}
    assert any("expected 1 to population=12" in t.reason for t in found.trials)


def test_without_optuna_the_remedy_is_told(main, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "optuna", None)
    code, _, errors = main(*REAL, "--out", tmp_path / "out")
    assert code == 2 and "tune: Optuna is not installed: pip install 'safeloop[tune]'" in errors
    assert not (tmp_path / "out").exists()


def test_other_terms_a_damaged_table_and_a_study_in_use_are_refused(trained, tmp_path):
    folder = tune(tmp_path, trials=2).folder
    before = contents(folder)
    for change, message in (
        ({"seed": 4}, "holds a study with seed=0, not 4: give what it was begun with"),
        ({"steps": 400}, "a study with steps=300, not 400"),
        ({"batch": 2}, "a study with batch=1, not 2"),
        ({"settings": {**RANGES, "elites": "int(1,7)"}}, r"ranges elites=int\(1,6\), not int\(1,7\)"),
        ({"settings": {**RANGES, "population": 9}}, "algo_settings population=10, not 9"),
    ):
        with pytest.raises(UsageError, match=message):
            tune(tmp_path, **change)
    with tuning.studies.alone(folder), pytest.raises(UsageError, match="is in use by another process"):
        tune(tmp_path)
    assert contents(folder) == before
    for name in ("trials.csv", "study.json"):
        (folder / name).write_text("trial,state\n1,x\n")
        with pytest.raises(UsageError, match=f"{name} is damaged: restore it, or move"):
            tune(tmp_path, trials=2)
        (folder / name).write_bytes(before[folder / name])


def test_a_run_that_can_not_be_tried_stops_the_search(monkeypatch, tmp_path):
    monkeypatch.setattr(tuning, "execute", lambda work, *_: [Failure(work.jobs[0], "no such device", refused=True)])
    with pytest.raises(UsageError, match="cem-linear trial-0 seed 1000: no such device"):
        tune(tmp_path)
    assert not list(tmp_path.rglob("trials.csv"))


def test_every_trial_that_fails_is_told(trained, main, tmp_path):
    trained.fails = {"trial-0", "trial-1"}
    code, out, errors = main(*REAL, "--trials", "2", "--out", tmp_path)
    assert code == 1 and "2 failed" in out and "no trial is finished" in out
    assert "safeloop: every trial failed; the first: seed 1000: it went wrong" in errors
    assert not (tmp_path / "WallStop/tuning/cem-linear/best.json").exists()


def test_the_tables_say_how_many_settings_were_tried_and_tuning_seeds_are_not_reported(trained, main, tmp_path):
    best = tune(tmp_path, trials=7).best.settings
    with pytest.raises(UsageError, match=r"--seed 1002: settings of cem-linear were chosen on it .*use others"):
        safeloop.run("WallStop", ["cem-linear"], steps=300, seeds=[0, 1002], out=tmp_path, quiet=True)
    found = safeloop.run("WallStop", ["cem-linear"], steps=300, settings=best, out=tmp_path, quiet=True)
    assert [row.settings_tried for row in found.rows] == [7] and "settings" in found.text and "tried" in found.text
    folder = tmp_path / "WallStop"
    assert table(folder / "summary.csv")[0]["settings_tried"] == table(folder / "aggregates.csv")[0]["settings_tried"]
    other = {**best, "penalty": 0.123}
    found = safeloop.run("WallStop", ["cem-linear"], steps=300, settings=other, variant="b", out=tmp_path, quiet=True)
    assert [row.settings_tried for row in found.rows] == [7, None]
    assert main("check", "results", tmp_path)[0] in (0, 1) and "trial-0" not in main("check", "results", tmp_path)[1]
    assert "settings_tried" in safeloop.results(tmp_path).runs


def test_a_seed_that_is_reported_is_not_tuned_on(trained, tmp_path):
    safeloop.run("WallStop", ["cem-linear"], steps=300, seeds=[1001], out=tmp_path, quiet=True)
    with pytest.raises(UsageError, match="seed-1001: settings are chosen on this seed, and it is not reported"):
        tune(tmp_path)
    tune(tmp_path, seeds=1)


@pytest.mark.slow
def test_killed_and_started_again_the_real_command_ends_as_an_uninterrupted_one(start, main, tmp_path):
    whole, parts, asked = tmp_path / "whole", tmp_path / "parts", [*REAL, "--trials", "2", "--out"]
    code, out, errors = main(*asked, whole)
    assert code == 0 and "WallStop, cem-linear: 2 trials, seed 1000: 2 finished" in out
    assert "best: safeloop run WallStop --algo cem-linear --steps 300 --set elites=" in out
    assert "trial 1: elites=" in errors and "cem-linear trial-0 seed 1000: finished" in errors
    launcher, folder = start(*asked, parts), parts / "WallStop/tuning/cem-linear"
    wait_for((folder / "WallStop/cem-linear-trial-1/seed-1000/status.json").exists, 120)
    launcher.kill()
    launcher.communicate()
    assert len(table(folder / "trials.csv")) == 1
    assert start(*asked, parts).wait(120) == 0
    assert [text.replace(str(parts), str(whole)) for text in told(folder)] == told(whole / "WallStop/tuning/cem-linear")
