"""Tables and pictures from hand-written CSV files, of an environment and algorithms that are not installed."""

import csv
import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from safeloop.errors import UsageError
from safeloop.experiments import specify
from safeloop.experiments.specify import Request
from safeloop.recording import reader
from safeloop.recording.rows import Diagnostic, EvaluationEpisode, PlanSummary
from safeloop.recording.run import Run, RunSettings
from safeloop.report import curves, pictures, style, summary, violations

HEAD = "episode,simulator_steps,decisions,return,cost_return,violations,length,wall_seconds\n"
EVALUATION = "simulator_steps,episode,return,cost_return,violations,length\n"


def make(out, algo, seed=0, steps=1200, episodes=(), evaluations=(), state="finished", **settings):
    run = Run.create(out, RunSettings(**{"env": "Toy", "budget": 4.0, **settings}, algo=algo, steps=steps, seed=seed))
    run.set_status(state, "it broke" if state == "failed" else "")
    (run.path / "episodes.csv").write_text(HEAD + "".join(f"{line}\n" for line in episodes))
    (run.path / "evaluations.csv").write_text(EVALUATION + "".join(f"{line}\n" for line in evaluations))
    return run


def twelve(cost=2):
    """Twelve episodes of 100 steps: returns 0 to 11, `cost` violations each, 30 seconds each."""
    return [f"{i},{100 * (i + 1)},{20 * (i + 1)},{i}.0,{cost}.0,{cost},100,{30.0 * (i + 1)}" for i in range(12)]


def test_a_row_is_computed_from_the_tables(tmp_path):
    evaluations = ["600,0,1.0,9.0,9,100", "1200,0,5.0,3.0,3,100", "1200,1,8.0,6.0,6,100"]
    run = make(tmp_path, "a", episodes=twelve(), evaluations=evaluations, privileged="known cost", preset="paper")
    row = summary.row(reader.read(run))
    assert asdict(row) == {
        "algo": "a", "seed": "0", "state": "finished", "privileged": "known cost", "settings": "paper",
        "diagnostics": {},
        "steps": 1200, "episodes": 12, "training_return": 6.5, "training_cost_return": 2.0,
        "violations": 24, "violation_rate": 0.02, "evaluation_return": 6.5, "evaluation_cost_return": 4.5,
        "evaluation_episodes": 2, "within_budget": "no", "training_minutes": 6.0, "evaluation_minutes": None,
    }  # fmt: skip


def test_minutes_of_evaluations_stand_beside_those_of_training(tmp_path):
    run = make(tmp_path, "a", episodes=twelve(), evaluations=["600,0,1.0,9.0,9,100"])
    older = reader.read(run)
    run.evaluations.path.unlink()
    for steps, episode, seconds in ((600, 0, 20.0), (600, 1, 30.0), (1200, 0, 90.0)):
        run.evaluations.append(EvaluationEpisode(steps, episode, 1.0, 9.0, 9, 100, seconds))
    assert summary.row(older).evaluation_minutes is None  # recorded before there was the column
    row = summary.row(reader.read(run))
    assert (row.training_minutes, row.evaluation_minutes) == (6.0, 2.0)
    cells = summary.cells(row, True)
    assert (cells["minutes"], cells["eval minutes"]) == ("6.0", "2.0")


def test_the_summary_has_a_column_for_each_diagnostic(tmp_path):
    make(tmp_path, "a", episodes=[])
    run = make(tmp_path, "b", episodes=twelve())
    for i in range(12):
        run.diagnostics.append(Diagnostic(100 * (i + 1), i, "drifting", i / 10))
    make(tmp_path, "b", seed=1, episodes=twelve())
    found = [reader.read(r) for r in reader.runs_under(tmp_path / "Toy")]
    assert [r.diagnostics for r in summary.rows(found)] == [{}, {"drifting": 0.65}, {}, {}]
    summary.write(tmp_path, found)
    with open(tmp_path / "summary.csv") as file:
        assert [line["drifting"] for line in csv.DictReader(file)] == ["", "0.65", "", ""]  # not of all seeds
    table = [line.split()[-1] for line in summary.text(found).splitlines()[2:8]]
    assert table == ["drifting", "--------", "-", "0.65", "-", "-"]


def test_a_cost_equal_to_the_budget_is_within_it(tmp_path):
    run = make(tmp_path, "a", episodes=twelve(), evaluations=["1200,0,5.0,4.0,4,100"])
    assert summary.row(reader.read(run)).within_budget == "yes"


def test_a_run_without_episodes_has_a_row_of_blanks(tmp_path):
    row = summary.row(reader.read(make(tmp_path, "a", state="failed")))
    assert (row.state, row.steps, row.training_return, row.within_budget) == ("failed: it broke", 0, None, "")


@pytest.mark.parametrize("state", ["running", "interrupted", "failed"])
def test_a_half_written_line_is_left_out(tmp_path, state):
    run = make(tmp_path, "a", episodes=twelve(), state=state)
    with open(run.path / "episodes.csv", "a") as file:
        file.write("12,1300,260,99")
    assert summary.row(reader.read(run)).episodes == 12


def test_a_half_written_line_of_a_finished_run_is_damage(tmp_path):
    """No kill leaves one: the run's last rows are missing, and its numbers would be those of another run."""
    run = make(tmp_path, "a", episodes=twelve())
    with open(run.path / "episodes.csv", "a") as file:
        file.write("12,1300,260,99")
    with pytest.raises(UsageError, match=r"episodes.csv is damaged: its last line '12,1300,260,99' was cut"):
        reader.read(run)


def test_several_seeds_get_a_median_row(tmp_path):
    for seed, value in enumerate((1.0, 5.0, 3.0)):
        make(tmp_path, "a", seed, episodes=twelve(seed), evaluations=[f"1200,0,{value},{value},1,100"])
    rows = summary.rows([reader.read(run) for run in reader.runs_under(tmp_path / "Toy")])
    assert [r.seed for r in rows] == ["0", "1", "2", "median"]
    assert (rows[3].evaluation_return, rows[3].violations, rows[3].within_budget) == (3.0, 12, "2 of 3")
    assert rows[3].state == "3 of 3 finished"


def test_a_median_is_over_the_seeds_that_finished(tmp_path):
    for seed, cost in enumerate((3, 9)):
        make(tmp_path, "a", seed, episodes=twelve(cost), evaluations=[f"1200,0,{cost},{cost},1,100"])
    make(tmp_path, "a", 2, episodes=twelve(0)[:1], state="failed")  # crashed early: few violations, and no minutes
    make(tmp_path, "a", 3, state="failed")
    for seed in range(2):
        make(tmp_path, "b", seed, episodes=twelve(), state="failed")
    rows = summary.rows([reader.read(run) for run in reader.runs_under(tmp_path / "Toy")])
    (over, none) = (r for r in rows if r.seed == "median")
    assert (over.state, over.violations, over.training_minutes, over.steps) == ("2 of 4 finished", 12 * 6, 6.0, 1200)
    assert (over.evaluation_cost_return, over.within_budget) == (6.0, "1 of 2")
    assert (none.state, none.violations, none.training_return, none.training_minutes) == (
        "0 of 2 finished",
        None,
        None,
        None,
    )
    assert summary.cells(none, True)["violations"] == "-"


@pytest.mark.parametrize(
    ("values", "expected"),
    [([1.0, 5.0, 2.0], 2.0), ([1.0, 4.0], 2.5), ([1.0, None, 2.0], None), ([None], None), ([], None)],
)
def test_a_median_needs_every_value(values, expected):
    assert summary.median(values) == expected


def test_a_picture_says_of_how_many_seeds_its_median_is(tmp_path, monkeypatch):
    for seed in range(3):
        make(tmp_path, "a", seed, episodes=twelve(seed), state="failed" if seed == 2 else "finished")
        make(tmp_path, "b", seed, episodes=twelve(seed), state="failed")
        make(tmp_path, "c", seed, episodes=twelve(seed))
    drawn = []
    monkeypatch.setattr(style, "save", lambda picture, path: drawn.append(picture))
    found = [reader.read(run) for run in reader.runs_under(tmp_path / "Toy")]
    curves.draw(found, tmp_path / "c.png")
    violations.draw(found, tmp_path / "v.png")
    names = ["a (median of 2 finished of 3 seeds)", "b (3 seeds, none finished)", "c (median of 3 seeds)"]
    for picture, axis, last in ((drawn[0], 1, 0.5), (drawn[1], 0, 12 * 0.5)):
        lines = {line.get_label(): list(line.get_ydata()) for line in picture.axes[axis].get_lines()}
        assert [name for name in lines if name in names] == names
        assert lines[names[0]][-1] == last and lines[names[1]] == []
    assert "hollow: unfinished" in drawn[1].axes[1].get_title()


def test_written_tables_name_terms_and_read_back(tmp_path):
    make(tmp_path, "a", episodes=twelve(), evaluations=["1200,0,5.0,3.0,3,100"], privileged="known cost")
    make(tmp_path, "b", episodes=twelve(9), state="failed", env_options={})
    pictures.write(tmp_path / "Toy")
    rows = list(csv.DictReader((tmp_path / "Toy/summary.csv").read_text().splitlines()))
    assert [(r["algo"], r["evaluation_return"], r["violation_rate"]) for r in rows] == [
        ("a", "5.0", "0.02"),
        ("b", "", "0.09"),
    ]
    text = (tmp_path / "Toy/summary.md").read_text()
    assert "| a | 0 | finished |" in text and "failed: it broke" in text
    assert "Budget: cost return 4" in text and "a: known cost; b: nothing" in text


def test_pictures_are_drawn_and_hold_something(tmp_path):
    from matplotlib.image import imread

    for algo in ("safeloop", "cpo"):
        for seed in range(3):
            make(tmp_path, algo, seed, episodes=twelve(seed + 1), evaluations=["1200,0,5.0,3.0,3,100"])
    pictures.write(tmp_path / "Toy")
    for name in ("curves.png", "violations.png"):
        image = imread(tmp_path / "Toy" / name)
        assert image.shape[:2] == (500, 1200)
        blue = np.abs(image[..., :3] - np.array([0, 0x72, 0xB2]) / 255).max(-1) < 0.02
        assert blue.sum() > 200  # safeloop's line, in its colour


@pytest.mark.parametrize(("other", "logarithmic"), [(11_999, False), (12_000, True)])
def test_the_step_axis_is_logarithmic_when_totals_differ_ten_times(tmp_path, monkeypatch, other, logarithmic):
    make(tmp_path, "a", episodes=twelve())
    make(tmp_path, "b", steps=other, episodes=twelve())
    found = [reader.read(run) for run in reader.runs_under(tmp_path / "Toy")]
    drawn = []
    monkeypatch.setattr(style, "save", lambda picture, path: drawn.append(picture))
    curves.draw(found, tmp_path / "c.png")
    violations.draw(found, tmp_path / "v.png")
    scales = [drawn[0].axes[0].get_xscale(), drawn[0].axes[1].get_xscale(), drawn[1].axes[0].get_xscale()]
    assert scales == ["log" if logarithmic else "linear"] * 3


def test_the_budget_is_a_labelled_line(tmp_path, monkeypatch):
    make(tmp_path, "a", episodes=twelve())
    drawn = []
    monkeypatch.setattr(style, "save", lambda picture, path: drawn.append(picture))
    curves.draw([reader.read(run) for run in reader.runs_under(tmp_path / "Toy")], tmp_path / "c.png")
    lines = {line.get_label(): line.get_ydata() for line in drawn[0].axes[1].get_lines()}
    assert list(lines["budget 4"]) == [4.0, 4.0]
    assert [text.get_text() for text in drawn[0].legends[0].get_texts()] == ["a", "budget 4"]


def test_where_nothing_costs_nothing_speaks_of_costs(tmp_path, monkeypatch):
    make(tmp_path, "a", episodes=twelve(0), evaluations=["1200,0,5.0,0.0,0,100"], budget=None)
    folder, drawn = tmp_path / "Toy", []
    monkeypatch.setattr(style, "save", lambda picture, path: drawn.append((picture, path.name)))
    found = pictures.write(folder)
    ((picture, name),) = drawn
    assert name == "curves.png" and len(picture.axes) == 1
    assert summary.row(found[0]).within_budget == ""
    for text in (summary.text(found), (folder / "summary.md").read_text()):
        assert not any(word in text.lower() for word in ("cost", "budget", "violation"))
        assert "5.00" in text


def test_planning_is_drawn_on_request_and_without_what_is_not_there(tmp_path, monkeypatch):
    run = make(tmp_path, "a", episodes=twelve())
    make(tmp_path, "b", episodes=twelve())
    for i in range(12):
        run.plans.append(PlanSummary(100 * (i + 1), 20, 1.0, 0.0, 9.0, 0.0, 0.5, 0.25, 0.1 * i))
    older = run.plans.path.read_text().splitlines()
    drawn = {}
    monkeypatch.setattr(style, "save", lambda picture, path: drawn.update({path.name: picture}))
    pictures.write(tmp_path / "Toy")
    assert "planning.png" not in drawn
    pictures.write(tmp_path / "Toy", planning=True)
    lines = [[line for line in axis.get_lines() if line.get_label() == "a"] for axis in drawn["planning.png"].axes]
    assert [len(found) for found in lines] == [1, 1, 1, 0]  # no value error: the value is not known
    assert lines[2][0].get_ydata()[-1] == pytest.approx(0.1 * np.mean(range(2, 12)))
    run.plans.path.write_text("".join(",".join(line.split(",")[:7]) + "\n" for line in older))  # of an older version
    assert np.isnan(reader.read(run).plans[0].usage) and reader.read(run).plans[0].divergence == 0.5


def test_a_far_outlier_does_not_stretch_the_cost_axis(tmp_path, monkeypatch):
    near, far = [f"1200,{i},5.0,3.0,3,100" for i in range(9)], "1200,9,5.0,90.0,90,100"
    make(tmp_path, "a", episodes=twelve(), evaluations=near)
    found = [reader.read(run) for run in reader.runs_under(tmp_path / "Toy")]
    drawn = []
    monkeypatch.setattr(style, "save", lambda picture, path: drawn.append(picture.axes[1]))
    violations.draw(found, tmp_path / "v.png")
    found[0].run.evaluations.path.write_text(EVALUATION + "".join(f"{line}\n" for line in [*near, far]))
    violations.draw([reader.read(found[0].run)], tmp_path / "v.png")
    assert [axis.get_xlim()[1] < 30 for axis in drawn] == [True, True]
    texts = [[text.get_text() for text in axis.texts] for axis in drawn]
    assert texts == [["budget 4"], ["1 of 10 episodes beyond, to 90", "budget 4"]]


def test_the_running_mean_is_over_ten_episodes_or_a_twentieth():
    means = style.running_mean(range(12))
    assert means[0] == 0 and means[3] == 1.5 and means[11] == pytest.approx(np.mean(range(2, 12)))
    assert style.running_mean(range(400))[-1] == pytest.approx(np.mean(range(380, 400)))


def test_settings_that_depend_on_the_environment_are_compared_by_their_numbers(tmp_path):
    changes = {"population": 50}
    (asked,) = specify.specify(Request(algos=["loop"], settings=changes, eval_episodes=0), "PointGoal1")
    assert asked.algo_settings["horizon"] == 16 and summary.changed(asked) == "default; population=50"
    older = {**asked.algo_settings, "horizon": None, "width": 64}  # recorded before the numbers were
    assert summary.changed(replace(asked, algo_settings=older)) == "default; width=64; population=50"


def test_the_median_curve_covers_what_every_seed_has():
    short = (np.array([10.0, 20.0]), np.array([0.0, 10.0]))
    long = (np.array([5.0, 15.0, 40.0]), np.array([0.0, 20.0, 20.0]))
    steps, values = style.median_curve([short, long])
    assert list(steps) == [10, 15, 20] and list(values) == [5.0, 12.5, 15.0]


def test_runs_on_other_terms_are_not_compared(tmp_path):
    make(tmp_path, "a", episodes=twelve())
    other = make(tmp_path, "b", episodes=twelve())
    values = json.loads((other.path / "settings.json").read_text())
    (other.path / "settings.json").write_text(json.dumps({**values, "budget": 5.0}))
    with pytest.raises(UsageError, match=r"b/seed-0 ran with budget=5\.0"):
        pictures.write(tmp_path / "Toy")


def test_folders_set_aside_are_left_out(tmp_path):
    run = make(tmp_path, "a", episodes=twelve())
    run.path.rename(run.path.with_name("seed-0.interrupted-1"))
    assert reader.runs_under(tmp_path / "Toy") == []


@pytest.mark.parametrize("panels, size", [(1, (800, 500)), (3, (1800, 500)), (4, (1200, 1000)), (5, (1200, 1500))])
def test_panels_from_four_on_stand_in_pairs(panels, size):
    picture, *axes = style.figure("many", panels)
    assert len(axes) == panels and (picture.bbox.width, picture.bbox.height) == size


@pytest.mark.parametrize("panels", [1, 2, 4])
def test_a_legend_fits_into_its_picture(panels):
    picture, axis, *_ = style.figure("many", panels)
    for i in range(9):
        axis.plot([0, 1], [0, i], label=f"an algorithm with a long name, number {i}")
    style.legend_below(picture, axis)
    picture.draw_without_rendering()
    (legend,) = picture.legends
    box = legend.get_window_extent()
    assert box.x0 >= 0 and box.x1 <= picture.bbox.width and len(legend.texts) == 9
    assert box.y1 < axis.get_window_extent().y0
