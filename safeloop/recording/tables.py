"""Append-only CSV tables of rows of one dataclass, checked against it when they are read and written."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import MISSING, Field, asdict, field, fields
from pathlib import Path
from typing import Any

from safeloop.errors import UsageError
from safeloop.files import append, write_atomically
from safeloop.recording.tally import Costs

RISES, GROUPS, COUNTS, NEW = "rises", "groups", "counts", "new"
"""Orders of a column over the rows: more in each row; the same or more; 0, 1, 2, ...; no value twice. The last two
start again where a `GROUPS` column changes."""
ANY = math.inf
"""Limit of a column that may also hold NaN and infinity."""
LARGEST = {"int": 2**63 - 1, "float": 1e100}
"""Largest magnitude of recorded numbers by type, unless the column's limit is `ANY`."""
TEXTS = {
    "int": re.compile(r"-?[0-9]{1,20}"),
    "float": re.compile(r"-?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?|nan|-?inf"),
    "str": re.compile(r".+", re.DOTALL),
    "Costs": Costs.PATTERN,
}
KINDS: dict[str, Callable[[str], Any]] = {"int": int, "float": float, "str": str, "Costs": Costs.parse}


def column(
    *,
    least: float | None = None,
    most: float | None = None,
    order: str = "",
    default: Any = MISSING,
    compare: bool = True,
) -> Any:
    """Return a field of a row or of settings, with its range and order. Without `most`: any finite number.

    Rows that differ only in columns without `compare` are equal.
    """
    return field(default=default, compare=compare, metadata={"least": least, "most": most, "order": order})


def mistake(of: Field[Any], value: Any) -> str:
    """Return the expectation of the field `of` that the number `value` does not meet; "" where it meets it."""
    kind, least, most = str(of.type).removesuffix(" | None"), of.metadata.get("least"), of.metadata.get("most")
    limits = _limits(of)
    if limits is None or limits[0] <= value <= limits[1]:
        return ""
    what = "a whole number" if kind == "int" else "a finite number"
    if least is None:
        return what
    return f"{what} of at least {least:g}" + ("" if most is None else f" and at most {most:g}")


def _limits(of: Field[Any]) -> tuple[float, float] | None:
    """Return the lowest and the highest number that a field may hold; None where it may hold anything."""
    kind, least, most = str(of.type).removesuffix(" | None"), of.metadata.get("least"), of.metadata.get("most")
    if kind not in LARGEST or most == ANY:
        return None
    return -LARGEST[kind] if least is None else least, LARGEST[kind] if most is None else most


def names(row_type: type) -> list[str]:
    """Return the columns of a table of `row_type`."""
    return [f.name.rstrip("_") for f in fields(row_type)]


class Table:
    """An append-only CSV file of rows of one dataclass. Reading leaves out a last line that a kill cut short.

    Columns are the dataclass's fields, in their order; `column` gives the range of their values. Fields with a default
    were added later: a file without the last of these columns is read too, and given them when a row is added.
    """

    def __init__(self, path: Path, row_type: type):
        self.path, self.row_type, self._current = path, row_type, False
        self.appended: Callable[[Any], None] = lambda row: None
        """Called with each row that was added (`trackers.py`)."""

    def read(self) -> list[Any]:
        """Return all complete rows. Raises `UsageError` naming file, line and column where the file is damaged."""
        data = self._bytes()
        complete = data[: len(data) - len(self._cut(data))]
        try:
            text = complete.decode()
        except UnicodeDecodeError as error:
            raise self._damaged(complete.count(b"\n", 0, error.start) + 1, "not text") from None
        reader = csv.reader(io.StringIO(text, newline=""))
        try:
            head = next(reader, None)
            return [] if head is None else list(self._rows(reader, self._head(head)))
        except csv.Error as error:
            raise self._damaged(reader.line_num, str(error)) from None

    @property
    def cut(self) -> str:
        """The last line where it was cut short, as by a kill; otherwise ""."""
        return self._cut(self._bytes()).decode(errors="replace")

    def repair(self) -> None:
        """Remove a last line that was cut short."""
        data = self._bytes()
        if cut := self._cut(data):
            write_atomically(self.path, data[: -len(cut)])

    def append(self, row: Any) -> None:
        """Add one row at the end; where that fails, the table stays unchanged.

        Raises `ValueError` for a row that could not be read again, `OSError` where the file can't be written.
        """
        for each in fields(self.row_type):
            value = getattr(row, each.name)
            if expected := mistake(each, value):
                raise ValueError(f"{self.path.name}: {each.name.rstrip('_')}={value}: expected {expected}")
        new = not self.path.exists() or self.path.stat().st_size == 0
        if not new and not self._current and self._older():
            self.keep(self.read())
        append(self.path, self._lines([row], header=new))
        self._current = True
        self.appended(row)

    def keep(self, rows: list[Any]) -> None:
        """Replace the file by `rows`, atomically."""
        write_atomically(self.path, self._lines(rows, header=True))

    def _older(self) -> bool:
        """Return whether the file lacks columns that were added later."""
        with open(self.path, newline="") as file:
            return file.readline().strip().count(",") + 1 < len(fields(self.row_type))

    def _bytes(self) -> bytes:
        return self.path.read_bytes() if self.path.exists() else b""

    @staticmethod
    def _cut(data: bytes) -> bytes:
        return data[data.rfind(b"\n") + 1 :]

    def _lines(self, rows: list[Any], header: bool) -> bytes:
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        if header:
            writer.writerow(names(self.row_type))
        for row in rows:
            writer.writerow([round(v, 6) if isinstance(v, float) else v for v in asdict(row).values()])
        return out.getvalue().encode()

    def _damaged(self, line: int, what: str, name: str = "") -> UsageError:
        where = f"line {line}, column {name}" if name else f"line {line}"
        return UsageError(f"{self.path} is damaged: {where}: {what}; restore the file or start a new run")

    def _head(self, found: list[str]) -> list[Field[Any]]:
        """Return the fields that the file has. Raises `UsageError` for the first wrong column."""
        known = fields(self.row_type)
        columns = names(self.row_type)
        for index, name in enumerate(columns):
            there = found[index] if index < len(found) else None
            if there is None and known[index].default is not MISSING:
                break
            if there != name:
                what = "missing" if there is None else f"expected here, found {there!r}"
                raise self._damaged(1, what, name)
        if len(found) > len(columns):
            raise self._damaged(1, "not expected", repr(found[len(columns)]))
        return list(known[: len(found)])

    def _rows(self, reader: Any, columns: list[Field[Any]]) -> Iterator[Any]:
        order, shown = _Order(columns), [c.name.rstrip("_") for c in columns]
        checks = [  # looked up once, as there are many rows
            (each, each.name, KINDS[kind], TEXTS[kind].fullmatch, _limits(each))
            for each, kind in ((c, str(c.type)) for c in columns)
        ]
        for texts in reader:
            if len(texts) != len(columns):
                name = shown[min(len(texts), len(shown) - 1)]
                raise self._damaged(reader.line_num, f"{len(texts)} values, expected {len(columns)}", name)
            row: dict[str, Any] = {}
            for (each, name, make, matches, limits), text in zip(checks, texts, strict=True):
                value = make(text) if matches(text) else None
                if value is None:
                    expected = _NOUNS[str(each.type)]
                else:
                    outside = limits is not None and not limits[0] <= value <= limits[1]
                    expected = mistake(each, value) if outside else ""
                if expected:
                    raise self._damaged(reader.line_num, f"{text[:40]!r}, expected {expected}", name.rstrip("_"))
                row[name] = value
            for each in order.columns:
                if expected := order.mistake(each, row[each.name]):
                    text = texts[columns.index(each)]
                    raise self._damaged(reader.line_num, f"{text[:40]!r}, expected {expected}", each.name.rstrip("_"))
            order.add(row)
            yield self.row_type(**row)


_NOUNS = {"int": "a whole number", "float": "a number", "str": "a name", "Costs": "costs like `hazards=12 vases=0`"}


class _Order:
    """The order of a table's rows, as its columns require it."""

    def __init__(self, columns: list[Field[Any]]):
        ordered = [c for c in columns if c.metadata.get("order")]
        self.columns = sorted(ordered, key=lambda c: c.metadata["order"] != GROUPS)
        """Columns with an order, those of groups first: the others depend on them."""
        self.last: dict[str, Any] = {}
        self.seen: set[Any] = set()
        self.fresh = True
        """Whether a group has just begun."""

    def mistake(self, of: Field[Any], value: Any) -> str:
        """Return the expectation that the next row's `value` does not meet, or "". Call it by `columns`."""
        order, last = of.metadata.get("order"), self.last.get(of.name)
        if order == GROUPS and last != value:
            again = self.fresh and isinstance(value, str)  # names, in each group of the columns before
            if last is not None and value < last and not again:
                return f"at least {last}, as in the row before"
            self.fresh, self.seen = True, set()
        if order == RISES and last is not None and value <= last:
            return f"more than the {last} of the row before"
        if order == COUNTS and value != (expected := 0 if self.fresh else self.last[of.name] + 1):
            return f"{expected}, the next"
        if order == NEW and value in self.seen:
            return "a value that no earlier row has: the row is there twice"
        return ""

    def add(self, row: dict[str, Any]) -> None:
        """Add a row that is in order."""
        self.last, self.fresh = row, False
        self.seen.update(row[c.name] for c in self.columns if c.metadata["order"] == NEW)
