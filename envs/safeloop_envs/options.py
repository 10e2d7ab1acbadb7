"""The options (`--env-set`) of all tasks here except the RC car's, which have their own."""

from __future__ import annotations

from dataclasses import dataclass

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
