"""The options (`--env-set`) of all tasks here except the RC car's, which have their own."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from safeloop.settings import check_range

LEAST_SCALE, MOST_SCALE = 0.1, 10.0
"""Range of options that scale a parameter of the physics."""


@dataclass(frozen=True)
class Options:
    """Options of a task."""

    observation: str
    """Name of one of the task's observations; `task`: the simulator's own."""
    action_repeat: int
    """Simulator steps per decision."""

    def __post_init__(self) -> None:
        check_range(self, "action_repeat", least=1)


def told(options: Options) -> dict[str, Any]:
    """Return the options to record: those with a default, which were added later, only where they differ from it."""
    usual = {each.name: each.default for each in fields(options)}
    return {name: value for name, value in asdict(options).items() if value != usual[name]}
