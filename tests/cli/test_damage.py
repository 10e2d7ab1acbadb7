"""Recorded tables that were damaged: one line naming file, line and column, and nothing changed."""

import json
import math
import shutil
from dataclasses import replace

import pytest

from safeloop.errors import UsageError
from safeloop.recording import reader
from safeloop.recording.rows import Diagnostic, Episode, Fit, PlanSummary, Update
from safeloop.recording.tables import Table
from tests.cli.conftest import TRAIN, contents, lines

RUN = "WallStop/cem-linear/seed-0"


def damaged(table, change):
    """Rewrite the file of a table by `change`, from its lines (the header first) to new ones."""
    table.write_text("".join(f"{line}\n" for line in change(lines(table))))


def with_cell(line, column, value):
    """A change: `value` in this line (1 is the header) and column of `episodes.csv`."""

    def change(rows):
        cells = rows[line - 1].split(",")
        cells[rows[0].split(",").index(column)] = value
        return [*rows[: line - 1], ",".join(cells), *rows[line:]]

    return change


def columns(change):
    """A change of the list of each line's cells."""
    return lambda rows: [",".join(change(row.split(","))) for row in rows]


DAMAGE = {
    "cut within a line": (lambda rows: [*rows[:4], rows[4][:7], *rows[5:]], "line 5, column return: 3 values"),
    "a line of two": (lambda rows: [*rows[:4], rows[4] + "," + rows[5], *rows[6:]], "line 5, column costs: 20 "),
    "an empty line": (lambda rows: [*rows[:4], "", *rows[4:]], "line 5, column episode: 0 values, expected 10"),
    "NaN": (with_cell(3, "return", "nan"), "line 3, column return: 'nan', expected a finite number"),
    "infinity": (with_cell(3, "cost_return", "inf"), "line 3, column cost_return: 'inf', expected a finite number"),
    "text": (with_cell(4, "violations", "none"), "line 4, column violations: 'none', expected a whole number"),
    "other digits": (with_cell(4, "length", "１００"), "line 4, column length: '１００', expected a whole number"),
    "nothing": (with_cell(4, "length", ""), "line 4, column length: '', expected a whole number"),
    "a number too large": (with_cell(4, "decisions", "9" * 20), "column decisions: '99999999999999999999', expected a"),
    "a negative length": (with_cell(9, "length", "-100"), "line 9, column length: '-100', expected a whole number"),
    "negative violations": (with_cell(9, "violations", "-1"), "line 9, column violations: '-1', expected a whole num"),
    "negative seconds": (with_cell(9, "wall_seconds", "-1.0"), "line 9, column wall_seconds: '-1.0', expected a"),
    "fewer steps": (with_cell(9, "simulator_steps", "5"), "line 9, column simulator_steps: '5', expected more than"),
    "an episode twice": (lambda rows: [*rows[:5], *rows[4:]], "line 6, column episode: '3', expected 4, the next"),
    "an episode missing": (lambda rows: [*rows[:5], *rows[6:]], "line 6, column episode: '5', expected 4, the next"),
    "episodes out of order": (lambda rows: [*rows[:3], rows[4], rows[3]], "line 4, column episode: '3', expected 2"),
    "a column missing": (columns(lambda c: c[:3] + c[4:]), "line 1, column return: expected here, found 'cost_return'"),
    "the last three missing": (columns(lambda c: c[:-3]), "line 1, column wall_seconds: missing"),
    "one renamed": (lambda rows: [rows[0].replace("decisions", "moves"), *rows[1:]], "column decisions: expected here"),
    "one added": (columns(lambda c: [*c, c[0]]), "line 1, column 'episode': not expected"),
    "two exchanged": (columns(lambda c: [c[1], c[0], *c[2:]]), "line 1, column episode: expected here, found 'sim"),
    "no header": (lambda rows: rows[1:], "line 1, column episode: expected here, found '0'"),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_told_by_file_line_and_column(trained, damage):
    run = trained / RUN
    change, message = DAMAGE[damage]
    damaged(run / "episodes.csv", change)
    with pytest.raises(UsageError) as error:
        reader.read(reader.open_run(run))
    assert str(error.value).startswith(f"{run / 'episodes.csv'} is damaged: ") and message in str(error.value)


@pytest.mark.parametrize("verb", ["plot", "report", "show", "resume", "eval", "run", "run another seed"])
def test_every_command_refuses_it_in_one_line_and_changes_nothing(main, trained, verb):
    run = trained / RUN
    damaged(run / "episodes.csv", with_cell(3, "violations", "-2"))
    before = contents(trained)
    again = [*TRAIN, "--out", trained]
    arguments = {"run": again, "run another seed": [*again, "--seed", "7"]}
    arguments.update({name: [name, trained] for name in ("plot", "report")})
    code, out, errors = main(*arguments.get(verb, [verb, run]))
    assert (code, out, errors.count("\n")) == (2, "", 1)
    assert "episodes.csv is damaged: line 3, column violations: '-2'" in errors
    assert contents(trained) == before


def test_evaluations_are_counted_anew_at_each_time(trained):
    run = trained / RUN
    kept = (run / "evaluations.csv").read_text()
    assert len(reader.read(reader.open_run(run)).evaluations) == 5
    more = [f"9000,{i},1.0,0.0,0,100,0.5,0,agent,-" for i in range(2)]
    damaged(run / "evaluations.csv", lambda rows: rows + more)
    assert len(reader.read(reader.open_run(run)).evaluations) == 7
    for wrong, message in (
        ("9000,1,1.0,0.0,0,100,0.5,0,agent,-", "line 7, column episode: '1', expected 0, the next"),
        ("3000,0,1.0,0.0,0,100,0.5,0,agent,-", "line 7, column episode: '0', expected 5, the next"),
        ("50,0,1.0,0.0,0,100,0.5,0,agent,-", "line 7, column simulator_steps: '50', expected at least 3000"),
    ):
        (run / "evaluations.csv").write_text(f"{kept}{wrong}\n")
        with pytest.raises(UsageError, match=message):
            reader.read(reader.open_run(run))


def test_a_diagnostic_is_there_once_in_an_episode(tmp_path):
    table = Table(tmp_path / "diagnostics.csv", Diagnostic)
    for row in ((100, 0, "speed"), (100, 0, "slip"), (200, 1, "speed"), (200, 1, "slip")):
        table.append(Diagnostic(*row, mean=1.0))
    assert len(table.read()) == 4
    table.append(Diagnostic(200, 1, "speed", 2.0))
    with pytest.raises(UsageError, match="line 6, column name: 'speed', expected a value that no earlier row has"):
        table.read()


NAN, INF = math.nan, math.inf
PLAN = PlanSummary(100, 50, 1.0, 0.0, 40.0, 0.5, NAN)


@pytest.mark.parametrize("row", [PLAN, Fit(100, 5, INF, NAN), Update(100, 1.0, NAN), Diagnostic(100, 0, "a", NAN)])
def test_what_models_and_learners_say_may_be_no_number(tmp_path, row):
    table = Table(tmp_path / "table.csv", type(row))
    table.append(row)
    assert repr(table.read()) == repr([row])


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (Episode(0, 100, 50, NAN, 0.0, 0, 100, 1.0), "episodes.csv: return=nan: expected a finite number"),
        (Episode(0, 100, 50, 1.0, -INF, 0, 100, 1.0), "cost_return=-inf: expected a finite number"),
        (Episode(0, 100, 50, 1.0, 0.0, -1, 100, 1.0), "violations=-1: expected a whole number of at least 0"),
        (
            PlanSummary(100, 50, 1.0, 0.0, 40.0, 1.5, NAN),
            "unsafe=1.5: expected a finite number of at least 0 and",
        ),
    ],
)
def test_what_could_not_be_read_is_not_written(tmp_path, row, message):
    table = Table(tmp_path / "episodes.csv", type(row))
    with pytest.raises(ValueError, match=message):
        table.append(row)
    assert not table.path.exists()


def test_columns_that_came_later_may_be_missing_at_the_end(tmp_path):
    table = Table(tmp_path / "plans.csv", PlanSummary)
    table.append(PLAN)
    for missing in (1, 2, 3, 4):
        damaged(table.path, columns(lambda cells: cells[:-1]))
        assert [row.planned for row in table.read()] == [50], missing
    damaged(table.path, columns(lambda cells: cells[:-1]))
    with pytest.raises(UsageError, match="column divergence: missing"):
        table.read()


def test_a_table_without_later_columns_gets_them_with_the_next_row(tmp_path):
    table = Table(tmp_path / "plans.csv", PlanSummary)
    for row in (PLAN, replace(PLAN, simulator_steps=200)):
        table.append(row)
    damaged(table.path, columns(lambda cells: cells[:-1]))
    Table(table.path, PlanSummary).append(replace(PLAN, simulator_steps=300, value_error=0.25))
    assert [row.simulator_steps for row in table.read()] == [100, 200, 300]
    assert [row.value_error == 0.25 for row in table.read()] == [False, False, True]


def cut(run, state):
    """The run as a kill within the writing of a row leaves it."""
    (run / "status.json").write_text(json.dumps({"state": state, "reason": ""}))
    with open(run / "episodes.csv", "a") as file:
        file.write("30,31")
    (run / "checkpoint/.state.pt.77.tmp").write_bytes(b"half")


def test_a_last_line_that_a_kill_cut_is_repaired_on_resume_and_said(main, trained):
    run = trained / RUN
    whole = (run / "episodes.csv").read_bytes()
    cut(run, "running")
    shown = main("show", run)
    assert shown[0] == 0 and "(of 30)" in shown[1] and (run / "episodes.csv").read_bytes() == whole + b"30,31"
    code, _, errors = main("resume", run)
    assert code == 0 and "episodes.csv: its last line was cut short and is dropped ('30,31')" in errors
    assert (run / "episodes.csv").read_bytes() == whole
    assert not list(run.rglob(".*.tmp"))


def test_a_last_line_of_a_finished_run_was_cut_by_no_kill(main, trained):
    cut(trained / RUN, "finished")
    before = contents(trained)
    for arguments in (["plot", trained], ["show", trained / RUN], ["resume", trained / RUN]):
        code, out, errors = main(*arguments)
        assert (code, out, errors.count("\n")) == (2, "", 1) and "its last line '30,31' was cut" in errors
    assert contents(trained) == before


SETTINGS = {
    "steps": (0, -5, True, 1.5, 10**30), "seed": (-1, None), "threads": (0,), "eval_every": (-1,),
    "eval_episodes": (-1,), "keep_every": (-1,), "budget": (-1.0, NAN, INF, True), "env": (3,), "data": ([],),
}  # fmt: skip


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in SETTINGS.items() for value in values])
def test_settings_out_of_range_are_refused_when_a_run_is_opened(main, trained, key, value):
    run = trained / RUN
    values = json.loads((run / "settings.json").read_text())
    (run / "settings.json").write_text(json.dumps({**values, key: value}))
    (run / "status.json").write_text('{"state": "interrupted", "reason": ""}')
    before = contents(trained)
    code, out, errors = main("resume", run)
    assert (code, out, errors.count("\n")) == (2, "", 1)
    assert f"{run} is damaged (settings.json: {key}={value!r}" in errors
    assert contents(trained) == before


def test_json_nested_too_deep_is_damage(main, trained):
    (trained / RUN / "settings.json").write_text("[" * 100_000)
    code, _, errors = main("show", trained / RUN)
    assert code == 2 and "damaged" in errors and errors.count("\n") == 1


@pytest.mark.parametrize("name", ["log.txt", ".lock", "episodes.csv", "status.json", "checkpoint/state.pt"])
def test_a_folder_in_a_files_place_is_refused(main, trained, name):
    place = trained / RUN / name
    place.unlink()
    place.mkdir()
    before = contents(trained)
    for arguments in (["resume", trained / RUN], [*TRAIN, "--out", trained]):
        code, out, errors = main(*arguments)
        assert (code, out, errors.count("\n")) == (2, "", 1) and f"{name} is not a file: move it away" in errors
    assert contents(trained) == before


def test_a_file_in_the_place_of_a_runs_folder_is_refused(main, trained):
    run = trained / RUN
    shutil.rmtree(run)
    run.write_text("mine")
    before = contents(trained)
    for arguments, message in (
        ([*TRAIN, "--out", trained], f"can't write {run}: {run} is not a folder; move it away"),
        (["resume", run], f"{run} is not a run"),
    ):
        code, out, errors = main(*arguments)
        assert (code, out, errors.count("\n")) == (2, "", 1) and message in errors
    assert contents(trained) == before


LONG = "a" * 300


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "WallStop", "--algo", "cem-linear", "--out", LONG],
        ["run", "WallStop", "--algo", "cem-linear", "--out", "/".join(["a" * 200] * 30)],
        ["collect", "InvertedPendulum", "--policy", "random", "--out", LONG],
        ["collect", "InvertedPendulum", "--policy", LONG, "--out", "d"],
        ["offline", LONG],
        ["resume", LONG],
        ["eval", LONG],
        ["show", LONG],
        ["plot", LONG],
    ],
)
def test_a_name_too_long_for_the_file_system_is_refused(main, tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    code, out, errors = main(*arguments)
    assert (code, out, errors.count("\n")) == (2, "", 1) and "File name too long" in errors
    assert list(tmp_path.iterdir()) == []
