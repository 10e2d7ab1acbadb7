"""`safeloop check algorithm`: its lines and exit codes."""

import json
from importlib.metadata import EntryPoint

import pytest

from safeloop import registry
from safeloop.checks import algorithm
from safeloop.checks.findings import FAILED
from safeloop.checks.small_task import TASK
from tests.checks.example import cem  # noqa: F401  (its entry points name the module)
from tests.cli.conftest import main  # noqa: F401  (a fixture)


@pytest.fixture
def installed(monkeypatch, tmp_path):
    (tmp_path / "checked_torn.py").write_text("raise KeyError('no such\\nkey')")
    monkeypatch.syspath_prepend(str(tmp_path))
    values = {"cem-linear": "checked_cem:cem_linear", "renamed": "checked_cem:cem_linear", "torn": "checked_torn:it"}
    points = [EntryPoint(name, value, "safeloop.algorithms") for name, value in values.items()]
    real = registry.installed

    def found(group):
        return [*real(group), *(points if group == "safeloop.algorithms" else [])]

    monkeypatch.setattr(registry, "installed", found)


def test_the_command_prints_a_line_a_check(main, installed):  # noqa: F811
    code, out, errors = main("check", "algorithm", "cem-linear", "--set", "population=4")
    assert code == 0 and not errors
    *lines, blank, last = out.splitlines()
    assert len(lines) == len(algorithm.CHECKS) + 1 and lines[0] == f"ok      entry point       cem-linear in {TASK}"
    assert (blank, last) == ("", "18 ok, 0 failed, 3 not applicable")


def test_another_name_than_the_entry_points_is_told(main, installed):  # noqa: F811
    code, out, _ = main("check", "algorithm", "renamed", "--json")
    told = json.loads(out)
    assert code == 1 and (told["algorithm"], told["env"], told["ok"]) == ("renamed", None, False)
    assert [f["detail"] for f in told["findings"] if f["state"] == FAILED] == [
        "info.name is 'cem-linear', expected the entry point's name 'renamed'"
    ]


def test_what_can_not_be_loaded_is_one_line_and_exit_code_1(main, installed):  # noqa: F811
    code, out, errors = main("check", "algorithm", "torn")
    assert code == 1 and not errors
    line, _, last = out.splitlines()
    assert line.startswith("FAILED  entry point       it can't be loaded: KeyError: 'no such")
    assert last == "0 ok, 1 failed, 0 not applicable"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sacc"], "unknown algorithm 'sacc'; nearest: sac"),
        (["sac", "--env", "PointGaol1"], "unknown environment 'PointGaol1'"),
        (["sac", "--set", "hidden"], "expected key=value"),
        (["mbpo", "--env", "PointGoal1"], "can't be imagined; use loop (in PointGoal1; --env NAME checks in another"),
        ([], "ALGO"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(main, arguments, message):  # noqa: F811
    code, out, errors = main("check", "algorithm", *arguments)
    assert code == 2 and out == ""
    assert errors.startswith("safeloop: error: ") and errors.count("\n") == 1 and message in errors
