"""`safeloop check results`: it passes sound folders, this project's among them, and names each deliberate damage."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from safeloop.checks.findings import FAILED, NOT_APPLICABLE, OK
from safeloop.checks.results import check
from safeloop.recording import reader
from safeloop.report import summary
from tests.cli.conftest import main  # noqa: F401  (a fixture)
from tests.report.test_report import make

ROOT = Path(__file__).parents[2]
VERSIONS = {"safeloop": "0.1.0", "torch": "2.5.0", "mujoco": "2.3.3", "commit": "0123456789ab", "python": "3.11.0"}
OF_OTHERS, OURS = "other", "sac"
EVERY = [
    "readable", "complete", "seeds", "versions", "settings", "suite", "tables", "exceptions", "legacy", "checksums",
]  # fmt: skip


def episodes(seed, number=12):
    return [f"{i},{100 * (i + 1)},{20 * (i + 1)},{i + seed}.5,2.0,2,100,{3.0 * (i + 1)}" for i in range(number)]


def write_tables(out):
    for folder in reader.folders_under(out):
        summary.write(folder, [reader.read(run) for run in reader.runs_under(folder)])


def changed(path, **values):
    """Change values of a JSON file; None removes one."""
    found = {**json.loads(path.read_text()), **values}
    path.write_text(json.dumps({name: value for name, value in found.items() if value is not None}))


def replaced(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """An out folder with two algorithms of three seeds in one task and one in another, and their tables."""
    out = tmp_path_factory.mktemp("sound")
    for env, algos in (("Toy", (OURS, OF_OTHERS)), ("deep/Toy2", (OURS,))):
        for algo in algos:
            for seed in range(3):
                lines = [f"1200,{i},{i}.25,{3 + seed}.0,3,100" for i in range(2)]
                (out / env).parent.mkdir(exist_ok=True)
                run = make(
                    (out / env).parent, algo, seed, env=Path(env).name, episodes=episodes(seed), evaluations=lines,
                    eval_episodes=2, algo_settings={"gamma": 0.99, "width": 64},
                )  # fmt: skip
                (run.path / "versions.json").write_text(json.dumps(VERSIONS))
    write_tables(out)
    write_tables(out / "deep")
    return out


@pytest.fixture
def out(sound, tmp_path):
    """A copy of the sound folder, to damage."""
    return Path(shutil.copytree(sound, tmp_path / "out"))


def failed(folder):
    return {(finding.name, finding.detail) for finding in check(folder) if finding.state == FAILED}


def told(folder):
    return [f"{finding.name} {finding.detail}" for finding in check(folder) if finding.state == NOT_APPLICABLE]


def test_a_sound_folder_holds_every_check(sound):
    found = {finding.name: (finding.state, finding.detail) for finding in check(sound)}
    assert list(found) == EVERY
    assert {name for name, (state, _) in found.items() if state != OK} == {"suite", "exceptions", "checksums"}
    assert found["readable"][1] == "9 runs in 2 folders" and found["tables"][1] == "6 tables as the runs give them"
    of_one = {finding.name for finding in check(sound / "Toy") if finding.state != OK}
    assert of_one == {"suite", "exceptions", "checksums"}


def test_the_results_of_this_project_hold_every_check():
    found = check(ROOT / "results")
    assert [finding.line for finding in found if finding.state == FAILED] == []
    assert {finding.name for finding in found if finding.state == OK} >= {*EVERY} - {"suite", "legacy", "checksums"}


DAMAGE = [
    ("readable", lambda run: replaced(run / "episodes.csv", "3,400", "3,4oo"), "line 5, column simulator_steps: '4oo'"),
    ("readable", lambda run: replaced(run / "evaluations.csv", "1200,1", "1200,0"), "line 3, column episode: '0'"),
    ("readable", lambda run: (run / "versions.json").write_text("{"), "is damaged (versions.json: "),
    ("readable", lambda run: changed(run / "versions.json", torch=2), "expected names and texts"),
    ("readable", lambda run: (run / "settings.json").unlink(), "seed-1 is not a run: expected a folder with settings"),
    ("readable", lambda run: changed(run / "status.json", state="done"), "unknown state 'done'"),
    ("complete", lambda run: changed(run / "status.json", state="interrupted"), "interrupted after 1,200 of 1,200"),
    ("complete", lambda run: changed(run / "status.json", state="failed", reason="no disk"), "failed: no disk after"),
    ("complete", lambda run: replaced(run / "episodes.csv", "11,1200,240,12.5,2.0,2,100,36.0\n", ""), "after 1,100 st"),
    ("complete", lambda run: replaced(run / "evaluations.csv", "1200,1,1.25,4.0,3,100\n", ""), "1 episodes in the la"),
    ("complete", lambda run: (run / "evaluations.csv").write_text(""), "0 episodes in the last evaluation, expected 2"),
    ("seeds", shutil.rmtree, "sac has the seeds 0, 2, expected 0, 1, 2, ... without a gap: run those that"),
    ("seeds", lambda run: changed(run / "settings.json", seed=7), "sac has the seeds 0, 2, 7, expected"),
    ("seeds", lambda run: changed(run / "settings.json", seed=7), "seed-1: its settings.json is of seed-7"),
    ("versions", lambda run: changed(run / "versions.json", mujoco="3.1.0"), "mujoco is '3.1.0', expected '2.3.3'"),
    ("settings", lambda run: changed(run / "settings.json", env_options={"a": 1}), "env_options is {'a': 1}"),
    ("settings", lambda run: changed(run / "settings.json", budget=9.0), "budget is 9.0, expected 4.0 as in most runs"),
    ("settings", lambda run: changed(run / "settings.json", threads=2), "threads is 2, expected 1 as in seed-0"),
    ("settings", lambda run: changed(run / "settings.json", algo_settings={"gamma": 0.9, "width": 64}), "gamma is 0.9"),
    ("settings", lambda run: changed(run / "settings.json", algo_settings={"gamma": 0.99}), "width is 'missing'"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "damage", "words"), DAMAGE)
def test_a_damaged_run_fails_its_check_and_no_other(out, name, damage, words):
    damage(out / "Toy" / OURS / "seed-1")
    if name != "readable":
        write_tables(out)  # so that they are those of the damaged runs
    found = failed(out)
    assert {each for each, _ in found} == {name}
    assert any(words in detail for _, detail in found), found


SUITE = {
    "name": "toys", "version": 1, "steps": 1200, "evaluation": {"episodes": 2}, "algorithms": [{"algo": OURS}],
    "tasks": [{"env": "Toy", "budget": 4.0}, {"env": "Other"}],
}  # fmt: skip


def test_runs_below_a_suite_have_its_terms(out):
    (out / "suite.json").write_text(json.dumps(SUITE))
    assert not failed(out) and "suite no suite.json above the runs" not in told(out)


@pytest.mark.parametrize(
    ("terms", "words"),
    [
        ({"steps": 1000}, "steps is 1200, expected the suite's 1000: a suite with other terms needs a version"),
        ({"algorithms": [{"algo": OURS, "steps": 5}]}, f"{OURS}/seed-0: steps is 1200, expected the suite's 5"),
        ({"evaluation": {"episodes": 3}}, "eval_episodes is 2, expected the suite's 3"),
        ({"evaluation": {"episodes": 2, "every": 100}}, "eval_every is 0, expected the suite's 100"),
        ({"tasks": [{"env": "Toy", "budget": 5.0}]}, "budget is 4.0, expected the suite's 5.0"),
        ({"tasks": [{"env": "Toy", "options": {"a": 1}}]}, "the environment's a is None, expected the suite's 1"),
        ({"tasks": [{"env": "Other"}]}, "toys@1 has no task Toy: move the run to a folder of its own"),
        ({"version": "one"}, "suite.json is damaged: restore it"),
    ],
)
def test_other_terms_than_the_suites_fail(out, terms, words):
    (out / "suite.json").write_text(json.dumps({**SUITE, **terms}))
    found = failed(out)
    assert {name for name, _ in found} == {"suite"} and any(words in detail for _, detail in found), found


@pytest.mark.parametrize(
    ("file", "old", "new", "words"),
    [
        ("summary.csv", ",7.0,2.0,", ",7.5,2.0,", "other 0: training_return is '7.5', expected '7.0'"),
        ("summary.csv", "\nToy,,sac,1,", "\nToy,,sac,8,", "has a row 'sac 8', unlike the runs"),
        ("summary.csv", "\nToy,,sac,1,", "\nToy,,sac,0,", "has a row twice"),
        ("summary.csv", "env,dataset", "environment,dataset", "environment is 'Toy', expected 'no such column'"),
        ("summary.csv", "\nToy,,sac", "\nToy,sac", "can't be read"),
        ("aggregates.csv", "Toy,,sac,", "Toy,,sax,", "lacks a row 'sac'"),
        ("summary.md", "| sac | 0 | finished |", "| sac | 0 | failed |", "Each run': sac 0: state is 'failed'"),
        ("summary.md", "| sac | 3 |", "| sac | 2 |", "Over seeds': sac: seeds is '2', expected '3'"),
    ],
)
def test_a_table_that_the_runs_do_not_give_fails(out, file, old, new, words):
    path = out / "Toy" / file
    replaced(path, old, new)
    before = path.read_bytes()
    found = failed(out)
    assert {name for name, _ in found} == {"tables"} and any(words in detail for _, detail in found), found
    assert path.read_bytes() == before


def test_tables_and_columns_that_were_added_later_are_told(out):
    for path in (out / "Toy/summary.csv", out / "Toy/aggregates.csv"):
        lines = [line.split(",") for line in path.read_text().splitlines()]
        path.write_text("".join(",".join(line[:-1]) + "\n" for line in lines))
    (out / "Toy/summary.md").write_text("# Toy\n")
    assert failed(out) == set()
    words = " ".join(told(out))
    assert "summary.csv: lacks the columns evaluation_minutes, which were added later: `safeloop plot` writes" in words
    assert "aggregates.csv: lacks the columns evaluation_episodes" in words
    assert "summary.md: lacks the tables 'Privileged information: nothing Over seeds'" in words


def test_settings_by_earlier_defaults_and_earlier_names_are_no_fault(tmp_path):
    run = make(tmp_path, "rce", episodes=episodes(0), evaluations=["1200,0,1.0,3.0,3,100"], eval_episodes=1)
    (run.path / "versions.json").write_text(json.dumps(VERSIONS))
    write_tables(tmp_path)
    for file in ("summary.csv", "aggregates.csv", "summary.md"):
        path = tmp_path / "Toy" / file
        path.write_text(path.read_text().replace("rce", "safepets").replace("default", "paper"))
    assert failed(tmp_path) == set()
    assert any(
        "the column settings of summary.csv, aggregates.csv is by the defaults" in line for line in told(tmp_path)
    )


def test_algorithms_of_others_may_end_within_an_episode(out):
    for algo in (OURS, OF_OTHERS):
        path = out / "Toy" / algo / "seed-0" / "evaluations.csv"
        path.write_text(path.read_text().replace("\n1200,", "\n1250,"))
    write_tables(out)
    ((name, detail),) = failed(out)
    assert name == "complete" and "sac/seed-0: its rows end after 1,200 steps, expected 1,250" in detail
    path = out / "Toy" / OF_OTHERS / "seed-0" / "evaluations.csv"
    path.write_text(path.read_text().replace("\n1250,", "\n1350,"))  # more than an episode
    assert sum(name == "complete" for name, _ in failed(out)) == 2


def test_an_evaluation_before_the_last_step_asked_for_is_not_the_last(out):
    path = out / "Toy" / OURS / "seed-0" / "evaluations.csv"
    path.write_text(path.read_text().replace("\n1200,", "\n600,"))
    assert any("last evaluated after 600 steps, expected at least 1,200" in detail for _, detail in failed(out))


def test_other_commits_and_machines_are_told(out):
    run = out / "Toy" / OURS / "seed-1"
    changed(run / "versions.json", commit="ba9876543210", omnisafe="not installed")
    changed(run / "settings.json", algo_settings={"gamma": 0.99}, keep_every=100)  # width was added later
    changed(out / "Toy" / OURS / "seed-2" / "versions.json", omnisafe="0.5.0")
    assert failed(out) == set()
    assert any("Toy: runs differ in commit (0123456789ab, ba9876543210)" in line for line in told(out))


def test_runs_before_there_were_commits_are_listed_by_name(out):
    for seed in (0, 2):
        changed(out / "Toy" / OURS / f"seed-{seed}" / "versions.json", commit=None)
    path = out / "Toy" / OF_OTHERS / "seed-1" / "settings.json"
    changed(path, schema=1, told="", privileged=None)
    assert failed(out) == set()
    (legacy,) = [line for line in told(out) if line.startswith("legacy")]
    assert legacy.endswith("Toy: of the first schema, or without a commit: other seed 1; sac seeds 0, 2")


def declared(out, *lines):
    (out / "Toy/exceptions.csv").write_text("\n".join(["check,path,reason", *lines]) + "\n")


def test_a_declared_exception_is_told_with_its_reason(out):
    changed(out / "Toy" / OURS / "seed-1" / "status.json", state="interrupted")
    shutil.rmtree(out / "Toy" / OF_OTHERS / "seed-1")
    write_tables(out)
    assert {name for name, _ in failed(out)} == {"complete", "seeds"}
    declared(out, "complete,sac/seed-1,stopped on purpose", 'seeds,other,"0 and 2, as in the paper"')
    assert failed(out) == set()
    words = " ".join(told(out))
    assert "sac/seed-1: interrupted after 1,200 of 1,200 steps, expected a finished run: declared" in words
    assert "stopped on purpose" in words and "0 and 2, as in the paper" in words


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("complete,sac/seed-1,stopped", "sac/seed-1 holds without an exception: remove the line"),
        ("readable,sac/seed-1,broken", "'readable,sac/seed-1,broken': expected a check (complete, seeds, versions, se"),
        ("complete,sac/seed-1, ", "expected a check"),
        ("complete,sac/seed-1", "expected a check"),
    ],
)
def test_an_exception_that_nothing_needs_or_without_a_reason_fails(out, line, words):
    declared(out, line)
    ((name, detail),) = failed(out)
    assert name == "exceptions" and words in detail


def test_a_file_of_exceptions_with_other_columns_fails(out):
    (out / "Toy/exceptions.csv").write_text("path,reason\n")
    ((name, detail),) = failed(out)
    assert name == "exceptions" and "begins with 'path,reason', expected check,path,reason" in detail


def test_checksums_are_those_of_sha256sum(out):
    found = check(out, write_checksums=True)[-1]
    assert (found.name, found.state, found.detail) == ("checksums", OK, "45 files written down")
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", "checksums.txt"], cwd=out, check=True)
    assert check(out)[-1].state == OK


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (
            lambda out: replaced(out / "Toy/sac/seed-1/episodes.csv", "36.0", "36.1"),
            "seed-1/episodes.csv: has the checksum ",
        ),
        (lambda out: (out / "Toy/sac/seed-1/plans.csv").write_text(""), "has no checksum of "),
        (lambda out: (out / "checksums.txt").write_text("x\n"), "line 1: 'x', expected a SHA-256 sum and a path"),
        (lambda out: (out / "checksums.txt").write_bytes(b"\xff"), "can't be read"),
    ],
)
def test_files_that_are_not_as_their_checksums_fail(out, damage, words):
    check(out, write_checksums=True)
    damage(out)
    write_tables(out)
    found = failed(out)
    assert {name for name, _ in found} == {"checksums"} and any(words in detail for _, detail in found), found


def test_a_file_with_a_checksum_that_is_gone_fails(out):
    check(out, write_checksums=True)
    shutil.rmtree(out / "Toy" / OURS / "seed-2")
    write_tables(out)
    assert sum("is not there, and" in detail for _, detail in failed(out)) == 5


def test_checksums_are_not_written_of_what_failed(out):
    changed(out / "Toy" / OURS / "seed-1" / "status.json", state="interrupted")
    assert check(out, write_checksums=True)[-1].detail.startswith("not written: the other checks have to hold first")
    assert not (out / "checksums.txt").exists()


def test_what_no_table_can_be_made_of_is_one_line(out):
    changed(out / "Toy" / OF_OTHERS / "seed-0" / "settings.json", dataset="d")
    assert any(name == "tables" and "KeyError" in detail for name, detail in failed(out))


def test_the_command_prints_a_line_a_finding(main, out):  # noqa: F811
    code, printed, _ = main("check", "results", out)
    assert code == 0 and printed.splitlines()[0] == "ok      readable          9 runs in 2 folders"
    assert printed.splitlines()[-1] == "7 ok, 0 failed, 3 not applicable"
    (out / "Toy" / OURS / "seed-1" / "status.json").write_text("{}")
    code, printed, _ = main("check", "results", out)
    assert code == 1 and "FAILED  readable" in printed and "tables            " in printed
    code, printed, _ = main("check", "results", out, "--json")
    found = json.loads(printed)
    assert code == 1 and found["folder"] == str(out) and not found["ok"]
    assert {finding["name"] for finding in found["findings"]} == set(EVERY)


def test_a_folder_of_nothing_but_damage_says_so(tmp_path):
    (tmp_path / "Toy/a/seed-0").mkdir(parents=True)
    found = {finding.name: finding for finding in check(tmp_path)}
    assert found["readable"].state == FAILED and found["seeds"].detail == "no run can be read"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "nowhere is not a folder"),
        (["."], "holds no runs"),
        ([], "DIR"),
        (["a" * 300], "File name too long"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(main, tmp_path, monkeypatch, arguments, message):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    code, printed, errors = main("check", "results", *arguments)
    assert code == 2 and printed == ""
    assert errors.startswith("safeloop: error: ") and errors.count("\n") == 1 and message in errors
