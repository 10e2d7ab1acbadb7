"""Environments and algorithms by name, found by entry points.

The groups are `safeloop.envs`, `safeloop.algorithms` and `safeloop.algorithm_families`.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from safeloop.cmdp import EnvSpec
from safeloop.errors import UsageError
from safeloop.settings import build, nearest

if TYPE_CHECKING:
    from safeloop.recording.recorder import Recorder
    from safeloop.recording.run import Run, RunSettings


class EnvFamily(Protocol):
    """What an entry point in `safeloop.envs` loads to."""

    def names(self) -> list[str]:
        """Short names, as on the command line."""
        ...

    def canonical(self, name: str) -> str | None:
        """The short name that `name` stands for, or None where it is not one of these environments."""
        ...

    def spec(self, name: str, **options: Any) -> EnvSpec:
        """The environment's spec. Raises `UsageError` for an unknown name or option."""
        ...


class Policy(Protocol):
    """A trained policy, acting deterministically."""

    def reset(self, episodes: int = 1) -> None:
        """Begin episodes, so many at once (clears a planner's warm start)."""
        ...

    def act(self, obs: np.ndarray) -> np.ndarray:
        """Observations `[B, S]`, one of each episode under way, to actions `[B, A]`; one, `[S]`, to `[A]`.

        A policy that remembers something of each episode also has `keep(rows)`, which goes on with those of the
        episodes that are at the places `rows`; the others have ended.
        """
        ...


class Algorithm(Protocol):
    """What an entry point in `safeloop.algorithms` loads to. See docs/adding-an-algorithm.md.

    A planner that keeps the cost within its horizon under a threshold, rather than training for the budget,
    may say so by an attribute `constrained = True`: the tables then note it. One that trains in epochs of several
    episodes has a method `epoch(settings, spec)` that gives the simulator steps of an epoch.
    """

    name: str
    summary: str
    """One line for `safeloop list algos`."""
    default_steps: int
    """Simulator steps of a run where the user gives none."""
    resumable: bool
    """Whether a killed run continues to the same result; otherwise it starts anew."""
    settings: type
    """A frozen dataclass with every setting and its default.

    Where a default depends on the environment, a method `filled(spec)` gives the settings with its number in place.
    """
    presets: Mapping[str, Mapping[str, Any]]
    """Named groups of settings; `default` is always there."""

    def told(self, settings: Any, spec: EnvSpec) -> str:
        """What the algorithm is told beside its samples, for example "known cost"; "" for nothing.

        Raises `UsageError` where the environment can't give what the settings ask for.
        """
        ...

    def learn(self, env: Recorder, budget: float | None, run: Run) -> None:
        """Train on `env` until `run.settings.steps` simulator steps, for a cost return of `budget`.

        That is None where nothing costs; an algorithm that needs a budget says so in `told` (`EnvSpec.need_cost`).
        """
        ...

    def load(self, run: Run, seed: int) -> Policy:
        """The policy of the run's checkpoint; `seed` seeds whatever it draws when it acts."""
        ...


class AlgorithmFamily(Protocol):
    """What an entry point in `safeloop.algorithm_families` loads to: algorithms `<entry point>:NAME`."""

    def names(self) -> list[str]:
        """What may stand for NAME."""
        ...

    def algorithm(self, name: str) -> Algorithm:
        """The algorithm `<entry point>:NAME`. Raises `UsageError` for an unknown name."""
        ...


def _load(point: EntryPoint, kind: str) -> Any:
    try:
        return point.load()
    except (ImportError, AttributeError) as error:
        raise UsageError(
            f"{kind} {point.name!r} can't be loaded ({error}): `safeloop doctor` says what is missing"
        ) from None


def filled(settings: Any, spec: EnvSpec) -> Any:
    """An algorithm's settings, with numbers in place of those that depend on the environment."""
    return settings.filled(spec) if hasattr(settings, "filled") else settings


def whole_steps(asked: RunSettings) -> int:
    """Return the simulator steps that a run takes: those asked for, rounded up to whole epochs or episodes.

    Where episodes can end early it may take fewer than that, never fewer than asked for.
    """
    if asked.dataset:
        return asked.steps
    spec, algorithm = find_env(asked.env, asked.env_options), find_algorithm(asked.algo)
    unit = 1 if spec.terminates else spec.episode_steps
    if hasattr(algorithm, "epoch"):
        unit = algorithm.epoch(build(algorithm.settings, asked.algo_settings, owner=asked.algo), spec)
    return -(-asked.steps // unit) * unit


def families() -> list[EnvFamily]:
    """Every environment family installed."""
    return [_load(point, "environment family") for point in entry_points(group="safeloop.envs")]


def env_names() -> list[str]:
    """Short names of every environment."""
    return [name for family in families() for name in family.names()]


def find_env(name: str, options: Mapping[str, Any] | None = None) -> EnvSpec:
    """The spec of the environment `name`. Raises `UsageError` with the nearest names for an unknown one."""
    broken: UsageError | None = None  # one broken package must not hide the environments of the others
    for point in entry_points(group="safeloop.envs"):
        try:
            family = _load(point, "environment family")
        except UsageError as error:
            broken = error
            continue
        if family.canonical(name) is not None:
            return family.spec(name, **(options or {}))
    if broken is not None:
        raise broken
    raise UsageError(f"unknown environment {name!r}; nearest: {nearest(name, env_names())}")


def algorithm_names() -> list[str]:
    """Names of every algorithm; a family that can't be loaded is there as `<entry point>:`."""
    names = [point.name for point in entry_points(group="safeloop.algorithms")]
    for point in entry_points(group="safeloop.algorithm_families"):
        try:
            members = _load(point, "algorithm family").names()
        except UsageError:
            members = [""]
        names += [f"{point.name}:{member}" for member in members]
    return names


def find_algorithm(name: str) -> Algorithm:
    """The algorithm `name`. Raises `UsageError` with the nearest names for an unknown one."""
    for point in entry_points(group="safeloop.algorithms"):
        if point.name == name:
            return _load(point, "algorithm")
    family, colon, member = name.partition(":")
    for point in entry_points(group="safeloop.algorithm_families"):
        if colon and point.name == family:
            return _load(point, "algorithm family").algorithm(member)
    names = algorithm_names()
    without_family = [known for known in names if known.lower().endswith(f":{name.lower()}")]
    raise UsageError(f"unknown algorithm {name!r}; nearest: {nearest(name, without_family or names)}")
