"""Delays of actions and observations, for every environment (`--env-set action_delay=N`, `observation_delay=N`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from safeloop.cmdp import Delay, EnvSpec
from safeloop.settings import check_whole

if TYPE_CHECKING:
    import gymnasium

OPTIONS = ("action_delay", "observation_delay")
MOST = 100


def split(options: Mapping[str, Any]) -> tuple[Delay, dict[str, Any]]:
    """Return the delay that options of an environment ask for, and the other options. Raises `UsageError`."""
    numbers = [check_whole(f"--env-set {name}", options.get(name, 0), 0, MOST) for name in OPTIONS]
    return Delay(*numbers), {name: value for name, value in options.items() if name not in OPTIONS}


def delayed(spec: EnvSpec, delay: Delay) -> EnvSpec:
    """Return the spec of the same environment under a delay."""
    if not delay.decisions:
        return spec
    options = dict(zip(OPTIONS, (delay.action, delay.observation), strict=True))
    return replace(
        spec, make=partial(_make, spec, delay), delay=delay,
        options={**spec.options, **{name: value for name, value in options.items() if value}},
    )  # fmt: skip


def _make(spec: EnvSpec, delay: Delay, **options: Any) -> gymnasium.Env:
    from safeloop.delayed import Delayed  # needs gymnasium

    return Delayed(spec.make(**options), spec, delay)
