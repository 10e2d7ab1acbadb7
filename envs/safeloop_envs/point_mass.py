"""A point mass in a box or a maze, without reward (POLO, 3.1): all that there is to do is to explore."""

from __future__ import annotations

from typing import Any

import mujoco
import numpy as np

from safeloop_envs.physics import Judged, Path
from safeloop_envs.physics_env import PhysicsEnv

RADIUS, FORCE, DAMPING = 0.05, 4.0, 2.0
"""Of the point, whose mass is 1 kg: radius (m), largest force on each axis (N), and damping (N s/m)."""
TOP_SPEED = FORCE / DAMPING
"""Speed on each axis that the largest force leads to, m/s."""
STARTS = {"box": (0.0, 0.0), "maze": (-0.85, -0.85)}
"""The first position, m. The world is 2 m wide and long, with its centre at the origin."""
WALLS = {"box": (), "maze": ((-0.6, -0.2), (-0.2, 0.2), (0.2, -0.2), (0.6, 0.2))}
"""The centres of the inner walls; each is 1.6 m long in y and leaves a gap at one end."""
HALF_WALL = (0.03, 0.8)
"""Half the width and length of an inner wall, m."""
CELLS = 20
"""Cells of the occupancy grid in each direction (0.1 m wide); the centre of the point can be in each of them."""


def model(world: str) -> mujoco.MjModel:
    """Return the MuJoCo model of a world, `box` or `maze`."""
    sides = [(1.05, 0.0, 0.05, 1.1), (-1.05, 0.0, 0.05, 1.1), (0.0, 1.05, 1.1, 0.05), (0.0, -1.05, 1.1, 0.05)]
    inner = [(x, y, *HALF_WALL) for x, y in WALLS[world]]
    boxes = "".join(
        f'<geom type="box" pos="{x} {y} 0.1" size="{a} {b} 0.1" condim="1" rgba="0.35 0.35 0.4 1"/>'
        for x, y, a, b in sides + inner
    )
    joints = "".join(
        f'<joint name="{name}" type="slide" axis="{axis}" damping="{DAMPING}"/>'
        for name, axis in (("x", "1 0 0"), ("y", "0 1 0"))
    )
    motors = "".join(f'<motor joint="{name}" gear="{FORCE}" ctrlrange="-1 1" ctrllimited="true"/>' for name in "xy")
    return mujoco.MjModel.from_xml_string(f"""<mujoco>
      <option timestep="0.01" gravity="0 0 0"/>
      <visual><global offwidth="480" offheight="480"/><headlight ambient="0.6 0.6 0.6"/></visual>
      <worldbody>
        <geom type="plane" pos="0 0 -0.01" size="1.1 1.1 0.1" contype="0" conaffinity="0" rgba="0.95 0.95 0.95 1"/>
        {boxes}
        <body pos="0 0 0.1">
          {joints}<geom type="sphere" size="{RADIUS}" mass="1" condim="1" rgba="0 0.45 0.7 1"/>
        </body>
      </worldbody>
      <actuator>{motors}</actuator>
    </mujoco>""")


class PointMass:
    """The task: actions are forces, the reward is 0 everywhere. 0.05 s per decision.

    Observation: position (m), and velocity as a share of the top speed.
    """

    substeps, episode_steps, senses = 5, 1000, False

    def __init__(self, world: str) -> None:
        self.world, self.model = world, model(world)

    def control(self, act: np.ndarray) -> np.ndarray:
        """Return the actions themselves: they are shares of the largest force."""
        return act

    def observe(self, path: Path, own: np.ndarray) -> np.ndarray:
        """Return the observations `[M, H+1, 4]`."""
        return np.concatenate((path.qpos, 0.2 * path.qvel), 2)

    def judge(self, path: Path, act: np.ndarray, own: np.ndarray) -> Judged:
        """Return rewards of 0."""
        return Judged(np.zeros(act.shape[:2]))

    def start(self, data: mujoco.MjData, random: np.random.Generator) -> np.ndarray:
        """Set the point on its first position, at rest; nothing is random."""
        data.qpos[:] = STARTS[self.world]
        return np.zeros(0)

    def advance(self, own: np.ndarray, steps: int, random: np.random.Generator) -> np.ndarray:
        """Return the task's own numbers, none."""
        return own

    def camera(self) -> mujoco.MjvCamera:
        """Return a camera above the world."""
        camera = mujoco.MjvCamera()
        camera.lookat[:], camera.distance, camera.elevation, camera.azimuth = (0, 0, 0), 2.9, -90, 90
        return camera


class PointMassEnv(PhysicsEnv):
    """The point mass, with the share of cells that its centre has been in as the diagnostic `coverage`."""

    def __init__(self, world: str, render_mode: str | None = None) -> None:
        self.seen = np.zeros((CELLS, CELLS), bool)
        super().__init__(PointMass(world), render_mode)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start an episode, with no cell visited."""
        found = super().reset(seed=seed, options=options)
        self.seen = np.zeros((CELLS, CELLS), bool)
        self._visit()
        return found

    def _visit(self) -> None:
        x, y = np.clip(((self.data.qpos + 1) / 2 * CELLS).astype(int), 0, CELLS - 1)
        self.seen[x, y] = True

    def _more(self, over: bool) -> dict[str, Any]:
        """Return the coverage so far; an episode's record has the last one."""
        self._visit()
        coverage = float(self.seen.mean())
        return {"coverage": coverage, "diagnostics": {"coverage": coverage} if over else {}}
