"""The tasks of POLO (Lowrey et al., 2019), which can be rolled out from their full states. Imports no simulator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from safeloop.cmdp import EnvSpec
from safeloop.errors import UsageError
from safeloop.settings import build, check_range, nearest

if TYPE_CHECKING:
    import gymnasium

    from safeloop.protocols import Simulator
    from safeloop_envs.physics_env import Playable

WORLDS = {"PointBox": "box", "PointMaze": "maze"}
"""The worlds of a point mass without reward."""
HUMANOIDS = {"HumanoidGetup": "getup", "HumanoidWalk": "walk", "HumanoidBox": "box"}
"""The humanoid's tasks."""
HAND = "HandReorient"
TASKS = [*WORLDS, *HUMANOIDS, HAND]


@dataclass(frozen=True)
class HumanoidOptions:
    """Options of the humanoid's tasks."""

    control_cost: float = 1e-7
    """Weight of the squared forces, scaled by the inverse of the mass matrix; the paper does not give it. Full random
    actions cost 0.03 in each decision."""
    head_size: float = 1.0
    """Size of the head as a multiple of the model's; its mass grows with the volume (Figure 4b)."""

    def __post_init__(self) -> None:
        check_range(self, "control_cost", least=0)
        check_range(self, "head_size", more_than=0)


@dataclass(frozen=True)
class GetupOptions(HumanoidOptions):
    """Options of `HumanoidGetup`."""

    sparse: bool = False
    """Reward standing alone, not the height."""


class SimulatedTasks:
    """POLO's tasks, by name."""

    def names(self) -> list[str]:
        """Return the short names of the tasks."""
        return TASKS

    def canonical(self, name: str) -> str | None:
        """Return the name of a task where it is one of these."""
        return name if name in TASKS else None

    def spec(self, name: str, **options: Any) -> EnvSpec:
        """Return the spec of a task. Raises `UsageError` for an unknown task or option and for an invalid value."""
        if name not in TASKS:
            raise UsageError(f"no task of POLO named {name!r}; nearest: {nearest(name, TASKS)}")
        chosen: dict[str, Any] = {}
        make: Callable[[], Playable] = partial(_point, name)
        if name in HUMANOIDS:
            kind = GetupOptions if name == "HumanoidGetup" else HumanoidOptions
            chosen = asdict(build(kind, {}, options, owner=name))
            make = partial(_humanoid, HUMANOIDS[name], **chosen)
        elif options:
            raise UsageError(f"{name}: it has no options, got {', '.join(options)}")
        elif name == HAND:
            make = _hand
        return EnvSpec(
            id=name,
            suite="POLO (arXiv 1811.01848)",
            make=partial(_make, name, make),
            action_repeat=1,
            episode_steps=600 if name in HUMANOIDS else 1000,
            cost_meaning="no cost",
            budget=None,
            simulator=partial(_simulate, make),
            options=chosen,
        )


def _point(name: str) -> Playable:
    from safeloop_envs.point_mass import PointMass

    return PointMass(WORLDS[name])


def _humanoid(kind: str, **options: Any) -> Playable:
    from safeloop_envs.humanoid import Humanoid

    return Humanoid(kind, **options)


def _hand() -> Playable:
    from safeloop_envs.hand import Hand

    return Hand()


def _make(name: str, task: Callable[[], Playable], render_mode: str | None = None) -> gymnasium.Env:
    if name == HAND:
        from safeloop_envs.hand import HandEnv

        return HandEnv(render_mode)
    from safeloop_envs.physics_env import PhysicsEnv
    from safeloop_envs.point_mass import PointMassEnv

    return PhysicsEnv(task(), render_mode) if name in HUMANOIDS else PointMassEnv(WORLDS[name], render_mode)


def _simulate(task: Callable[[], Playable], threads: int) -> Simulator:
    from safeloop_envs.physics import TaskSimulator

    return TaskSimulator(task(), threads)


simulated_tasks = SimulatedTasks()
