"""Tables that were written beside runs, compared with those that the raw data give now."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator
from pathlib import Path

from safeloop.checks.recorded import Folder, Remark
from safeloop.errors import UsageError
from safeloop.recording.run import RunSettings
from safeloop.registry import RENAMED, find_env
from safeloop.report import offline, summary

Rows = list[dict[str, str]]
Tables = dict[str, Rows]
"""Tables by title."""
KEYS = ("dataset", "algo", "algorithm", "base", "with planning", "seed", "named cost")
"""Columns that tell the rows of a table apart."""
ALGORITHMS = ("algo", "algorithm", "base", "with planning")
"""Columns with names of algorithms, which may be those of the time."""
SETTINGS = "settings"
"""A column that tells settings by their distance from the defaults of the version that wrote it."""
PUBLISHED = "Published by others"
"""Start of the heading over results of others, which are not made from the runs."""
GONE = "no such column"
"""In place of a value that is not made any more."""
TOLERANCE = 2e-6
"""Largest difference of numbers that were rounded to six digits."""
REMEDY = "`safeloop plot` writes it anew"


def written(folder: Folder) -> list[str]:
    """Return the names of the tables that are there."""
    return [name for name in ("summary.csv", "aggregates.csv", "summary.md", "improvement.csv")
            if (folder.path / name).is_file()]  # fmt: skip


def differing(folder: Folder) -> Iterator[Remark]:
    """Yield a remark for each table that is not as the runs give it, and for what could not be compared."""
    names = written(folder)
    if names and folder.damaged:
        yield Remark(folder.path, f"{', '.join(names)}: not compared, as a run can't be read", fault=False)
        return
    if not names:
        return
    records = [run.recorded for run in folder.runs]
    made = {**summary.texts(records), **offline.texts(records)}
    unjudged, stale = _unjudged(records[0].run.settings), []
    for name in names:
        try:
            found, anew = _tables(name, (folder.path / name).read_text()), _tables(name, made.get(name, ""))
        except (OSError, ValueError, csv.Error) as error:
            yield Remark(folder.path / name, f"can't be read ({error})", REMEDY)
            continue
        yield from _unlike(folder.path / name, found, anew, unjudged)
        if any(_settings(rows) != _settings(anew.get(title, [])) for title, rows in found.items()):
            stale.append(name)
    if stale:
        told = f"the column {SETTINGS} of {', '.join(stale)} is by the defaults of an earlier version"
        yield Remark(folder.path, told, REMEDY, fault=False)


def _unjudged(settings: RunSettings) -> tuple[str, ...]:
    """Return words; columns that have one in their names are not judged: they depend on more than the runs."""
    try:
        find_env(settings.env, settings.env_options)
    except UsageError:
        return SETTINGS, "score"  # not installed here, so that its reference returns are not known
    return (SETTINGS,)


def _unlike(path: Path, found: Tables, made: Tables, unjudged: tuple[str, ...]) -> Iterator[Remark]:
    """Yield a remark for each difference of a file's tables from those made anew."""
    for title, rows in found.items():
        label = f"table {title!r}: " if title else ""
        for text, fault in _differences(rows, made.get(title, []), unjudged):
            yield Remark(path, f"{label}{text}", REMEDY, fault)
    if later := [title for title in made if title not in found]:
        yield Remark(path, f"lacks the tables {', '.join(map(repr, later))}", REMEDY, fault=False)


def _tables(name: str, text: str) -> Tables:
    """Return the tables of a file by title, "" the title of the only one of a CSV file."""
    if name.endswith(".md"):
        return _markdown(text)
    lines = [line for line in csv.reader(io.StringIO(text, newline=""), strict=True) if line]
    return {"": _rows(lines)} if lines else {}


def _markdown(text: str) -> Tables:
    """Return the tables of a page that are made from runs, by the headings and the line above them."""
    found: dict[str, list[list[str]]] = {}
    heading = title = ""
    for line in text.splitlines():
        if line.startswith("#"):
            heading, title = line.lstrip("# "), ""
        elif line.startswith("| ") and not heading.startswith(PUBLISHED):
            cells = line.removeprefix("| ").removesuffix(" |").replace("\\|", "\0").split(" | ")
            found.setdefault(f"{heading} {title}".strip(), []).append([each.replace("\0", "|") for each in cells])
        elif line.endswith(":") and not line.startswith("- "):
            title = line.removesuffix(":")
    return {title: _rows(lines) for title, lines in found.items()}


def _rows(lines: list[list[str]]) -> Rows:
    """Return the lines below the first by its columns. Raises `ValueError` where one has too few or too many."""
    head, *rest = lines
    for line in rest:
        if len(line) != len(head):
            raise ValueError(f"{len(line)} values, expected {len(head)}: {','.join(line)[:40]!r}")
    return [
        {name: _present(value) if name in ALGORITHMS else value for name, value in zip(head, line, strict=True)}
        for line in rest
    ]


def _present(name: str) -> str:
    """Return the present name of an algorithm, with its variant."""
    algo, space, variant = name.partition(" ")
    return RENAMED.get(algo, algo) + space + variant


def _settings(rows: Rows) -> dict[tuple[str, ...], str]:
    return {_key(row): row[SETTINGS] for row in rows if SETTINGS in row}


def _key(row: dict[str, str]) -> tuple[str, ...]:
    return tuple(row[name] for name in KEYS if name in row)


def _differences(found: Rows, made: Rows, unjudged: tuple[str, ...]) -> Iterator[tuple[str, bool]]:
    """Yield each difference of two tables, and whether it is a fault: a column that was added later is none."""
    there, anew = {_key(row): row for row in found}, {_key(row): row for row in made}
    if len(there) < len(found):
        yield "has a row twice", True
    for key in dict.fromkeys((*there, *anew)):
        if key not in there or key not in anew:
            verb = "has" if key in there else "lacks"
            yield f"{verb} a row {' '.join(filter(None, key))!r}, unlike the runs", True
    heads, wanted = [list(rows[0]) if rows else [] for rows in (found, made)]
    if added := [name for name in wanted if name not in heads]:
        yield f"lacks the columns {', '.join(added)}, which were added later", False
    judged = [name for name in heads if not any(word in name for word in unjudged)]
    for key, row in there.items():
        other = anew.get(key, row)
        if wrong := [name for name in judged if not _same(row[name], other.get(name, GONE))]:
            more = f" (and {len(wrong) - 1} more columns)" if len(wrong) > 1 else ""
            values = f"{wrong[0]} is {row[wrong[0]]!r}, expected {other.get(wrong[0], GONE)!r}"
            yield f"{' '.join(filter(None, key))}: {values}{more}", True


def _same(one: str, other: str) -> bool:
    if one == other:
        return True
    try:
        return math.isclose(float(one), float(other), rel_tol=1e-9, abs_tol=TOLERANCE)
    except ValueError:
        return False
