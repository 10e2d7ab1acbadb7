"""Specify runs: turn a request into the settings of each run, with every mistake told before anything starts.

`specify` gives the settings, `prepare.py` decides for each run whether it is started, resumed or kept, and `local.py`
trains them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from safeloop.cmdp import EnvSpec
from safeloop.data.datasets import Dataset
from safeloop.errors import UsageError
from safeloop.experiments.budgets import Budget, budgets
from safeloop.protocols import Algorithm
from safeloop.recording.run import RunSettings
from safeloop.registry import algorithm_names, env_names, find_algorithm, find_algorithm_name, find_env
from safeloop.settings import (
    LARGEST_SEED,
    MOST_EPISODES,
    MOST_SEEDS,
    MOST_THREADS,
    OPTIONS,
    build,
    check_whole,
    flat,
    kinds,
    nearest,
    nearest_settings,
    own_name,
    split_pairs,
)
from safeloop.texts import short

Pairs = Mapping[str, Any] | Iterable[str]
"""`{"key": value}`, or texts `key=value`."""

ALGORITHMS, WITHOUT_COST = ("safeloop", "cpo", "ppo-lag"), ("loop-sac", "sac")
"""The algorithms that are compared unless others are asked for, and those in environments without a cost."""
OFFLINE, OFFLINE_WITH_COST = ("loop-crr", "crr"), ("safeloop-crr", "loop-crr", "crr")
"""The same for learning from a dataset, and from one with costs."""
WITHOUT_COST_PRESETS = {"default": "online", "paper": "online-paper"}
"""Presets that an algorithm may have for environments without a cost, in place of those it has for all."""

EPISODES, OFFLINE_EPISODES = 5, 20
"""Episodes of an evaluation, where nothing else is asked for."""
VARIANT = r"[A-Za-z0-9][A-Za-z0-9_.=+-]{0,39}"
DEVICE = r"cpu|cuda(:(0|[1-9][0-9]?))?"


@dataclass(frozen=True)
class Request:
    """Everything that a user can ask of `safeloop run` or `safeloop offline`, unchecked."""

    algos: Sequence[str] | None = None
    """Algorithms; None: those that are usual for the task."""
    steps: int | str | Pairs | None = None
    """Simulator steps, offline gradient steps: a number, `{"cpo": 100_000}` for some algorithms, or None for their
    defaults."""
    seeds: Iterable[int] = (0,)
    preset: str = "default"
    """The name of a group of settings, for the algorithms that have it."""
    settings: Pairs = ()
    """The algorithms' settings: `{"horizon": 4}` reaches each that has it, `{"safeloop.horizon": 4}` one."""
    env_options: Pairs = ()
    """The environment's options."""
    budget: Budget | None = None
    """Cost limit per episode, or of each cost that the environment names, `{"hazards": 10}`; None: the environment's.
    """
    eval_every: int = 0
    """Steps between evaluations; 0: at the end only."""
    eval_episodes: int | None = None
    """Episodes of an evaluation; None: 5, offline 20."""
    device: str = "cpu"
    """`cpu`, `cuda` or `cuda:N`."""
    threads: int = 1
    """Threads of each run; another number can change its results."""
    variant: str = ""
    """A part of the runs' names and folders, so that several settings of an algorithm can be compared."""
    keep_every: int = 0
    """Simulator steps between checkpoints that are kept for good; 0: the last only."""
    reset_free: bool = False
    """Begin each episode of training where the last one ended: one life without resets."""
    out: str | Path = "runs"
    """The folder that the comparison's folder is in."""
    jobs: int | None = None
    """Runs side by side; None: the cores."""
    executor: str = "local"
    """The place that runs are trained in: `local`, `ray` or `slurm`."""
    address: str | None = None
    """The address of a running Ray cluster; None: one is started here."""
    resources: Pairs = ()
    """Resources of each run on a cluster: `{"cores": 2, "gpus": 0.5}`."""
    sweep: int = 0
    """Offline: choose the planner's settings, among so many of the paper's grid, on another seed."""
    track: Sequence[str] = ()
    """Trackers that each run's rows are mirrored to, `tensorboard` and `wandb`; no part of a run's settings."""
    quiet: bool = False
    """Whether to show no progress."""
    config: str | Path | None = None
    """A file that holds what a run's `settings.json` does: its values stand where nothing else is asked for."""


def specify(
    asked: Request, env: str, options: Pairs | None = None, dataset: Dataset | None = None
) -> list[RunSettings]:
    """Return the settings of every run. Raises `UsageError` for the first thing that can't be.

    `options` are the environment's in place of those asked for: a dataset's.
    """
    check_device(asked.device)
    if isinstance(asked.algos, str):
        raise UsageError(f"algos={asked.algos!r}: expected a list of names, [{asked.algos!r}]")
    seeds, preset = checked_seeds(asked.seeds), asked.preset
    numbers = checked_numbers(asked, dataset)
    given = pairs(asked.env_options if options is None else options, "--env-set")
    asked_settings, asked_steps = pairs(asked.settings, "--set"), parsed_steps(asked.steps)
    spec = find_env(env, given)
    algos = usual_algorithms(spec, dataset) if asked.algos is None else asked.algos
    if not algos or not seeds:
        raise UsageError("give at least one algorithm and one seed")
    limit, limits = budgets(spec, asked.budget)
    found = {each.info.name: each for each in map(find_algorithm, algos)}
    check_kind(found, dataset)
    if numbers["keep_every"] and (unable := [n for n, each in found.items() if not each.info.keeps_checkpoints]):
        raise UsageError(
            f"--keep-every {numbers['keep_every']}: {', '.join(unable)} keeps no earlier checkpoints; leave it out"
        )
    if asked.reset_free:
        check_reset_free(spec, found)
    if not any(preset in algorithm.info.presets for algorithm in found.values()):
        known = dict.fromkeys(name for algorithm in found.values() for name in algorithm.info.presets)
        raise UsageError(f"no selected algorithm has the preset {preset!r}; nearest: {nearest(preset, known)}")
    totals = step_totals(asked_steps, found)
    overrides = settings_by_algorithm(asked_settings, found)
    data = dataset.summary if dataset else {}  # reads all of it, so once for all runs
    result = []
    for name, algorithm in found.items():
        used = preset_for(algorithm, preset, spec)
        values: Any = build(algorithm.info.settings, algorithm.info.presets[used], overrides[name], owner=name)
        if dataset is not None:
            algorithm.check(dataset, values, replace(spec, budget=limit))  # type: ignore[attr-defined]
        resolved = algorithm.resolve(values, spec)
        for seed in dict.fromkeys(seeds):
            settings = RunSettings(
                env=spec.id, algo=name, steps=totals[name], seed=seed, budget=limit, budgets=limits, preset=used,
                env_options={**given, **spec.options}, algo_settings=flat(resolved.settings),
                privileged=resolved.privileged, device=asked.device, variant=asked.variant,
                dataset=dataset.name if dataset else "", data=data, reset_free=asked.reset_free, **numbers,
            )  # fmt: skip
            result.append(RunSettings(**json.loads(json.dumps(asdict(settings)))))
    return result


def completed(settings: RunSettings) -> RunSettings:
    """Return a run's settings with defaults for those that there were not yet when it was recorded.

    A new setting has the default under which runs from before it are what they were. Where a setting is no longer
    there, or the values can't be together any more, all stay as they are.
    """
    try:
        algorithm = find_algorithm(settings.algo)
        values: Any = build(algorithm.info.settings, settings.algo_settings, owner=settings.algo)
        resolved = algorithm.resolve(values, find_env(settings.env, settings.env_options))
    except UsageError:
        return settings
    found: dict[str, Any] = json.loads(json.dumps(flat(resolved.settings)))
    return replace(settings, algo_settings={**found, **settings.algo_settings})


def check_reset_free(spec: EnvSpec, algorithms: Mapping[str, Algorithm]) -> None:
    """Raise `UsageError` where an episode can't begin where the last one ended."""
    if spec.simulator is None:
        raise UsageError(f"--reset-free: {spec.id} has no full states to begin an episode with; leave it out")
    if spec.terminates:
        raise UsageError(f"--reset-free: {spec.id} ends episodes by termination, after which there is no life to go on")
    if unable := [name for name, each in algorithms.items() if not each.info.keeps_checkpoints]:
        raise UsageError(f"--reset-free: {', '.join(unable)} resets the environment at will; leave it out")


def checked_seeds(seeds: Any) -> list[int]:
    """Return the seeds. Raises `UsageError` where these are no whole numbers, or too many."""
    if not isinstance(seeds, Iterable) or isinstance(seeds, str):
        raise UsageError(f"seeds={seeds!r}: expected a list of whole numbers, [0, 1, 2]")
    found = [check_whole("--seed", seed, 0, LARGEST_SEED) for seed in islice(seeds, MOST_SEEDS + 1)]
    if len(found) > MOST_SEEDS:
        raise UsageError(f"seeds: expected at most {MOST_SEEDS:,} at once")
    return found


def checked_numbers(asked: Request, dataset: Dataset | None) -> dict[str, int]:
    """Return the whole numbers of every run. Raises `UsageError` for one out of range, or a variant that is no name."""
    episodes = asked.eval_episodes
    usual = EPISODES if dataset is None else OFFLINE_EPISODES
    found = {
        "eval_every": check_whole("--eval-every", asked.eval_every, 0),
        "eval_episodes": check_whole("--eval-episodes", usual if episodes is None else episodes, 0, MOST_EPISODES),
        "threads": check_whole("--threads", asked.threads, 1, MOST_THREADS),
        "keep_every": check_whole("--keep-every", asked.keep_every, 0),
    }
    if asked.variant and not re.fullmatch(VARIANT, asked.variant):
        raise UsageError(
            f"--variant {short(asked.variant)!r}: expected at most 40 letters, digits, dots, =, +, - or _, "
            "the first a letter or digit"
        )
    return found


def preset_for(algorithm: Algorithm, preset: str, spec: EnvSpec) -> str:
    """Return the preset that an algorithm uses in an environment: its own, or `default` where it has none so named."""
    used = preset if preset in algorithm.info.presets else "default"
    if spec.budget is None and WITHOUT_COST_PRESETS.get(used) in algorithm.info.presets:
        return WITHOUT_COST_PRESETS[used]
    return used


def usual_algorithms(spec: EnvSpec, dataset: Dataset | None) -> Sequence[str]:
    """Return the algorithms that are compared where the user names none."""
    if dataset is not None:
        return OFFLINE if spec.budget is None or dataset.cost is None else OFFLINE_WITH_COST
    return WITHOUT_COST if spec.budget is None else ALGORITHMS


def check_kind(algorithms: Mapping[str, Algorithm], dataset: Dataset | None) -> None:
    """Raise `UsageError` for an algorithm that learns from a dataset where there is none, and the other way round."""
    for name, algorithm in algorithms.items():
        offline = algorithm.info.offline
        if offline and dataset is None:
            raise UsageError(f"{name} learns from a dataset: use `safeloop offline DATASET --algo {name}`")
        if not offline and dataset is not None:
            known = [each for each in algorithm_names() if is_offline(each)]
            raise UsageError(f"{name} learns while acting: of a dataset learn {', '.join(known)}")
        if dataset is not None and dataset.cost is None and algorithm.info.constrained:
            raise UsageError(f"{dataset.path}: costs is missing, and {name} keeps a cost within a limit")


def is_offline(name: str) -> bool:
    """Whether an algorithm learns from a dataset; one that can't be loaded does not."""
    try:
        return find_algorithm(name).info.offline
    except UsageError:
        return False


def fitting_env(dataset: Dataset, env: str | None, env_options: Pairs) -> tuple[str, dict[str, Any]]:
    """Return the environment of a dataset and its options: as asked for, or as the dataset says.

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
    """Return the environment that is written so but for capitals, as datasets have it; otherwise the name itself."""
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
    """Return a dict of settings that were given as pairs."""
    return dict(given) if isinstance(given, Mapping) else dict(split_pairs(given, option))


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
    totals = {name: algorithm.info.default_steps for name, algorithm in algorithms.items()}
    for given, number in steps:
        name = find_algorithm_name(given) if given and given not in totals else given
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
    """Return the overrides of each algorithm: `key` reaches all that have it, `algorithm.key` one.

    A name that a setting has elsewhere is taken too (`ALIASES`).
    """
    result: dict[str, dict[str, Any]] = {name: {} for name in algorithms}
    said: dict[tuple[str, str], str] = {}
    known = {name: kinds(algorithm.info.settings) for name, algorithm in algorithms.items()}
    for key, value in settings.items():
        owner, dot, rest = key.partition(".")
        if dot:
            owner = owner if owner in known else find_algorithm_name(owner)
        if dot and owner not in known:
            raise UsageError(f"--set {key}: {owner!r} is not a selected algorithm: {', '.join(known)}")
        asked, plain = ([owner], rest) if dot else (list(known), key)
        names = {name: own_name(plain, known[name]) for name in asked}
        if not any(names.values()):
            if plain in OPTIONS:
                raise UsageError(f"--set {key}={short(value)}: that is an option here: {OPTIONS[plain]} {short(value)}")
            near = nearest_settings(plain, list(dict.fromkeys(k for name in asked for k in known[name])))
            raise UsageError(f"{', '.join(asked)}: no setting {plain!r}; nearest: {near}")
        for name, own in names.items():
            if own is None:
                continue
            before = said.setdefault((name, own), plain)
            if before != plain:
                alias = plain if plain != own else before
                raise UsageError(f"--set {key}: {alias} is {own} here, which is given too; leave one of them out")
            result[name][own] = value
    return result
