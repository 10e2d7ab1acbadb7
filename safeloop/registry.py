"""Environments and algorithms by name, found by entry points.

The groups are `safeloop.envs`, `safeloop.algorithms` and `safeloop.algorithm_families`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from typing import Any

from safeloop.cmdp import EnvSpec
from safeloop.delay import delayed, split
from safeloop.errors import UsageError
from safeloop.protocols import Algorithm, AlgorithmInfo, EnvFamily
from safeloop.settings import build, nearest

RENAMED = {"safepets": "rce"}
"""Present names of algorithms by the names they had before, which are still understood and never recorded again."""


@cache
def _installed(group: str, path: tuple[str, ...]) -> EntryPoints:
    return entry_points(group=group)


def installed(group: str) -> EntryPoints:
    """Return the entry points of a group. They are looked for once, and again where the module search path changes."""
    return _installed(group, tuple(sys.path))


def _load(point: EntryPoint, kind: str) -> Any:
    try:
        return point.load()
    except (ImportError, AttributeError) as error:
        raise UsageError(
            f"{kind} {point.name!r} can't be loaded ({error}): `safeloop doctor` says what is missing"
        ) from None


def whole_steps(asked: Any) -> int:
    """Return the simulator steps that a run takes: those that its settings ask for, in whole epochs or episodes.

    Where episodes can end early it may take fewer than that, never fewer than asked for.
    """
    if asked.dataset:
        return int(asked.steps)
    spec, info = find_env(asked.env, asked.env_options), find_algorithm(asked.algo).info
    unit = 1 if spec.terminates else spec.episode_steps
    if info.epoch is not None:
        unit = info.epoch(build(info.settings, asked.algo_settings, owner=asked.algo), spec)
    return int(-(-asked.steps // unit) * unit)


def _plain(name: str) -> str:
    """Return a name without capitals, dashes and underscores."""
    return name.lower().replace("-", "").replace("_", "")


def _checked(found: Any, name: str) -> Algorithm:
    """Return the algorithm that was loaded. Raises `UsageError` where it is none."""
    if not isinstance(found, Algorithm) or not isinstance(found.info, AlgorithmInfo):
        raise UsageError(
            f"algorithm {name!r} lacks info, resolve or load: it may be of an earlier version; "
            "see docs/adding-an-algorithm.md"
        )
    return found


def families() -> list[EnvFamily]:
    """Every environment family installed."""
    return [_load(point, "environment family") for point in installed(group="safeloop.envs")]


def env_names() -> list[str]:
    """Short names of every environment."""
    return [name for family in families() for name in family.names()]


def find_env(name: str, options: Mapping[str, Any] | None = None) -> EnvSpec:
    """Return the spec of the environment `name`. Raises `UsageError` with the nearest names for an unknown one."""
    delay, own = split(options or {})
    broken: UsageError | None = None  # one broken package must not hide the environments of the others
    for point in installed(group="safeloop.envs"):
        try:
            family: EnvFamily = _load(point, "environment family")
        except UsageError as error:
            broken = error
            continue
        if family.canonical(name) is not None:
            return delayed(family.spec(name, **own), delay)
    if broken is not None:
        raise broken
    raise UsageError(f"unknown environment {name!r}; nearest: {nearest(name, env_names())}")


def algorithm_names() -> list[str]:
    """Names of every algorithm; a family that can't be loaded is there as `<entry point>:`."""
    names = [point.name for point in installed(group="safeloop.algorithms")]
    for point in installed(group="safeloop.algorithm_families"):
        try:
            members = _load(point, "algorithm family").names()
        except UsageError:
            members = [""]
        names += [f"{point.name}:{member}" for member in members]
    return names


def find_algorithm(name: str) -> Algorithm:
    """Return the algorithm `name`, whatever its capitals and dashes, or the one that had this name before.

    Raises `UsageError` with the nearest names for an unknown one.
    """
    name = RENAMED.get(_plain(name), name)
    for point in installed(group="safeloop.algorithms"):
        if point.name == name:
            return _checked(_load(point, "algorithm"), name)
    alike = [point for point in installed(group="safeloop.algorithms") if _plain(point.name) == _plain(name)]
    if len(alike) == 1:  # `PPOLag` is `ppo-lag`
        return _checked(_load(alike[0], "algorithm"), alike[0].name)
    family, colon, member = name.partition(":")
    for point in installed(group="safeloop.algorithm_families"):
        if colon and point.name == family:
            return _checked(_load(point, "algorithm family").algorithm(member), name)
    names = algorithm_names()
    without_family = [known for known in names if _plain(known).endswith(f":{_plain(name)}")]
    raise UsageError(f"unknown algorithm {name!r}; nearest: {nearest(name, without_family or names)}")


def find_algorithm_name(text: str) -> str:
    """Return the name of the algorithm that a text stands for, or the text."""
    try:
        return find_algorithm(text).info.name
    except UsageError:
        return text


def speed_peers(kind: str) -> dict[str, EntryPoint]:
    """Return the peers that `safeloop speed` can measure beside us, by name; a kind is `envs` or `training`."""
    return {point.name: point for point in installed(group=f"safeloop.speed.{kind}")}
