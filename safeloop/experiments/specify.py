"""Plan a comparison and start it: everything is checked before anything starts or is written.

`plan` turns what the user asked for into the settings of each run, `prepare` decides for each whether it is
started, resumed or kept. `safeloop.processes` trains them.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from safeloop.cmdp import EnvSpec
from safeloop.data.datasets import Dataset
from safeloop.errors import UsageError
from safeloop.experiments.local import Job, Work
from safeloop.files import check_folder, check_path
from safeloop.recording import reader
from safeloop.recording.run import Run, RunSettings
from safeloop.recording.versions import versions
from safeloop.registry import Algorithm, algorithm_names, env_names, filled, find_algorithm, find_env, whole_steps
from safeloop.settings import (
    LARGEST_SEED,
    MOST_EPISODES,
    MOST_SEEDS,
    MOST_THREADS,
    build,
    check_whole,
    nearest,
    split_pairs,
)
from safeloop.texts import short

Pairs = Mapping[str, Any] | Iterable[str]
"""`{"key": value}`, or texts `key=value`."""

ALGORITHMS, WITHOUT_COST = ("safeloop", "cpo", "ppo-lag"), ("loop-sac", "sac")
"""What is compared unless something else is asked for, and the same where nothing costs."""
OFFLINE, OFFLINE_WITH_COST = ("loop-crr", "crr"), ("safeloop-crr", "loop-crr", "crr")
"""The same for learning from a dataset, and from one with costs."""
WITHOUT_COST_PRESETS = {"default": "online", "paper": "online-paper"}
"""Presets that an algorithm may have for tasks where nothing costs, in place of those it has for all."""

VARIANT = r"[A-Za-z0-9][A-Za-z0-9_.=+-]{0,39}"
DEVICE = r"cpu|cuda(:(0|[1-9][0-9]?))?"


# Planning


def plan(
    env: str,
    algos: Sequence[str] | None,
    steps: int | str | Pairs | None,
    seeds: Iterable[int],
    preset: str,
    budget: float | None,
    device: str,
    settings: Pairs,
    env_options: Pairs,
    eval_every: int,
    eval_episodes: int,
    threads: int,
    variant: str,
    keep_every: int = 0,
    dataset: Dataset | None = None,
) -> list[RunSettings]:
    """The settings of every run. Raises `UsageError` for the first thing that can't be."""
    check_device(device)
    if isinstance(algos, str):
        raise UsageError(f"algos={algos!r}: expected a list of names, [{algos!r}]")
    if not isinstance(seeds, Iterable) or isinstance(seeds, str):
        raise UsageError(f"seeds={seeds!r}: expected a list of whole numbers, [0, 1, 2]")
    seeds = [check_whole("--seed", seed, 0, LARGEST_SEED) for seed in islice(seeds, MOST_SEEDS + 1)]
    if len(seeds) > MOST_SEEDS:
        raise UsageError(f"seeds: expected at most {MOST_SEEDS:,} at once")
    eval_every = check_whole("--eval-every", eval_every, 0)
    eval_episodes = check_whole("--eval-episodes", eval_episodes, 0, MOST_EPISODES)
    threads = check_whole("--threads", threads, 1, MOST_THREADS)
    keep_every = check_whole("--keep-every", keep_every, 0)
    if variant and not re.fullmatch(VARIANT, variant):
        raise UsageError(
            f"--variant {short(variant)!r}: expected at most 40 letters, digits, dots, =, +, - or _, "
            "the first a letter or digit"
        )
    given, asked_settings, asked_steps = pairs(env_options, "--env-set"), pairs(settings, "--set"), parsed_steps(steps)
    spec = find_env(env, given)
    algos = usual_algorithms(spec, dataset) if algos is None else algos
    if not algos or not seeds:
        raise UsageError("give at least one algorithm and one seed")
    allowed = _budget(spec, budget)
    found = {name: find_algorithm(name) for name in dict.fromkeys(algos)}
    check_kind(found, dataset)
    if keep_every and (unable := [n for n, algorithm in found.items() if not getattr(algorithm, "keeps", False)]):
        raise UsageError(f"--keep-every {keep_every}: {', '.join(unable)} keeps no earlier checkpoints; leave it out")
    if not any(preset in algorithm.presets for algorithm in found.values()):
        known = dict.fromkeys(name for algorithm in found.values() for name in algorithm.presets)
        raise UsageError(f"no selected algorithm has the preset {preset!r}; nearest: {nearest(preset, known)}")
    totals = step_totals(asked_steps, found)
    overrides = settings_by_algorithm(asked_settings, found)
    data = dataset.summary if dataset else {}  # reads all of it, so once for all runs
    result = []
    for name, algorithm in found.items():
        used = preset if preset in algorithm.presets else "default"
        if spec.budget is None and WITHOUT_COST_PRESETS.get(used) in algorithm.presets:
            used = WITHOUT_COST_PRESETS[used]
        values: Any = build(algorithm.settings, algorithm.presets[used], overrides[name], owner=name)
        if dataset is not None and hasattr(algorithm, "check"):
            algorithm.check(dataset, values, spec)
        for seed in dict.fromkeys(seeds):
            asked = RunSettings(
                env=spec.id, algo=name, steps=totals[name], seed=seed, budget=allowed, preset=used,
                env_options={**given, **spec.options}, algo_settings=asdict(filled(values, spec)),
                told=algorithm.told(values, spec), device=device, threads=threads,
                eval_every=eval_every, eval_episodes=eval_episodes, variant=variant, keep_every=keep_every,
                dataset=dataset.name if dataset else "", data=data,
            )  # fmt: skip
            result.append(RunSettings(**json.loads(json.dumps(asdict(asked)))))
    return result


def usual_algorithms(spec: EnvSpec, dataset: Dataset | None) -> Sequence[str]:
    """What is compared where the user names no algorithm."""
    if dataset is not None:
        return OFFLINE if spec.budget is None or dataset.cost is None else OFFLINE_WITH_COST
    return WITHOUT_COST if spec.budget is None else ALGORITHMS


def check_kind(algorithms: Mapping[str, Algorithm], dataset: Dataset | None) -> None:
    """Raise `UsageError` for an algorithm that learns from a dataset where there is none, and the other way round."""
    for name, algorithm in algorithms.items():
        offline = getattr(algorithm, "offline", False)
        if offline and dataset is None:
            raise UsageError(f"{name} learns from a dataset: use `safeloop offline DATASET --algo {name}`")
        if not offline and dataset is not None:
            known = [each for each in algorithm_names() if is_offline(each)]
            raise UsageError(f"{name} learns while acting: of a dataset learn {', '.join(known)}")
        if dataset is not None and dataset.cost is None and getattr(algorithm, "constrained", False):
            raise UsageError(f"{dataset.path}: costs is missing, and {name} keeps a cost within a limit")


def is_offline(name: str) -> bool:
    """Whether an algorithm learns from a dataset; one that can't be loaded does not."""
    try:
        return bool(getattr(find_algorithm(name), "offline", False))
    except UsageError:
        return False


def fitting_env(dataset: Dataset, env: str | None, env_options: Pairs) -> tuple[str, dict[str, Any]]:
    """The environment of a dataset and its options: as asked for, or as the dataset says.

    Raises `UsageError` where the dataset names none, or observations or actions differ in size.
    """
    asked = pairs(env_options, "--env-set")
    name = env or dataset.env
    if name is None:
        raise UsageError(f"{dataset.path} names no environment: give --env NAME")
    own = dataset.env_options if env is None or (dataset.env or "").lower() == env.lower() else {}
    if other := [key for key, value in asked.items() if key in own and str(value) != str(own[key])]:
        key = other[0]
        raise UsageError(f"{dataset.path} was collected with {key}={own[key]}: leave --env-set {key}={asked[key]} out")
    try:
        spec = find_env(canonical(name), {**own, **asked})
    except UsageError as error:
        raise error if env else UsageError(f"{dataset.path}: {error}; give --env NAME") from None
    made = spec.make()
    sizes: dict[str, Any] = {"observations": made.observation_space.shape, "actions": made.action_space.shape}
    made.close()
    for key, there in (("observations", dataset.obs.shape[1:]), ("actions", dataset.act.shape[1:])):
        if sizes[key] != there:
            options = ", ".join(f"{k}={v}" for k, v in spec.options.items())
            raise UsageError(
                f"{dataset.path}: {key} have {there[0]} numbers, those of {spec.id} ({options}) {sizes[key][0]}: "
                "give --env NAME or --env-set KEY=VALUE"
            )
    longest, most = int(dataset.per_episode(np.ones(len(dataset))).max()), -(-spec.episode_steps // spec.action_repeat)
    if longest > most:
        raise UsageError(
            f"{dataset.path}: an episode of {longest:,} decisions, those of {spec.id} have {most:,} at most: "
            "where its episodes end is missing (timeouts)"
        )
    return spec.id, spec.options


def canonical(name: str) -> str:
    """The environment that is written so but for capitals, as datasets have it; otherwise the name itself."""
    return next((known for known in env_names() if known.lower() == name.lower()), name)


def check_device(device: str) -> None:
    """Raise `UsageError` for a device that is unknown or not there."""
    if not re.fullmatch(DEVICE, device):
        raise UsageError(f"--device {short(device)}: expected cpu or cuda, or cuda:N for the device numbered N from 0")
    if device == "cpu":
        return
    import torch  # takes a second, which no other mistake should wait for

    if not torch.cuda.is_available():
        raise UsageError(f"--device {device}: this machine has no CUDA device that torch can use; use --device cpu")
    count = torch.cuda.device_count()
    if (torch.device(device).index or 0) >= count:
        there = ", ".join(f"cuda:{i}" for i in range(count))
        raise UsageError(f"--device {device}: this machine has no such device; it has {there}")


def pairs(given: Pairs, option: str) -> dict[str, Any]:
    """What was given as pairs, as a dict."""
    return dict(given) if isinstance(given, Mapping) else dict(split_pairs(given, option))


def _budget(spec: EnvSpec, asked: float | None) -> float | None:
    if asked is None:
        return spec.budget if spec.budget is None else float(spec.budget)
    if isinstance(asked, bool) or not isinstance(asked, int | float) or not 0 <= asked <= sys.float_info.max:
        shown = f"{asked:g}" if isinstance(asked, float) else short(asked)
        raise UsageError(f"--budget {shown}: expected a cost return of at least 0")
    if spec.budget is None:
        raise UsageError(f"--budget {asked:g}: nothing costs in {spec.id}; leave it out")
    return float(asked)


def parsed_steps(steps: int | str | Pairs | None) -> list[tuple[str, int]]:
    """Return pairs of an algorithm's name and its steps, the name "" for all; those for all come first."""
    if steps is None:
        return []
    if isinstance(steps, int | str | float):
        steps = [str(steps)]
    items = list(steps.items()) if isinstance(steps, Mapping) else [_split_steps(text) for text in steps]
    items.sort(key=lambda item: bool(item[0]))
    return [(name, check_whole("--steps", number, 1)) for name, number in items]


def step_totals(steps: list[tuple[str, int]], algorithms: Mapping[str, Algorithm]) -> dict[str, int]:
    """Return the steps of each algorithm, as asked for or its own default."""
    totals = {name: algorithm.default_steps for name, algorithm in algorithms.items()}
    for name, number in steps:
        if name and name not in totals:
            raise UsageError(
                f"--steps {short(f'{name}={number}')}: {short(name)!r} is not a selected algorithm: {', '.join(totals)}"
            )
        for each in [name] if name else totals:
            totals[each] = number
    return totals


def _split_steps(text: Any) -> tuple[str, str]:
    name, _, number = str(text).rpartition("=")
    return name.strip(), number.strip()


def settings_by_algorithm(
    settings: Mapping[str, Any], algorithms: Mapping[str, Algorithm]
) -> dict[str, dict[str, Any]]:
    """Overrides of each algorithm: `key` reaches all that have it, `algorithm.key` one."""
    result: dict[str, dict[str, Any]] = {name: {} for name in algorithms}
    keys = {name: [f.name for f in fields(algorithm.settings)] for name, algorithm in algorithms.items()}
    for key, value in settings.items():
        owner, dot, rest = key.partition(".")
        if dot:
            if owner not in keys:
                raise UsageError(f"--set {key}: {owner!r} is not a selected algorithm: {', '.join(keys)}")
            owners, plain = [owner], rest
        else:
            owners, plain = [name for name in keys if key in keys[name]], key
        if not owners or plain not in keys[owners[0]]:
            known = dict.fromkeys(k for name in owners or keys for k in keys[name])
            raise UsageError(f"{', '.join(owners or keys)}: no setting {plain!r}; nearest: {nearest(plain, known)}")
        for name in owners:
            result[name][plain] = value
    return result


# Preparing folders


def prepare(out: Path, asked: Sequence[RunSettings], dataset: Path | None = None) -> Work:
    """Start, resume or keep each run, of the `dataset` there. Nothing is written before every folder was looked at."""
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
        if resumption(run, run.settings.threads, work) == "anew":
            aside.append(run)
    folder = out / asked[0].folder
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
    """A notice where a run goes on to the end of an epoch or episode beyond its steps; otherwise nothing."""
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
    """A notice where a run is to end before its algorithm begins to learn; otherwise nothing."""
    warmup = settings.algo_settings.get("warmup", 0)
    steps = warmup * find_env(settings.env, settings.env_options).action_repeat
    if settings.dataset or settings.steps > steps:
        return ""
    return (
        f"{settings.name}: its first {steps:,} steps are random (warmup={warmup}), and {settings.steps:,} are asked for"
    )


def _check_same(run: Run, asked: RunSettings) -> None:
    there, here = asdict(run.settings), asdict(asked)
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
    if recorded.state != "new" and (lost or not algorithm.resumable):
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
        if find_algorithm(run.settings.algo).resumable
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
    algorithm.told(build(algorithm.settings, settings.algo_settings, owner=settings.algo), spec)
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
