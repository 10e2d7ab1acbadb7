"""Ranges that settings are drawn from: `uniform(a,b)`, `log(a,b)`, `int(a,b)` and `choice(x,y,...)`."""

from __future__ import annotations

import math
import re
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from safeloop.errors import UsageError
from safeloop.settings import MOST, type_text
from safeloop.texts import plain, short

FORMS = "uniform(a,b), log(a,b), int(a,b) or choice(x,y,...)"
DIGITS = 6
"""Significant digits of the numbers that are drawn, so that the command that uses them can be read."""


@dataclass(frozen=True)
class Range:
    """The values that one setting may have."""

    form: str
    """`uniform`, `log`, `int` or `choice`."""
    values: tuple[Any, ...]
    """The two ends, both of them included, or the choices."""
    whole: bool
    """True: whole numbers alone are drawn."""
    text: str
    """The range as it was given."""

    def rounded(self, value: Any) -> Any:
        """Return a drawn value as runs are given it: a number of few digits, still within the range."""
        if self.form == "choice" or self.whole:
            return value
        low, high = self.values
        return min(max(float(f"{value:.{DIGITS}g}"), low), high)


def split(settings: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, Any]]:
    """Return the settings whose value is to be a range, and those that are fixed."""
    ranged = {key: str(value) for key, value in settings.items() if isinstance(value, str) and re.search("[()]", value)}
    return ranged, {key: value for key, value in settings.items() if key not in ranged}


def parse(name: str, text: str, kind: Any) -> Range:
    """Return the range that a text stands for, of a setting of the type `kind`. Raises `UsageError` for any other."""
    where = f"--set {name}={short(text)}"
    match = re.fullmatch(r"(uniform|log|int|choice)\((.*)\)", "".join(text.split()), re.DOTALL)
    if match is None:
        raise UsageError(f"{where}: expected {FORMS}")
    form, parts = match[1], match[2].split(",")
    kind = _without_none(kind)
    if form == "choice":
        if "" in parts or len(parts) < 2 or len(set(parts)) < len(parts):
            raise UsageError(f"{where}: expected at least two values, each once: choice(x,y,...)")
        return Range(form, tuple(parts), False, text)
    if kind not in (int, float):
        raise UsageError(f"{where}: {name} is no number ({type_text(kind)}); give choice(x,y,...)")
    if kind is int and form == "uniform":
        raise UsageError(f"{where}: {name} is a whole number; give int(a,b), or log(a,b)")
    whole = kind is int or form == "int"
    least = 0 if form == "log" else -math.inf
    try:
        low, high = (plain(part, int if whole else float) for part in parts)
        if not (least < low < high <= MOST and low >= -MOST):
            raise ValueError
    except ValueError:
        numbers = "whole numbers" if whole else "numbers"
        above = " above 0" if form == "log" else ""
        raise UsageError(f"{where}: expected {form}(a,b), two {numbers}{above} up to {MOST:,}, a below b") from None
    return Range(form, (low, high), whole, text)


def _without_none(kind: Any) -> Any:
    """Return the type of a setting without None."""
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return next(each for each in typing.get_args(kind) if each is not type(None))
    return kind
