"""That nothing looks dead: lines in a log at least every so often, and a terminal on which time passes."""

import io
import itertools
import json
import os
import pty
import re
import subprocess
import sys
import threading
import time
from contextlib import suppress

import pytest

from safeloop import benchmarking, cli, measurements
from safeloop.experiments import progress, worker
from safeloop.experiments.progress import Lines, Track

EVERY, SLACK = 0.5, 1.0
"""Seconds between lines here, in place of ten, and how much later one may come on a busy machine."""
SCRIPT = (
    "import sys; from safeloop.experiments import progress; progress.LINE_EVERY = {every}\n"
    "from safeloop import cli; sys.argv[0] = 'safeloop'; cli.main()"
)


def told(*arguments, every=EVERY):
    """Run the command line and return its stdout, and what it said on stderr, which is no terminal, and when."""
    line = [sys.executable, "-c", SCRIPT.format(every=every), *map(str, arguments)]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    out = []
    reader = threading.Thread(target=lambda: out.append(process.stdout.read()))
    reader.start()
    lines = [(time.monotonic(), text.rstrip("\n")) for text in process.stderr]
    reader.join()
    assert process.wait() == 0, lines
    return out[0], lines


def assert_steady(lines):
    """No silence between the first line and the last is longer than asked for, and none is much shorter."""
    times = [at for at, _ in lines]
    gaps = [b - a for a, b in itertools.pairwise(times)]
    assert max(gaps) < EVERY + SLACK, lines
    assert len(lines) <= (times[-1] - times[0]) / EVERY + 2, lines


@pytest.fixture(scope="module")
def slow(thirdparty, tmp_path_factory):
    """The folder of a run that trains and is evaluated slowly, and what the command said."""
    out = tmp_path_factory.mktemp("slow")
    asked = ["--algo", "slow", "--steps", "300", "--eval-episodes", "6", "--out", out]
    return out, told("run", "WallStop", *asked)[1]


@pytest.fixture
def run(slow, monkeypatch):
    """That run, and lines that come often in this process."""
    monkeypatch.setattr(progress, "LINE_EVERY", 0.1)
    return slow[0] / "WallStop/slow/seed-0"


def test_a_run_is_never_silent_for_long_while_it_trains_and_is_evaluated(slow):
    _, lines = slow
    own = [(at, text.removeprefix("slow seed 0: ")) for at, text in lines if text.startswith("slow seed 0: ")]
    assert own[0][1] == "started, 300 steps" and own[-1][1] == "finished"
    assert_steady(own)
    texts = [text for _, text in own]
    assert any(re.fullmatch(r"0/300 steps, starting for 0:00:0\d", text) for text in texts)
    assert any(re.fullmatch(r"300/300 steps, .*, last news \d s ago", text) for text in texts)  # it sleeps
    evaluated = r"300/300 steps, evaluating, episodes? (1 to 5|6) of 6, (\d+)/300 decisions.*"
    done = [int(match[2]) for text in texts if (match := re.fullmatch(evaluated, text))]
    assert done and done == sorted(done) and done[-1] > 0


def test_eval_and_collect_tell_which_episodes_they_drive(run, main, tmp_path):
    code, out, errors = main("eval", run, "--episodes", "6", "--json")
    assert code == 0 and len(json.loads(out)["episodes"]) == 6
    found = re.findall(r"^eval: evaluating, (episodes? .* of 6), \d+/300 decisions", errors, re.MULTILINE)
    assert {"episodes 1 to 5 of 6", "episode 6 of 6"} == set(found) and len(found) >= 10
    errors = main("collect", "WallStop", "--policy", run, "--episodes", "5", "--out", tmp_path / "data")[2]
    assert re.search(r"^collect: collecting, episodes 1 to 5 of 5, \d+/250 decisions", errors, re.MULTILINE)


def test_what_is_short_or_is_to_be_quiet_says_nothing_in_a_log(run, main, monkeypatch):
    assert main("eval", run, "--episodes", "1", "--quiet") == (0, "", "")
    monkeypatch.setattr(progress, "LINE_EVERY", 30.0)
    assert main("eval", run, "--episodes", "1")[2] == ""


def test_learning_from_a_dataset_tells_of_fits_and_steps(main, tmp_path, monkeypatch):
    data, lines = tmp_path / "data", []
    assert main("collect", "WallStop", "--policy", "random", "--episodes", "3", "--out", data, "-q")[0] == 0
    monkeypatch.setattr(progress, "LINE_EVERY", EVERY)
    monkeypatch.setattr(Lines, "note", lambda self, text: lines.append((time.monotonic(), text)))
    small = {"ensemble_size": 2, "width": 16, "layers": 1, "fit_steps": 1500, "hidden": 16, "population": 8}
    settings = [text for key, value in small.items() for text in ("--set", f"{key}={value}")]
    asked = ["--algo", "loop-crr", "--steps", "200", "--eval-episodes", "1", "--out", tmp_path, *settings]
    assert main("offline", data, *asked)[0] == 0
    own = [(at, text) for at, text in lines if text.startswith("loop-crr seed 0: ")]
    assert_steady(own)
    texts = "\n".join(text for _, text in own)
    assert re.search(r"0/200 steps, fitting the models, [1-9][\d,]*/1,500 gradient steps", texts)
    assert re.search(r"[1-9]\d*/200 steps, .*mean value -?\d", texts)


@pytest.fixture
def terminal(monkeypatch):
    """Have stderr on a terminal, and return a function that closes it and gives what it showed."""
    host, guest = pty.openpty()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    stream, shown = os.fdopen(guest, "w"), bytearray()

    def read():
        with suppress(OSError):  # the end
            while data := os.read(host, 65536):
                shown.extend(data)

    reader = threading.Thread(target=read)
    reader.start()

    def begin():
        monkeypatch.setattr(sys, "stderr", stream)

    def end():
        stream.close()
        reader.join()
        os.close(host)
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())

    return begin, end


def on_terminal(terminal, *arguments):
    """Run the command line with stderr on a terminal; return what that showed."""
    begin, end = terminal
    begin()
    with pytest.raises(SystemExit) as stop, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["safeloop", *map(str, arguments)])
        cli.main()
    assert not stop.value.code
    return end()


def test_on_a_terminal_time_passes_even_where_there_are_no_news(terminal, tmp_path):
    asked = ["--algo", "slow", "--steps", "300", "--eval-episodes", "5", "--out", tmp_path]
    shown = on_terminal(terminal, "run", "WallStop", *asked)
    silent = re.findall(r"(\S) slow seed 0 [^\r]*(0:00:\d\d) 300/300 steps", shown)  # it sleeps, and is evaluated
    assert len({spinner for spinner, _ in silent}) > 2 and len({at for _, at in silent}) > 1, shown
    assert re.search(r"evaluating, episodes 1 to 5\s+of 5", shown)
    assert re.search(r"  slow seed 0 ━{12} 0:00:0\d finished", shown)  # nothing turns any more


def test_findings_go_where_they_should_while_a_terminal_shows_what_is_checked(terminal, capsys):
    shown = on_terminal(terminal, "check", "algorithm", "cem-linear")
    out = capsys.readouterr().out
    assert out.startswith("ok      entry point       cem-linear") and "0 failed" in out
    assert "check algorithm" in shown and "entry point" not in shown


def test_checks_tell_what_they_check(main, monkeypatch):
    monkeypatch.setattr(progress, "LINE_EVERY", 0.02)
    code, out, errors = main("check", "algorithm", "cem-linear", "--set", "population=60")
    assert code == 0 and "check algorithm" not in out
    assert re.search(r"^check algorithm: checking \w[\w ]+, training, [\d,]+/[\d,]+ steps", errors, re.MULTILINE)


def test_measurements_tell_how_many_turns_were_taken(monkeypatch, capsys):
    monkeypatch.setattr(progress, "LINE_EVERY", 0.05)
    calls = {name: lambda: time.sleep(0.1) for name in ("ours", "theirs")}
    monkeypatch.setattr(measurements, "environment", lambda env: measurements.in_turns(calls, rounds=2))
    benchmarking._measure("env", "WallStop", None, "cpu", 1)
    found = re.findall(r"^env: taking turns, (\d)/6 turns", capsys.readouterr().err, re.MULTILINE)
    assert found == sorted(found) and len(set(found)) > 2


# The parts


@pytest.fixture
def at(monkeypatch):
    """Set the time."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return lambda seconds: now.__setitem__(0, 100.0 + seconds)


def doing(what, done=0, of=0, unit="steps", detail=""):
    return {"doing": what, "detail": detail, "done": done, "of": of, "unit": unit}


def test_rate_and_time_left_are_those_of_what_is_done_now(at):
    track = Track(1000, fresh=True)
    for second in range(1, 5):
        at(second)
        track.update({"under_way": [doing("training", 50 * second, 1000)]})
    assert track.text() == "200/1,000 steps, 50/s, 0:00:16 left"
    track.update({"return": 1.0, "cost_return": 2.0, "under_way": [doing("training", 200, 1000)]})
    assert track.text() == "200/1,000 steps, 50/s, 0:00:16 left, return 1.0, cost 2.0"
    for second in range(5, 15):
        at(second)
        inner = doing("evaluating", second - 5, 100, "decisions", "episode 1 of 2")
        track.update({"under_way": [doing("training", 200, 1000), inner]})
    assert track.text() == "200/1,000 steps, evaluating, episode 1 of 2, 9/100 decisions, 1.0/s, 0:01:31 left"
    at(40)
    assert track.text().endswith("left, last news 26 s ago")
    for second in range(41, 44):  # no steps were taken in the evaluation: its time is not theirs
        at(second)
        track.update({"under_way": [doing("training", 200 + 10 * (second - 41), 1000)]})
    assert track.text() == "220/1,000 steps, 10/s, 0:01:18 left"


def test_what_has_no_number_says_how_long_it_goes_on(at):
    track = Track(0, fresh=True)
    at(12)
    assert track.text() == "working for 0:00:12"
    track.update({"under_way": [doing("checking same seed"), doing("drawing")]})
    at(15)
    assert track.text() == "checking same seed, drawing for 0:00:03"


def test_lines_come_when_they_are_due_and_never_in_a_burst(at, capsys):
    lines = Lines()
    lines.begin("a", 10, True)
    for second in (9.9, 10.1, 10.2, 19.9, 20.0, 100.0, 100.1, 109.9, 110.0):
        at(second)
        lines.tick()
    assert len(capsys.readouterr().err.splitlines()) == 1 + 4


def test_news_are_sent_now_and_then_the_last_ones_always(monkeypatch):
    monkeypatch.setattr(worker, "NEWS_EVERY", 0.05)
    sent = []
    with worker.News(sent.append) as news:
        for step in range(1000):
            news.tell({"steps": step})
            time.sleep(0.0005)
        news.tell({"value": 2.0})
    assert 2 <= len(sent) <= 30 and sent[-1] == {"steps": 999, "value": 2.0, "under_way": []}
    with pytest.raises(TypeError):
        news.tell({"steps": io.StringIO()})
