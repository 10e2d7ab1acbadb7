"""The discounted return from each of a dataset's transitions on."""

from __future__ import annotations

import numpy as np

from safeloop.data.datasets import Dataset


def discounted_returns(dataset: Dataset, discount: float) -> np.ndarray:
    """Return the discounted sum of the rewards from each transition on, `[T]`.

    An episode that was cut off counts as if it went on for ever at its mean reward, since values bootstrap there; with
    a discount of 1, for which that has no sum, it counts as ended.
    """
    found, first = np.empty(len(dataset), np.float32), 0
    for last in np.flatnonzero(dataset.ends):
        rewards = dataset.reward[first : last + 1].astype(float)
        ended = dataset.terminated[last] or discount == 1
        total = 0.0 if ended else float(rewards.mean()) / (1 - discount)
        for t in reversed(range(len(rewards))):
            total = float(rewards[t]) + discount * total
            found[first + t] = total
        first = last + 1
    return found
