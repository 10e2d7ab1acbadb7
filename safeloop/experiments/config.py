"""Requests that a file completes: `--config FILE`, which holds what a run's `settings.json` does."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from safeloop.errors import UsageError
from safeloop.experiments.specify import Request, pairs
from safeloop.files import check_path
from safeloop.recording.added_settings import with_added_settings
from safeloop.recording.first_schema import from_first_schema
from safeloop.recording.run import RunSettings
from safeloop.settings import ALIASES, nearest
from safeloop.texts import short

FROM_CONFIG = (
    "budget",
    "preset",
    "device",
    "eval_every",
    "eval_episodes",
    "threads",
    "variant",
    "keep_every",
    "reset_free",
    "steps",
)
"""Fields of a request that `settings.json` has under the same name."""


def with_config(asked: Request, env: str | None) -> tuple[Request, str]:
    """Return the request with the values of its configuration file, and the environment.

    What is asked for goes before the file's values; settings and options of the environment are joined. Raises
    `UsageError` where there is no environment in either, or the file is no run's settings.
    """
    if asked.config is None:
        if env is None:
            raise UsageError("give an environment ENV, or --config FILE; `safeloop list envs` lists them")
        return asked, env
    there = settings_of_file(check_path(asked.config, "--config"))
    usual = Request()
    values = {name: there[name] for name in FROM_CONFIG if name in there}
    if there.get("budgets"):
        values["budget"] = {"": there.get("budget"), **there["budgets"]}
    values.update({name: [there[key]] for name, key in (("algos", "algo"), ("seeds", "seed")) if key in there})
    changes = {name: value for name, value in values.items() if getattr(asked, name) == getattr(usual, name)}
    options = {**there.get("env_options", {}), **pairs(asked.env_options, "--env-set")}
    given = pairs(asked.settings, "--set")
    named = {ALIASES.get(key.rpartition(".")[2], key.rpartition(".")[2]) for key in given}
    own = there.get("algo_settings", {}) if "algos" in changes else {}
    settings = {**{key: value for key, value in own.items() if key not in named}, **given}
    return replace(asked, **changes, env_options=options, settings=settings), env or str(there.get("env", ""))


def settings_of_file(path: Path) -> dict[str, Any]:
    """Return the content of a `settings.json`. Raises `UsageError` where it can't be read as one."""
    try:
        found = json.loads(path.read_text())
        if not isinstance(found, dict) or not isinstance(found.get("algo_settings", {}), dict):
            raise ValueError("expected what a run's settings.json holds")
        found = from_first_schema(found) if found.get("schema") == 1 else found
        found = with_added_settings(found) if "schema" in found else found  # what a user wrote has today's defaults
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        why = error.strerror if isinstance(error, OSError) else " ".join(str(error).split())
        raise UsageError(f"--config {path}: {why or type(error).__name__}") from None
    if unknown := found.keys() - {f.name for f in fields(RunSettings)}:
        known = [f.name for f in fields(RunSettings)]
        name = sorted(unknown)[0]
        raise UsageError(f"--config {path}: unknown key {short(name)!r}; nearest: {nearest(name, known)}")
    return found
