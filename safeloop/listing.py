"""Lists for `safeloop list`: environments, algorithms, and the settings of one."""

from __future__ import annotations

import textwrap
from typing import Any

from safeloop.cmdp import Entities, EnvSpec, zero_cost
from safeloop.errors import UsageError
from safeloop.experiments.specify import preset_for
from safeloop.registry import algorithm_names, families, find_algorithm, find_env
from safeloop.report.tables import aligned
from safeloop.settings import build, flat, kinds, meanings, nearest, type_text


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
    info = algorithm.info
    defaults: Any = build(info.settings, info.presets["default"], owner=name)
    values = flat(defaults)
    settings = [
        {"name": key, "type": type_text(kind), "default": values[key]} for key, kind in kinds(info.settings).items()
    ]
    everything = EnvSpec(
        id="any", suite="", make=lambda: None, action_repeat=1, episode_steps=1, cost_meaning="",  # type: ignore[arg-type,return-value]
        cost=zero_cost, reward=zero_cost, entities=Entities((0,), ((1,),), ("goal",), 0),
    )  # fmt: skip
    return {
        "name": name,
        "summary": info.summary,
        "privileged": algorithm.resolve(defaults, everything).privileged or "nothing",
        "default_steps": info.default_steps,
        "resumable": info.resumable,
        "presets": list(info.presets),
        "settings": settings,
    }


def environments_text(found: list[dict[str, Any]]) -> str:
    """Return a table of `environments`, for a terminal."""
    table = [
        {
            "name": e["name"], "suite": e["suite"], "repeat": str(e["action_repeat"]),
            "episode": str(e["episode_steps"]), "budget": "-" if e["budget"] is None else f"{e['budget']:g}",
            "known": ", ".join(e["known"]) or "-",
        }
        for e in found
    ]  # fmt: skip
    return "\n".join(aligned(table)) if table else "no environments are installed"


def algorithms_text(found: list[dict[str, Any]]) -> str:
    """Return a table of `algorithms`, for a terminal."""
    table = [
        {
            "name": a["name"], "steps": f"{a.get('default_steps', 0):,}",
            "resumable": "yes" if a.get("resumable") else "no",
            "privileged": a.get("privileged", "-"), "summary": a["summary"],
        }
        for a in found
    ]  # fmt: skip
    return "\n".join(aligned(table)) if table else "no algorithms are installed"


def settings(algo: str, env: str | None = None, preset: str = "default") -> list[dict[str, Any]]:
    """Return every setting of an algorithm, for `safeloop list settings`: name, type, default and meaning.

    With an environment, defaults are those that a run there has with the preset; without one, a default that depends on
    the environment is None. Raises `UsageError` for an unknown name, or an environment that the algorithm can't have.
    """
    algorithm = find_algorithm(algo)
    info = algorithm.info
    if preset not in info.presets:
        raise UsageError(f"{info.name} has no preset {preset!r}; nearest: {nearest(preset, info.presets)}")
    spec = find_env(env) if env else None
    used = preset if spec is None else preset_for(algorithm, preset, spec)
    values: Any = build(info.settings, info.presets[used], owner=info.name)
    if spec is not None:
        values = algorithm.resolve(values, spec).settings
    numbers, texts = flat(values), meanings(info.settings)
    return [
        {"name": name, "type": type_text(kind), "default": numbers[name], "meaning": texts[name]}
        for name, kind in kinds(info.settings).items()
    ]


def settings_text(found: list[dict[str, Any]], width: int) -> str:
    """Return `settings` as a table for a terminal of so many columns; meanings go on below themselves."""
    table = [{"name": s["name"], "default": str(s["default"]), "type": s["type"]} for s in found]
    rows = aligned(table)
    lines = rows[: len(rows) - len(found)]
    for row, setting in zip(rows[-len(found) :], found, strict=True):
        indent = " " * 4
        lines.append(row.rstrip())
        lines += textwrap.wrap(setting["meaning"], max(width, 40), initial_indent=indent, subsequent_indent=indent)
    return "\n".join(lines)
