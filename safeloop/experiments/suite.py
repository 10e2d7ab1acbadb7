"""Run suites: every algorithm on every task with every seed, in one folder that can be resumed and extended."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from safeloop.data.datasets import Dataset, read
from safeloop.errors import UsageError
from safeloop.experiments import prepare, specify
from safeloop.experiments.collect import collect
from safeloop.experiments.executor import Failure, Work, execute
from safeloop.experiments.specify import Request
from safeloop.experiments.suite_file import Contender, Source, Suite, Task
from safeloop.files import write_atomically
from safeloop.recording import reader
from safeloop.recording.run import Run, RunSettings
from safeloop.registry import find_algorithm, find_env

RECORD, DATA = "suite.json", "data"
"""Within a suite's folder: the suite as it was run, and the datasets of its first stage with the runs they are of."""


def chosen(suite: Suite, tasks: Sequence[str], algos: Sequence[str], seeds: int | None) -> Suite:
    """Return the part of a suite with these tasks, algorithms and number of seeds; without any, all of them.

    An algorithm that is not in it is added, with its default settings. Raises `UsageError` for an unknown task.
    """
    envs = [task.env for task in suite.tasks]
    if unknown := [name for name in tasks if name not in envs]:
        raise UsageError(f"--task {unknown[0]}: {suite.id} has {', '.join(envs)}")
    kept = [task for task in suite.tasks if not tasks or task.env in tasks]
    contenders = [each for each in suite.algorithms if not algos or each.algo in algos]
    there = {each.algo for each in suite.algorithms}
    contenders += [Contender(algo=find_algorithm(name).info.name) for name in algos if name not in there]
    return suite.model_copy(update={"tasks": kept, "algorithms": contenders, "seeds": seeds or suite.seeds})


def request(suite: Suite, task: Task, contender: Contender) -> Request:
    """Return what a suite asks for: an algorithm on a task, with all seeds."""
    c = suite.resources
    return Request(
        algos=[contender.algo], steps=contender.steps or suite.steps, seeds=range(suite.seeds),
        preset=contender.preset, settings=contender.settings, env_options=task.options, budget=task.budget,
        eval_every=suite.evaluation.every, eval_episodes=suite.evaluation.episodes, device=c.device,
        threads=c.threads, variant=contender.variant,
    )  # fmt: skip


def runs(suite: Suite, task: Task, dataset: Dataset | None = None) -> list[RunSettings]:
    """Return the runs of a task, those of one seed after those of another. Raises `UsageError` for what can't be."""
    found = [
        settings
        for each in suite.algorithms
        for settings in specify.specify(request(suite, task, each), task.env, dataset=dataset)
    ]
    return sorted(found, key=lambda settings: settings.seed)


def source(task: Task, of: Source) -> RunSettings:
    """Return the run whose data a task's algorithms learn from."""
    asked = Request(
        algos=[of.algo], steps=of.steps, seeds=[of.seed], preset=of.preset, settings=of.settings,
        env_options=task.options, budget=task.budget, eval_episodes=0,
    )  # fmt: skip
    return specify.specify(asked, task.env)[0]


def folder(out: Path, suite: Suite) -> Path:
    """Return the folder of a suite's version, `OUT/NAME@VERSION`."""
    return out / suite.id


def begin(path: Path, suite: Suite, whole: Suite) -> None:
    """Record in its folder that a part of a suite is run; what was recorded before stays.

    Raises `UsageError` where the folder holds other tasks or terms under the same version.
    """
    before = recorded(path) if (path / RECORD).exists() else None
    if before and before.terms != whole.terms:
        changed = ", ".join(key for key, value in whole.terms.items() if before.terms[key] != value)
        raise UsageError(
            f"{path} holds {suite.id} with other {changed}: results of two versions never share a table; raise the "
            "suite's version, or choose another folder with --out"
        )
    algorithms = list(before.algorithms if before else [])
    algorithms += [each for each in suite.algorithms if each not in algorithms]
    seeds = max(suite.seeds, before.seeds if before else 0)
    joined = whole.model_copy(update={"algorithms": algorithms, "seeds": seeds})
    write_atomically(path / RECORD, (joined.model_dump_json(indent=2) + "\n").encode())


def recorded(path: Path) -> Suite:
    """Return the suite that is recorded in a folder. Raises `UsageError` where there is none, or it is damaged."""
    try:
        return Suite.model_validate_json((path / RECORD).read_text())
    except FileNotFoundError:
        raise UsageError(f"{path} holds no suite: give the folder of one, OUT/NAME@VERSION") from None
    except (OSError, ValueError):
        raise UsageError(f"{path / RECORD} is damaged: restore it, or choose another folder with --out") from None


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Let no other launcher prepare runs of this folder in the block."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        with open(path / ".lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
    except OSError as error:
        raise UsageError(f"can't write {path}: {error.strerror}; choose another folder with --out") from None


@dataclass(frozen=True)
class Made:
    """The outcome of running a suite."""

    folder: Path
    folders: list[Path]
    """Those of its tasks, each with tables and pictures."""
    failures: list[Failure]


class Launcher:
    """Runs a suite, or a part of it, in a folder."""

    def __init__(self, out: Path, suite: Suite, whole: Suite, held: Sequence[Path] = (), track: tuple[str, ...] = ()):
        """Check the whole suite; `held` are folders with runs that are taken in place of new ones, `track` trackers.

        Raises `UsageError` for what can't be, before anything is written.
        """
        self.out, self.suite, self.whole = folder(out, suite), suite, whole
        self.track = track
        self.held = [run for path in held for run in finished_under(path)]
        for task in suite.tasks:
            try:
                if task.data is None:
                    runs(suite, task)
                else:
                    source(task, task.data)
            except UsageError as error:
                raise UsageError(f"{suite.id}, task {task.env}: {error}") from None

    def run(self, make: Any, display: Any) -> Made:
        """Train all, and return where the results are.

        `make()` returns an executor, `display()` something that shows progress (`experiments.progress`).
        """
        sources = self._work([(task, None) for task in self.suite.tasks if task.data], make, display, stage=True)
        datasets = {task.env: self._dataset(task) for task in self.suite.tasks if task.data and not sources}
        ready = [(task, datasets.get(task.env)) for task in self.suite.tasks if not task.data or task.env in datasets]
        failures = sources + self._work(ready, make, display)
        folders = [self.out / (dataset.name if dataset else find_env(task.env).id) for task, dataset in ready]
        return Made(self.out, folders, failures)

    def _work(self, tasks: Sequence[tuple[Task, Dataset | None]], make: Any, display: Any, stage: bool = False) -> Any:
        if not tasks:
            return []
        work, out = Work(), self.out / DATA if stage else self.out
        with alone(self.out):
            begin(self.out, self.suite, self.whole)
            for task, dataset in tasks:
                asked = [source(task, task.data)] if stage and task.data else runs(self.suite, task, dataset)
                self._take(out, asked, work)
                found = prepare.prepare(out, asked, dataset.path if dataset else None, leave=True)
                work.jobs += found.jobs
                work.notices += found.notices
        work.jobs = [replace(job, track=self.track, one_of_tasks=True) for job in work.jobs]
        work.jobs.sort(key=lambda job: job.run.settings.seed)
        failures = execute(work, make(), display())
        return [failure for failure in failures if not _done_elsewhere(failure)]

    def _take(self, out: Path, asked: Sequence[RunSettings], work: Work) -> None:
        """Copy the runs that are held elsewhere with equal settings."""
        for settings in asked:
            path = Run.directory(out, settings)
            run = next((each for each in self.held if specify.completed(each.settings) == settings), None)
            if run is None or path.exists():
                continue
            beside = path.with_name(f".{path.name}.copy")
            shutil.rmtree(beside, ignore_errors=True)
            shutil.copytree(run.path, beside, ignore=shutil.ignore_patterns(".lock"))
            beside.rename(path)
            work.notices.append(f"{path}: taken from {run.path}")

    def _dataset(self, task: Task) -> Dataset:
        """Return the dataset of a task, which is collected where it is not there yet."""
        assert task.data is not None
        path = self.out / DATA / "datasets" / task.env
        with alone(self.out):
            if not path.exists():
                run = Run.directory(self.out / DATA, source(task, task.data))
                beside = path.with_name(f".{task.env}")
                shutil.rmtree(beside, ignore_errors=True)
                collect(task.env, [str(run)], beside, replay=True, env_options=task.options, quiet=True)
                beside.rename(path)
        return read(path)


def _done_elsewhere(failure: Failure) -> bool:
    """Return whether another launcher works on a run, or has finished it, which is no failure."""
    return failure.refused and reader.state_of(failure.job.run) in ("running", "finished")


def finished_under(path: Path) -> list[Run]:
    """Return the finished runs in a folder, at any depth. Raises `UsageError` where there is no run."""
    places = reader.places_under(path)
    found = (reader.open_run(place) for runs in places.values() for place in runs)
    return [run for run in found if run.status["state"] == "finished"]
