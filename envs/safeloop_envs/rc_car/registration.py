"""Register the RC car with gymnasium, as `safeloop_envs:RCCarDrift-v0`, without importing gymnasium.

Naming and describing an environment should not wait for gymnasium and its plugins. So if gymnasium is not imported yet,
the tasks are registered when it is imported.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

from safeloop_envs.rc_car.family import TASKS


def register() -> None:
    """Register the tasks now, or when gymnasium is imported."""
    if "gymnasium" in sys.modules:
        _register()
    else:
        sys.meta_path.insert(0, _WhenImported())


def _register() -> None:
    import gymnasium

    for name, task in TASKS.items():
        gymnasium.register(f"{name}-v0", "safeloop_envs.rc_car.environment:RCCar", kwargs=dict(task))


class _WhenImported(MetaPathFinder):
    """A finder that finds gymnasium where Python would, and loads it with the tasks in its registry."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        found = PathFinder.find_spec(fullname, path, target) if fullname == "gymnasium" else None
        if found is not None:
            loader: Any = found.loader
            loader.exec_module = partial(_load, loader.exec_module)
        return found


def _load(execute: Callable[[ModuleType], None], module: ModuleType) -> None:
    execute(module)
    _register()
