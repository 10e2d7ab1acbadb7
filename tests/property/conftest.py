"""How many examples each property is tried on, and the real material that they begin from.

Profiles of hypothesis: `fast` by default, `slow` in the tests marked so, `all` by `make test-property`. The examples
are the same in every call.
"""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

import safeloop
from safeloop import api, cli
from safeloop.algorithms.table_4 import GRID
from safeloop.errors import UsageError
from safeloop.experiments import collect, sweep, trained, tuning
from safeloop.recording import versions
from safeloop.report import curves, offline, violations
from tests.cli.conftest import _trained, command, contents, thirdparty  # noqa: F401  (fixtures)

SECONDS = 20
"""After which a call hangs."""
HEALTH = list(hypothesis.HealthCheck)
for name, number in (("fast", 125), ("slow", 250), ("all", 1120)):
    hypothesis.settings.register_profile(
        name, max_examples=number, derandomize=True, database=None, deadline=None, suppress_health_check=HEALTH,
        print_blob=False, phases=[hypothesis.Phase.generate, hypothesis.Phase.shrink], report_multiple_bugs=False,
    )  # fmt: skip
hypothesis.settings.load_profile("fast")

RESULTS = Path(__file__).parents[2] / "results"
RECORDED = {
    "point_goal1/paper/safeloop/seed-0": "paper/PointGoal1/safeloop/seed-0",
    "rc_car/safepets/seed-0": "car/RCCarDrift/safepets/seed-0",
    "offline/halfcheetah-medium-replay/crr/seed-0": "offline/halfcheetah-medium-replay/crr/seed-0",
}
"""Runs that are part of the repository: tables that the toy's runs don't have."""


@pytest.fixture(params=["fast", pytest.param("slow", marks=pytest.mark.slow)])
def holds(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Try a property: `holds(property, **strategies)`."""

    def tried(check: Callable[..., None], **strategies: Any) -> None:
        chosen = hypothesis.settings.get_profile(request.param)
        if hypothesis.settings.default.max_examples > chosen.max_examples:
            chosen = hypothesis.settings.default  # asked for by --hypothesis-profile
        chosen(hypothesis.given(**strategies)(check))()

    return tried


@contextlib.contextmanager
def _limited() -> Iterator[None]:
    def hang(number: int, frame: object) -> None:
        raise TimeoutError(f"no answer in {SECONDS} seconds")

    before = signal.signal(signal.SIGALRM, hang)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def refusal(call: Callable[[], object]) -> str:
    """The one line that a call is refused with, "" where it is not; any other exception and a hang are failures."""
    try:
        with _limited(), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            call()
    except UsageError as error:
        text = str(error)
        assert text and text.isprintable(), repr(text)
        return text
    return ""


def told(*arguments: str) -> tuple[int, str, str]:
    """The exit code of the command line and what it prints on stdout and stderr, in this process."""
    out, errors = io.StringIO(), io.StringIO()
    with _limited(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
        before, sys.argv = sys.argv, ["safeloop", *arguments]
        try:
            cli.main()
        except SystemExit as stop:
            return int(stop.code or 0), out.getvalue(), errors.getvalue()
        finally:
            sys.argv = before
    raise AssertionError("the command line did not exit")


def restore(folder: Path, before: dict[Path, bytes]) -> None:
    """Make a folder hold these files alone, as they were."""
    now = contents(folder)
    for path in now.keys() - before.keys():
        path.unlink()
    for path, data in before.items():
        if now.get(path) != data:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)


@pytest.fixture
def material(_trained: Any, tmp_path: Path) -> Path:  # noqa: F811
    """Finished runs of the toy package, one of them interrupted, runs of the repository, and small datasets."""
    folder = tmp_path / "material"
    shutil.copytree(_trained[0], folder / "out")
    run = folder / "out" / "WallStop" / "cem-linear" / "seed-0"
    interrupted = shutil.copytree(run, folder / "cut" / "WallStop" / "cem-linear" / "seed-0")
    (interrupted / "status.json").write_text(json.dumps({"state": "running", "reason": ""}))
    for source, target in RECORDED.items():
        shutil.copytree(RESULTS / source, folder / target)
    for target in RECORDED.values():
        for table in (folder / target).glob("*.csv"):
            table.write_text("\n".join(table.read_text().splitlines()[:20]) + "\n")
    safeloop.collect("WallStop", ["random"], folder / "data" / "wall-random", episodes=3, quiet=True)
    return folder


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave training, drawing and long simulations out: the rest of the command line is as it is."""
    for module in (api, sweep, tuning):
        monkeypatch.setattr(module, "execute", lambda *_: [])
    monkeypatch.setattr(sweep, "choose", lambda run, *_: {name: run.settings.algo_settings[name] for name in GRID})
    monkeypatch.setattr(versions, "commit", lambda: "")
    drive, evaluate = collect.drive, trained.evaluation_episodes
    monkeypatch.setattr(collect, "drive", lambda found, spec, number, seed: drive(found, spec, min(number, 3), seed))
    monkeypatch.setattr(
        trained, "evaluation_episodes", lambda p, s, number, *a, **k: evaluate(p, s, min(number, 2), *a, **k)
    )
    for module, name in (
        (curves, "draw"), (curves, "draw_diagnostics"), (curves, "draw_planning"), (violations, "draw"),
        (offline, "draw"),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, lambda *_: None)
