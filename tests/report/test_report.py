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
from safeloop.report import aggregates, curves, pictures, rows, style, summary, tables, violations

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
    row = rows.row(reader.read(run))
    assert asdict(row) == {
        "env": "Toy", "dataset": "", "algo": "a", "seed": 0, "state": "finished", "reason": "",
        "privileged": "known cost", "settings": "paper", "settings_tried": None, "costs": [], "diagnostics": {},
        "steps": 1200, "episodes": 12, "training_return": 6.5, "training_cost_return": 2.0, "training_cvar": 2.0,
        "training_over_budget": 0.0, "training_longest_run": None, "violations": 24, "violations_per_1000": 20.0,
        "steps_to_budget": 1000, "violations_to_budget": 20, "evaluated_at": 1200, "evaluation_episodes": 2,
        "evaluation_return": 6.5, "evaluation_cost_return": 4.5, "evaluation_cvar": 6.0, "evaluation_over_budget": 0.5,
        "evaluation_longest_run": None, "evaluation_violations": 9, "evaluation_violations_per_1000": 45.0,
        "within_budget": False, "score": None, "training_minutes": 6.0, "evaluation_minutes": None,
    }  # fmt: skip


def test_terms_tell_fixed_thresholds_from_those_that_follow_the_budget(tmp_path):
    asked = {"safeloop": {}, "rce": {"constraint": "adaptive"}, "cpo": {}}
    records = [reader.read(make(tmp_path, algo, episodes=twelve(), algo_settings=each)) for algo, each in asked.items()]
    notes = [line for line in summary.terms(records) if line.startswith("Note")]
    assert [note.split(": ")[1] for note in notes] == ["safeloop", "rce"]
    assert "under a threshold" in notes[0] and "follows the costs of training episodes" in notes[1]


def test_minutes_of_evaluations_stand_beside_those_of_training(tmp_path):
    run = make(tmp_path, "a", episodes=twelve(), evaluations=["600,0,1.0,9.0,9,100"])
    older = reader.read(run)
    run.evaluations.path.unlink()
    for steps, episode, seconds in ((600, 0, 20.0), (600, 1, 30.0), (1200, 0, 90.0)):
        run.evaluations.append(EvaluationEpisode(steps, episode, 1.0, 9.0, 9, 100, seconds))
    assert rows.row(older).evaluation_minutes is None  # recorded before there was the column
    row = rows.row(reader.read(run))
    assert (row.training_minutes, row.evaluation_minutes) == (6.0, 2.0)
    cells = summary.each_run(row)
    assert (cells["minutes"], cells["eval minutes"]) == ("6.0", "2.0")


def test_the_summary_has_a_column_for_each_diagnostic(tmp_path):
    make(tmp_path, "a", episodes=[])
    run = make(tmp_path, "b", episodes=twelve())
    for i in range(12):
        run.diagnostics.append(Diagnostic(100 * (i + 1), i, "drifting", i / 10))
    make(tmp_path, "b", seed=1, episodes=twelve())
    found = [reader.read(r) for r in reader.runs_under(tmp_path / "Toy")]
    assert [r.diagnostics for r in rows.rows(found)] == [{}, {"drifting": 0.65}, {}]
    summary.write(tmp_path, found)
    with open(tmp_path / "summary.csv") as file:
        assert [line["drifting"] for line in csv.DictReader(file)] == ["", "0.65", ""]
    lines = summary.text(found).splitlines()
    place = lines.index("Each run")
    head = next(i for i, line in enumerate(lines) if i > place and line.startswith("---"))
    assert lines[head - 1].split()[-1] == "drifting"
    assert [line.split()[-1] for line in lines[head + 1 : head + 4]] == ["-", "0.65", "-"]


def test_a_cost_equal_to_the_budget_is_within_it(tmp_path):
    run = make(tmp_path, "a", episodes=twelve(), evaluations=["1200,0,5.0,4.0,4,100"])
    assert rows.row(reader.read(run)).within_budget is True


def test_a_run_without_episodes_has_a_row_of_blanks(tmp_path):
    row = rows.row(reader.read(make(tmp_path, "a", state="failed")))
    assert (row.state, row.reason, row.steps, row.training_return) == ("failed", "it broke", 0, None)
    assert row.within_budget is None


@pytest.mark.parametrize("state", ["running", "interrupted", "failed"])
def test_a_half_written_line_is_left_out(tmp_path, state):
    run = make(tmp_path, "a", episodes=twelve(), state=state)
    with open(run.path / "episodes.csv", "a") as file:
        file.write("12,1300,260,99")
    assert rows.row(reader.read(run)).episodes == 12


def test_a_half_written_line_of_a_finished_run_is_damage(tmp_path):
    """No kill leaves one: the run's last rows are missing, and its numbers would be those of another run."""
    run = make(tmp_path, "a", episodes=twelve())
    with open(run.path / "episodes.csv", "a") as file:
        file.write("12,1300,260,99")
    with pytest.raises(UsageError, match=r"episodes.csv is damaged: its last line '12,1300,260,99' was cut"):
        reader.read(run)


def test_several_seeds_get_an_estimate_with_an_interval(tmp_path):
    for seed, value in enumerate((1.0, 5.0, 3.0)):
        make(tmp_path, "a", seed, episodes=twelve(seed), evaluations=[f"1200,0,{value},{value},1,100"])
    (group,) = aggregates.aggregates([reader.read(run) for run in reader.runs_under(tmp_path / "Toy")])
    found = group.estimates["evaluation_return"]
    half = 4.302653 * (4.0 / 3) ** 0.5  # Student's t with two degrees of freedom, by hand: variance 4
    assert (found.n, found.iqm, found.median) == (3, 3.0, 3.0)
    assert (found.low, found.high) == (pytest.approx(3 - half), pytest.approx(3 + half))
    cost = group.estimates["evaluation_cost_return"]
    assert cost.low == 0.0 and cost.high == pytest.approx(3 + half)  # a cost is not negative
    assert group.within == 2 and group.evaluation.over_budget == pytest.approx(1 / 3)
    columns = aggregates.columns(group)
    assert (columns["n"], columns["runs"], columns["violations_median"], columns["evaluation_cvar"]) == (3, 3, 12, 5.0)
    assert tables.interval(found) == "3.00 [-1.97, 7.97]"


def test_tails_are_of_all_seeds_episodes_together(tmp_path):
    """Of twenty episodes the worst two, both of one seed; a mean of the seeds' own would be another number."""
    for seed, worst in enumerate((20.0, 30.0)):
        lines = [f"1200,{i},1.0,{worst if i < 2 * seed else 0.0},{i},100" for i in range(10)]
        make(tmp_path, "a", seed, episodes=twelve(), evaluations=lines)
    (group,) = aggregates.aggregates([reader.read(run) for run in reader.runs_under(tmp_path / "Toy")])
    assert group.evaluation.cvar == 30.0 and group.evaluation.over_budget == 0.1
    assert [r.evaluation_cvar for r in group.rows] == [0.0, 30.0]


def test_an_estimate_is_over_the_seeds_that_finished(tmp_path):
    for seed, cost in enumerate((3, 9)):
        make(tmp_path, "a", seed, episodes=twelve(cost), evaluations=[f"1200,0,{cost},{cost},1,100"])
    make(tmp_path, "a", 2, episodes=twelve(0)[:1], state="failed")  # crashed early: few violations, and no minutes
    make(tmp_path, "a", 3, state="failed")
    for seed in range(2):
        make(tmp_path, "b", seed, episodes=twelve(), state="failed")
    over, none = aggregates.aggregates([reader.read(run) for run in reader.runs_under(tmp_path / "Toy")])
    found = aggregates.columns(over)
    assert (found["runs"], found["n"], found["violations"], found["violations_low"]) == (4, 2, 12 * 6, None)
    assert (found["training_minutes"], found["steps"], found["evaluation_cost_return"]) == (6.0, 1200, 6.0)
    assert found["within_budget"] == 1 and summary.over_seeds(over)["seeds"] == "2 of 4"
    found = aggregates.columns(none)
    assert (found["runs"], found["n"]) == (2, 0)
    empty = ("violations", "training_return", "training_minutes", "within_budget", "evaluation_cvar")
    assert [found[name] for name in empty] == [None] * 5
    assert summary.over_seeds(none)["violations per 1,000"] == "-"


@pytest.mark.parametrize(
    ("values", "expected"),
    [([1.0, 5.0, 2.0], 2.0), ([1.0, 4.0], 2.5), ([1.0, None, 2.0], None), ([None], None), ([], None)],
)
def test_a_median_needs_every_value(values, expected):
    assert aggregates.median(values) == expected


def test_algorithms_with_other_privileged_information_are_in_other_tables(tmp_path):
    for seed in range(2):
        make(tmp_path, "a", seed, episodes=twelve(), privileged="known cost")
        make(tmp_path, "b", seed, episodes=twelve())
        make(tmp_path, "c", seed, episodes=twelve())
    found = [reader.read(run) for run in reader.runs_under(tmp_path / "Toy")]
    sections = {known: [g.first.algo for g in groups] for known, groups in summary.sections(found).items()}
    assert sections == {"known cost": ["a"], "nothing": ["b", "c"]}
    assert summary.text(found).count("Over seeds\n") == 2


def test_published_results_stand_apart_in_the_page(tmp_path):
    run = make(tmp_path, "cpo", episodes=twelve(), env="PointGoal1", budget=25.0)
    text = summary.page([reader.read(run)])
    ours, others = text.split("## Published by others, not run by us")
    assert "RCE-PETS" in others and "25.39" in others and "RCE-PETS" not in ours
    assert "| cpo | 0 | finished |" in ours


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
    assert "hollow: unfinished" in drawn[1].legends[0].get_title().get_text()


def test_written_tables_name_terms_and_read_back(tmp_path):
    make(tmp_path, "a", episodes=twelve(), evaluations=["1200,0,5.0,3.0,3,100"], privileged="known cost")
    make(tmp_path, "b", episodes=twelve(9), state="failed", env_options={})
    pictures.write(tmp_path / "Toy")
    found = list(csv.DictReader((tmp_path / "Toy/summary.csv").read_text().splitlines()))
    assert [(r["algo"], r["evaluation_return"], r["violations_per_1000"], r["state"], r["reason"]) for r in found] == [
        ("a", "5.0", "20.0", "finished", ""),
        ("b", "", "90.0", "failed", "it broke"),
    ]
    text = (tmp_path / "Toy/summary.md").read_text()
    assert "| a | 0 | finished |" in text and "- b seed 0 failed: it broke\n" in text
    assert "Budget: cost return 4" in text and "## Privileged information: known cost" in text


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
    assert rows.row(found[0]).within_budget is None
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
    assert [axis.get_xlabel() for axis in drawn] == [
        "cost return of an episode",
        "cost return of an episode (1 of 10 episodes lies beyond the axis, up to 90)",
    ]
    assert not drawn[1].texts  # nothing is written over the points


def test_the_running_mean_is_over_ten_episodes_or_a_twentieth():
    means = style.running_mean(range(12))
    assert means[0] == 0 and means[3] == 1.5 and means[11] == pytest.approx(np.mean(range(2, 12)))
    assert style.running_mean(range(400))[-1] == pytest.approx(np.mean(range(380, 400)))


def test_settings_that_depend_on_the_environment_are_compared_by_their_numbers(tmp_path):
    changes = {"population": 50}
    (asked,) = specify.specify(Request(algos=["loop"], settings=changes, eval_episodes=0), "PointGoal1")
    assert asked.algo_settings["horizon"] == 12 and rows.changed(asked) == "default; population=50"
    older = {**asked.algo_settings, "horizon": None, "width": 48}  # recorded before the numbers were
    assert rows.changed(replace(asked, algo_settings=older)) == "default; width=48; population=50"


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
    style.legend_below(picture, axis, caption="two lines\nof text")
    picture.draw_without_rendering()
    (legend,) = picture.legends
    box = legend.get_window_extent()
    assert box.x0 >= 0 and box.x1 <= picture.bbox.width and len(legend.texts) == 9
    assert box.y1 < axis.get_window_extent().y0


def test_results_are_frames_of_runs_aggregates_and_episodes(tmp_path):
    import safeloop

    for seed in range(3):
        make(tmp_path, "a", seed, episodes=twelve(seed), evaluations=[f"1200,0,{seed},{seed},1,100"])
    make(tmp_path, "b", 0, env="Toy 2", budget=None, episodes=twelve())
    found = safeloop.results(tmp_path)
    assert found.runs.groupby(["env", "algo"]).seed.count().to_dict() == {("Toy", "a"): 3, ("Toy 2", "b"): 1}
    assert found.runs.evaluation_return.tolist()[:3] == [0.0, 1.0, 2.0] and found.runs.score.isna().all()
    assert found.aggregates.set_index("algo").loc["a", "n"] == 3 and len(found.aggregates) == 2
    assert len(found.episodes) == 48 and found.episodes.longest_run.isna().all()
    assert found.episodes.query("env == 'Toy' and seed == 2").violations.tolist() == [2] * 12
    assert found.evaluations["return"].tolist() == [0.0, 1.0, 2.0]
    written = (tmp_path / "Toy/summary.csv").exists()
    assert not written  # nothing is written
    with pytest.raises(UsageError, match="holds no runs"):
        safeloop.results(tmp_path / "Toy/a")


@pytest.mark.parametrize(
    ("value", "expected"),
    [(None, "-"), (0.0, "0.00"), (-3.456, "-3.46"), (123.45, "123.5"), (12345.6, "12,346"), (-999.96, "-1,000.0")],
)
def test_numbers_have_as_many_digits_as_their_size_asks_for(value, expected):
    assert tables.number(value) == expected


def test_headings_are_broken_and_nothing_is_cut():
    long = "a" * 300
    table = [{"algorithm": long, "seeds in budget": "3 of 3"}, {"algorithm": "b", "seeds in budget": "-"}]
    *heads, rule, first, second = tables.aligned(table)
    assert [line.split() for line in heads] == [["seeds"], ["in"], ["algorithm", "budget"]]
    assert rule == "-" * len(first) and first == f"{long}   3 of 3" and second.split() == ["b", "-"]
