"""The RC-car tasks by name, and the suite's spec of each. This module imports no simulator."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

from safeloop.cmdp import EnvSpec
from safeloop.errors import UsageError
from safeloop.settings import build
from safeloop_envs.rc_car.task import SCALES, Task

if TYPE_CHECKING:
    import gymnasium

TASKS: dict[str, dict[str, Any]] = {
    "RCCarDrift": {"path": "circle", "speed": 4.0, "limit": 1.2},
    "RCCarCircle": {"path": "circle", "speed": 1.0, "limit": 1.2},
    "RCCarStraight": {"path": "line", "speed": 1.0, "limit": 0.5},
}
"""Parameters of each task. Drift is too fast for the car to grip (docs/rc-car.md); the others have the source's desired
speed."""
OPTIONS = [f.name for f in fields(Task) if f.name != "path"]
BUDGET = 5.0
"""Cost limit per episode of 100 steps (a cost return)."""


def _make(render_mode: str | None = None, **task: Any) -> gymnasium.Env:
    from safeloop_envs.rc_car.environment import RCCar

    return RCCar(render_mode, **task)


class RCCarTasks:
    """The tasks RCCarDrift, RCCarCircle and RCCarStraight."""

    def names(self) -> list[str]:
        """Return the short names of the tasks."""
        return list(TASKS)

    def canonical(self, name: str) -> str | None:
        """Return the short name of a task given by it or by its full id, `RCCarDrift-v0`; None for any other name."""
        short = name.removeprefix("safeloop_envs:").removesuffix("-v0")
        return short if short in TASKS else None

    def spec(self, name: str, **options: Any) -> EnvSpec:
        """Return the spec of a task. Options: those of `Task` except `path`, in its units; scales of 1 are left out.

        Raises `UsageError` for an unknown task or option and for an invalid value.
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
            options={key: kept[key] for key in OPTIONS if key not in SCALES or kept[key] != 1},
        )


rc_car_tasks = RCCarTasks()
