"""Verify a folder of recorded runs: what `safeloop check results DIR` finds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from safeloop.activity import tracked
from safeloop.checks import checksums, comparable, complete, recorded
from safeloop.checks.findings import FAILED, NOT_APPLICABLE, OK, Finding, many, told
from safeloop.checks.recorded import EXCEPTIONS, Folder, Remark
from safeloop.recording import reader
from safeloop.texts import one_line


class Place(NamedTuple):
    """A folder with runs at any depth."""

    root: Path
    folders: dict[Path, list[Path]]
    """The folders of runs, by the folder that they are compared in."""

    @property
    def runs(self) -> list[Path]:
        """The folders of all runs."""
        return list(chain.from_iterable(self.folders.values()))


class ResultCheck(NamedTuple):
    """A check of each folder in which runs are compared."""

    name: str
    judge: Callable[[Folder], Iterator[Remark]]
    """Yields the faults of a folder, and what is told and not judged."""
    holds: str
    """The detail where there is no fault; "" where the remarks tell all."""
    lacks: str = ""
    """The reason why there is nothing to check, where there is one."""


def check(folder: str | Path, *, write_checksums: bool = False) -> list[Finding]:
    """Check the runs at any depth of `folder` and return the findings: of each check one, or one for each fault.

    With `write_checksums`, the checksums of the raw data are written into `folder` where nothing failed. Raises
    `UsageError` where `folder` does not exist or holds no runs, `OSError` where the checksums can't be written.
    """
    return list(examine(find(folder), write_checksums))


def find(folder: str | Path) -> Place:
    """Return the folder and where its runs are. Raises `UsageError` where it does not exist or holds none."""
    return Place(Path(folder), reader.places_under(folder))


def examine(place: Place, write_checksums: bool = False) -> Iterator[Finding]:
    """Make the checks of `check` one after the other and yield each finding as it is made."""
    folders = [recorded.read(*each) for each in tracked(list(place.folders.items()), "reading runs", "folders")]
    fine = True
    for each in _checks(folders):
        judged = tracked(folders, f"checking {each.name}", "folders")
        remarks = [remark for folder in judged for remark in _remarks(each, folder)]
        fine = fine and not any(remark.fault for remark in remarks)
        yield from _findings(each.name, remarks, each.holds, each.lacks)
    if write_checksums and fine:
        yield Finding("checksums", OK, f"{many(checksums.write(place.root, place.runs), 'file')} written down")
    elif write_checksums:
        yield Finding("checksums", NOT_APPLICABLE, "not written: the other checks have to hold first")
    else:
        yield from _checksums(place)


def _checks(folders: Sequence[Folder]) -> list[ResultCheck]:
    from safeloop.checks import derived, terms  # scipy and pydantic take a second to import
    from safeloop.experiments.suite import RECORD

    runs = [run for folder in folders for run in folder.runs]
    tables = sum(len(derived.written(folder)) for folder in folders)
    declared = sum(len(folder.exceptions) for folder in folders)
    dated = "" if any(run.legacy for run in runs) else "each run is of today's schema and names its commit"
    none = "" if runs else "no run can be read"
    suites = any((folder.path.parent / RECORD).exists() for folder in folders)
    without_suite = "" if suites else f"no {RECORD} above the runs"
    without_tables = "" if tables else "no tables beside the runs"
    without_exceptions = "" if declared else f"no {EXCEPTIONS}"
    return [
        ResultCheck("readable", _damaged, f"{many(len(runs), 'run')} in {many(len(folders), 'folder')}"),
        ResultCheck("complete", complete.lacking, "finished, with the steps and evaluation episodes asked for", none),
        ResultCheck("seeds", comparable.seeds, "0, 1, 2, ... of each algorithm and variant", none),
        ResultCheck("versions", comparable.versions, "one version of each package in a folder", none),
        ResultCheck("settings", comparable.settings, "one task in a folder, the same settings of all seeds", none),
        ResultCheck("suite", terms.suite, "tasks, steps, evaluation and budgets are the suite's", without_suite),
        ResultCheck("tables", derived.differing, f"{many(tables, 'table')} as the runs give them", without_tables),
        ResultCheck("exceptions", _unneeded, f"{many(declared, 'run')} declared, with a reason", without_exceptions),
        ResultCheck("legacy", _legacy, dated, none),
    ]


def _damaged(folder: Folder) -> Iterator[Remark]:
    yield from folder.damaged


def _unneeded(folder: Folder) -> Iterator[Remark]:
    """Yield a remark for each line of the file of exceptions that is wrong, or that no check needs."""
    yield from folder.undeclared
    for check_name, path in sorted(folder.exceptions.keys() - folder.used):
        yield Remark(folder.path / EXCEPTIONS, f"{check_name} of {path} holds without an exception", "remove the line")


def _legacy(folder: Folder) -> Iterator[Remark]:
    """Yield a remark that names the runs of the first schema, or without a commit."""
    names = []
    for name, runs in folder.named().items():
        if seeds := [str(run.recorded.run.settings.seed) for run in runs if run.legacy]:
            names.append(f"{name} seed{'s' * (len(seeds) > 1)} {', '.join(seeds)}")
    if names:
        yield Remark(folder.path, f"of the first schema, or without a commit: {'; '.join(names)}", fault=False)


def _remarks(of: ResultCheck, folder: Folder) -> list[Remark]:
    try:
        return [folder.excepted(of.name, remark) for remark in of.judge(folder)]
    except Exception as error:  # records that are read may still hold what no table can be made of
        return [Remark(folder.path, told(error))]


def _findings(name: str, remarks: Sequence[Remark], holds: str, lacks: str) -> Iterator[Finding]:
    """Yield a finding for each fault, or one that the check holds, then one for each remark that is told."""
    faults = [remark for remark in remarks if remark.fault]
    for remark in faults:
        yield Finding(name, FAILED, one_line(remark.line))
    if not faults and (lacks or holds):
        yield Finding(name, NOT_APPLICABLE if lacks else OK, one_line(lacks or holds))
    for remark in remarks:
        if not remark.fault:
            yield Finding(name, NOT_APPLICABLE, one_line(remark.line))


def _checksums(place: Place) -> Iterator[Finding]:
    """Compare the raw data with every file of checksums in the folder."""
    files = checksums.files(place.root)
    remarks = [remark for file in files for remark in checksums.disagreeing(file, place.runs)]
    lacks = "" if files else f"no {checksums.NAME}: --write-checksums writes it"
    yield from _findings("checksums", remarks, f"as {', '.join(map(str, files))}", lacks)
