"""A folder of recorded runs as checks see it: the runs that can be read, their versions, and declared exceptions."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from safeloop.errors import UsageError
from safeloop.recording import reader
from safeloop.recording.reader import Recorded

EXCEPTIONS = "exceptions.csv"
"""The file of a folder that declares what its runs need not hold, a line for each, with columns `COLUMNS`."""
COLUMNS = ["check", "path", "reason"]
EXCEPTED = ("complete", "seeds", "versions", "settings")
"""Checks that can be excepted; damage to records can't."""


class Remark(NamedTuple):
    """A thing that a check has to say of a path: a fault, or what is told and not judged."""

    path: Path
    text: str
    remedy: str = ""
    fault: bool = True

    @property
    def line(self) -> str:
        """Return the path, the text, which may name the path itself, and the remedy."""
        text = self.text if str(self.path) in self.text else f"{self.path}: {self.text}"
        return f"{text}: {self.remedy}" if self.remedy else text


class Read(NamedTuple):
    """One run that can be read."""

    recorded: Recorded
    versions: dict[str, str]
    """The content of `versions.json`."""
    schema: int
    """The schema in which `settings.json` was recorded."""

    @property
    def path(self) -> Path:
        """The folder of the run."""
        return self.recorded.run.path

    @property
    def commit(self) -> str:
        """The commit of safeloop that made the run; "" where it is not known."""
        return self.versions.get("commit", "")

    @property
    def legacy(self) -> bool:
        """Tell a run that was recorded in the first schema, or without the commit of safeloop."""
        return self.schema == 1 or not self.commit


@dataclass
class Folder:
    """The runs that are compared with each other in one folder."""

    path: Path
    runs: list[Read] = field(default_factory=list)
    damaged: list[Remark] = field(default_factory=list)
    """The faults of runs that can't be read."""
    exceptions: dict[tuple[str, Path], str] = field(default_factory=dict)
    """Reasons by check and by folder of a run or algorithm."""
    undeclared: list[Remark] = field(default_factory=list)
    """The faults of the file of exceptions."""
    used: set[tuple[str, Path]] = field(default_factory=set)
    """Exceptions without which a check would have failed."""

    def named(self) -> dict[str, list[Read]]:
        """Return the runs of each algorithm and variant."""
        found: dict[str, list[Read]] = {}
        for run in self.runs:
            found.setdefault(run.recorded.run.settings.name, []).append(run)
        return found

    def excepted(self, check: str, remark: Remark) -> Remark:
        """Return the remark; a fault that the folder declares is told with its reason, and not judged."""
        reason = self.exceptions.get((check, remark.path), "")
        if not (remark.fault and reason):
            return remark
        self.used.add((check, remark.path))
        return remark._replace(remedy=f"declared in {EXCEPTIONS}, {reason}", fault=False)


def read(path: Path, places: list[Path]) -> Folder:
    """Return the folder `path`, whose runs are in `places`. Whatever can't be read is noted in it."""
    folder = Folder(path)
    for place in places:
        try:
            folder.runs.append(_read(place))
        except UsageError as error:
            folder.damaged.append(Remark(place, str(error)))
    for line in _exceptions(folder):
        folder.undeclared.append(Remark(path / EXCEPTIONS, line))
    return folder


def _read(place: Path) -> Read:
    recorded = reader.read(reader.open_run(place))
    try:
        schema = json.loads((place / "settings.json").read_text())["schema"]
        versions = json.loads((place / "versions.json").read_text())
        if not isinstance(versions, dict) or not all(isinstance(each, str) for each in versions.values()):
            raise ValueError("expected names and texts")
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{place} is damaged (versions.json: {error}): restore it or start a new run") from None
    return Read(recorded, versions, schema)


def _exceptions(folder: Folder) -> Iterator[str]:
    """Read the file of exceptions into `folder`, and yield what is wrong with it."""
    file = folder.path / EXCEPTIONS
    if not file.exists():
        return
    try:
        head, *lines = [line for line in csv.reader(file.read_text().splitlines()) if line] or [[]]
    except (OSError, ValueError, csv.Error) as error:
        yield f"can't be read ({error}): expected CSV with the columns {', '.join(COLUMNS)}"
        return
    if head != COLUMNS:
        yield f"begins with {','.join(head)!r}, expected {','.join(COLUMNS)}"
        return
    for line in lines:
        check, path, reason = line if len(line) == len(COLUMNS) else ("", "", "")
        if check not in EXCEPTED or not path or not reason.strip():
            expected = f"a check ({', '.join(EXCEPTED)}), the folder of a run or algorithm, and a reason"
            yield f"{','.join(line)!r}: expected {expected}"
        else:
            folder.exceptions[check, folder.path / path] = reason.strip()
