"""The tasks of POLO (Lowrey et al., 2019), which can be rolled out from their full states. Imports no simulator."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from safeloop.cmdp import EnvSpec
from safeloop.errors import UsageError
from safeloop.settings import nearest

if TYPE_CHECKING:
    import gymnasium

    from safeloop.protocols import Simulator

WORLDS = {"PointBox": "box", "PointMaze": "maze"}
"""The worlds of a point mass without reward."""


class SimulatedTasks:
    """POLO's tasks, by name."""

    def names(self) -> list[str]:
        """Return the short names of the tasks."""
        return list(WORLDS)

    def canonical(self, name: str) -> str | None:
        """Return the name of a task where it is one of these."""
        return name if name in WORLDS else None

    def spec(self, name: str, **options: Any) -> EnvSpec:
        """Return the spec of a task. Raises `UsageError` for an unknown task or option."""
        if name not in WORLDS:
            raise UsageError(f"no task of POLO named {name!r}; nearest: {nearest(name, WORLDS)}")
        if options:
            raise UsageError(f"{name}: {next(iter(options))}: it has no options")
        return EnvSpec(
            id=name,
            suite="POLO (arXiv 1811.01848)",
            make=partial(_make_point, WORLDS[name]),
            action_repeat=1,
            episode_steps=1000,
            cost_meaning="no cost",
            budget=None,
            simulator=partial(_simulate_point, WORLDS[name]),
        )


def _make_point(world: str, render_mode: str | None = None) -> gymnasium.Env:
    from safeloop_envs.point_mass import PointMassEnv

    return PointMassEnv(world, render_mode)


def _simulate_point(world: str, threads: int) -> Simulator:
    from safeloop_envs.physics import TaskSimulator
    from safeloop_envs.point_mass import PointMass

    return TaskSimulator(PointMass(world), threads)


simulated_tasks = SimulatedTasks()
