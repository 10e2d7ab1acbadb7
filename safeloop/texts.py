"""Texts from and for people: numbers that people write, and errors in one line. This module imports nothing heavy."""

from __future__ import annotations

from typing import Any


def plain(text: str, kind: type[int] | type[float]) -> Any:
    """Return the number that `text` stands for. Raises `ValueError` where it is not ASCII or has underscores."""
    if not text.isascii() or "_" in text:
        raise ValueError(f"{text!r} is not a plain number")
    return kind(text)


def short(value: Any) -> str:
    """Return the value as an error shows it, no longer than half a line."""
    text = str(value) if not isinstance(value, int) or abs(value) < 10**60 else f"{'-' * (value < 0)}{hex(abs(value))}"
    return text if len(text) <= 60 else f"{text[:40]}... ({len(text)} characters)"


def one_line(text: str) -> str:
    """Return `text` in one line, with control characters and others that a terminal can't show escaped."""
    shown = " ".join(text.split())
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown)


def clock(seconds: float) -> str:
    """Return a time as hours, minutes and seconds: `"0:01:02"`."""
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"


def per_second(rate: float) -> str:
    """Return a rate with as many digits as matter: `"1,234/s"`, `"1.2/s"`, `"0.12/s"`."""
    return f"{rate:,.{0 if rate >= 10 else 1 if rate >= 1 else 2}f}/s"
