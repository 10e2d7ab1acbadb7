"""Find runs that lack steps, or episodes of their last evaluation, that were asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from safeloop.checks.recorded import EXCEPTIONS, Folder, Remark
from safeloop.errors import UsageError
from safeloop.recording.reader import Recorded
from safeloop.recording.run import RunSettings
from safeloop.registry import find_algorithm, find_env

REMEDY = f"`safeloop resume` trains it, or declare it in {EXCEPTIONS}"


def lacking(folder: Folder) -> Iterator[Remark]:
    """Yield a remark for each run that is not complete."""
    for run in folder.runs:
        if text := _lacks(run.recorded):
            yield Remark(run.path, text, REMEDY)


def _lacks(recorded: Recorded) -> str:
    """Return what a run lacks; "" where it is complete."""
    settings, final = recorded.run.settings, recorded.last_evaluation
    rows: Sequence[Any] = recorded.updates if settings.dataset else recorded.episodes
    last = rows[-1].simulator_steps if rows else 0
    if recorded.state != "finished":
        return f"{recorded.state} after {last:,} of {settings.steps:,} steps, expected a finished run"
    end = final[-1].simulator_steps if final else max(last, settings.steps)
    if end < settings.steps:
        return f"last evaluated after {end:,} steps, expected at least {settings.steps:,}"
    if not 0 <= end - last <= _unrecorded(settings, rows):
        return f"its rows end after {last:,} steps, expected {end:,}, where training ended"
    if len(final) != settings.eval_episodes:
        return f"{len(final):,} episodes in the last evaluation, expected {settings.eval_episodes:,}"
    return ""


def _unrecorded(settings: RunSettings, rows: Sequence[Any]) -> int:
    """Return the largest number of steps that training may take after its last row.

    Algorithms of others may end within an episode, which is not recorded.
    """
    try:
        if settings.dataset or find_algorithm(settings.algo).info.epoch is None:
            return 0
    except UsageError:
        pass  # not installed here: it may be one of others
    try:
        return find_env(settings.env, settings.env_options).episode_steps - 1
    except UsageError:
        return max((row.length for row in rows), default=0)
