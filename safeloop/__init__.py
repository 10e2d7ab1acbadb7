"""Learned models, online planning under cost constraints, and published baselines on the same terms.

The verbs of the command line, for Python: `run`, `offline`, `resume`, `evaluate`, `plot` and `collect`;
`results`, which gives recorded numbers as pandas frames; `trade_off`, which evaluates one agent under several budgets;
`robustness`, which evaluates it in changed environments; `latency`, which times its decisions; `export`, which writes
it to a file for other programs; `load` and `make`, which give a trained policy and an environment to drive it in;
`tune`, which chooses an algorithm's settings; `Comparison`, `Evaluation`, `Exported`, `Latency`, `Robustness`,
`TradeOff` and `Tuning`, the results; and `UsageError`, raised for bad input. Imported when first used.
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
        Tuning,
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
        tune,
    )
    from safeloop.errors import UsageError
    from safeloop.experiments.collect import collect
    from safeloop.exported.files import Exported, export

with suppress(ImportError):  # gymnasium would print a notice about environments that are not used here
    from farama_notifications import notifications

    notifications.pop("gymnasium_robotics", None)

__all__ = [
    "Comparison",
    "Evaluation",
    "Exported",
    "Latency",
    "Robustness",
    "TradeOff",
    "Tuning",
    "UsageError",
    "collect",
    "evaluate",
    "export",
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
    "tune",
]
ELSEWHERE = {
    "UsageError": "errors", "collect": "experiments.collect",
    "Exported": "exported.files", "export": "exported.files",
}  # fmt: skip
"""The modules of names that `api` does not have."""


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return version("safeloop")
    if name not in __all__:
        raise AttributeError(f"module 'safeloop' has no attribute {name!r}")
    return getattr(import_module(f"safeloop.{ELSEWHERE.get(name, 'api')}"), name)


def __dir__() -> list[str]:
    return __all__
