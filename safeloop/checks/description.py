"""This module checks an algorithm's record and settings, before anything is trained."""

from __future__ import annotations

import json
import math
import typing
from dataclasses import MISSING, fields, is_dataclass
from typing import TYPE_CHECKING, Any

from safeloop.checks.findings import Fault, NotApplicable, many, told
from safeloop.errors import UsageError
from safeloop.protocols import Resolved
from safeloop.registry import algorithm_names
from safeloop.settings import build, flat, kinds
from safeloop.settings import meanings as meanings_of

if TYPE_CHECKING:
    from safeloop.checks.short_runs import Trial

WRONG = (math.nan, "nan", "much")
"""Values that no number may have: of a number, of a text that is one to Python, of another text."""


# The record


def methods(trial: Trial) -> str:
    """The methods are those that the record's flags promise."""
    info = trial.info
    wanted = ["resolve", "load", *(["check", "train_on"] if info.offline else ["train"])]
    wanted += ["explorer"] * info.explores + ["load_with"] * info.tunable
    if lacking := [name for name in wanted if not callable(getattr(trial.algorithm, name, None))]:
        flags = f"info.offline={info.offline}, explores={info.explores}, tunable={info.tunable}"
        raise Fault(f"there is no method {lacking[0]}, expected with {flags}")
    unwanted = "train" if info.offline else "train_on"
    if hasattr(trial.algorithm, unwanted):
        raise Fault(f"there is {unwanted} with info.offline={info.offline}: have one of train and train_on")
    return ", ".join(wanted)


def record(trial: Trial) -> str:
    """The record has the entry point's name, a summary of one line and a number of steps."""
    info = trial.info
    if info.name != trial.name:
        raise Fault(f"info.name is {info.name!r}, expected the entry point's name {trial.name!r}")
    if not isinstance(info.summary, str) or not info.summary.strip() or not info.summary.isprintable():
        raise Fault(f"info.summary is {info.summary!r}, expected one line")
    if type(info.default_steps) is not int or info.default_steps < 1:
        raise Fault(f"info.default_steps is {info.default_steps!r}, expected a whole number of at least 1")
    if info.base and info.base not in algorithm_names():
        raise Fault(f"info.base is {info.base!r}, expected the name of an algorithm")
    return f"{info.default_steps:,} {'gradient' if info.offline else 'simulator'} steps: {info.summary}"


def settings(trial: Trial) -> str:
    """Settings are frozen dataclasses with defaults, which are the same after a run has recorded them."""
    cls = trial.info.settings
    _frozen(cls)
    defaults: Any = build(cls, owner=trial.name)
    _survive(trial, defaults, "the default")
    return many(len(flat(defaults)), "setting")


def _frozen(cls: Any) -> None:
    """Raise `Fault` where a class of settings, or of a part of them, is none."""
    name = getattr(cls, "__name__", repr(cls))
    if not isinstance(cls, type) or not is_dataclass(cls) or not cls.__dataclass_params__.frozen:  # type: ignore[attr-defined]
        raise Fault(f"settings {name}: expected a dataclass(frozen=True)")
    for field in fields(cls):
        if field.default is MISSING and field.default_factory is MISSING:
            raise Fault(f"settings {name}: {field.name} has no default")
    kinds(cls)  # raises where two parts share a name
    for kind in typing.get_type_hints(cls).values():
        if is_dataclass(kind):
            _frozen(kind)


def _survive(trial: Trial, values: Any, what: str) -> None:
    """Raise `Fault` where settings are others after they were recorded and read."""
    there = flat(values)
    try:
        back = flat(build(type(values), json.loads(json.dumps(there)), owner=trial.name))
    except (TypeError, ValueError) as error:
        raise Fault(f"{what}s can't be recorded in settings.json and read again: {told(error)}") from error
    for key, value in there.items():
        if back[key] != value:
            hint = "use numbers, texts, True and False"
            raise Fault(f"{what} {key}={value!r} is {back[key]!r} when it is read from settings.json: {hint}")


def presets(trial: Trial) -> str:
    """There is a preset `default`, and each preset can be built."""
    found = trial.info.presets
    if "default" not in found:
        raise Fault(f"info.presets has {', '.join(found) or 'none'}, expected 'default' among them")
    for name, values in found.items():
        try:
            _survive(trial, build(trial.info.settings, values, owner=trial.name), f"preset {name!r}: the value")
        except ValueError as error:
            raise Fault(f"preset {name!r} can't be built: {error}") from error
    return ", ".join(found)


def meanings(trial: Trial) -> str:
    """Each setting has a docstring."""
    found = meanings_of(trial.info.settings)
    if lacking := [key for key, text in found.items() if not text]:
        some = f"{', '.join(lacking[:5])}{', ...' if len(lacking) > 5 else ''}"
        raise NotApplicable(f"{many(len(lacking), 'setting')} of {len(found)} without a docstring below: {some}")
    return f"a docstring below each of {many(len(found), 'setting')}"


def refusals(trial: Trial) -> str:
    """A wrong value of a number is refused with a `ValueError`."""
    numbers, taken = [], []
    for key, kind in kinds(trial.info.settings).items():
        if not {int, float} & {kind, *(typing.get_args(kind) if type(None) in typing.get_args(kind) else ())}:
            continue
        numbers.append(key)
        for value in WRONG:
            try:
                build(trial.info.settings, {key: value}, owner=trial.name)
                taken.append(key)
            except ValueError:
                continue
            except Exception as error:
                raise Fault(f"{key}={value} raised {told(error)}, expected ValueError from __post_init__") from error
    if taken:
        names = ", ".join(dict.fromkeys(taken))
        raise NotApplicable(f"nan is taken for {names}: safeloop.settings.check_range refuses it")
    return f"nan and texts are refused for {many(len(numbers), 'number')}"


# Settings in an environment


def resolve(trial: Trial) -> str:
    """`resolve` gives settings and a text, and gives resolved settings back as they are."""
    found = trial.resolved
    if not isinstance(found, Resolved):
        raise Fault(f"resolve gave a {type(found).__name__}, expected Resolved(settings, privileged)")
    if type(found.settings) is not trial.info.settings:
        raise Fault(f"resolve gave settings {type(found.settings).__name__}, expected {trial.info.settings.__name__}")
    if not isinstance(found.privileged, str):
        raise Fault(f"resolve gave privileged={found.privileged!r}, expected a text, '' for none")
    again = trial.algorithm.resolve(found.settings, trial.spec)
    if again != found:
        old, new = flat(found.settings), flat(again.settings)
        changed = [f"{key} is {new[key]!r} after {old[key]!r}" for key in old if old[key] != new[key]]
        raise Fault(f"resolve changes what it has resolved: {', '.join(changed) or 'privileged differs'}")
    _survive(trial, found.settings, "the resolved value")
    return f"privileged: {found.privileged or 'nothing'}"


def without_cost(trial: Trial) -> str:
    """In an environment without a cost `resolve` works or raises `UsageError`."""
    try:
        trial.algorithm.resolve(trial.asked(trial.costless), trial.costless)
    except UsageError as error:
        return f"refused: {error}"
    except Exception as error:
        hint = "raise UsageError (EnvSpec.need_cost) where there has to be one"
        raise Fault(f"resolve raised {told(error)} in an environment without a cost: {hint}") from error
    return "resolved"
