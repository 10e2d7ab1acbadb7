"""Learned models, online planning under cost constraints, and published baselines on the same terms.

The verbs of the command line, for Python: `run`, `offline`, `resume`, `evaluate`, `plot` and `collect`;
`results`, which gives recorded numbers as pandas frames; `trade_off`, which evaluates one agent under several budgets;
`robustness`, which evaluates it in changed environments; `latency`, which times its decisions; `load` and `make`, which
give a trained policy and an environment to drive it in; `Comparison`, `Evaluation`, `Latency`, `Robustness` and
`TradeOff`, the results; and `UsageError`, raised for bad input. Imported when first used.
"""

from __future__ import annotations

from contextlib import suppress
from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from safeloop.api import (
        Comparison,
        Evaluation,
        Latency,
        Robustness,
        TradeOff,
        evaluate,
        latency,
        learn,
        load,
        make,
        offline,
        plot,
        results,
        resume,
        robustness,
        run,
        trade_off,
    )
    from safeloop.errors import UsageError
    from safeloop.experiments.collect import collect

with suppress(ImportError):  # gymnasium would print a notice about environments that are not used here
    from farama_notifications import notifications

    notifications.pop("gymnasium_robotics", None)

__all__ = [
    "Comparison",
    "Evaluation",
    "Latency",
    "Robustness",
    "TradeOff",
    "UsageError",
    "collect",
    "evaluate",
    "latency",
    "learn",
    "load",
    "make",
    "offline",
    "plot",
    "results",
    "resume",
    "robustness",
    "run",
    "trade_off",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return version("safeloop")
    if name not in __all__:
        raise AttributeError(f"module 'safeloop' has no attribute {name!r}")
    module = {"UsageError": "errors", "collect": "experiments.collect"}.get(name, "api")
    return getattr(import_module(f"safeloop.{module}"), name)


def __dir__() -> list[str]:
    return __all__
