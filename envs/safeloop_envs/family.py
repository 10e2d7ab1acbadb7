"""The Safety-Gymnasium family: its tasks, and the suite's spec of each.

The names follow simple rules, so listing and describing tasks imports no simulator.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from safeloop.cmdp import EnvSpec, LidarModel, Lidars
from safeloop.errors import UsageError
from safeloop.settings import build, check_range
from safeloop_envs import goal
from safeloop_envs.clipping import CLIPPED
from safeloop_envs.options import LEAST_SCALE, MOST_SCALE, Options, told
from safeloop_envs.positions import SHOWN, entities

if TYPE_CHECKING:
    import gymnasium

    from safeloop.protocols import Simulator

SUITE = "Safety-Gymnasium 1.0.0"
ROBOTS = ("Point", "Car", "Doggo", "Racecar", "Ant")
LEVELS = {"Goal": (0, 1, 2), "Button": (0, 1, 2), "Push": (0, 1, 2), "Circle": (0, 1, 2), "Run": (0,)}
"""Levels of each navigation task."""
RUNNERS = ("HalfCheetah", "Hopper", "Swimmer", "Walker2d", "Ant", "Humanoid")
"""Robots of the velocity tasks."""
EVENTFUL = ("Goal", "Button")
"""Kinds of task whose goal is relocated when it is met; meeting it has a reward of 1."""
FALLING = ("Hopper", "Walker2d", "Ant", "Humanoid")
"""Velocity robots whose episodes end when they fall."""
SENSORS = {"Point": 12, "Car": 24, "Doggo": 56, "Racecar": 12, "Ant": 40}
"""Number of values of each robot's own sensors, the first values in a navigation task's own observation."""
BINS = 16
"""Number of bins of each lidar in a navigation task's own observation."""
LIDARS = {
    "Goal0": ("goal",), "Goal1": ("goal", "hazards", "vases"), "Goal2": ("goal", "hazards", "vases"),
    "Button0": ("buttons", "goal"), "Button1": ("buttons", "goal", "hazards", "gremlins"),
    "Button2": ("buttons", "goal", "hazards", "gremlins"),
    "Push0": ("goal", "push_box"), "Push1": ("goal", "hazards", "pillars", "push_box"),
    "Push2": ("goal", "hazards", "pillars", "push_box"),
    "Circle0": ("circle",), "Circle1": ("circle",), "Circle2": ("circle",),
}  # fmt: skip
"""The objects that the lidars after the sensors show, in order; `Run0` has no lidars."""
SINGLE = ("goal", "push_box", "circle")
"""The lidars of which each shows one object; `Goal1` has one vase, but `Goal2` has ten."""
MAGNETOMETER = {robot: (9, 10) for robot in ROBOTS}
"""Observation indices of the magnetometer's x and y: it comes fourth, after accelerometer, velocimeter and gyro."""
COST_MEANING = {
    "Goal0": "no cost",
    "Goal1": "1 for each simulator step with the robot's centre inside a hazard",
    "Goal2": "1 for each simulator step inside a hazard, touching a vase, or with a vase in motion",
    "Button0": "no cost",
    "Button1": "1 for each simulator step inside a hazard, touching a gremlin, or pressing a wrong button",
    "Button2": "1 for each simulator step inside a hazard, touching a gremlin, or pressing a wrong button",
    "Push0": "no cost",
    "Push1": "1 for each simulator step with the robot's centre inside a hazard",
    "Push2": "1 for each simulator step inside a hazard or touching a pillar",
    "Circle0": "no cost",
    "Circle1": "1 for each simulator step beyond either of two walls",
    "Circle2": "1 for each simulator step beyond any of four walls",
    "Run0": "1 for each simulator step beyond either of two walls",
    "Velocity": "1 for each simulator step above the robot's speed limit",
}


COSTS = {
    "Goal1": ("hazards",), "Goal2": ("hazards", "vases"),
    "Button1": ("hazards", "gremlins", "buttons"), "Button2": ("hazards", "gremlins", "buttons"),
    "Push1": ("hazards",), "Push2": ("hazards", "pillars"),
    "Circle1": ("out_of_boundary",), "Circle2": ("out_of_boundary",), "Run0": ("out_of_boundary",),
}  # fmt: skip
"""The constraints of each navigation task, by the names of Safety-Gymnasium's costs; it tells contact with vases and
their motion apart, and here they are one."""

SCALES = ("friction", "mass")
"""Options that scale the physics of the robot; 1 changes nothing."""


@dataclass(frozen=True)
class NavigationOptions(Options):
    """Options of a navigation task."""

    costs: Literal["sum", "separate"] = "sum"
    """`separate`: each constraint has a cost of its own by name, beside the cost of any of them."""
    friction: float = 1.0
    """Scale of the robot's friction: of the damping of Point's joints, of the contacts of other robots."""
    mass: float = 1.0
    """Scale of the robot's mass and inertia."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, *SCALES, least=LEAST_SCALE, most=MOST_SCALE)


@dataclass(frozen=True)
class Task:
    """A task of the family."""

    name: str
    """The short name: `PointGoal1`, `AntVelocity`, `AntVelocity-v0`."""
    full_id: str
    """Safety-Gymnasium's id: `SafetyPointGoal1-v0`."""
    robot: str
    kind: str
    """`Goal`, `Button`, `Push`, `Circle`, `Run` or `Velocity`."""
    level: int
    """0, 1 or 2; 0 for velocity tasks."""

    @property
    def episode_steps(self) -> int:
        """Simulator steps per episode."""
        return 500 if self.kind in ("Circle", "Run") else 1000

    @property
    def action_repeat(self) -> int:
        """Default number of simulator steps per decision: the paper's 5 for navigation, 1 for velocity."""
        return 1 if self.kind == "Velocity" else 5

    @property
    def observations(self) -> tuple[str, ...]:
        """The available observations, the default first.

        The observation of positions, the paper's on Goal tasks, has no joint angles, so it is available only for robots
        without legs and steering.
        """
        if self.robot not in ("Point", "Car") or f"{self.kind}{self.level}" not in SHOWN:
            return ("task",)
        return ("paper", "task") if self.kind == "Goal" else ("task", "positions")

    @property
    def terminates(self) -> bool:
        """Whether an episode can end by termination, when the robot falls (Ant does on navigation tasks too)."""
        return self.robot in FALLING if self.kind == "Velocity" else self.robot == "Ant"


def _catalogue() -> dict[str, Task]:
    tasks = [
        Task(f"{robot}{kind}{level}", f"Safety{robot}{kind}{level}-v0", robot, kind, level)
        for kind, levels in LEVELS.items()
        for level in levels
        for robot in ROBOTS
    ]
    for robot in RUNNERS:  # the short name without a version is the newest, v1
        tasks.append(Task(f"{robot}Velocity", f"Safety{robot}Velocity-v1", robot, "Velocity", 0))
        tasks.append(Task(f"{robot}Velocity-v0", f"Safety{robot}Velocity-v0", robot, "Velocity", 0))
    return {task.name: task for task in tasks}


CATALOGUE = _catalogue()
_SHORT = {task.full_id: name for name, task in CATALOGUE.items()} | {name: name for name in CATALOGUE}


class SafetyGymnasium:
    """Safety-Gymnasium 1.0.0's single-agent navigation and velocity tasks, by name."""

    def names(self) -> list[str]:
        """Return the short names of all tasks, for example `PointGoal1` and `AntVelocity`.

        A velocity task's name stands for its newest version, v1; the older is `AntVelocity-v0`.
        """
        return list(CATALOGUE)

    def canonical(self, name: str) -> str | None:
        """Return the short name of a task given by its short name or full id; None for any other name."""
        return _SHORT.get(name)

    def spec(self, name: str, **options: Any) -> EnvSpec:
        """Return the spec of a task, given by its short name or full id.

        Options: `observation`, "paper" (Point and Car on Goal tasks, the default there; see
        `safeloop_envs.goal`), "positions" (the same for Button and Circle tasks) or "task" (Safety-Gymnasium's
        own); `action_repeat`, simulator steps per decision (default 5 for navigation, 1 for velocity); for navigation
        `costs`, "sum" or "separate" (each constraint has a cost of its own, beside the cost of any of them), `friction`
        and `mass`, scales of the robot's (1; recorded where they differ).

        Raises `UsageError` for an unknown task, naming the nearest, and for unknown options or values.
        """
        short = self.canonical(name)
        if short is None:
            raise UsageError(f"no environment named {name!r} in {SUITE}; nearest: {', '.join(nearest(name))}")
        task = CATALOGUE[short]
        usual = {"observation": task.observations[0], "action_repeat": task.action_repeat}
        chosen = build(Options if task.kind == "Velocity" else NavigationOptions, usual, options, owner=short)
        if chosen.observation not in task.observations:
            valid = " or ".join(task.observations)
            raise UsageError(f"{short}: observation={chosen.observation}: expected {valid}")
        repeat, shown, recorded = chosen.action_repeat, chosen.observation, told(chosen)
        names = self._cost_names(task) if "costs" in recorded else ()
        scales = {name: recorded[name] for name in SCALES if name in recorded}
        if repeat > task.episode_steps:
            raise UsageError(f"{short}: action_repeat={repeat}: expected at most {task.episode_steps}, one episode")
        return EnvSpec(
            id=short,
            suite=SUITE,
            make=partial(_make, task, repeat, shown, scales, cost_names=names),
            action_repeat=repeat,
            episode_steps=task.episode_steps,
            cost_meaning=COST_MEANING["Velocity" if task.kind == "Velocity" else f"{task.kind}{task.level}"],
            terminates=task.terminates,
            has_events=task.kind in EVENTFUL,
            event_bonus=1.0 if task.kind in EVENTFUL else 0.0,
            cost_names=names,
            options=recorded,
            lidars=_lidars(task) if shown == "task" else None,
            entities=None if shown == "task" else entities(f"{task.kind}{task.level}"),
            clipped=CLIPPED.get(task.robot, {}),
            simulator=partial(_simulate, task, repeat, shown, scales) if _simulated(task) else None,
            **(_known(task, bool(names)) if shown == "paper" else {}),
        )

    @staticmethod
    def _cost_names(task: Task) -> tuple[str, ...]:
        """Return the names of a task's costs. Raises `UsageError` where it has none."""
        names = COSTS.get(f"{task.kind}{task.level}")
        if names is None:
            raise UsageError(f"{task.name}: costs=separate: it has no cost; leave it out")
        return names


def _simulated(task: Task) -> bool:
    """Return whether states give a task's results and observation.

    Those of HumanoidVelocity have forces; an Ant that falls and the objects of other navigation tasks are not modelled.
    """
    if task.kind == "Velocity":
        return task.robot != "Humanoid"
    return task.kind == "Goal" and task.robot != "Ant"


def _simulate(task: Task, repeat: int, observation: str, scales: dict[str, float], threads: int) -> Simulator:
    env: Any = _make(task, repeat, observation, scales)
    if task.kind == "Velocity":
        found: Simulator = env.simulator(task.robot, threads)
        return found
    from safeloop_envs.goal_physics import GoalSimulator

    return GoalSimulator(env, threads)


def nearest(name: str, count: int = 5) -> list[str]:
    """Return the `count` short names most like `name`, whatever its case, `Safety` prefix and version."""
    plain = name.lower().removeprefix("safety").partition("-")[0]
    by_plain = {short.lower(): short for short in CATALOGUE}
    return [by_plain[key] for key in difflib.get_close_matches(plain, by_plain, n=count, cutoff=0.0)]


def _lidars(task: Task) -> Lidars | None:
    """Return the lidars in the task's own observation."""
    shown = LIDARS.get(f"{task.kind}{task.level}")
    if shown is None:
        return None
    own = SENSORS[task.robot]
    rings = tuple(tuple(range(own + BINS * i, own + BINS * (i + 1))) for i in range(len(shown)))
    single = tuple(i for i, kind in enumerate(shown) if kind in SINGLE)
    sensor = LidarModel(6.0 if task.kind == "Circle" else 3.0, single=single, compass=MAGNETOMETER[task.robot])
    return Lidars(tuple(range(own)), rings, shown.index("goal") if "goal" in shown else None, sensor)


def _known(task: Task, separate: bool) -> dict[str, Any]:
    """Return the known models of the paper's observation, of each constraint where they are told apart."""
    known: dict[str, Any] = {
        "reward": goal.progress,
        "event": goal.goal_met,
    }
    if task.level > 0:
        known["cost"] = partial(goal.depths if separate else goal.depth, robot=task.robot, level=task.level)
    return known


def _make(
    task: Task,
    action_repeat: int,
    observation: str,
    scales: dict[str, float],
    render_mode: str | None = None,
    cost_names: tuple[str, ...] = (),
) -> gymnasium.Env:
    """Make the environment; `scales` are those of `SCALES` that are not 1.

    Raises `UsageError` without the simulator or for an unknown render mode.
    """
    if render_mode not in (None, "rgb_array"):
        raise UsageError(f"render_mode must be None or 'rgb_array', got {render_mode!r}")
    from safeloop_envs.shim import import_safety_gymnasium

    import_safety_gymnasium()
    if task.kind == "Velocity":
        from safeloop_envs.velocity import make_velocity

        return make_velocity(task.full_id, action_repeat, task.episode_steps, render_mode)
    if task.kind == "Goal":
        from safeloop_envs.goal_physics import GoalEnv

        return GoalEnv(task.full_id, action_repeat, observation, render_mode, cost_names, **scales)
    from safeloop_envs.navigation import NavigationEnv

    return NavigationEnv(task.full_id, action_repeat, observation, render_mode, cost_names, **scales)


safety_gymnasium = SafetyGymnasium()
