"""Tasks without a cost: Gymnasium's MuJoCo locomotion, Adroit's pen, and the claw. This module imports no simulator.

The terminations here are those of the tasks, as functions of the observation (Janner et al. 2019 give their planner and
learner the same).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any
from unittest import mock

from safeloop.cmdp import EnvSpec, Known
from safeloop.errors import UsageError
from safeloop.settings import build, nearest
from safeloop_envs.claw_spec import CLAW, claw_spec
from safeloop_envs.clipping import CLIPPED
from safeloop_envs.options import Options

if TYPE_CHECKING:
    from torch import Tensor

    from safeloop.protocols import Simulator
    from safeloop_envs.mujoco_task import MujocoTask

GYMNASIUM, ROBOTICS = f"Gymnasium {version('gymnasium')} MuJoCo, v4", "gymnasium-robotics 1.2.2"


def fallen(healthy: Callable[[Tensor], Tensor]) -> Known:
    """Return a termination: the next observation is not finite or not healthy (`[..., S] -> bool [...]`)."""

    def terminated(obs: Tensor, act: Tensor, next_obs: Tensor) -> Tensor:
        return ~(next_obs.isfinite().all(-1) & healthy(next_obs))

    return terminated


def _hopper(s: Tensor) -> Tensor:
    return (s[..., 0] > 0.7) & (s[..., 1].abs() < 0.2) & (s[..., 1:].abs() < 100).all(-1)


def _walker(s: Tensor) -> Tensor:
    return (s[..., 0] > 0.8) & (s[..., 0] < 2.0) & (s[..., 1].abs() < 1.0)


def _ant(s: Tensor) -> Tensor:
    return (s[..., 0] >= 0.2) & (s[..., 0] <= 1.0)


def _humanoid(s: Tensor) -> Tensor:
    return (s[..., 0] > 1.0) & (s[..., 0] < 2.0)


def _pendulum(s: Tensor) -> Tensor:
    return s[..., 1].abs() <= 0.2


@dataclass(frozen=True)
class Task:
    """A task without a cost."""

    full_id: str
    healthy: Callable[[Tensor], Tensor] | None = None
    """Whether an observation is healthy, `[..., S] -> bool [...]`; None: episodes end by truncation alone."""
    episode_steps: int = 1000
    reference_returns: tuple[float, float] | None = None
    """D4RL's returns of a random policy and of an expert (Fu et al., 2020)."""
    truncated: int | None = None
    """Size of the truncated observation (joints alone), which is the default where there is one."""

    @property
    def observations(self) -> tuple[str, ...]:
        """The available observations, the default first."""
        return ("truncated", "task") if self.truncated else ("task",)


TASKS = {
    "HalfCheetah": Task("HalfCheetah-v4", reference_returns=(-280.178953, 12135.0)),
    "Walker2d": Task("Walker2d-v4", _walker, reference_returns=(1.629008, 4592.3)),
    "Hopper": Task("Hopper-v4", _hopper, reference_returns=(-20.272305, 3234.3)),
    # Ant-v4 shows no contact forces: its 27 numbers are those of the papers' Ant with a truncated observation
    "Ant": Task("Ant-v4", _ant, reference_returns=(-325.6, 3879.7)),
    "Humanoid": Task("Humanoid-v4", _humanoid, truncated=45),
    "Swimmer": Task("Swimmer-v4"),
    "InvertedPendulum": Task("InvertedPendulum-v4", _pendulum),
    "PenGoal": Task("AdroitHandPen-v1", episode_steps=200),
}


class Locomotion:
    """Gymnasium's MuJoCo tasks by the robot's name, and the two of CoRL 2021, C.2, in which a hand turns something.

    These are `PenGoal`, a pen in the hand, and `Claw`, a valve.
    """

    def names(self) -> list[str]:
        """Return the short names of the tasks."""
        return [*TASKS, CLAW]

    def canonical(self, name: str) -> str | None:
        """Return the short name of a task given by it or by its full id, `HalfCheetah-v4`; None for any other name."""
        by_id = {task.full_id: short for short, task in TASKS.items() if short != "PenGoal"}
        return name if name in self.names() else by_id.get(name)

    def spec(self, name: str, **options: Any) -> EnvSpec:
        """Return the spec of a task.

        Options: `observation`, `task` (the task's own) or, for some, `truncated` (positions and velocities of the
        joints alone); `action_repeat`, simulator steps per decision (default 1). `Claw` has others (`ClawOptions`).

        Raises `UsageError` for an unknown task or option and for an invalid value.
        """
        short = self.canonical(name)
        if short is None:
            raise UsageError(f"no locomotion task named {name!r}; nearest: {nearest(name, self.names())}")
        if short == CLAW:
            return claw_spec(**options)
        task = TASKS[short]
        chosen = build(Options, {"observation": task.observations[0], "action_repeat": 1}, options, owner=short)
        if chosen.observation not in task.observations:
            valid = " or ".join(task.observations)
            raise UsageError(f"{short}: observation={chosen.observation}: expected {valid}")
        if chosen.action_repeat > task.episode_steps:
            wanted = f"at most {task.episode_steps}, one episode"
            raise UsageError(f"{short}: action_repeat={chosen.action_repeat}: expected {wanted}")
        return EnvSpec(
            id=short,
            suite=ROBOTICS if short == "PenGoal" else GYMNASIUM,
            make=partial(_make, short, chosen),
            action_repeat=chosen.action_repeat,
            episode_steps=task.episode_steps,
            cost_meaning="no cost",
            budget=None,
            terminates=task.healthy is not None,
            reference_returns=task.reference_returns,
            references="D4RL (arXiv 2004.07219): random policy, expert" if task.reference_returns else "",
            terminated=fallen(task.healthy) if task.healthy else None,
            clipped=CLIPPED.get(short, {}),
            simulator=partial(_simulate, short, chosen) if _simulated(task, chosen) else None,
            options=asdict(chosen),
        )


def _simulated(task: Task, chosen: Options) -> bool:
    """Return whether states give a task's observation: Humanoid's own one has forces, the pen's a goal."""
    return task is not TASKS["PenGoal"] and (task is not TASKS["Humanoid"] or chosen.observation == "truncated")


def _simulate(short: str, chosen: Options, threads: int) -> Simulator:
    return _make(short, chosen).simulator(short, threads)


def _make(short: str, chosen: Options, render_mode: str | None = None) -> MujocoTask:
    """Make the environment. Raises `UsageError` for an unknown render mode."""
    if render_mode not in (None, "rgb_array"):
        raise UsageError(f"render_mode must be None or 'rgb_array', got {render_mode!r}")
    from gymnasium.envs.mujoco.swimmer_v4 import SwimmerEnv

    from safeloop_envs.mujoco_task import CAMERA, MujocoTask, simulation
    from safeloop_envs.rendering import choose_backend
    from safeloop_envs.shim import bare

    task = TASKS[short]
    stock: Any
    if render_mode:
        choose_backend()
    if short == "PenGoal":
        from safeloop_envs.pen import PenGoal

        stock = PenGoal(render_mode=render_mode)
    else:
        with mock.patch.object(SwimmerEnv, "_initialize_simulation", simulation):
            stock = bare(task.full_id, render_mode=render_mode, camera_name=CAMERA)
    observed = task.truncated if chosen.observation == "truncated" else None
    return MujocoTask(stock, chosen.action_repeat, task.episode_steps, render_mode, observed)


locomotion = Locomotion()
