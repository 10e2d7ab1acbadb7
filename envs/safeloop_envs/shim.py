"""Imports Safety-Gymnasium 1.0.0 on Python 3.11 and later, quietly, and leaves nothing patched behind.

Two things stand in the way of a plain `import safety_gymnasium`: its dataclasses have NumPy arrays as
defaults, which `dataclasses` refuses since Python 3.11, and gymnasium-robotics, which it imports, prints a
notice about environments that nobody asked for.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any
from unittest import mock

import numpy as np

from safeloop.cmdp import UsageError

_dataclass = dataclasses.dataclass


def _dataclass_with_arrays(cls: type | None = None, /, **options: Any) -> Any:
    """`dataclasses.dataclass`, with each array default turned into a factory of copies of it."""
    if cls is None:
        return lambda decorated: _dataclass_with_arrays(decorated, **options)
    for name, default in list(vars(cls).items()):
        if isinstance(default, np.ndarray):
            setattr(cls, name, dataclasses.field(default_factory=default.copy))
    return _dataclass(cls, **options)


@contextmanager
def _patched() -> Iterator[None]:
    with mock.patch.object(dataclasses, "dataclass", _dataclass_with_arrays):
        try:
            from farama_notifications import notifications
        except ImportError:
            yield
        else:
            with mock.patch.dict(notifications, clear=True):
                yield


def import_safety_gymnasium() -> ModuleType:
    """The `safety_gymnasium` module, with every task registered.

    Raises `UsageError` where it, or something that it needs, is not installed.
    """
    if "safety_gymnasium" not in sys.modules:
        with _patched():
            try:
                import safety_gymnasium  # noqa: F401
            except ImportError as error:
                raise UsageError(f"Safety-Gymnasium cannot be imported ({error}): run `safeloop doctor`") from error
    return sys.modules["safety_gymnasium"]
