"""Prepare runs: look at every folder, and decide for each run whether it is started, resumed or kept."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from safeloop.errors import UsageError
from safeloop.experiments.executor import Job, Work
from safeloop.experiments.specify import check_device, completed
from safeloop.files import check_folder, check_path
from safeloop.recording import reader, studies
from safeloop.recording.run import Run, RunSettings
from safeloop.recording.versions import versions
from safeloop.registry import find_algorithm, find_env, whole_steps
from safeloop.settings import MOST_THREADS, build, check_whole


def prepare(out: Path, asked: Sequence[RunSettings], dataset: Path | None = None, leave: bool = False) -> Work:
    """Start, resume or keep each run, of the `dataset` there. Nothing is written before every folder was looked at.

    A run that another process works on is refused, or with `leave` left to it.
    """
    work, aside, new = Work(), [], []
    for settings in asked:
        path = Run.directory(check_path(out, "--out"), settings)
        check_path(path / "settings.json", "--out")
        check_folder(path)
        if not (path / "settings.json").exists():
            if any(path.glob("*.csv")):
                raise UsageError(f"{path} holds results but no settings.json: restore it, or choose another --out")
            new.append(settings)
            continue
        run = reader.open_run(path)
        _check_same(run, settings)
        if leave and reader.in_use(run):
            work.notices.append(f"{run.path}: in use by another process, left to it")
        elif resumption(run, run.settings.threads, work) == "anew":
            aside.append(run)
    folder = out / asked[0].folder
    for settings in asked:
        studies.check_seed(folder, settings)
    reader.check_same_terms(folder, asked[0])
    reader.check_readable(folder)
    _check_writable(folder)
    for run in aside:
        work.notices.append(set_aside(run))
        new.append(run.settings)
    for notice in (more_than_asked, all_random):
        work.notices += dict.fromkeys(filter(None, map(notice, new)))  # once for all seeds
    work.jobs += [Job(Run.create(out, settings), settings.threads, fresh=True) for settings in new]
    if dataset:
        for job in work.jobs:
            set_dataset(job.run, str(dataset.resolve()))
    order = [Run.directory(out, settings) for settings in asked]
    work.jobs.sort(key=lambda job: order.index(job.run.path))
    return work


def more_than_asked(settings: RunSettings) -> str:
    """Return a notice where a run goes on to the end of an epoch or episode beyond its steps; otherwise nothing."""
    total = whole_steps(settings)
    if total == settings.steps:
        return ""
    return (
        f"{settings.name}: {settings.steps:,} steps are asked for; it ends with the epoch or episode that reaches "
        f"them, so it takes {total:,}"
    )


def set_dataset(run: Run, location: str) -> None:
    """Write where the run's dataset lies. Raises `UsageError` where that can't be written."""
    try:
        run.dataset = location
    except OSError as error:
        raise UsageError(f"can't write {error.filename}: {error.strerror}; choose another folder with --out") from None


def all_random(settings: RunSettings) -> str:
    """Return a notice where a run is to end before its algorithm begins to learn; otherwise nothing."""
    warmup = settings.algo_settings.get("warmup", 0)
    steps = warmup * find_env(settings.env, settings.env_options).action_repeat
    if settings.dataset or settings.steps > steps:
        return ""
    return (
        f"{settings.name}: its first {steps:,} steps are random (warmup={warmup}), and {settings.steps:,} are asked for"
    )


def keeps_threshold(settings: RunSettings) -> str:
    """Return a notice where a planner keeps to a threshold, whatever budget is asked for; otherwise nothing."""
    if not find_algorithm(settings.algo).info.constrained or settings.algo_settings.get("constraint") == "adaptive":
        return ""
    each = ", ".join(f"{name}={limit:g}" for name, limit in settings.budgets.items())
    shown = each or f"{settings.budget:g}"
    follow = "; --set constraint=adaptive follows it" if "constraint" in settings.algo_settings else ""
    return f"{settings.name}: by --budget {shown} it is judged; its planner keeps to a threshold of its own{follow}"


def _check_same(run: Run, asked: RunSettings) -> None:
    there, here = asdict(completed(run.settings)), asdict(asked)
    different = [key for key in here if key not in ("algo_settings", "schema") and here[key] != there[key]]
    texts = [f"{key} is {there[key]!r} there, {here[key]!r} here" for key in different]
    old, new = there["algo_settings"], here["algo_settings"]
    texts += [
        f"{key} is {old.get(key, 'missing')!r} there, {new.get(key, 'missing')!r} here"
        for key in dict.fromkeys([*old, *new])
        if old.get(key, "missing") != new.get(key, "missing")
    ]
    if texts:
        raise UsageError(f"{run.path} holds a run with other settings ({'; '.join(texts)}): choose another --out")


def resumption(run: Run, threads: int, work: Work) -> str:
    """Look at an existing run; adds to `work`. `"keep"`, `"resume"` or `"anew"`.

    `"anew"` is for a run that can't resume, by its algorithm or for want of a checkpoint; it is left to the caller.
    """
    recorded = reader.read(run)
    if recorded.state == "running" or reader.in_use(run):
        raise UsageError(f"{run.path} is in use by another process: wait for it or stop it")
    if recorded.state == "finished":
        work.notices.append(f"{run.path}: already finished, kept")
        return "keep"
    algorithm = find_algorithm(run.settings.algo)
    lost = not run.checkpoint.parent.is_dir()  # a copy of what was recorded, say
    if recorded.state != "new" and (lost or not algorithm.info.resumable):
        return "anew"
    if recorded.state != "new":
        if run.has_checkpoint:
            run.load_checkpoint()
        elif run.kept:
            raise UsageError(f"{run.checkpoint} is missing: {run.earlier_checkpoint}")
        work.notices.append(f"{run.path}: resumed ({recorded.state})")
        work.notices += [
            f"{table.path}: its last line was cut short and is dropped ({table.cut[:80]!r})"
            for table in run.tables
            if table.cut
        ]
        changed = changed_versions(run)
        if changed:
            work.notices.append(f"{run.path}: made with other versions, results may differ: {changed}")
    work.jobs.append(Job(run, threads, fresh=recorded.state == "new"))
    return "resume"


def changed_versions(run: Run) -> str:
    """`"torch 2.4.0, now 2.5.0"`: what differs from when the run was made."""
    try:
        then = json.loads((run.path / "versions.json").read_text())
        items = dict(then).items()
    except (OSError, ValueError, TypeError):
        raise UsageError(f"{run.path} is damaged (versions.json): restore it or start a new run") from None
    now = versions()
    return ", ".join(f"{key} {old}, now {now.get(key)}" for key, old in items if now.get(key) != old)


def set_aside(run: Run) -> str:
    """Move the folder of a run that can't be resumed out of the way; returns what to tell the user."""
    number = 1
    while (aside := run.path.with_name(f"{run.path.name}.interrupted-{number}")).exists():
        number += 1
    try:
        run.path.rename(aside)
    except OSError as error:
        raise UsageError(f"can't move {run.path} to {aside}: {error.strerror}") from None
    why = (
        "its checkpoint is missing"
        if find_algorithm(run.settings.algo).info.resumable
        else f"{run.settings.algo} can't resume"
    )
    return f"{run.path}: {why}; what it recorded is kept in {aside.name}, started anew"


def _check_writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
            file.write(bytes(4096))  # a full disk still has names to give
    except OSError as error:
        raise UsageError(f"can't write {folder}: {error.strerror}; choose another folder with --out") from None


def prepare_resume(path: Path, threads: int | None, force_threads: bool, step: int | None = None) -> Work:
    """Plan the work of `safeloop resume`, from the checkpoint kept at `step` where that is given.

    Raises `UsageError` where the run can't go on.
    """
    run, work = reader.open_run(check_path(path).resolve()), Work()
    settings = run.settings
    location = _known_dataset(run) if settings.dataset else ""
    wanted = settings.threads if threads is None else check_whole("--threads", threads, 1, MOST_THREADS)
    if wanted != settings.threads and not force_threads:
        raise UsageError(
            f"{path} ran with threads={settings.threads}; {wanted} would change its results: "
            "leave --threads out, or give --force-threads"
        )
    check_device(settings.device)
    spec, algorithm = find_env(settings.env, settings.env_options), find_algorithm(settings.algo)
    algorithm.resolve(build(algorithm.info.settings, settings.algo_settings, owner=settings.algo), spec)
    reader.check_readable(run.path.parents[1])
    _check_writable(run.path)
    if step is not None:
        go_back(run, check_whole("--from", step, 1))
    if resumption(run, wanted, work) == "anew":
        out = run.path.parents[2]
        if Run.directory(out, settings) != run.path:
            raise UsageError(f"{path} was moved: a new run needs the folder <out>/<env>/<algo>/seed-<S>")
        work.notices.append(set_aside(run))
        new = Run.create(out, settings)
        if location:
            set_dataset(new, location)
        work.jobs.append(Job(new, wanted, fresh=True))
    return work


def go_back(run: Run, step: int) -> None:
    """Have the run go on from the checkpoint kept at `step`. Raises `UsageError` where it can't."""
    try:
        run.go_back(step)
    except OSError as error:
        raise UsageError(f"can't write {error.filename}: {error.strerror}") from None


def _known_dataset(run: Run) -> str:
    """Return the place of the run's dataset. Raises `UsageError` where it is not there, or the run does not say."""
    location = run.dataset
    if not isinstance(run.settings.data.get("fingerprint"), str):
        raise UsageError(f"{run.path} is damaged (settings.json: data has no fingerprint): restore it")
    if not check_path(location, str(run.path / "dataset.txt")).exists():
        raise UsageError(
            f"{run.path}: its dataset {location} is not there: put it back, "
            "or give `safeloop offline DATASET` with the run's options again"
        )
    return location
