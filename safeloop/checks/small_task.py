"""A small task for short runs: a point on a line, with a wall and a goal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Box

from safeloop.cmdp import EnvSpec

if TYPE_CHECKING:
    from torch import Tensor

TASK, REPEAT, EPISODE, WALL, GOAL = "PointOnLine", 2, 50, 0.5, 1.0


class PointOnLine(gymnasium.Env):
    """Position (m) and velocity of a point that is rewarded for nearing a goal; beyond a wall before it lies a cost."""

    observation_space = Box(-np.inf, np.inf, (2,), np.float32)
    action_space = Box(-1.0, 1.0, (1,), np.float32)

    def __init__(self, costs: bool):
        self.costs = costs

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        """Start near 0, at rest."""
        super().reset(seed=seed)
        self.position, self.velocity, self.steps = self.np_random.uniform(-0.2, 0.2), 0.0, 0
        return self._observation(), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        """Push the point for as many simulator steps as a decision has."""
        violations = 0
        for _ in range(REPEAT):
            self.velocity = 0.8 * self.velocity + 0.04 * float(action[0])
            self.position += self.velocity
            violations += int(self.costs and self.position > WALL)
        self.steps += REPEAT
        info = {"cost": float(violations), "violations": violations, "simulator_steps": REPEAT}
        return self._observation(), -abs(GOAL - self.position), False, self.steps >= EPISODE, info

    def _observation(self) -> np.ndarray:
        return np.array([self.position, self.velocity], np.float32)


def depth(obs: Tensor, act: Tensor, next_obs: Tensor, margin: float = 0.0) -> Tensor:
    """Return how deep (m) the point is behind the wall moved forward by `margin`, `[..., 2] -> [...]`."""
    return (next_obs[..., 0] - WALL + margin).clamp(min=0.0)


def nearness(obs: Tensor, act: Tensor, next_obs: Tensor) -> Tensor:
    """Return the reward of a decision, `[..., 2] -> [...]`."""
    return -(GOAL - next_obs[..., 0]).abs()


class Family:
    """The environment family of the task, with and without a cost."""

    def names(self) -> list[str]:
        """Return the task's name."""
        return [TASK]

    def canonical(self, name: str) -> str | None:
        """Return the task's name for itself."""
        return TASK if name == TASK else None

    def spec(self, name: str, cost: str = "yes") -> EnvSpec:
        """Return the task's spec; `cost=no`: without a cost."""
        costs = cost == "yes"
        return EnvSpec(
            id=TASK, suite="safeloop.checks", make=lambda render_mode=None: PointOnLine(costs), action_repeat=REPEAT,
            episode_steps=EPISODE, cost_meaning="a simulator step beyond the wall" if costs else "no cost",
            budget=5.0 if costs else None, cost=depth if costs else None, reward=nearness, options={"cost": cost},
        )  # fmt: skip


family = Family()


@contextmanager
def prepared(folder: Path) -> Iterator[None]:
    """Use one thread, and have the task found by its name, as that of a package that is installed in `folder`."""
    about = folder / "safeloop_checks_task-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: safeloop-checks-task\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[safeloop.envs]\n{TASK} = {__name__}:family\n")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        torch.set_num_threads(threads)
