"""Settings from the command line: `key=value` texts onto a frozen dataclass, unknown keys refused."""

from __future__ import annotations

import difflib
import math
import sys
import types
import typing
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Literal, TypeVar

from safeloop.errors import UsageError
from safeloop.texts import plain, short

T = TypeVar("T")

MOST = 1_000_000_000
"""The largest whole number that an option may be, unless it has a bound of its own: as steps, a month and more."""
MOST_SEEDS, MOST_EPISODES, MOST_THREADS = 1000, 100_000, 1024
LARGEST_SEED = 2**32 - 1


def nearest(name: str, names: typing.Iterable[str]) -> str:
    """`"a, b, c"`: the names nearest to `name`, or all of them where few or none is near."""
    names = list(names)
    lower = {n.lower(): n for n in names}
    found = [lower[n] for n in difflib.get_close_matches(name.lower(), lower, n=4, cutoff=0.5)]
    return ", ".join(found or names[:20])


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
    """The whole number that `value` is. Raises `UsageError` where it is none, less than `least` or above `most`."""
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


def build(cls: type[T], *layers: Mapping[str, Any], owner: str) -> T:
    """A `cls` with the values of `layers`, later ones first; texts are converted to the field's type.

    Raises `UsageError` naming the key, the value and what was expected. `owner` names the algorithm.
    """
    hints = typing.get_type_hints(cls)
    known = {f.name: hints[f.name] for f in fields(cls)}  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            if key not in known:
                raise UsageError(f"{owner} has no setting {short(key)!r}; nearest: {nearest(key, known)}")
            values[key] = _convert(value, known[key], f"{owner}: {key}={short(value)}")
    try:
        return cls(**values)
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
    """A value that is no text, where it is one of its kind."""
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
