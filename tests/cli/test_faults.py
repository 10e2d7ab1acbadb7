"""Disks that are full, quotas, folders that become read-only or are deleted while runs train.

A limit on the size of files stands for the first two where no small disk can be mounted: writing fails in the same way.
"""

import ctypes
import json
import os
import resource
import shutil
import subprocess
import sys
from contextlib import contextmanager

import pytest

import safeloop
from safeloop.files import write_atomically
from safeloop.recording import reader
from safeloop.recording.rows import Episode
from safeloop.recording.tables import Table
from tests.cli.conftest import contents, lines, table, wait_for

STEPS = 40_000
RUN, BESIDE = "WallStop/cem-linear/seed-0", "WallStop/random-walk/seed-0"
BOTH = [
    "run", "WallStop", "--algo", "cem-linear", "--algo", "random-walk", "--steps", f"{STEPS}",
    "--steps", "random-walk=3000", "-q",
]  # fmt: skip


@contextmanager
def files_of_at_most(size):
    """No file grows beyond `size` bytes, in this process and what it starts."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def disk(tmp_path):
    """A disk of 400 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no disk can be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    out = tmp_path_factory.mktemp("uninterrupted")
    safeloop.run("WallStop", ["cem-linear"], steps=STEPS, out=out, quiet=True)
    return out / RUN


def rows(run, name):
    return [{k: v for k, v in row.items() if k != "wall_seconds"} for row in table(run / name)]


def assert_same(run, whole):
    for name in ("episodes.csv", "evaluations.csv"):
        assert rows(run, name) == rows(whole, name)


def assert_readable(out):
    """Everything recorded can be read, and no run seems to be running."""
    for run in reader.runs_under(out / "WallStop"):
        assert not reader.read(run).state.startswith("running")
        assert not any(each.cut for each in run.tables)


def assert_tidy(out):
    """Nothing half written is left."""
    assert not list(out.rglob(".*.tmp"))


def test_a_run_that_can_not_write_is_one_line_and_goes_on_later_and_those_beside_it_are_not_stopped(
    main, tmp_path, uninterrupted
):
    with files_of_at_most(16_000):
        code, out, errors = main(*BOTH, "--out", tmp_path)
    run = tmp_path / RUN
    failed, pictures = errors.splitlines()
    reason = f"{run / 'episodes.csv'}: File too large: allow larger files, then `safeloop resume {run}`"
    assert code == 1 and out == ""
    assert failed == f"safeloop: cem-linear seed 0 failed: {reason} (log: {run / 'log.txt'})"
    assert pictures == (
        f"safeloop: error: can't write the pictures and tables in {tmp_path / 'WallStop'}: File too large: "
        f"allow larger files, then `safeloop plot {tmp_path / 'WallStop'}`"
    )
    assert json.loads((run / "status.json").read_text()) == {"state": "failed", "reason": reason}
    assert "Traceback" not in (run / "log.txt").read_text()
    assert json.loads((tmp_path / BESIDE / "status.json").read_text())["state"] == "finished"
    assert 100 < len(lines(run / "episodes.csv")) < STEPS / 100
    assert_readable(tmp_path)
    assert_tidy(tmp_path)
    assert main("resume", run, "-q") == (0, "", "")
    assert_same(run, uninterrupted)
    assert (tmp_path / "WallStop/curves.png").is_file()


def test_a_full_disk_is_one_line_and_the_run_goes_on_when_there_is_room(main, disk, uninterrupted):
    ballast = disk / "ballast"
    ballast.write_bytes(bytes(345_000))
    code, _, errors = main(*BOTH, "--out", disk)
    run = disk / RUN
    *failed, pictures = errors.splitlines()  # the run beside it fills the same disk: one line each
    assert code == 1 and "Traceback" not in errors
    assert 1 <= len(failed) <= 2 and all(
        line.startswith("safeloop: ") and " seed 0 failed: " in line for line in failed
    )
    assert pictures.startswith("safeloop: error: can't write the pictures and tables in ")
    assert f"No space left on device: make room there, then `safeloop resume {run}`" in errors
    assert_readable(disk)
    assert_tidy(disk)
    ballast.unlink()
    assert main("resume", run, "-q") == (0, "", "")
    assert_same(run, uninterrupted)


def test_a_disk_that_is_full_before_anything_starts_is_told_and_nothing_is_left(main, disk):
    with pytest.raises(OSError), open(disk / "ballast", "wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    before = contents(disk)
    code, out, errors = main(*BOTH, "--out", disk)
    assert (code, out, errors.count("\n")) == (2, "", 1) and "No space left on device" in errors
    assert contents(disk) == before


@pytest.fixture
def begin():
    """Start the command line as a user who is not above permissions."""
    started = []

    def drop():
        for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH; who hasn't them is refused, to no harm
            ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)

    def run(*arguments):
        line = [sys.executable, "-m", "safeloop", *map(str, arguments)]
        started.append(subprocess.Popen(line, stderr=subprocess.PIPE, text=True, preexec_fn=drop))  # noqa: PLW1509
        return started[-1]

    yield run
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def test_a_folder_that_becomes_read_only_is_one_line_and_the_run_goes_on_when_it_is_not(
    begin, main, tmp_path, uninterrupted
):
    command = begin(*BOTH, "--out", tmp_path)
    run = tmp_path / RUN
    wait_for(lambda: len(lines(run / "episodes.csv")) > 20)
    for folder in (run, run / "checkpoint"):
        folder.chmod(0o555)
    _, errors = command.communicate(timeout=60)
    (line,) = errors.splitlines()
    assert command.returncode == 1 and line.startswith("safeloop: cem-linear seed 0 failed: ")
    assert f"state.pt: Permission denied: make it writable, then `safeloop resume {run}`" in line
    assert json.loads((tmp_path / BESIDE / "status.json").read_text())["state"] == "finished"
    assert json.loads((run / "status.json").read_text())["state"] == "running"  # it can't be written either
    assert f"{run}: interrupted" in main("show", run)[1]
    assert_readable(tmp_path)
    for folder in (run, run / "checkpoint"):
        folder.chmod(0o755)
    assert main("resume", run, "-q") == (0, "", "")
    assert_same(run, uninterrupted)
    assert_tidy(tmp_path)


def test_a_folder_that_is_deleted_is_one_line_and_those_beside_it_are_not_stopped(start, tmp_path):
    command = start(*BOTH, "--out", tmp_path)
    run = tmp_path / RUN
    wait_for(lambda: len(lines(run / "episodes.csv")) > 20)
    run.rename(tmp_path / "gone")
    shutil.rmtree(tmp_path / "gone")
    out, errors = command.communicate(timeout=60)
    (line,) = errors.splitlines()
    assert command.returncode == 1 and out == "" and not run.exists()
    assert line.startswith("safeloop: cem-linear seed 0 failed: ") and "No such file or directory: put it back" in line
    assert [row["algo"] for row in table(tmp_path / "WallStop/summary.csv")] == ["random-walk"]


def test_a_run_that_can_not_be_started_does_not_keep_others_from_it(main, trained):
    for name in (RUN, BESIDE):
        (trained / name / "status.json").write_text('{"state": "new", "reason": ""}')
    (trained / RUN / "log.txt").write_bytes(bytes(20_000))
    before = contents(trained / RUN)
    again = ["run", "WallStop", "--algo", "cem-linear", "--algo", "random-walk", "--steps", "3000", "-q"]
    with files_of_at_most(16_000):
        code, _, errors = main(*again, "--out", trained)
    assert f"safeloop: error: {trained / RUN / 'log.txt'}: File too large: allow larger files, then" in errors
    assert code == 2 and contents(trained / RUN) == before
    assert json.loads((trained / BESIDE / "status.json").read_text())["state"] == "finished"


def test_a_table_that_can_not_be_written_is_left_as_it_was(tmp_path):
    written = Table(tmp_path / "episodes.csv", Episode)
    with files_of_at_most(300), pytest.raises(OSError) as error:
        for i in range(100):
            before = written.path.read_bytes() if i else b""
            written.append(Episode(i, 100 * (i + 1), 50 * (i + 1), 1.0, 0.0, 0, 100, 1.0))
    assert error.value.filename == str(written.path)
    assert written.path.read_bytes() == before and len(written.read()) == i > 2


def test_a_file_that_can_not_be_replaced_stays_and_nothing_else_is_left(tmp_path):
    path = tmp_path / "state.pt"
    write_atomically(path, b"old")
    with files_of_at_most(300), pytest.raises(OSError) as error:
        write_atomically(path, bytes(400))
    assert error.value.filename == str(path) and contents(tmp_path) == {path: b"old"}


def test_a_plot_that_can_not_be_written_is_one_line(main, trained):
    before = contents(trained)
    with files_of_at_most(100):
        code, out, errors = main("plot", trained)
    assert (code, out, errors.count("\n")) == (2, "", 1)
    assert "can't write the pictures and tables" in errors and "then `safeloop plot" in errors
    assert contents(trained) == before


def test_a_page_that_can_not_be_written_is_one_line(main, trained):
    before = contents(trained)
    with files_of_at_most(100):
        code, out, errors = main("report", trained, "-q")
    assert (code, out, errors.count("\n")) == (2, "", 1)
    assert f"can't write {trained / 'report.html'}" in errors and "give --out FILE" in errors
    assert contents(trained) == before


@pytest.mark.parametrize("verb", ["show", "eval"])
def test_what_only_reads_needs_no_room(main, trained, verb):
    with files_of_at_most(0):
        assert main(verb, trained / RUN)[0] == 0
    assert os.path.getsize(trained / RUN / "episodes.csv") > 0
