"""A run's environment with changed options, for a policy that was trained without the change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from safeloop.cmdp import EnvSpec
from safeloop.errors import UsageError
from safeloop.recording.run import RunSettings
from safeloop.registry import find_env
from safeloop.texts import short


def changed_env(settings: RunSettings, changes: Mapping[str, Any]) -> EnvSpec:
    """Return the spec of a run's environment with changed options.

    Raises `UsageError` for an option that it does not have, and for one with which the run's policy can't act: it would
    see something else, or its decisions would mean something else.
    """
    before = find_env(settings.env, settings.env_options)
    if not changes:
        return before
    after = find_env(settings.env, {**settings.env_options, **changes})
    if reason := _unfit(before, after):
        raise UsageError(f"--env-set {short(shown(changes))}: {reason}: train a run with it instead")
    return after


def shown(changes: Mapping[str, Any]) -> str:
    """Return options as a text, `"friction=0.5, mass=2"`."""
    return ", ".join(f"{name}={value}" for name, value in changes.items())


def _unfit(before: EnvSpec, after: EnvSpec) -> str:
    """Return why a policy of one environment can't act in another; "" where it can."""
    if (was := before.options.get("observation")) != after.options.get("observation"):
        return f"the policy was trained with observation={was}"
    if after.action_repeat != before.action_repeat:
        return f"the policy was trained with action_repeat={before.action_repeat}"
    if after.cost_names != before.cost_names:
        told = ", ".join(before.cost_names)
        return f"the policy was trained with {f'costs of {told}' if told else 'one cost'}"
    for name, there, here in zip(("observations", "actions"), _sizes(before), _sizes(after), strict=True):
        if there != here:
            return f"the policy was trained with {name} of the shape {list(there)}, there they have {list(here)}"
    return ""


def _sizes(spec: EnvSpec) -> tuple[Any, Any]:
    """Return the shapes of observations and actions."""
    env = spec.make()
    env.close()
    return env.observation_space.shape, env.action_space.shape
