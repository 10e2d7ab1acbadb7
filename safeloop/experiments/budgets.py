"""Cost limits that a user asks for: of the one cost, or of each of several by name."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from safeloop.cmdp import EnvSpec
from safeloop.errors import UsageError
from safeloop.settings import nearest
from safeloop.texts import short

Budget = float | Mapping[str, float] | Sequence[float | tuple[str, float]]
"""A limit of the cost, or limits by name (as pairs, or a mapping); "" is the name of the one for all."""


def budgets(spec: EnvSpec, asked: Budget | None) -> tuple[float | None, dict[str, float]]:
    """Return the limit of the cost of an episode, and where the environment names several costs that of each.

    Each has the limit that is given for all, or the environment's, unless it has its own; then without a limit for all,
    that of the one cost is their sum. Raises `UsageError` for what is no limit, or no cost of the environment.
    """
    given = {name: _limit(name, value) for name, value in _pairs(asked)}
    if given and spec.budget is None:
        name, value = next(iter(given.items()))
        raise UsageError(f"{_option(name, value)}: {spec.id} has no cost; leave it out")
    for name in given.keys() - {""} - set(spec.cost_names):
        raise UsageError(f"{_option(name, given[name])}: {_no_such(spec, name)}")
    usual = given.get("", spec.budget)
    if usual is None:
        return None, {}
    each = {name: given.get(name, float(usual)) for name in spec.cost_names}
    total = float(usual) if "" in given or not each else sum(each.values())
    return total, each


def _pairs(asked: Budget | None) -> list[tuple[str, Any]]:
    if asked is None:
        return []
    if isinstance(asked, Mapping):
        return list(asked.items())
    if isinstance(asked, Sequence) and not isinstance(asked, str):
        return [value if isinstance(value, tuple) else ("", value) for value in asked]
    return [("", asked)]


def _limit(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= sys.float_info.max:
        raise UsageError(f"{_option(name, value)}: expected a cost return of at least 0")
    return float(value)


def _option(name: str, value: Any) -> str:
    shown = f"{value:g}" if isinstance(value, float) else short(value)
    return f"--budget {f'{name}=' * bool(name)}{shown}"


def _no_such(spec: EnvSpec, name: str) -> str:
    if not spec.cost_names:
        return f"{spec.id} names no costs; give one number, or where it can tell them apart --env-set costs=separate"
    return f"{spec.id} has no cost {short(name)!r}; nearest: {nearest(name, spec.cost_names)}"
