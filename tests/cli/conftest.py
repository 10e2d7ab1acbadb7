"""The third-party packages of tests/thirdparty, installed as a user would, and the real command line."""

from __future__ import annotations

import csv
import io
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from safeloop import cli

SOURCE = Path(__file__).parents[1] / "thirdparty"
TRAIN = ["run", "WallStop", "--algo", "cem-linear", "--algo", "random-walk", "--steps", "3000"]


@pytest.fixture(scope="session", autouse=True)
def thirdparty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Install the packages into a folder of its own and put that on the path, here and in subprocesses."""
    folder = tmp_path_factory.mktemp("thirdparty")
    source, target = folder / "source", folder / "target"
    shutil.copytree(SOURCE, source, ignore=shutil.ignore_patterns("__pycache__"))
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    packages = [str(source / "wallstop"), str(source / "odd")]
    options = ["--no-deps", "--no-build-isolation", "--target", str(target)]
    subprocess.run([*pip, *options, *packages], check=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(target))
        patch.syspath_prepend(str(target))
        yield target


@pytest.fixture(scope="session")
def command() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the command line in a process of its own."""

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "-m", "safeloop", *map(str, arguments)]
        return subprocess.run(line, capture_output=True, text=True, timeout=120, check=False)

    return run


@pytest.fixture
def main(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run the command line's `main` in this process: (exit code, stdout, stderr)."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["safeloop", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            cli.main()
        captured = capsys.readouterr()
        return int(stop.value.code or 0), captured.out, captured.err

    return run


@pytest.fixture(scope="session")
def _trained(thirdparty: Path, command: Callable, tmp_path_factory: pytest.TempPathFactory):
    out = tmp_path_factory.mktemp("trained")
    result = command(*TRAIN, "--out", out)
    assert result.returncode == 0, result.stderr
    return out, result


@pytest.fixture
def trained(_trained, tmp_path: Path) -> Path:
    """A copy of the folder that a finished `safeloop run` of two algorithms left."""
    return Path(shutil.copytree(_trained[0], tmp_path / "out"))


@pytest.fixture
def printed(_trained) -> subprocess.CompletedProcess[str]:
    """What that command printed."""
    return _trained[1]


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start the command line and leave it running."""
    started: list[subprocess.Popen[str]] = []

    def begin(*arguments: object) -> subprocess.Popen[str]:
        # A shell starts what runs in its background with SIGINT ignored, and that would be inherited.
        line = ["env", "--default-signal=INT", sys.executable, "-m", "safeloop", *map(str, arguments)]
        started.append(subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return started[-1]

    yield begin
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def wait_for(condition: Callable[[], object], seconds: float = 60.0) -> None:
    """Wait until `condition()` holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


def lines(path: Path) -> list[str]:
    """Lines of a file that may not be there yet."""
    return path.read_text().splitlines() if path.exists() else []


def table(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV file."""
    return list(csv.DictReader(io.StringIO(path.read_text())))


def contents(folder: Path) -> dict[Path, bytes]:
    """Every file under a folder."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def worker_of(launcher: int) -> int:
    """The process that trains for the process `launcher`."""
    children = Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()
    assert len(children) == 1
    return int(children[0])


def is_alive(process: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        os.kill(process, 0)
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
