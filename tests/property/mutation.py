"""Strategies: what is real, with parts changed, cut, moved, doubled or replaced by what is not meant there."""

from __future__ import annotations

import json
import re
from typing import Any

from hypothesis import strategies as st

ODD_NUMBERS = (
    "0", "-1", "1", "3", "5", "1.5", "-0.0", "nan", "inf", "-inf", "1e999", "1e-400", "1_0", "１２", "١٢", "0x10",
    "1e3", "9" * 30, "9" * 5000, "", " ", "+3", "3.", "two", "None", "true",
)  # fmt: skip
ODD_TEXTS = (
    *ODD_NUMBERS, "\n", "\0", "\x1b[31m", "é", "\u2028", ".", "..", "-", "--", "=", "a=b", "{}", "[]", "null", '"', ",",
    "x" * 300, "WallStop", "Hopper", "PointGoal1", "cpu", "cuda", "cuda:1", "random", "safeloop", "loop-crr", "default",
)  # fmt: skip

texts = st.one_of(
    st.sampled_from(ODD_TEXTS), st.text(max_size=12).map(lambda text: text.replace("/", "_").replace("\0", "0"))
)
numbers = st.one_of(
    st.integers(-3, 40), st.integers(), st.floats(), st.sampled_from(ODD_NUMBERS), st.none(), st.booleans(),
    st.just(10**400),
)  # fmt: skip
values = st.one_of(numbers, texts, st.lists(st.integers(0, 3), max_size=2), st.just({}), st.just({"a": 1}))
"""What JSON can say, and numbers that it can't."""

_EDITS = ("flip", "cut", "remove", "insert", "double a line", "swap lines", "drop a line", "number", "repeat")
edits = st.lists(
    st.tuples(st.sampled_from(_EDITS), st.integers(0, 2**20), st.integers(0, 2**20), texts), min_size=1, max_size=3
)


def mutated(data: bytes, changes: list[tuple[str, int, int, str]]) -> bytes:
    """`data` after `changes`, which are `edits`."""
    for kind, first, second, text in changes:
        data = _edited(data, kind, first, second, text.encode(errors="surrogatepass"))
    return data


def _edited(data: bytes, kind: str, first: int, second: int, text: bytes) -> bytes:
    at = first % (len(data) + 1)
    length = 1 + second % 64
    spans = {
        "flip": (at, at + 1, bytes(b ^ (1 + second % 255) for b in data[at : at + 1])),
        "cut": (at, len(data), b""),
        "remove": (at, at + length, b""),
        "insert": (at, at, text),
        "repeat": (at, at, data[at : at + length]),
    }
    if kind == "number" and (words := list(re.finditer(rb"[-+.\w]+", data))):
        spans[kind] = (*words[first % len(words)].span(), text)
    if kind in spans:
        start, end, new = spans[kind]
        return data[:start] + new + data[end:]
    lines = data.split(b"\n")
    i, j = first % len(lines), second % len(lines)
    if kind == "swap lines":
        lines[i], lines[j] = lines[j], lines[i]
    elif kind == "drop a line":
        del lines[i]
    else:
        lines.insert(j, lines[i])
    return b"\n".join(lines)


def replaced(data: bytes, at: int, value: Any) -> bytes:
    """A JSON document whose value number `at`, counted through, is another; as it is where it is none."""
    try:
        document = json.loads(data)
    except ValueError:
        return data
    places = list(_places(document))
    if places:
        container, key = places[at % len(places)]
        container[key] = value
    return json.dumps(document).encode()


def _places(node: Any) -> Any:
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, child in list(items):
        yield node, key
        yield from _places(child)


def changed_line(line: list[str], changes: list[tuple[str, int, int, str]]) -> list[str]:
    """A command line after `changes`: words replaced, added, dropped, doubled, swapped or edited."""
    line = list(line)
    for kind, first, second, text in changes:
        i, j = first % len(line), second % len(line)
        if kind in ("flip", "cut", "remove") and line[i]:
            cut = second % len(line[i])
            line[i] = line[i][:cut] + ("" if kind == "cut" else text[:1]) + line[i][cut + 1 :]
        elif kind == "drop a line" and len(line) > 1:
            del line[i]
        elif kind == "double a line":
            line.insert(j, line[i])
        elif kind == "swap lines":
            line[i], line[j] = line[j], line[i]
        elif kind == "insert":
            line.insert(i, text)
        else:
            line[i] = text
    return line
