"""Find runs that can't be compared with the others of their folder, by their seeds, versions and settings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Any

from safeloop.algorithms.table_4 import TRIAL
from safeloop.checks.recorded import EXCEPTIONS, Folder, Read, Remark
from safeloop.recording import reader
from safeloop.recording.versions import NOT_INSTALLED, PACKAGES

TERMS = (*reader.TERMS, "dataset", "eval_episodes")
"""Settings that all runs of a folder should have in common."""
FREE = ("seed", "keep_every", "schema")
"""Settings that may differ between the seeds of an algorithm: no number depends on how often a checkpoint is kept."""

DECLARE = f"or declare it in {EXCEPTIONS}"


def seeds(folder: Folder) -> Iterator[Remark]:
    """Yield a remark for each algorithm and variant whose seeds are not 0, 1, 2, ..., and for seeds of other names."""
    for name, runs in folder.named().items():
        damaged = [int(d.path.name[5:]) for d in folder.damaged if d.path.parent == runs[0].path.parent]
        found = sorted([*(run.recorded.run.settings.seed for run in runs if not _trial(run)), *damaged])
        if found != list(range(len(found))):
            text = f"{name} has the seeds {_listed(found)}, expected 0, 1, 2, ... without a gap"
            yield Remark(runs[0].path.parent, text, f"run those that are missing, {DECLARE}")
        for run in runs:
            if run.path.name != (wanted := f"seed-{run.recorded.run.settings.seed}"):
                yield Remark(run.path, f"its settings.json is of {wanted}", "restore the folder's name")


def _trial(run: Read) -> bool:
    """Return whether a run tried settings for others, and is in no table."""
    settings = run.recorded.run.settings
    return (settings.variant, settings.seed) == TRIAL


def versions(folder: Folder) -> Iterator[Remark]:
    """Yield a remark for each run with another version of a package than most; other differences are told."""
    for package in PACKAGES:
        known = [(run, run.versions[package]) for run in folder.runs if package in run.versions]
        yield from _unlike([(run, each) for run, each in known if each != NOT_INSTALLED], package)
    others = dict.fromkeys(name for run in folder.runs for name in run.versions if name not in PACKAGES)
    told = []
    for name in others:
        values = sorted({run.versions[name] for run in folder.runs if name in run.versions})
        if len(values) > 1:
            told.append(f"{name} ({_listed(values)})")
    if told:
        yield Remark(folder.path, f"runs differ in {'; '.join(told)}", fault=False)


def settings(folder: Folder) -> Iterator[Remark]:
    """Yield a remark for each run whose settings differ from those that it is compared with."""
    for term in TERMS:
        values = [(run, getattr(run.recorded.run.settings, term)) for run in folder.runs if not _trial(run)]
        yield from _unlike(values, term)
    for first, *others in folder.named().values():
        for run in others:
            if text := _differences(first, run):
                yield Remark(run.path, f"{text} in {first.path.name}", f"give such runs a --variant, {DECLARE}")


def _unlike(values: Iterable[tuple[Read, Any]], name: str) -> Iterator[Remark]:
    """Yield a remark for each run that has another value than most of the runs."""
    found = list(values)
    if not found:
        return
    usual, _ = Counter(repr(value) for _, value in found).most_common(1)[0]
    for run, value in found:
        if repr(value) != usual:
            text = f"{name} is {value!r}, expected {usual} as in most runs of its folder"
            yield Remark(run.path, text, f"compare it in a folder of its own, {DECLARE}")


def _differences(first: Read, other: Read) -> str:
    """Return the settings in which two seeds differ, "" for none.

    A setting that one of them lacks was added after it was made, which can't be where both name the same commit.
    """
    one, two = _flat(first), _flat(other)
    same_code = bool(first.commit) and first.commit == other.commit
    for name in sorted(one.keys() | two.keys()):
        there, here = one.get(name, "missing"), two.get(name, "missing")
        if there != here and (same_code or (name in one and name in two)):
            return f"{name} is {here!r}, expected {there!r} as"
    return ""


def _flat(run: Read) -> dict[str, Any]:
    """Return the settings by name that the seeds of an algorithm have in common, those of the algorithm too."""
    found = {name: value for name, value in asdict(run.recorded.run.settings).items() if name not in (*FREE, *TERMS)}
    own = found.pop("algo_settings")
    return {**found, **own}


def _listed(values: Iterable[Any]) -> str:
    return ", ".join(map(str, values))
