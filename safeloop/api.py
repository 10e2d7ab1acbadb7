"""The verbs of the command line, for Python. The command line calls these and prints what they return."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from safeloop.cmdp import Entities, EnvSpec, zero_cost
from safeloop.data.datasets import read
from safeloop.errors import UsageError
from safeloop.experiments import specify
from safeloop.experiments.local import Failure, Job, Stopped, Work, check_jobs, execute
from safeloop.experiments.progress import display
from safeloop.experiments.specify import Pairs
from safeloop.experiments.sweep import tuned
from safeloop.files import check_path
from safeloop.recording import reader
from safeloop.recording.rows import EvaluationEpisode
from safeloop.recording.run import Run, RunSettings
from safeloop.registry import algorithm_names, families, find_algorithm, find_env
from safeloop.report import offline, summary
from safeloop.report.video import Video
from safeloop.settings import MOST_EPISODES, MOST_SEEDS, build, check_whole
from safeloop.training.evaluation import evaluate as evaluation_episodes

if TYPE_CHECKING:
    import gymnasium

    from safeloop.agents.policies import Checked


@dataclass(frozen=True)
class Comparison:
    """What `run`, `resume` and `plot` leave in an environment's folder."""

    folder: Path
    """Holds `curves.png`, `violations.png`, `summary.csv` and `summary.md`."""
    rows: list[summary.Row] | list[offline.Row]
    """The rows of `summary.csv`."""
    text: str
    """The same as a table for a terminal."""
    failures: list[Failure]
    """Runs that failed this time, with the reason."""
    notices: list[str] = field(default_factory=list)
    """A line for each thing that was asked for and is not there, with the reason."""
    unwritten: str = ""
    """Why there are no pictures and tables of runs that were trained; otherwise nothing."""


@dataclass(frozen=True)
class Evaluation:
    """Episodes of a trained policy."""

    run: Path
    budget: float | None
    """None: nothing costs."""
    episodes: list[EvaluationEpisode]

    @property
    def means(self) -> dict[str, float]:
        """Means over the episodes."""
        names = ("return_", "cost_return", "violations", "length")
        return {name.rstrip("_"): fmean(getattr(e, name) for e in self.episodes) for name in names}

    @property
    def within_budget(self) -> bool | None:
        """Whether the mean cost return is at most the budget; None where nothing costs."""
        return None if self.budget is None else self.means["cost_return"] <= self.budget

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        episodes = [{k.rstrip("_"): v for k, v in asdict(e).items() if k != "wall_seconds"} for e in self.episodes]
        return {
            "run": str(self.run), "budget": self.budget, "episodes": episodes,
            "mean": self.means, "within_budget": self.within_budget,
        }  # fmt: skip

    @property
    def text(self) -> str:
        """A table for a terminal."""
        means = self.means
        lines: list[tuple[str, ...]] = [
            (str(e.episode), f"{e.return_:.2f}", str(e.length), f"{e.cost_return:.2f}", str(e.violations))
            for e in self.episodes
        ]
        lines.append(("mean", *(f"{means[k]:.2f}" for k in ("return", "length", "cost_return", "violations"))))
        heads = ("episode", "return", "steps", "cost", "violations")[: 3 if self.budget is None else 5]
        table = summary.aligned([dict(zip(heads, line, strict=False)) for line in lines])
        if self.budget is None:
            return "\n".join(table)
        verdict = "within" if self.within_budget else "above"
        return "\n".join([*table, "", f"Mean cost return is {verdict} the budget of {self.budget:g}."])


def run(
    env: str,
    algos: Sequence[str] | None = None,
    *,
    steps: int | str | Pairs | None = None,
    seeds: Iterable[int] = (0,),
    preset: str = "default",
    out: str | Path = "runs",
    budget: float | None = None,
    device: str = "cpu",
    settings: Pairs = (),
    env_options: Pairs = (),
    eval_every: int = 0,
    eval_episodes: int = 5,
    jobs: int | None = None,
    threads: int = 1,
    variant: str = "",
    keep_every: int = 0,
    quiet: bool = False,
) -> Comparison:
    """Train `algos` on `env`, each with each seed, and write the comparison to `OUT/<env>`.

    Without `algos`: safeloop, cpo and ppo-lag, or loop-sac and sac where nothing costs.
    `steps` are simulator steps: a number, `{"cpo": 100_000}` for some algorithms, or None for their defaults.
    `settings` are the algorithms': `{"horizon": 4}` reaches each that has it, `{"safeloop.horizon": 4}` one.
    `variant` is part of the runs' names and folders, so that several settings of an algorithm can be compared.
    A finished run with the same settings is kept and an unfinished one resumed; others are refused.
    Raises `UsageError` for bad input, before anything is written.
    """
    check_path(out, "--out")
    asked = specify.plan(
        env, algos, steps, seeds, preset, budget, device, settings, env_options,
        eval_every, eval_episodes, threads, variant, keep_every,
    )  # fmt: skip
    return _train(Path(out), asked, jobs, quiet)


def learn(
    dataset: str | Path,
    algos: Sequence[str] | None = None,
    *,
    env: str | None = None,
    steps: int | str | Pairs | None = None,
    seeds: Iterable[int] = (0,),
    preset: str = "default",
    out: str | Path = "runs",
    budget: float | None = None,
    device: str = "cpu",
    settings: Pairs = (),
    env_options: Pairs = (),
    eval_every: int = 0,
    eval_episodes: int = 20,
    jobs: int | None = None,
    threads: int = 1,
    variant: str = "",
    sweep: int = 0,
    quiet: bool = False,
) -> Comparison:
    """Train `algos` on a dataset (`safeloop.datasets`) alone, evaluate them, and compare in `OUT/<dataset>`.

    Without `algos`: loop-crr and crr, and safeloop-crr where the dataset has costs. `steps` are gradient steps. The
    environment is the dataset's unless `env` is given; all else is as in `run`. With `sweep` the settings of algorithms
    that plan are the best of so many of the paper's grid on another seed, and their variant is `tuned`.
    Raises `UsageError` for bad input and for a dataset with anything wrong, before anything is written.
    """
    check_jobs(jobs)  # before a sweep trains anything
    check_path(out, "--out")
    data = read(check_path(dataset))
    name, options = specify.fitting_env(data, env, env_options)
    asked = specify.plan(
        name, algos, steps, seeds, preset, budget, device, settings, options,
        eval_every, eval_episodes, threads, variant, dataset=data,
    )  # fmt: skip
    if sweep:
        folder = Path(out) / asked[0].folder
        with _threads(asked[0].threads), _drawn_when_stopped(folder):
            given = specify.pairs(settings, "--set")
            asked = tuned(Path(out), asked, data.path, given, sweep, lambda: display(quiet))
    return _train(Path(out), asked, jobs, quiet, data.path)


def _train(
    out: Path, asked: list[RunSettings], jobs: int | None, quiet: bool, dataset: Path | None = None
) -> Comparison:
    limit = check_jobs(jobs)
    work = specify.prepare(out, asked, dataset)
    return _execute(work, limit, quiet, out / asked[0].folder)


def _execute(work: Work, limit: int, quiet: bool, folder: Path) -> Comparison:
    """Train, and compare what is in `folder` then; a comparison that can't be drawn takes no result away."""
    with _drawn_when_stopped(folder):
        failures = execute(work, limit, display(quiet))
    try:
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


def chosen_seeds(seed: int | None, seeds: int | None) -> list[int]:
    """The seeds that `--seed S` or `--seeds N` stand for."""
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
    quiet: bool = False,
) -> Comparison:
    """Train the run at `path` to its end, and redraw its comparison.

    Another number of threads than the run was made with can change results: `force_threads` allows it. With `from_step`
    it goes on from the checkpoint that was kept then (`keep_every`); all that the run recorded later is made anew.
    """
    work = specify.prepare_resume(Path(path), threads, force_threads, from_step)
    return _execute(work, 1, quiet, Path(path).resolve().parents[1])


def plot(folder: str | Path, diagnostics: bool = False) -> list[Comparison]:
    """Redraw the comparisons in `folder`: an `out` folder, or one environment's folder in it.

    With `diagnostics` also `planning.png`: actor divergence and usage, model and value errors of planning agents.
    """
    folders = reader.folders_under(folder)
    found = []
    for each in folders:
        compared = _compare(each, [], diagnostics)
        if diagnostics and not any(run.plans.path.exists() for run in reader.runs_under(each)):
            notice = f"--diagnostics: no run in {each} plans while it trains, so there is no planning.png"
            compared = replace(compared, notices=[notice])
        found.append(compared)
    return found


def _compare(folder: Path, failures: list[Failure], planning: bool = False) -> Comparison:
    from safeloop.report import pictures  # matplotlib takes a second to import

    found = pictures.write(folder, planning)
    tables = offline if found[0].run.settings.dataset else summary
    return Comparison(folder, tables.rows(found), tables.text(found), failures)  # type: ignore[attr-defined]


def make(env: str, options: Pairs = (), render_mode: str | None = None) -> gymnasium.Env:
    """Make an environment as runs meet it, for example to drive a policy that `load` gave.

    `options` are those of `--env-set`; of a run they are in `settings.json`. Raises `UsageError` for an unknown name or
    option.
    """
    return find_env(env, specify.pairs(options, "options")).make(render_mode=render_mode)


def load(path: str | Path, seed: int | None = None) -> Checked:
    """The policy of the run at `path`: call `reset()` when an episode begins and `act(observation)` in it.

    `seed` (default: the run's) seeds whatever the policy draws when it acts. Its `act` raises `UsageError` for what is
    no observation of the run's environment; `policy` is the algorithm's own, without that check.
    """
    return _load(reader.open_run(path), seed)[0]


def _load(run: Run, seed: int | None = None) -> tuple[Checked, EnvSpec]:
    from safeloop.agents.policies import Checked

    settings = run.settings
    specify.check_device(settings.device)
    spec, algorithm = find_env(settings.env, settings.env_options), find_algorithm(settings.algo)
    build(algorithm.settings, settings.algo_settings, owner=settings.algo)
    with reader.loading(run):
        return Checked(algorithm.load(run, settings.seed if seed is None else seed), spec), spec


def evaluate(path: str | Path, *, episodes: int = 10, video: str | Path | None = None) -> Evaluation:
    """Evaluate the run at `path`, in an environment of its own; nothing is written to the run.

    `video` (.mp4 or .gif) is a file to record all episodes to; one that exists is refused.
    """
    episodes = check_whole("--episodes", episodes, 1, MOST_EPISODES)
    run = reader.open_run(path)
    reader.read(run)
    recorder = Video(check_path(video, "--video")) if video is not None else None
    policy, spec = _load(run)
    with _threads(run.settings.threads):
        if recorder is None:
            rows = list(evaluation_episodes(policy, spec, episodes, run.settings.seed))
        else:
            with recorder.open(spec) as on_frame:
                rows = list(evaluation_episodes(policy, spec, episodes, run.settings.seed, on_frame=on_frame))
    return Evaluation(run.path, run.settings.budget, rows)


@contextmanager
def _threads(number: int) -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def show(path: str | Path, last: int = 10) -> str:
    """Settings, status, versions and last episodes of a run, for a terminal."""
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


def environments() -> list[dict[str, Any]]:
    """Every environment, for `safeloop list envs`."""
    result = []
    for family in families():
        for name in family.names():
            spec = family.spec(name)
            known = [model for model, is_known in spec.known().items() if is_known]
            result.append(
                {
                    "name": spec.id, "suite": spec.suite, "action_repeat": spec.action_repeat,
                    "episode_steps": spec.episode_steps, "budget": spec.budget,
                    "cost_meaning": spec.cost_meaning, "known": known,
                }
            )  # fmt: skip
    return result


def algorithms() -> list[dict[str, Any]]:
    """Every algorithm, for `safeloop list algos`; one that can't be loaded says why."""
    result = []
    for name in algorithm_names():
        try:
            result.append(_describe(name))
        except UsageError as error:
            result.append({"name": name, "summary": str(error), "error": True})
    return result


def _describe(name: str) -> dict[str, Any]:
    algorithm = find_algorithm(name)
    defaults: Any = build(algorithm.settings, algorithm.presets["default"], owner=name)
    settings = [
        {"name": f.name, "type": str(f.type), "default": getattr(defaults, f.name)} for f in fields(algorithm.settings)
    ]
    everything = EnvSpec(
        id="any", suite="", make=lambda: None, action_repeat=1, episode_steps=1, cost_meaning="",  # type: ignore[arg-type,return-value]
        cost=zero_cost, reward=zero_cost, entities=Entities((0,), ((1,),), ("goal",), 0),
    )  # fmt: skip
    return {
        "name": name,
        "summary": algorithm.summary,
        "told": algorithm.told(defaults, everything) or "nothing",
        "default_steps": algorithm.default_steps,
        "resumable": algorithm.resumable,
        "presets": list(algorithm.presets),
        "settings": settings,
    }


def environments_text(found: list[dict[str, Any]]) -> str:
    """A table of `environments`, for a terminal."""
    table = [
        {
            "name": e["name"], "suite": e["suite"], "repeat": str(e["action_repeat"]),
            "episode": str(e["episode_steps"]), "budget": "-" if e["budget"] is None else f"{e['budget']:g}",
            "known": ", ".join(e["known"]) or "-",
        }
        for e in found
    ]  # fmt: skip
    return "\n".join(summary.aligned(table)) if table else "no environments are installed"


def algorithms_text(found: list[dict[str, Any]]) -> str:
    """A table of `algorithms`, for a terminal."""
    table = [
        {
            "name": a["name"], "steps": f"{a.get('default_steps', 0):,}",
            "resumable": "yes" if a.get("resumable") else "no",
            "told": a.get("told", "-"), "summary": a["summary"],
        }
        for a in found
    ]  # fmt: skip
    return "\n".join(summary.aligned(table)) if table else "no algorithms are installed"


__all__ = [
    "Comparison",
    "Evaluation",
    "Failure",
    "Job",
    "algorithms",
    "environments",
    "evaluate",
    "learn",
    "load",
    "make",
    "plot",
    "resume",
    "run",
    "show",
]  # fmt: skip
