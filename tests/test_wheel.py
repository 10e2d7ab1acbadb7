"""The wheel has all of the packages and works where the checkout is not: built and installed as a user would."""

import json
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = {"safeloop": ROOT, "safeloop_envs": ROOT / "envs", "safeloop_baselines": ROOT / "baselines"}


def succeed(*command, cwd):
    done = subprocess.run([str(word) for word in command], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def contents(folder):
    """The files of a package, but for those that Python makes."""
    found = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
    return {path for path in found if "__pycache__" not in path.parts}


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The `bin` of a virtual environment with the wheel, and a folder to run it from."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"  # a build leaves files beside its sources, and takes in those that an earlier one left
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for package, root in PACKAGES.items():
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(root / package, source / root.relative_to(ROOT) / package, ignore=ignored)
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    succeed(*pip, "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", folder, source, cwd=folder)
    (wheel,) = folder.glob("*.whl")

    venv = folder / "venv"
    succeed(sys.executable, "-m", "venv", "--without-pip", venv, cwd=folder)
    succeed(*pip, "--python", venv / "bin/python", "install", "-q", "--no-deps", "--no-index", wheel, cwd=folder)
    # What safeloop needs comes from here, for it takes minutes to install. The editable safeloop does not come with it:
    # it is a .pth file, and those count in the environment's own folder alone.
    (site,) = venv.glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    return venv / "bin", elsewhere


def test_every_file_is_installed(installed):
    bin_, elsewhere = installed
    code = f"import json, {', '.join(PACKAGES)}; print(json.dumps([p.__file__ for p in ({', '.join(PACKAGES)})]))"
    places = [Path(file).parent for file in json.loads(succeed(bin_ / "python", "-c", code, cwd=elsewhere))]
    for (package, root), there in zip(PACKAGES.items(), places, strict=True):
        assert there.is_relative_to(bin_.parent)
        sources = contents(root / package)
        assert sources and sources == contents(there)
        assert (there / "py.typed").is_file()


def test_the_command_works(installed):
    bin_, elsewhere = installed
    assert "safeloop run PointGoal1" in succeed(bin_ / "safeloop", "--help", cwd=elsewhere)
    assert re.search(r"\bPointGoal1\b", succeed(bin_ / "safeloop", "list", "envs", cwd=elsewhere))


def test_one_version(installed):
    bin_, elsewhere = installed
    code = "from importlib.metadata import version; print(version('safeloop'))"
    version = succeed(bin_ / "python", "-c", code, cwd=elsewhere).strip()
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()
