"""Settings: frozen dataclasses, composed of one for each part, and flat on the outside.

An algorithm's settings are a frozen dataclass whose fields are settings themselves, or dataclasses of these for its
parts (learner, models, planner). Outside (`--set horizon=12`, `settings.json`) the names of all parts stand side by
side, so no two parts may have the same. `build` goes from there to the dataclass, `flat` goes back.
"""

from __future__ import annotations

import ast
import difflib
import inspect
import itertools
import math
import sys
import textwrap
import types
import typing
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from functools import cache
from typing import Any, Literal, TypeVar

from safeloop.errors import UsageError
from safeloop.texts import plain, short

T = TypeVar("T")

MOST = 1_000_000_000
"""The largest whole number that an option may be, unless it has a bound of its own: as steps, a month and more."""
MOST_SEEDS, MOST_EPISODES, MOST_THREADS = 1000, 100_000, 1024
LARGEST_SEED = 2**32 - 1
MANY = 100_000
"""More of anything that is computed in each decision or gradient step is a slip of the finger."""
TRANSITIONS = 100_000_000
"""The largest buffer, and the most gradient steps of a fit."""


ALIASES = {
    "gamma": "discount", "polyak": "tau", "lr": "learning_rate", "buffer_size": "capacity", "replay_size": "capacity",
    "learning_starts": "warmup", "start_learning_steps": "warmup", "members": "ensemble_size",
    "num_ensemble": "ensemble_size", "hidden_sizes": "hidden", "hidden_size": "hidden", "plan_horizon": "horizon",
    "num_samples": "population", "num_particles": "particles", "num_iterations": "iterations",
}  # fmt: skip
"""Names that settings have elsewhere. They are taken where an algorithm has no setting of that name itself."""
OPTIONS = {
    "cost_limit": "--budget",
    "budget": "--budget",
    "total_steps": "--steps",
    "seed": "--seed",
    "device": "--device",
}
"""Names of settings elsewhere that are options of the command line here."""


def nearest(name: str, names: typing.Iterable[str]) -> str:
    """Return the three names nearest to `name`, `"a, b, c"`."""
    lower = {n.lower(): n for n in names}
    found = difflib.get_close_matches(name.lower(), lower, n=3, cutoff=0.0)
    return ", ".join(lower[n] for n in found)


def nearest_settings(name: str, known: typing.Collection[str]) -> str:
    """Return the settings nearest to `name`, whether by their own names or by those that they have elsewhere."""
    names = {**{alias: own for alias, own in ALIASES.items() if own in known}, **{each: each for each in known}}
    return ", ".join(dict.fromkeys(names[each] for each in nearest(name, names).split(", ")))


def own_name(name: str, known: typing.Container[str]) -> str | None:
    """Return the setting that a name stands for among the `known` ones: itself, or its alias; None for neither."""
    return next((each for each in (name, ALIASES.get(name)) if each is not None and each in known), None)


def meanings(cls: Any) -> dict[str, str]:
    """Return one line about every setting by its flat name: the docstring below it, "" where there is none."""
    hints, found = typing.get_type_hints(cls), {}
    texts: dict[str, str] = {}
    for each in reversed(cls.__mro__):
        if is_dataclass(each):
            texts.update(_attribute_docstrings(each))
    for field in fields(cls):
        inner = hints[field.name]
        found.update(meanings(inner) if is_dataclass(inner) else {field.name: texts.get(field.name, "")})
    return found


def _attribute_docstrings(cls: Any) -> dict[str, str]:
    try:
        (body,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    except (OSError, TypeError, SyntaxError, ValueError):  # made at run time: it has no source
        return {}
    found = {}
    for statement, following in itertools.pairwise(body.body):  # type: ignore[attr-defined]
        if isinstance(statement, ast.AnnAssign) and isinstance(following, ast.Expr):
            text = following.value.value if isinstance(following.value, ast.Constant) else ""
            found[statement.target.id] = " ".join(str(text).split())  # type: ignore[union-attr]
    return found


def split_pairs(pairs: typing.Iterable[str], option: str) -> dict[str, str]:
    """`["a=1"] -> {"a": "1"}`. Raises `UsageError` for a text without `=`."""
    result = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise UsageError(f"{option} {short(pair)!r}: expected key=value")
        result[key.strip()] = value.strip()
    return result


def check_whole(option: str, value: Any, least: int, most: int = MOST) -> int:
    """Return the whole number that `value` is.

    Raises `UsageError` where it is none, less than `least` or above `most`.
    """
    try:
        number = plain(value, int) if isinstance(value, str) else int(value)
        if isinstance(value, bool) or not (number == value or isinstance(value, str)):
            raise ValueError
    except (TypeError, ValueError, OverflowError):
        raise UsageError(f"{option} {short(value)}: expected a whole number") from None
    if number < least:
        raise UsageError(f"{option} {short(value)}: expected at least {least}")
    if number > most:
        raise UsageError(f"{option} {short(value)}: expected at most {most:,}")
    return number


def kinds(cls: Any) -> Mapping[str, Any]:
    """Return the type of every setting by its flat name, in order. Raises `TypeError` where two parts share a name."""
    return _kinds(cls)


@cache
def _kinds(cls: Any) -> Mapping[str, Any]:
    found: dict[str, Any] = {}
    hints = typing.get_type_hints(cls)
    for field in fields(cls):
        kind = hints[field.name]
        inner = kinds(kind) if is_dataclass(kind) else {field.name: kind}
        if both := found.keys() & inner.keys():
            raise TypeError(f"{cls.__name__}: two parts have the settings {', '.join(both)}")
        found.update(inner)
    return types.MappingProxyType(found)


def type_text(kind: Any) -> str:
    """Return the name of a setting's type as it is written: `int | None`, `'mean' | 'draw'`."""
    if typing.get_origin(kind) is Literal:
        return " | ".join(map(repr, typing.get_args(kind)))
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return " | ".join(map(type_text, typing.get_args(kind)))
    return "None" if kind is type(None) else getattr(kind, "__name__", str(kind))


def flat(settings: Any) -> dict[str, Any]:
    """Return the values of every setting by its flat name."""
    found: dict[str, Any] = {}
    for field in fields(settings):
        value = getattr(settings, field.name)
        found.update(flat(value) if is_dataclass(value) else {field.name: value})
    return found


def changed(settings: T, values: Mapping[str, Any]) -> T:
    """Return the settings with other values, by flat names. Raises `ValueError` as the dataclasses do."""
    changes: dict[str, Any] = {}
    for field in fields(settings):  # type: ignore[arg-type]
        value = getattr(settings, field.name)
        if is_dataclass(value):
            changes[field.name] = changed(value, {k: v for k, v in values.items() if k in kinds(type(value))})
        elif field.name in values:
            changes[field.name] = values[field.name]
    return replace(settings, **changes)  # type: ignore[type-var]


def build(cls: type[T], *layers: Mapping[str, Any], owner: str) -> T:
    """Return a `cls` with the values of `layers`, later ones first; texts are converted to the setting's type.

    Raises `UsageError` naming the key, the value and what was expected. `owner` names the algorithm.
    """
    known = kinds(cls)
    values: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            if key not in known:
                raise UsageError(f"{owner} has no setting {short(key)!r}; nearest: {nearest_settings(key, known)}")
            values[key] = _convert(value, known[key], f"{owner}: {key}={short(value)}")
    composed = known.keys() != {f.name for f in fields(cls)}  # type: ignore[arg-type]
    try:
        return changed(cls(), values) if composed else cls(**values)
    except ValueError as error:
        raise UsageError(f"{owner}: {error}") from None


def _convert(value: Any, kind: Any, where: str) -> Any:
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        options = [k for k in typing.get_args(kind) if k is not type(None)]
        if value is None or (isinstance(value, str) and value.lower() == "none"):
            return None
        return _convert(value, options[0], where)
    if typing.get_origin(kind) is Literal:
        if value in typing.get_args(kind):
            return value
        raise UsageError(f"{where}: expected one of {', '.join(map(str, typing.get_args(kind)))}")
    if not isinstance(value, str):
        return _checked(value, kind, where)
    if kind is bool:
        if value.lower() in ("true", "false"):
            return value.lower() == "true"
        raise UsageError(f"{where}: expected true or false")
    try:
        return plain(value, kind) if kind in (int, float) else kind(value)
    except ValueError:
        raise UsageError(f"{where}: expected {'a whole number' if kind is int else 'a number'}") from None


def _checked(value: Any, kind: Any, where: str) -> Any:
    """Return a value that is no text, where it is one of its kind."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind is bool and not isinstance(value, bool):
        raise UsageError(f"{where}: expected true or false")
    if kind is str:
        raise UsageError(f"{where}: expected a name")
    if kind is float and not (number and abs(value) <= sys.float_info.max):
        raise UsageError(f"{where}: expected a number")
    if kind is int:
        if not (number and (isinstance(value, int) or value.is_integer())):
            raise UsageError(f"{where}: expected a whole number")
        return int(value)
    return value


def check_range(
    settings: Any,
    *names: str,
    least: float | None = None,
    more_than: float | None = None,
    most: float | None = None,
    below: float | None = None,
) -> None:
    """Raise `ValueError` for the first of these fields that is not finite or not in the range; None may stand."""
    bounds = {"at least": least, "more than": more_than, "at most": most, "below": below}
    wanted = " and ".join(
        f"{word} {f'{bound:,}' if isinstance(bound, int) else f'{bound:g}'}"
        for word, bound in bounds.items()
        if bound is not None
    )
    for name in names:
        value = getattr(settings, name)
        if value is not None and not (
            abs(value) < math.inf
            and (least is None or value >= least)
            and (more_than is None or value > more_than)
            and (most is None or value <= most)
            and (below is None or value < below)
        ):
            raise ValueError(f"{name}={short(value)}: expected {wanted}")
