"""Texts from and for people: numbers as they are written, and errors in one line. Imports nothing heavy."""

from __future__ import annotations

from typing import Any


def plain(text: str, kind: type[int] | type[float]) -> Any:
    """The number that `text` stands for. Raises `ValueError` where it is not written in ASCII, or with underscores."""
    if not text.isascii() or "_" in text:
        raise ValueError(f"{text!r} is no plain number")
    return kind(text)


def short(value: Any) -> str:
    """The value as an error shows it: no longer than half a line."""
    text = str(value) if not isinstance(value, int) or abs(value) < 10**60 else f"{'-' * (value < 0)}{hex(abs(value))}"
    return text if len(text) <= 60 else f"{text[:40]}... ({len(text)} characters)"


def one_line(text: str) -> str:
    """`text` in one line, where a character that a terminal would obey or can't show is escaped."""
    shown = " ".join(text.split())
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown)
