"""One thread a process, for the tests and all they start: they run side by side, and threads would fight."""

import os

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"

import safeloop  # noqa: E402, F401  (before gymnasium, whose plugins print notices that safeloop takes out)
