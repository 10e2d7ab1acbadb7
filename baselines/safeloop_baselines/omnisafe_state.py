"""The state of OmniSafe's algorithms at an epoch's border, so that a stopped run goes on to the same result.

OmniSafe saves policies alone. What learning has changed is found here by walking through an algorithm's objects:
networks, optimisers, schedules, normalisers, multipliers, counters, windows of its logger and buffers. Settings, spaces
and files are left out, because a new object has them. All is in tensors, numbers, texts and containers of these.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from safeloop_baselines.random_states import random_states, restore_random_states

OWN = ("omnisafe", "safeloop_baselines", "torch.nn")
"""Modules whose objects are walked through."""
SKIPPED = ("_cfgs", "_config", "_console", "_what_to_save", "_headers_windows", "_headers_minmax", "_headers_delta")
"""Attributes that a new object has alike: settings, and the form of the logger's tables."""
FILLED = ("data", "_size", "_max_size")
"""Attributes of a ring of data, of which the filled part is kept."""
PLAIN = (bool, int, float, str, type(None), np.generic)
"""Types of values that are their own state."""


def capture(learner: Any) -> dict[str, Any]:
    """Return everything that learning has changed in an algorithm of OmniSafe, with all states of random numbers."""
    return {"learner": _capture(learner, set()), **random_states()}


def restore(learner: Any, state: dict[str, Any]) -> None:
    """Restore `capture` in a new algorithm of the same settings."""
    _restore(learner, state["learner"])
    restore_random_states(state)


def _capture(thing: Any, seen: set[int]) -> dict[str, Any] | None:
    """Return a thing's state; None where it has none, or it was met before."""
    if isinstance(thing, PLAIN):
        return {"plain": _number(thing)}
    if isinstance(thing, torch.Tensor):
        return {"tensor": thing.detach().cpu().clone()}
    if id(thing) in seen:
        return None
    seen.add(id(thing))
    if isinstance(thing, Optimizer | LRScheduler):
        return {"state_dict": thing.state_dict()}
    if isinstance(thing, list | deque) and all(isinstance(each, PLAIN) for each in thing):
        return {"list": [_number(each) for each in thing]}
    found = {name: state for name, each in _items(thing) if (state := _capture(each, seen)) is not None}
    if found and all(hasattr(thing, name) for name in FILLED):
        _cut(found["data"]["items"], thing._size)
    return {"items": found} if found else None


def _number(value: Any) -> Any:
    """Return a number of numpy's as one of Python's, and other values as they are."""
    return value.item() if isinstance(value, np.generic) else value


def _cut(data: dict[str, Any], size: int) -> None:
    """Keep the first rows of each tensor alone."""
    for each in data.values():
        each["tensor"] = each["tensor"][:size].clone()


def _items(thing: Any) -> Iterator[tuple[str, Any]]:
    """Yield the parts of a thing by name: attributes, entries of a dict, places of a list."""
    if isinstance(thing, dict):
        yield from ((name, each) for name, each in thing.items() if isinstance(name, str))
    elif isinstance(thing, list | tuple | deque):
        yield from ((str(place), each) for place, each in enumerate(thing))
    elif type(thing).__module__.startswith(OWN) and hasattr(thing, "__dict__"):
        yield from ((name, each) for name, each in vars(thing).items() if name not in SKIPPED)


def _restore(thing: Any, state: Any) -> None:
    """Restore the parts of a thing."""
    parts = dict(_items(thing))
    for name, saved in state["items"].items():
        there: Any = parts.get(name)
        if "items" in saved:
            if there is not None:
                _restore(there, saved)
        elif "state_dict" in saved:
            there.load_state_dict(saved["state_dict"])
        elif "tensor" in saved:
            _restore_tensor(thing, name, there, saved["tensor"])
        elif "list" in saved:
            values = saved["list"]
            _set(thing, name, deque(values, maxlen=there.maxlen) if isinstance(there, deque) else list(values))
        else:
            _set(thing, name, saved["plain"])


def _restore_tensor(thing: Any, name: str, there: Any, saved: torch.Tensor) -> None:
    """Write a tensor into that which is there, into its first rows where it has more; else put it there."""
    fits = isinstance(there, torch.Tensor) and there.dim() == saved.dim() and there.shape[1:] == saved.shape[1:]
    with torch.no_grad():
        if fits and not saved.dim():
            there.copy_(saved)
        elif fits and len(saved) <= len(there):
            there[: len(saved)] = saved.to(there.device)
        else:
            _set(thing, name, saved.clone())


def _set(thing: Any, name: str, value: Any) -> None:
    if isinstance(thing, dict):
        thing[name] = value
    elif isinstance(thing, list):
        thing[int(name)] = value
    elif not isinstance(thing, tuple | deque):
        vars(thing)[name] = value


@contextmanager
def beginning_at(module: ModuleType, epoch: int) -> Iterator[None]:
    """Have the first loop of a module, that over epochs, begin at an epoch."""
    ahead = [epoch]

    def from_there(*limits: int) -> range:
        return range(ahead.pop(), *limits) if ahead else range(*limits)

    with mock.patch.object(module, "range", from_there, create=True):
        yield


def at_borders(learner: Any, first: int, per_epoch: int, do: Callable[[int], None]) -> None:
    """Have `do(epoch)` called before each epoch's first decision, which is that of each `per_epoch` rollouts."""
    rollout, count = learner._env.rollout, first * per_epoch

    def counted(*arguments: Any, **options: Any) -> Any:
        nonlocal count
        if count % per_epoch == 0:
            do(count // per_epoch)
        count += 1
        return rollout(*arguments, **options)

    learner._env.rollout = counted
