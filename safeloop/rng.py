"""Seeds of a run's random numbers: all are derived from the run's seed, and no two uses share a seed."""

from __future__ import annotations

import numpy as np

TRAINING, EVALUATION, AGENT, COLLECTION, CALIBRATION = 0, 1, 2, 3, 4
"""Uses of random numbers."""


def derived_seed(seed: int, stream: int, index: int = 0) -> int:
    """Return a 32-bit seed for one use (`stream`, `index`) of a run's `seed`; distinct uses are independent."""
    return int(np.random.SeedSequence([seed, stream, index]).generate_state(1)[0])
