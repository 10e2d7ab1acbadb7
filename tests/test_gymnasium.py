"""Two versions of Gymnasium: a test run says which it tests, and each has a virtual environment of its own."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import gymnasium
import pytest

ROOT = Path(__file__).parents[1]
needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="there is no make here")


def _make(*words):
    """Call make as a user would, whatever make these tests were started from."""
    environment = {k: v for k, v in os.environ.items() if k != "GYMNASIUM" and not k.startswith(("MAKE", "MFLAGS"))}
    line = ["make", f"PYTHON={Path(sys.executable).resolve()}", *words]
    return subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("options", [["-n", "0"], ["-n", "1", "-q"]])
def test_a_test_run_first_says_which_gymnasium_it_tests(options):
    line = [sys.executable, "-m", "pytest", *options, "tests/envs/test_shim.py", "-k", "one_copy_per_instance"]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    first = next(line for line in done.stdout.splitlines() if line)
    assert first == f"Gymnasium {gymnasium.__version__}, Python {sys.version.split()[0]}"


@needs_make
@pytest.mark.parametrize("target", ["test", "run", "lint", "setup"])
def test_one_word_chooses_a_virtual_environment_with_gymnasium_1(target):
    dry = ["-n", "-W", "pyproject.toml", target]  # as if pyproject.toml were new, so that all is set up
    ordinary, other = _make(*dry).stdout, _make(*dry, "GYMNASIUM=1").stdout
    assert ".venv/bin/" in ordinary and "gymnasium1" not in ordinary
    assert ".venv/" not in other and "-r requirements/gymnasium1.txt" in other
    assert other.replace("-r requirements/gymnasium1.txt ", "").replace(".venv-gymnasium1", ".venv") == ordinary


@needs_make
def test_another_version_of_gymnasium_is_refused():
    done = _make("setup", "GYMNASIUM=2")
    assert done.returncode == 2 and "GYMNASIUM=2: expected 1, or nothing for the default, 0.29.1" in done.stdout
