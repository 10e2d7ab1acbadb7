"""Find run folders, open them (with every fault reported in one line), and return their state."""

from __future__ import annotations

import fcntl
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path

from safeloop.errors import UsageError
from safeloop.files import check_path
from safeloop.recording.rows import AGENT, POLICY, Diagnostic, Episode, EvaluationEpisode, PlanSummary, Update
from safeloop.recording.run import Run, RunSettings
from safeloop.recording.studies import STUDY
from safeloop.recording.tables import mistake

TERMS = ("env", "env_options", "budget", "budgets", "data")
"""Settings that all runs of a folder have in common."""
STATES = ("new", "running", "interrupted", "finished", "failed")


@dataclass(frozen=True)
class Recorded:
    """One run, as recorded in its files."""

    run: Run
    state: str
    """`new`, `running`, `interrupted`, `finished`, or `failed: REASON`."""
    episodes: list[Episode]
    evaluations: list[EvaluationEpisode]
    """Episodes in which the agent acted as it does; those of its policy alone are in `policy_alone`."""
    diagnostics: list[Diagnostic]
    plans: list[PlanSummary]
    updates: list[Update]
    policy_alone: list[EvaluationEpisode]

    @property
    def evaluation_minutes(self) -> float | None:
        """Minutes of all evaluations together; None where they were not recorded."""
        every = (*self.evaluations, *self.policy_alone)
        ends = {(row.simulator_steps, row.control): row.wall_seconds for row in every}  # the last episode of each
        minutes = sum(ends.values()) / 60
        return minutes if math.isfinite(minutes) else None

    @property
    def last_evaluation(self) -> list[EvaluationEpisode]:
        """The episodes of the last evaluation."""
        return _last(self.evaluations)

    @property
    def last_policy_alone(self) -> list[EvaluationEpisode]:
        """Those of the policy alone, where there is one."""
        return _last(self.policy_alone)


def _last(rows: list[EvaluationEpisode]) -> list[EvaluationEpisode]:
    return [row for row in rows if row.simulator_steps == rows[-1].simulator_steps]


def open_run(path: str | Path) -> Run:
    """Reopen a run. Raises `UsageError` where it is missing, damaged or from another version."""
    path = check_path(path)
    try:
        run = Run.open(path)
        _check_settings(run.settings)
        if run.status["state"] not in STATES or not isinstance(run.status["reason"], str):
            raise ValueError(f"status.json: unknown state {run.status['state']!r}")
    except UsageError:
        raise
    except (OSError, ValueError, AttributeError) as error:
        raise UsageError(f"{path} is damaged ({_one_line(error)}): restore it or start a new run") from None
    return run


def _check_settings(settings: RunSettings) -> None:
    types: dict[str, tuple[type, ...]] = {
        "int": (int,), "float | None": (int, float, type(None)), "str": (str,), "bool": (bool,),
    }  # fmt: skip
    for each in fields(settings):
        value, kind = getattr(settings, each.name), str(each.type)
        if not isinstance(value, types.get(kind, (dict,))) or isinstance(value, bool) != (kind == "bool"):
            raise ValueError(f"settings.json: {each.name}={value!r} is not {kind}")
        if value is not None and (expected := mistake(each, value)):
            raise ValueError(f"settings.json: {each.name}={value!r}, expected {expected}")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


@contextmanager
def loading(run: Run) -> Iterator[None]:
    """Raise `UsageError` where a checkpoint's content is not what its algorithm expects."""
    try:
        yield
    except UsageError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError, OSError) as error:
        what = _one_line(error)
        raise UsageError(
            f"{run.checkpoint} can't be loaded ({type(error).__name__}: {what}): {run.earlier_checkpoint}"
        ) from None


def in_use(run: Run) -> bool:
    """Return whether a process works on the run now, without writing anything."""
    try:
        with open(run.path / ".lock") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def state_of(run: Run) -> str:
    """Return the run's state; a run recorded as `running` that no process holds was interrupted."""
    status = run.status
    if status["state"] in ("running", "new", "interrupted") and in_use(run):
        return "running"
    if status["state"] == "running":
        return "interrupted"
    return f"failed: {status['reason']}" if status["state"] == "failed" else status["state"]


def read(run: Run) -> Recorded:
    """Return all data of a run that a report needs. Raises `UsageError` where a table is damaged."""
    try:
        tables = (run.episodes, run.evaluations, run.diagnostics, run.plans, run.updates)
        state, (episodes, evaluations, diagnostics, plans, updates) = state_of(run), [table.read() for table in tables]
        agent, alone = ([row for row in evaluations if row.control == name] for name in (AGENT, POLICY))
        run.fits.read()
        if state == "finished" and (cut := [table for table in run.tables if table.cut]):
            raise UsageError(
                f"{cut[0].path} is damaged: its last line {cut[0].cut[:80]!r} was cut, and the run had finished; "
                "restore the file or start a new run"
            )
        return Recorded(run, state, episodes, agent, diagnostics, plans, updates, alone)
    except UsageError:
        raise
    except (OSError, ValueError) as error:
        raise UsageError(f"{run.path} is damaged ({_one_line(error)}): restore it or start a new run") from None


def runs_under(folder: Path) -> list[Run]:
    """Return the runs of one environment, `FOLDER/<algo>/seed-<S>`, sorted; folders with other names are left out."""
    found = [
        path.parent for path in folder.glob("*/seed-*/settings.json") if re.fullmatch(r"seed-\d+", path.parent.name)
    ]
    return sorted((open_run(path) for path in found), key=lambda r: (r.settings.name, r.settings.seed))


def places_under(folder: str | Path) -> dict[Path, list[Path]]:
    """Return the folders `<algo>/seed-<S>` at any depth of `folder`, sorted, by the folder that they are compared in.

    A folder of such a name is returned whatever it holds, unless it is of a study's trial. Raises `UsageError` where
    there is none.
    """
    folder = check_path(folder)
    found: dict[Path, list[Path]] = {}
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder: give a folder of runs, such as results or runs/PointGoal1")
    for path in sorted(folder.rglob("seed-*")):
        if re.fullmatch(r"seed-\d+", path.name) and path.is_dir() and len(path.relative_to(folder).parts) > 1:
            if (path.parents[2] / STUDY).exists():  # of a trial, which is no result
                continue
            found.setdefault(path.parents[1], []).append(path)
    if not found:
        raise UsageError(f"{folder} holds no runs: expected folders <algo>/seed-<S> at any depth in it")
    return dict(sorted(found.items()))


def folders_under(folder: str | Path) -> list[Path]:
    """Return the folders of environments in `folder` (OUT, or OUT/<env> itself)."""
    folder = check_path(folder)
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder: give the --out folder of `safeloop run`")
    candidates = [folder, *sorted(path for path in folder.iterdir() if path.is_dir())]
    found = [path for path in candidates if runs_under(path)]
    if not found:
        raise UsageError(f"{folder} holds no runs: expected <env>/<algo>/seed-<S> or <algo>/seed-<S> in it")
    return found


def check_readable(folder: Path) -> None:
    """Raise `UsageError` where a run in `folder` is damaged, so that its comparison could not be drawn."""
    for run in runs_under(folder):
        read(run)


def check_same_terms(folder: Path, asked: RunSettings | None = None) -> None:
    """Raise `UsageError` where runs in `folder` differ in environment options or budget."""
    runs = runs_under(folder)
    if not runs and asked is None:
        return
    reference = asked or runs[0].settings
    name = "this command" if asked else str(runs[0].path)
    for run in runs:
        for key in TERMS:
            here, there = getattr(reference, key), getattr(run.settings, key)
            if here != there:
                raise UsageError(
                    f"{run.path} ran with {key}={there}, {name} with {key}={here}: runs in one folder "
                    "are compared, so these must agree; choose another folder with --out"
                )
