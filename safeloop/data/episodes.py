"""Numbers of a dataset's episodes: discounted returns, episodes within a cost limit, and that limit discounted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from safeloop.data.datasets import Dataset
from safeloop.errors import UsageError


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


def discounted_budget(budget: float, discount: float, decisions: int) -> float:
    """Return the discounted cost of an episode of so many decisions whose cost return is `budget`, spread evenly."""
    if discount == 1:
        return budget
    return budget / decisions * (1 - discount**decisions) / (1 - discount)


def costs_needed(dataset: Dataset, algorithm: str) -> None:
    """Raise `UsageError` where the dataset has no costs, for an `algorithm` that learns them."""
    if dataset.cost is None:
        raise UsageError(f"{dataset.path}: costs is missing, and {algorithm} keeps a cost within a limit")


def within_budget(dataset: Dataset, budget: float, algorithm: str) -> Dataset:
    """Return the dataset's episodes whose cost return is at most `budget`, in order, for an `algorithm`.

    Raises `UsageError` where costs were not recorded, or no episode is within the budget.
    """
    if dataset.cost is None:
        raise UsageError(f"{dataset.path}: costs is missing, and {algorithm} imitates the episodes within a budget")
    costs = dataset.per_episode(dataset.cost)
    if not (within := costs <= budget).any():
        raise UsageError(
            f"{dataset.path}: no episode has a cost return within the budget of {budget:g}, the lowest is "
            f"{costs.min():g}: give --budget {costs.min():g} or more, or use an algorithm without a limit"
        )
    number = np.cumsum(dataset.ends) - dataset.ends  # of each transition's episode
    kept = within[number]
    arrays = {name: each[kept] for name, each in vars(dataset).items() if isinstance(each, np.ndarray)}
    return replace(dataset, **arrays)
