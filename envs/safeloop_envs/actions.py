"""The map from the suite's action space, [-1, 1] in every component, to a simulator's own."""

from __future__ import annotations

import numpy as np
from gymnasium.spaces import Box


class ActionRange:
    """A linear map from actions in [-1, 1] to controls between the bounds `limits` [A, 2]."""

    def __init__(self, limits: np.ndarray) -> None:
        low, high = np.asarray(limits, dtype=np.float64).T
        self.centre, self.half = (high + low) / 2, (high - low) / 2
        self.space = Box(-1.0, 1.0, low.shape, np.float32)

    def control(self, action: np.ndarray) -> np.ndarray:
        """Return the control [A] float64 of an action [A]; actions beyond [-1, 1] are clipped.

        Raises `ValueError` for a wrong shape, NaN or infinity.
        """
        values = np.asarray(action, dtype=np.float64)
        if values.shape != self.centre.shape:
            raise ValueError(f"an action of this environment has shape {self.centre.shape}, got {values.shape}")
        if not np.isfinite(values).all():
            raise ValueError(f"an action must be finite, got {values.tolist()}")
        return self.scaled(values)

    def scaled(self, act: np.ndarray) -> np.ndarray:
        """Return the controls `[..., A]` of actions `[..., A]`, unchecked; those beyond [-1, 1] are clipped."""
        return self.centre + self.half * np.minimum(np.maximum(act, -1.0), 1.0)
