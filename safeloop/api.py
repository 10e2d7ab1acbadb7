"""The verbs of the command line, for Python. The command line calls these and prints what they return."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields, replace
from inspect import Parameter, signature
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from safeloop.data.datasets import read
from safeloop.errors import UsageError
from safeloop.experiments import config, prepare, specify
from safeloop.experiments.executor import Failure, Job, Stopped, Work, execute
from safeloop.experiments.executors import Place
from safeloop.experiments.latency import Latency, latency
from safeloop.experiments.progress import display, heartbeat
from safeloop.experiments.robustness import Robustness, robustness
from safeloop.experiments.specify import Pairs, Request
from safeloop.experiments.sweep import tuned
from safeloop.experiments.trained import Evaluation, TradeOff, evaluate, load, threads, trade_off
from safeloop.experiments.trials import Tuning
from safeloop.experiments.tuning import tune
from safeloop.files import check_path
from safeloop.recording import reader, trackers
from safeloop.recording.run import RunSettings
from safeloop.registry import find_env
from safeloop.settings import MOST_SEEDS, check_whole

if TYPE_CHECKING:
    import gymnasium

    from safeloop.report.frames import Results
    from safeloop.report.rows import Row


@dataclass(frozen=True)
class Comparison:
    """The contents of an environment's folder after `run`, `resume` or `plot`."""

    folder: Path
    """Holds `summary.csv`, `aggregates.csv`, `summary.md` and pictures."""
    rows: list[Row]
    """The rows of `summary.csv`, one a run."""
    text: str
    """The same as a table for a terminal."""
    failures: list[Failure]
    """Runs that failed this time, with the reason."""
    notices: list[str] = field(default_factory=list)
    """A line for each thing that was asked for and is not there, with the reason."""
    unwritten: str = ""
    """Why there are no pictures and tables of runs that were trained; otherwise nothing."""


def asks(verb: Callable[..., Comparison]) -> Callable[..., Comparison]:
    """Give a verb the fields of `Request` as keyword arguments, where its signature is shown."""
    own = [p for p in signature(verb).parameters.values() if p.kind is not Parameter.VAR_KEYWORD]
    taken = {p.name for p in own}
    asked = [
        Parameter(f.name, Parameter.KEYWORD_ONLY, default=f.default, annotation=f.type)
        for f in fields(Request)
        if f.name not in taken
    ]
    verb.__signature__ = signature(verb).replace(parameters=[*own, *asked])  # type: ignore[attr-defined]
    return verb


@asks
def run(env: str | None = None, algos: Sequence[str] | None = None, **options: Any) -> Comparison:
    """Train `algos` on `env`, each with each seed, and write the comparison to `OUT/<env>`.

    Without `algos`: safeloop, cpo and ppo-lag, or loop-sac and sac in environments without a cost. `options` are the
    fields of `safeloop.experiments.specify.Request`: steps, seeds, preset, settings, env_options, budget, ... `env` is
    needed unless `config` names it.
    A finished run with the same settings is kept and an unfinished one resumed; others are refused.
    Raises `UsageError` for bad input, before anything is written.
    """
    asked, env = config.with_config(Request(algos=algos, **options), env)
    check_path(asked.out, "--out")
    trackers.checked(asked.track)
    if asked.sweep:
        raise UsageError(f"sweep={asked.sweep}: only settings of algorithms that learn from a dataset are chosen so")
    return _train(asked, specify.specify(asked, env))


@asks
def offline(
    dataset: str | Path, algos: Sequence[str] | None = None, *, env: str | None = None, **options: Any
) -> Comparison:
    """Train `algos` on a dataset (`safeloop.data.datasets`) alone, evaluate them, and compare in `OUT/<dataset>`.

    Without `algos`: loop-crr and crr, and safeloop-crr where the dataset has costs. `steps` are gradient steps. The
    environment is the dataset's unless `env` is given; all else is as in `run`. With `sweep` the settings of algorithms
    that plan are the best of so many of the paper's grid on another seed, and their variant is `tuned`.
    Raises `UsageError` for bad input and for a dataset with anything wrong, before anything is written.
    """
    asked = Request(algos=algos, **options)
    _place(asked)  # before a sweep trains anything
    check_path(asked.out, "--out")
    trackers.checked(asked.track)
    with heartbeat("reading the dataset", asked.quiet):
        data = read(check_path(dataset))
        name, env_options = specify.fitting_env(data, env, asked.env_options)
        runs = specify.specify(asked, name, env_options, data)
    if asked.sweep:
        out = Path(asked.out)
        with threads(runs[0].threads), _drawn_when_stopped(out / runs[0].folder):
            given = specify.pairs(asked.settings, "--set")
            runs = tuned(out, runs, data.path, given, asked.sweep, asked.quiet)
    return _train(asked, runs, data.path)


def learn(*arguments: Any, **options: Any) -> Comparison:
    """Call `offline`, which has this name no more."""
    warnings.warn("safeloop.learn is safeloop.offline now; this name will go", FutureWarning, stacklevel=2)
    return offline(*arguments, **options)


def _train(asked: Request, runs: list[RunSettings], dataset: Path | None = None) -> Comparison:
    place, out = _place(asked), Path(asked.out)
    work = prepare.prepare(out, runs, dataset)
    if asked.budget is not None:
        work.notices += dict.fromkeys(filter(None, map(prepare.keeps_threshold, runs)))
    return _execute(work, place, asked.quiet, out / runs[0].folder, asked.track)


def _place(asked: Request) -> Place:
    """Return where runs are to be trained. Raises `UsageError` for what can't be."""
    place = Place(asked.executor, asked.address, asked.jobs, specify.pairs(asked.resources, "--resource"))
    place.check()
    return place


def _execute(work: Work, place: Place, quiet: bool, folder: Path, track: Sequence[str]) -> Comparison:
    """Train, and compare what is in `folder` then; a comparison that can't be drawn takes no result away."""
    work.jobs = [replace(job, track=trackers.checked(track)) for job in work.jobs]
    with _drawn_when_stopped(folder):
        failures = execute(work, place.make(folder), display(quiet))
    try:
        with heartbeat("drawing", quiet):
            return _compare(folder, failures)
    except UsageError as error:
        return Comparison(folder, [], "", failures, unwritten=str(error))


@contextmanager
def _drawn_when_stopped(folder: Path) -> Iterator[None]:
    """Draw what there is of runs that are stopped inside, then pass the stop on."""
    try:
        yield
    except Stopped as stopped:
        with suppress(UsageError, KeyboardInterrupt):
            stopped.comparison = _compare(folder, [])
        raise


@dataclass(frozen=True)
class SuiteResult:
    """The outcome of running a suite."""

    folder: Path
    """`OUT/NAME@VERSION`."""
    comparisons: list[Comparison]
    """One for each task."""
    failures: list[Failure]
    """Runs that failed this time, with the reason."""


def run_suite(
    suite: str | Path,
    *,
    out: str | Path = "runs",
    tasks: Sequence[str] = (),
    algos: Sequence[str] = (),
    seeds: int | None = None,
    held: Sequence[str | Path] = (),
    executor: str = "local",
    address: str | None = None,
    resources: Pairs = (),
    jobs: int | None = None,
    track: Sequence[str] = (),
    quiet: bool = False,
) -> SuiteResult:
    """Run a suite, a file or the name of a shipped one, in `OUT/NAME@VERSION`, and compare on each of its tasks.

    `tasks` and `algos` choose a part of it; an algorithm that is not in it is added. `seeds` is another number of
    seeds. Finished runs are kept, unfinished ones resumed, and finished runs in the `held` folders that have equal
    settings are copied in place of new ones. One run that fails stops no other. `track` names trackers, as in `run`.
    Raises `UsageError` for bad input.
    """
    from safeloop.experiments import suite as launching  # pydantic takes a moment to import
    from safeloop.experiments import suite_file

    whole = suite_file.find(suite)
    number = None if seeds is None else check_whole("--seeds", seeds, 1, MOST_SEEDS)
    part = launching.chosen(whole, tasks, algos, number)
    own = part.resources.by_name if executor != "local" else {}
    place = Place(executor, address, jobs, {**own, **specify.pairs(resources, "--resource")})
    place.check()
    taken = [check_path(each, "--held") for each in held]
    launcher = launching.Launcher(check_path(out, "--out"), part, whole, taken, trackers.checked(track))
    made = launcher.run(lambda: place.make(launcher.out), lambda: display(quiet))
    with heartbeat("drawing", quiet):
        found = [_compare(folder, made.failures) for folder in made.folders]
    return SuiteResult(made.folder, found, made.failures)


def chosen_seeds(seed: int | None, seeds: int | None) -> list[int]:
    """Return the seeds that `--seed S` or `--seeds N` stand for."""
    if seed is not None and seeds is not None:
        raise UsageError("give --seed S for one seed or --seeds N for the seeds 0 to N-1, not both")
    if seeds is not None:
        return list(range(check_whole("--seeds", seeds, 1, MOST_SEEDS)))
    return [seed or 0]


def resume(
    path: str | Path,
    *,
    threads: int | None = None,
    force_threads: bool = False,
    from_step: int | None = None,
    track: Sequence[str] = (),
    quiet: bool = False,
) -> Comparison:
    """Train the run at `path` to its end, and redraw its comparison.

    Another number of threads than the run was made with can change results: `force_threads` allows it. With `from_step`
    it goes on from the checkpoint that was kept then (`keep_every`); all that the run recorded later is made anew.
    `track` names trackers, as in `run`.
    """
    trackers.checked(track)
    work = prepare.prepare_resume(Path(path), threads, force_threads, from_step)
    return _execute(work, Place(jobs=1), quiet, Path(path).resolve().parents[1], track)


def plot(folder: str | Path, diagnostics: bool = False) -> list[Comparison]:
    """Redraw the comparisons in `folder`: an `out` folder, or one environment's folder in it.

    With `diagnostics` also `planning.png`: actor divergence and usage, model and value errors of planning agents.
    """
    folders = reader.folders_under(folder)
    found = []
    for each in folders:
        compared = _compare(each, [], diagnostics)
        if diagnostics and not any(run.plans.path.exists() for run in reader.runs_under(each)):
            notice = f"--diagnostics: no run in {each} uses a planner in training, so there is no planning.png"
            compared = replace(compared, notices=[notice])
        found.append(compared)
    return found


def report(folders: str | Path | Sequence[str | Path], out: str | Path | None = None, title: str = "") -> Path:
    """Write the page of all runs in `folders` and return its path: one HTML file that opens without a network.

    Each folder is as in `plot`. `out` is the file, by default `report.html` in the first folder; `title` is by default
    the names of the tasks. It is `safeloop.api.report`, because `safeloop.report` is a package.
    """
    given = [folders] if isinstance(folders, str | Path) else list(folders)
    if not given:
        raise UsageError("give at least one folder of runs")
    found = [each for folder in given for each in reader.folders_under(folder)]
    file = Path(given[0]) / "report.html" if out is None else check_path(out, "--out")
    from safeloop.report.page import write  # Bokeh takes a second to import

    write.write(found, file, title)
    return file


def results(folder: str | Path) -> Results:
    """Return all results in `folder` as pandas frames: runs, aggregates over seeds, episodes and evaluations.

    `folder` is as in `plot`. Raises `UsageError` where it holds no runs, or a run is damaged.
    """
    from safeloop.report import frames  # pandas takes a second to import

    return frames.results(reader.folders_under(folder))


def _compare(folder: Path, failures: list[Failure], planning: bool = False) -> Comparison:
    from safeloop.report import pictures, rows, summary  # matplotlib and scipy take a second to import

    found = pictures.write(folder, planning)
    told = {(failure.job.run.settings.name, failure.job.run.settings.seed) for failure in failures}
    return Comparison(folder, rows.rows(found), summary.text(found, told), failures)


def make(env: str, options: Pairs = (), render_mode: str | None = None) -> gymnasium.Env:
    """Make an environment as runs meet it, for example to drive a policy that `load` gave.

    `options` are those of `--env-set`; of a run they are in `settings.json`. Raises `UsageError` for an unknown name or
    option.
    """
    return find_env(env, specify.pairs(options, "options")).make(render_mode=render_mode)


def show(path: str | Path, last: int = 10) -> str:
    """Return settings, status, versions and last episodes of a run, for a terminal."""
    run = reader.open_run(path)
    recorded = reader.read(run)
    try:
        made_with = json.loads((run.path / "versions.json").read_text()).items()
    except (OSError, ValueError, AttributeError):
        raise UsageError(f"{path} is damaged (versions.json): restore it or start a new run") from None
    settings = asdict(run.settings)
    algorithm_settings = settings.pop("algo_settings")
    lines = [f"{run.path}: {recorded.state}"]
    for title, values in (
        ("settings", settings.items()), (f"settings of {run.settings.algo}", algorithm_settings.items()),
        ("made with", made_with),
    ):  # fmt: skip
        lines += ["", title, *(f"  {key:<20} {value}" for key, value in values)]
    lines += ["", f"last episodes (of {len(recorded.episodes)})"]
    for e in recorded.episodes[-last:]:
        lines.append(
            f"  {e.episode:>6}  {e.simulator_steps:>10,} steps  return {e.return_:9.2f}  "
            f"cost {e.cost_return:8.2f}  violations {e.violations}"
        )
    if final := recorded.last_evaluation:
        lines += [
            "",
            f"last evaluation (at {final[-1].simulator_steps:,} steps, {len(final)} episodes): "
            f"return {fmean(e.return_ for e in final):.2f}, cost {fmean(e.cost_return for e in final):.2f}",
        ]
    return "\n".join(lines)


__all__ = [
    "Comparison",
    "Evaluation",
    "Failure",
    "Job",
    "Latency",
    "Robustness",
    "SuiteResult",
    "TradeOff",
    "Tuning",
    "evaluate",
    "latency",
    "learn",
    "load",
    "make",
    "offline",
    "plot",
    "report",
    "results",
    "resume",
    "robustness",
    "run",
    "run_suite",
    "show",
    "trade_off",
    "tune",
]  # fmt: skip
