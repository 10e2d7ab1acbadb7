"""Tables as text for terminals, as Markdown and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.box import Box
from rich.console import Console
from rich.table import Table

from safeloop.files import write_atomically

if TYPE_CHECKING:
    from safeloop.report.statistics import Aggregate

RULE = Box("    \n    \n -- \n    \n    \n    \n    \n    \n", ascii=True)
"""A rule below the headings and no other line, in ASCII."""
MISSING = "-"
"""The text of a number that is not there."""


def number(value: float | None, digits: int | None = None) -> str:
    """Return a number with thousands separated; without `digits`, with as many as its size asks for."""
    if value is None:
        return MISSING
    return f"{value:,.{digits_of(value) if digits is None else digits}f}"


def digits_of(value: float) -> int:
    """Return the number of digits after the point that a number of this size asks for."""
    return 0 if abs(value) >= 1000 else 1 if abs(value) >= 100 else 2


def percent(value: float | None) -> str:
    """Return a share in per cent."""
    return MISSING if value is None else f"{value:.0%}" if value in (0, 1) else f"{value:.1%}"


def yes_or_no(value: bool | None) -> str:
    """Return an answer as a text."""
    return MISSING if value is None else "yes" if value else "no"


def interval(of: Aggregate | None) -> str:
    """Return an estimate with its 95% interval, `"24.30 [24.05, 24.61]"`; without one where there are too few seeds."""
    if of is None:
        return MISSING
    return spread(of.iqm, of.low, of.high)


def spread(value: float, low: float | None, high: float | None) -> str:
    """Return a number with its interval, where there is one, all with the same number of digits."""
    if low is None or high is None:
        return number(value)
    digits = min(map(digits_of, (value, low, high)))
    return f"{number(value, digits)} [{number(low, digits)}, {number(high, digits)}]"


def without_empty(table: list[dict[str, str]]) -> list[dict[str, str]]:
    """Return the lines without the columns that none of them fills, and a dash in place of what one lacks."""
    heads = list(dict.fromkeys(h for line in table for h in line))
    kept = [h for h in heads if any(line.get(h, MISSING) != MISSING for line in table)]
    return [{h: line.get(h, MISSING) for h in kept} for line in table]


def aligned(table: list[dict[str, str]]) -> list[str]:
    """Return the lines of a table with aligned columns: numbers to the right, words to the left.

    Headings of several words are broken, so that columns are as narrow as their values. Nothing is cut.
    """
    heads = list(table[0])
    words = {h for h in heads if any(line[h][:1].isalpha() for line in table)}
    shown = Table(box=RULE, pad_edge=False)
    for head in heads:
        widest = max(len(line[head]) for line in table)
        shown.add_column(broken(head, widest), justify="left" if head in words else "right", no_wrap=True)
    for line in table:
        shown.add_row(*line.values())
    out = io.StringIO()
    Console(file=out, width=10_000, color_system=None, markup=False, highlight=False).print(shown)
    return [line[1:].rstrip() for line in out.getvalue().splitlines() if line.strip()]  # without the table's edge


def broken(head: str, width: int) -> str:
    """Return a heading in lines of at most `width`, where it can be broken between words."""
    lines = [""]
    for word in head.split():
        fits = len(lines[-1]) + 1 + len(word) <= width
        lines = [*lines[:-1], f"{lines[-1]} {word}".strip()] if fits or not lines[-1] else [*lines, word]
    return "\n".join(lines)


def markdown(table: list[dict[str, str]]) -> list[str]:
    """Return the lines of a table in Markdown."""
    heads = list(table[0])
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    return lines + ["| " + " | ".join(line[h].replace("|", "\\|") for h in heads) + " |" for line in table]


def csv_text(table: list[dict[str, Any]]) -> str:
    """Return a table as CSV; its columns are those of all lines together, and None is an empty cell."""
    out = io.StringIO()
    writer = csv.DictWriter(out, list(dict.fromkeys(k for line in table for k in line)), lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: round(v, 6) if isinstance(v, float) else v for k, v in line.items()} for line in table)
    return out.getvalue()


def write_texts(folder: Path, texts: Mapping[str, str]) -> None:
    """Write files into `folder` by name, each atomically. Raises `OSError` where it can't."""
    for name, text in texts.items():
        write_atomically(folder / name, text.encode())
