"""What `--env-set` reaches in every simulator of tasks here but the RC car's, which has options of its own."""

from __future__ import annotations

from dataclasses import dataclass

from safeloop.settings import check_range


@dataclass(frozen=True)
class Options:
    """Options of a task."""

    observation: str
    """Which of the task's observations; `task`: the simulator's own."""
    action_repeat: int
    """Simulator steps a decision."""

    def __post_init__(self) -> None:
        check_range(self, "action_repeat", least=1)
