"""`safeloop watch`: runs that train, have ended, were killed, are damaged, appear and vanish."""

import io
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from safeloop.report import watch
from safeloop.report.watch import Watcher
from tests.cli.conftest import lines, table, wait_for

RUN = "WallStop/cem-linear/seed-0"
LONG = ["run", "WallStop", "--algo", "cem-linear", "--steps", "1000000"]


class Terminal:
    """`safeloop watch` with its output on a terminal."""

    def __init__(self, *arguments):
        host, guest = pty.openpty()
        line = ["env", "--default-signal=INT", sys.executable, "-m", "safeloop", "watch", *map(str, arguments)]
        environment = {**os.environ, "TERM": "xterm", "COLUMNS": "160", "LINES": "20"}
        self.process = subprocess.Popen(line, stdout=guest, stderr=guest, env=environment)
        os.close(guest)
        self.bytes, self.reader = bytearray(), threading.Thread(target=self._read, args=(host,))
        self.reader.start()

    def _read(self, host):
        with suppress(OSError):  # the end
            while data := os.read(host, 65536):
                self.bytes.extend(data)
        os.close(host)

    @property
    def shown(self):
        """All that was shown, without control sequences."""
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.bytes.decode(errors="replace"))

    def end(self):
        """Wait for its end and return the exit code and all that was shown."""
        code = self.process.wait(20)
        self.reader.join()
        return code, self.shown


@pytest.fixture
def on_terminal():
    made = []
    yield lambda *arguments: made.append(Terminal(*arguments)) or made[-1]
    for each in made:
        each.process.kill()
        each.reader.join()


def stamps(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_a_run_that_trains_is_watched_to_its_end(start, main, on_terminal, tmp_path):
    launcher, run = start(*LONG, "--out", tmp_path), tmp_path / RUN
    wait_for(lambda: len(lines(run / "episodes.csv")) > 30)
    one, two = (on_terminal(tmp_path, "--every", "0.2") for _ in range(2))
    before = len(lines(run / "episodes.csv")) - 1
    code, out, errors = main("watch", tmp_path)
    head, row = out.splitlines()
    assert (code, errors) == (0, "") and re.split(" {2,}", head)[:3] == ["run", "state", "steps"]
    match = re.fullmatch(
        r"cem-linear seed 0  running  ([\d,]+)/1,000,000 [━╸ ]*([\d,]+)/s  0:\d\d:\d\d +-[\d,.]+  [▁▂▃▄▅▆▇█]{12}"
        r" +[\d.]+  [▁▂▃▄▅▆▇█]{12} +\d+ s ago", row
    )  # fmt: skip
    assert match, row
    assert int(match[1].replace(",", "")) >= 100 * before
    wait_for(lambda: len(set(re.findall(r"([\d,]+)/1,000,000", two.shown))) > 3)
    two.process.send_signal(signal.SIGINT)
    code, shown = two.end()
    assert code == 130 and "Traceback" not in shown and two.bytes.rstrip().endswith(b"\x1b[?25h")  # the cursor is back
    launcher.send_signal(signal.SIGINT)
    code, shown = one.end()
    assert code == 0 and "cem-linear seed 0  interrupted" in shown and "Traceback" not in shown
    assert json.loads((run / "status.json").read_text()) == {"state": "interrupted", "reason": ""}


def test_runs_that_have_ended_are_shown_and_nothing_is_written(trained, main, on_terminal):
    before = stamps(trained)
    for folder in (trained, trained / "WallStop"):
        code, out, errors = main("watch", folder, "--once")
        assert (code, errors) == (0, "") and len(out.splitlines()) == 3
    _, first, second = out.splitlines()
    episodes = table(trained / RUN / "episodes.csv")[-10:]
    shown = sum(float(row["return"]) for row in episodes) / 10
    assert re.search(rf"^cem-linear seed 0 +finished  3,000/3,000 .* {shown:,.1f}  ", first)
    assert re.search(r" -[\d.]+, cost [\d.]+ at 3,000$", first) and second.startswith("random-walk seed 0")
    assert on_terminal(trained).end()[0] == 0
    assert stamps(trained) == before


def test_why_a_run_failed_stands_once_below_the_table(trained, main):
    (trained / RUN / "status.json").write_text('{"state": "failed", "reason": "ValueError: not [finite]"}')
    out = main("watch", trained)[1].splitlines()
    assert out[1].startswith("cem-linear seed 0   failed  ") and "ValueError" not in out[1]
    assert out[3:] == ["cem-linear seed 0 failed: ValueError: not [finite]"]


def test_a_killed_run_is_interrupted_and_its_lock_is_left_alone(trained, monkeypatch):
    run, asked = trained / RUN, []
    monkeypatch.setattr(watch, "in_use", lambda run, of=watch.in_use: asked.append(run) or of(run))
    (run / "status.json").write_text('{"state": "running", "reason": ""}')
    with open(run / "episodes.csv", "a") as file:
        file.write("30,3100,15")  # a line that is half written
    watcher = Watcher(trained)
    rows = [watcher.rows()[0] for _ in range(3)]
    assert {(row.state, row.goes_on, row.steps) for row in rows} == {("interrupted", False, 3000)} and len(asked) == 1
    (run / "status.json").write_text('{"state": "running", "reason": ""}')  # another process
    watcher.rows()
    assert len(asked) == 2


def aged(path, seconds=100):
    then = time.time() - seconds
    os.utime(path, (then, then))


def test_a_run_is_starting_from_its_process_on_and_the_next_is_waited_for(trained):
    run, other = trained / RUN, trained / "WallStop/random-walk/seed-0"
    status = run / "status.json"
    status.write_text('{"state": "new", "reason": ""}')
    for path in (status, run / "log.txt", other / "status.json"):
        aged(path)
    watcher = Watcher(trained)
    assert [(row.state, row.goes_on) for row in watcher.rows()] == [("new", False), ("finished", False)]
    os.utime(run / "log.txt")
    assert [(row.state, row.goes_on) for row in watcher.rows()] == [("starting", True), ("finished", False)]
    status.write_text('{"state": "failed", "reason": "x"}')
    assert watcher.rows()[0].state == "failed"
    aged(status, 5)
    assert watcher.rows()[0].state == "starting"  # it is resumed
    status.write_text('{"state": "new", "reason": ""}')
    for path in (status, run / "log.txt"):
        aged(path)
    os.utime(other / "status.json")  # this one has just ended
    assert [(row.state, row.goes_on) for row in watcher.rows()] == [("new", True), ("finished", False)]


def test_runs_may_appear_and_vanish(trained, main):
    watcher, run = Watcher(trained), trained / RUN
    assert len(watcher.rows()) == 2
    new = run.with_name("seed-10")
    shutil.copytree(run, new, ignore=shutil.ignore_patterns("settings.json"))
    assert len(watcher.rows()) == 2  # it is not whole yet
    settings = json.loads((run / "settings.json").read_text())
    (new / "settings.json").write_text(json.dumps({**settings, "seed": 10}))
    assert [row.run for row in watcher.rows()] == ["cem-linear seed 0", "cem-linear seed 10", "random-walk seed 0"]
    (new / "status.json").unlink()  # someone is deleting it
    threading.Timer(watch.AGAIN / 2, shutil.rmtree, [new]).start()
    assert [row.run for row in watcher.rows()] == ["cem-linear seed 0", "random-walk seed 0"]
    shutil.rmtree(trained)
    assert watcher.rows() == []
    assert pictured([], 80) == ["no runs any more"]


def test_what_is_damaged_or_missing_is_one_line(trained, main, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    for arguments, text in (
        (("nowhere",), "nowhere is not a folder"), ((empty,), "holds no runs"), ((trained / RUN,), "holds no runs"),
        ((trained, "--every", "0"), "--every 0: expected 0.1 to 3600 seconds"),
        ((trained, "--every", "nan"), "--every nan"),
    ):  # fmt: skip
        code, out, errors = main("watch", *arguments)
        assert (code, out, errors.count("\n")) == (2, "", 1) and text in errors
    episodes = trained / RUN / "episodes.csv"
    episodes.write_text(episodes.read_text().replace(",100,", ",hundred,", 1))
    code, out, errors = main("watch", trained)
    assert (code, out, errors.count("\n")) == (2, "", 1)
    assert f"{episodes} is damaged: line 2" in errors
    (trained / RUN / "settings.json").write_text("{")
    assert main("watch", trained)[2].startswith(f"safeloop: error: {trained / RUN} is damaged")


def test_a_run_becomes_damaged_while_it_is_watched(trained):
    watcher = Watcher(trained)
    watcher.rows()
    (trained / RUN / "status.json").unlink()
    with pytest.raises(watch.UsageError, match="seed-0 is damaged"):
        watcher.rows()


def test_learning_from_a_dataset_has_a_value_and_an_algorithm_may_be_missing(main, tmp_path):
    recorded = Path(__file__).parents[2] / "results/offline/halfcheetah-medium/loop-crr/seed-0"
    run = Path(shutil.copytree(recorded, tmp_path / "halfcheetah-medium/loop-crr/seed-0"))
    settings = json.loads((run / "settings.json").read_text())
    (run / "settings.json").write_text(json.dumps({**settings, "algo": "gone"}))
    head, row = main("watch", tmp_path)[1].splitlines()
    assert "value" in head and "cost" not in head
    value = float(table(run / "updates.csv")[-1]["value"])
    assert re.search(rf"gone seed 0  finished  20,000/20,000 .*/s +{value:.1f}  ▁[▁▂▃▄▅▆▇█]+", row)


# The parts


def test_averages_are_over_the_last_values_or_as_many_as_there_are():
    assert watch.averages([], 3) == []
    assert watch.averages([1, 2, 3, 4, 8], 3) == [1.0, 1.5, 2.0, 3.0, 5.0]


def test_marks_go_from_the_lowest_to_the_highest():
    assert watch.sparks([]) == "" and watch.sparks([3.0]) == "▁" and watch.sparks([2, 2, 2]) == "▁▁▁"
    assert watch.sparks(range(8)) == "▁▂▃▄▅▆▇█"
    assert watch.sparks(range(1200)) == "▁▁▂▃▃▄▅▆▆▇██"
    assert watch.sparks([-1.0, 1.0, 0.0], "abc") == "acb"


def pictured(rows, width, height=None):
    console = Console(width=width, record=True, file=io.StringIO(), force_terminal=True)
    console.print(watch.picture(rows, console, height))
    return console.export_text().splitlines()


def test_where_the_terminal_is_small_columns_and_ended_runs_are_left_out(trained):
    finished = Watcher(trained).rows()[0]
    rows = [replace(finished, run=f"a seed {i}", state="running", goes_on=i == 3) for i in range(5)]
    heads = [re.split(" {2,}", pictured(rows, width)[0].strip()) for width in (200, 110, 90, 75, 40)]
    assert heads[0] == ["run", "state", "steps", "rate", "left", "return", "cost", "evaluation", "last row"] == heads[1]
    assert [len(head) for head in heads[2:]] == [7, 7, 5]
    assert all(len(line.rstrip()) <= width for width in (200, 110, 90, 75) for line in pictured(rows, width))
    assert "▁" in pictured(rows, 200)[1] and "▁" not in pictured(rows, 110)[1]
    few = pictured(rows, 200, height=2)
    assert [line[:8].strip() for line in few[1:]] == ["a seed 0", "a seed 3", "and 3 mo"]
