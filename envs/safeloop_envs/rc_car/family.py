"""The RC-car tasks by name, and the suite's spec of each. Imports no simulator."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any

import gymnasium

from safeloop.cmdp import EnvSpec
from safeloop.errors import UsageError
from safeloop.settings import build
from safeloop_envs.rc_car.task import Task

TASKS: dict[str, dict[str, Any]] = {
    "RCCarDrift": {"path": "circle", "speed": 4.0, "limit": 1.2},
    "RCCarCircle": {"path": "circle", "speed": 1.0, "limit": 1.2},
    "RCCarStraight": {"path": "line", "speed": 1.0, "limit": 0.5},
}
"""Drift: faster than the car can grip (docs/rc-car.md). Circle and Straight: the source's desired speed."""
OPTIONS = [f.name for f in fields(Task) if f.name != "path"]
BUDGET = 5.0
"""Cost return of an episode of 100 steps."""


def _make(render_mode: str | None = None, **task: Any) -> gymnasium.Env:
    from safeloop_envs.rc_car.environment import RCCar

    return RCCar(render_mode, **task)


def register() -> None:
    """Make the tasks known to gymnasium, as `safeloop_envs:RCCarDrift-v0`."""
    for name, task in TASKS.items():
        gymnasium.register(f"{name}-v0", "safeloop_envs.rc_car.environment:RCCar", kwargs=dict(task))


class RCCarTasks:
    """RCCarDrift, RCCarCircle and RCCarStraight."""

    def names(self) -> list[str]:
        """Short names of the tasks."""
        return list(TASKS)

    def canonical(self, name: str) -> str | None:
        """The short name of a task given by it or by its full id, `RCCarDrift-v0`; None for another."""
        short = name.removeprefix("safeloop_envs:").removesuffix("-v0")
        return short if short in TASKS else None

    def spec(self, name: str, **options: Any) -> EnvSpec:
        """The spec of a task. Options: those of `Task` but for `path`, in its units.

        Raises `UsageError` for an unknown task or option and for a value that can't be.
        """
        short = self.canonical(name)
        if short is None:
            raise UsageError(f"no RC-car task named {name!r}; there are: {', '.join(TASKS)}")
        if "path" in options:
            raise UsageError(f"{short}: path={options['path']}: the task decides it; it has {', '.join(OPTIONS)}")
        task = build(Task, TASKS[short], options, owner=short)
        kept = asdict(task)
        beyond = "from the circle's centre" if task.path == "circle" else "from the line"
        return EnvSpec(
            id=short,
            suite="RC car (Ahn 2019)",
            make=lambda render_mode=None: _make(render_mode, **kept),
            action_repeat=1,
            episode_steps=100,
            cost_meaning=f"a step that ends more than {task.limit:g} m {beyond}",
            budget=BUDGET,
            cost=task.depth,
            reward=task.reward,
            options={key: kept[key] for key in OPTIONS},
        )


rc_car_tasks = RCCarTasks()
