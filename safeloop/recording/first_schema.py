"""Read the settings of runs in the first schema, recorded before some names were changed."""

from __future__ import annotations

from typing import Any

RENAMED = {"members": "ensemble_size", "polyak": "tau"}
"""The present names of renamed settings."""
ENTROPY = ("initial_temperature", "backup_entropy")
WITHOUT_USE = {
    "td3": ENTROPY, "loop-td3": ENTROPY,
    **dict.fromkeys(("pets", "safepets", "loop-sarsa"), (*ENTROPY, "layer_norm")),
}  # fmt: skip
"""Settings that an algorithm had but never used: SAC's settings in algorithms without SAC."""


def from_first_schema(values: dict[str, Any]) -> dict[str, Any]:
    """Return the content of a `settings.json` of the first schema in the form of the second."""
    found = {**values, "schema": 2, "privileged": values.get("told", "")}
    del found["told"]
    unused = WITHOUT_USE.get(values["algo"], ())
    given = {name: value for name, value in values["algo_settings"].items() if name not in unused}
    settings = {RENAMED.get(name, name): value for name, value in given.items()}
    if "elites" in settings:  # the planner had no name: elites made it the cross-entropy method
        elites = settings.pop("elites")
        settings["search"] = "cem" if elites else "mbop" if settings.get("actor_mixture") else "arc"
        settings["elites"] = elites or None
        settings = {"actor_noise": 0.0, "actor_mixture": 0.0, "pessimism": 0.0, **settings}  # of offline planners then
    if values["algo"] in ("td3", "loop-td3"):
        settings.update(exploration_noise=0.1, target_noise=0.2, target_noise_clip=0.5, actor_every=2)  # were constants
    found["algo_settings"] = settings
    return found
