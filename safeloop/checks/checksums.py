"""The checksums of the raw data of runs, in the form of `sha256sum`."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from safeloop.checks.recorded import Remark
from safeloop.files import write_atomically
from safeloop.recording.run import FILES

NAME = "checksums.txt"
"""The file that holds the checksums of all runs below its folder."""
RAW = [name for name in FILES if name.endswith((".json", ".csv"))]
"""Files of a run that no command makes again from others."""
ANEW = "write it anew with --write-checksums"
LINE = re.compile(r"([0-9a-f]{64}) [ *](\S.*)")


def write(root: Path, places: Iterable[Path]) -> int:
    """Write the checksums of the runs in `places` into `root` and return their number.

    Raises `OSError` where the file can't be written.
    """
    lines = [f"{_sum(path)}  {path.relative_to(root).as_posix()}\n" for path in _raw(places)]
    write_atomically(root / NAME, "".join(lines).encode())
    return len(lines)


def files(root: Path) -> list[Path]:
    """Return the files of checksums in `root` and below it."""
    return sorted(root.rglob(NAME))


def disagreeing(file: Path, places: Iterable[Path]) -> Iterator[Remark]:
    """Yield a remark for each file that is not as `file` says, or that it lacks, of the runs in `places` below it."""
    listed: dict[Path, str] = {}
    try:
        lines = file.read_text().splitlines()
    except (OSError, ValueError) as error:
        yield Remark(file, f"can't be read ({error})", ANEW)
        return
    for number, line in enumerate(lines, 1):
        if match := LINE.fullmatch(line):
            listed[file.parent / match[2]] = match[1]
        else:
            yield Remark(file, f"line {number}: {line[:40]!r}, expected a SHA-256 sum and a path", ANEW)
    for path, wanted in listed.items():
        if not path.is_file():
            yield Remark(path, f"is not there, and {file} lists it", "restore it")
        elif (found := _sum(path)) != wanted:
            yield Remark(path, f"has the checksum {found[:12]}..., expected {wanted[:12]}... of {file}", "restore it")
    for path in _raw(place for place in places if place.is_relative_to(file.parent)):
        if path not in listed:
            yield Remark(path, f"{file} has no checksum of {path}", ANEW)


def _raw(places: Iterable[Path]) -> list[Path]:
    return [place / name for place in places for name in RAW if (place / name).is_file()]


def _sum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
