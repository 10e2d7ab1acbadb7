"""One thread a process, for the tests and all they start: they run side by side, and threads would fight."""

import os
import sys
from importlib.metadata import version

import pytest

# Numba sets the threads of OpenMP, which torch has too, to its own number when it first runs a parallel loop.
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[variable] = "1"

import safeloop  # noqa: E402, F401  (before gymnasium, whose plugins print notices that safeloop takes out)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Say first which Gymnasium is tested: pytest's own header does not appear in a quiet run."""
    terminal = session.config.pluginmanager.get_plugin("terminalreporter")
    if terminal is not None:  # a worker of pytest-xdist has none
        terminal.write_line(f"Gymnasium {version('gymnasium')}, Python {sys.version.split()[0]}")
