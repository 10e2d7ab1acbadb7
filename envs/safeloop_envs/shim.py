"""Import Safety-Gymnasium 1.0.0 on Python 3.11 and later and with Gymnasium 1.x, and leave nothing patched afterwards.

Three things prevent a plain `import safety_gymnasium`: its dataclasses have NumPy arrays as defaults, which
`dataclasses` refuses since Python 3.11; gymnasium-robotics, which it imports, prints a notice about other
environments; and it imports modules that Gymnasium 1.x no longer has.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from importlib import import_module
from types import ModuleType
from typing import Any
from unittest import mock

import gymnasium
import numpy as np

from safeloop.errors import UsageError

_dataclass = dataclasses.dataclass


def _dataclass_with_arrays(cls: type | None = None, /, **options: Any) -> Any:
    """Apply `dataclasses.dataclass`, with each array default replaced by a factory of copies of it."""
    if cls is None:
        return lambda decorated: _dataclass_with_arrays(decorated, **options)
    for name, default in list(vars(cls).items()):
        if isinstance(default, np.ndarray):
            setattr(cls, name, dataclasses.field(default_factory=default.copy))
    return _dataclass(cls, **options)


def _stand_ins() -> dict[str, ModuleType]:
    """Return by full name the modules that Gymnasium 1.x no longer has, with the classes that replaced theirs."""
    wrappers: Any = import_module("gymnasium.wrappers")
    if not hasattr(wrappers, "Autoreset"):  # before 1.0
        return {}
    classes = {
        "autoreset": {"AutoResetWrapper": wrappers.Autoreset},
        "compatibility": {"EnvCompatibility": None},  # nothing replaced it; only `safety_gymnasium.make` uses it
        "env_checker": {"PassiveEnvChecker": wrappers.PassiveEnvChecker},
        "normalize": {
            "NormalizeObservation": wrappers.NormalizeObservation,
            "NormalizeReward": wrappers.NormalizeReward,
            "RunningMeanStd": import_module("gymnasium.wrappers.utils").RunningMeanStd,
        },
        "time_limit": {"TimeLimit": wrappers.TimeLimit},
    }
    modules = {}
    for name, members in classes.items():
        module = modules[f"gymnasium.wrappers.{name}"] = ModuleType(f"gymnasium.wrappers.{name}")
        vars(module).update(members)
    return modules


@contextmanager
def _modules(added: dict[str, ModuleType]) -> Iterator[None]:
    """Make the modules `added` importable within this context; other modules that are imported there stay."""
    sys.modules.update(added)
    try:
        yield
    finally:
        for name in added:
            sys.modules.pop(name, None)


@contextmanager
def lent_modules() -> Iterator[None]:
    """Make the modules that Gymnasium 1.x no longer has importable within this context."""
    with _modules(_stand_ins()):
        yield


@contextmanager
def _patched() -> Iterator[None]:
    with ExitStack() as patches:
        patches.enter_context(mock.patch.object(dataclasses, "dataclass", _dataclass_with_arrays))
        patches.enter_context(lent_modules())
        try:
            from farama_notifications import notifications
        except ImportError:
            pass
        else:
            patches.enter_context(mock.patch.dict(notifications, clear=True))
        yield


def import_safety_gymnasium() -> ModuleType:
    """Return the `safety_gymnasium` module, with every task registered.

    Raises `UsageError` where it or a package that it needs is not installed.
    """
    if "safety_gymnasium" not in sys.modules:
        with _patched():
            try:
                import safety_gymnasium  # noqa: F401
            except ImportError as error:
                raise UsageError(f"Safety-Gymnasium cannot be imported ({error}): run `safeloop doctor`") from error
    return sys.modules["safety_gymnasium"]


def bare(full_id: str, **options: Any) -> Any:
    """Make an environment that is registered with Gymnasium, without wrappers.

    This replaces `safety_gymnasium.make`, which needs a Gymnasium before 1.0, and `gymnasium.make`, which warns of
    tasks that have a newer version.
    """
    registered: Any = gymnasium.spec(full_id)
    create: Any = import_module("gymnasium.envs.registration").load_env_creator(registered.entry_point)
    return create(**deepcopy(registered.kwargs), **options)
