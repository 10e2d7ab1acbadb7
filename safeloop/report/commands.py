"""Build the command that would make a run anew, from its settings."""

from __future__ import annotations

import json
import shlex
from typing import Any

from safeloop.errors import UsageError
from safeloop.recording.run import RunSettings
from safeloop.registry import find_algorithm, find_env
from safeloop.settings import build, flat, kinds

USUAL = {"eval_every": 0, "eval_episodes": 5, "threads": 1, "device": "cpu", "keep_every": 0, "variant": ""}
"""Options that a command leaves out where they have these values; offline an evaluation has 20 episodes."""


def command(settings: RunSettings) -> str:
    """Return the command that asks for a run with these settings: `safeloop run PointGoal1 --algo sac --steps ...`.

    It names what differs from the defaults of this version, or everything where the environment or the algorithm is
    not installed. Of a dataset it has the name, as its path is not part of the settings.
    """
    words = ["safeloop", "offline", settings.dataset] if settings.dataset else ["safeloop", "run", settings.env]
    words += ["--algo", settings.algo, "--steps", str(settings.steps), "--seed", str(settings.seed)]
    if settings.preset != "default":
        words += ["--preset", settings.preset]
    for name, value in _settings(settings).items():
        words += ["--set", f"{name}={_text(value)}"]
    options, budgets = _env(settings)
    if not settings.dataset:  # a dataset says how its environment was made
        for name, value in options.items():
            words += ["--env-set", f"{name}={_text(value)}"]
    for name, value in budgets.items():
        words += ["--budget", f"{name}={_text(value)}" if name else _text(value)]
    if settings.reset_free:
        words.append("--reset-free")
    for name, usual in {**USUAL, **({"eval_episodes": 20} if settings.dataset else {})}.items():
        if (value := getattr(settings, name)) != usual:
            words += [f"--{name.replace('_', '-')}", _text(value)]
    return shlex.join(words)


def _settings(settings: RunSettings) -> dict[str, Any]:
    """Return the settings of the algorithm that a command must give, so that all are those of the run."""
    asked = settings.algo_settings
    try:
        algorithm, spec = find_algorithm(settings.algo), find_env(settings.env, settings.env_options)
        known, preset = kinds(algorithm.info.settings), algorithm.info.presets[settings.preset]

        def resolved(given: dict[str, Any]) -> dict[str, Any]:
            built: Any = build(algorithm.info.settings, preset, given, owner=algorithm.info.name)
            return dict(json.loads(json.dumps(flat(algorithm.resolve(built, spec).settings))))

        wanted = resolved({name: value for name, value in asked.items() if name in known})

        def lacking(given: dict[str, Any]) -> list[str]:
            found = resolved(given)
            return [name for name in asked if name not in given and wanted.get(name) != found.get(name)]

        given: dict[str, Any] = {}
        for _ in range(len(known) + 1):  # one after the other: each can change what others are by default
            if not (names := lacking(given)):
                for name in list(given):  # a later one may have made it needless
                    fewer = {key: value for key, value in given.items() if key != name}
                    given = given if lacking(fewer) else fewer
                return given
            given[names[0]] = asked[names[0]]
    except (UsageError, KeyError):
        pass
    return asked


def _env(settings: RunSettings) -> tuple[dict[str, Any], dict[str, float]]:
    """Return the options of the environment and the budgets that a command must give, "" the name of the one for all.

    Where the budget for all is the sum of the others, these say it.
    """
    each, total = settings.budgets, settings.budget
    whole = {} if total is None or (each and total == sum(each.values())) else {"": total}
    try:
        spec = find_env(settings.env)
    except UsageError:
        return settings.env_options, whole | each
    options = {name: value for name, value in settings.env_options.items() if spec.options.get(name) != value}
    return options, {} if whole == {"": spec.budget} and not each else whole | each


def _text(value: Any) -> str:
    """Return a value as the command line takes it."""
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)
