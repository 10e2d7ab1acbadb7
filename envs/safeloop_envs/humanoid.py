"""POLO's humanoid tasks (Lowrey et al., 2019, appendix A), with the 27-degree-of-freedom humanoid of dm_control."""

from __future__ import annotations

from typing import Any

import mujoco
import numpy as np

from safeloop_envs.mujoco_task import folder_of
from safeloop_envs.physics import Judged, Path

TARGET = 1.1
"""Height of the root that counts as standing, m."""
SPEED = 1.0
"""Desired speed of a walk along x, m/s."""
BOX_SIZE, BOX_START, BOX_TARGET = 0.9, 1.5, 2.5
"""Width of the box, its first place and its target on the x-axis, m."""
NEAR = 0.8
"""Distance from root to box below which the box's own place is rewarded, m."""
S = mujoco.mjtSensor
BODIES, GEOMS = ("torso", "pelvis", "right_foot", "left_foot"), ("head", "right_hand", "left_hand")
TOUCH = ("head", "right_hand", "left_hand", "right_right_foot", "left_left_foot")
"""Sites of the touch sensors that are read: head, hands and feet."""


def model(box: bool = False, head_size: float = 1.0) -> mujoco.MjModel:
    """Return dm_control's humanoid with a time step of 0.008 s and the sensors of the observation.

    `head_size` multiplies the radius of its head.
    Raises `UsageError` where dm_control, which has the model file, is not installed.
    """
    missing = (
        "the humanoid's model file is dm_control's: `pip install --no-deps dm-control==1.0.34` in this environment"
    )
    folder = folder_of("dm_control", missing) / "suite"
    files = {f"./common/{path.name}": path.read_bytes() for path in (folder / "common").glob("*.xml")}
    spec = mujoco.MjSpec.from_string((folder / "humanoid.xml").read_text("utf-8"), files)
    spec.option.timestep = 0.008
    spec.option.solver, spec.option.iterations = mujoco.mjtSolver.mjSOL_NEWTON, 10
    spec.visual.global_.offwidth = spec.visual.global_.offheight = 480
    for sensor in list(spec.sensors):
        spec.delete(sensor)
    body, geom, site = mujoco.mjtObj.mjOBJ_XBODY, mujoco.mjtObj.mjOBJ_GEOM, mujoco.mjtObj.mjOBJ_SITE
    wanted: list[tuple[Any, Any, str]] = [(S.mjSENS_FRAMEXAXIS, body, "torso"), (S.mjSENS_FRAMEZAXIS, body, "torso")]
    wanted += [(S.mjSENS_FRAMEPOS, body, name) for name in BODIES]
    wanted += [(S.mjSENS_FRAMEPOS, geom, name) for name in GEOMS]
    wanted += [(S.mjSENS_FRAMELINVEL, body, "torso"), (S.mjSENS_FRAMEANGVEL, body, "torso")]
    wanted += [(S.mjSENS_TOUCH, site, name) for name in TOUCH]
    for i, (kind, of, name) in enumerate(wanted):
        spec.add_sensor(name=f"observed{i}", type=kind, objtype=of, objname=name)
    spec.geom("head").size *= head_size
    if box:
        cube = spec.worldbody.add_body(name="box", pos=[BOX_START, 0, BOX_SIZE / 2])
        cube.add_freejoint()
        half = BOX_SIZE / 2
        cube.add_geom(type=mujoco.mjtGeom.mjGEOM_BOX, size=[half] * 3, mass=10, friction=[0.05, 0.005, 0.0001],
                      priority=1, rgba=[0.9, 0.6, 0, 1])  # fmt: skip
    return spec.compile()


class Humanoid:
    """One of the tasks: `getup`, `walk` or `box`. 0.008 s per decision, episodes of 600 decisions.

    Observation, 34 numbers (37 with the box): the torso's forward and upward axes; directions from head to hands and
    from pelvis to feet; heights of root, hands and feet; the root's velocities; touch at head, hands and feet; where
    there is a box, its place. All are scaled to about -1 to 1. Rewards are those of the appendix, of the state after
    the action, less the cost of control.
    """

    substeps, episode_steps, senses = 1, 600, False

    def __init__(self, kind: str, sparse: bool = False, control_cost: float = 0.0, head_size: float = 1.0) -> None:
        self.kind, self.sparse, self.model = kind, sparse, model(kind == "box", head_size)
        self._effort = control_cost * inverse_mass(self.model)

    def control(self, act: np.ndarray) -> np.ndarray:
        """Return the actions themselves: the motors' range is -1 to 1."""
        return act

    def observe(self, path: Path, own: np.ndarray) -> np.ndarray:
        """Return the observations `[M, H+1, 34]` or `[M, H+1, 37]`."""
        read = path.sensors
        forward, upward, torso, pelvis, right_foot, left_foot, head, right_hand, left_hand, velocity, turning = (
            read[..., 3 * i : 3 * i + 3] for i in range(11)
        )
        heights = np.stack([x[..., 2] for x in (torso, right_hand, left_hand, right_foot, left_foot)], -1)
        parts = [
            forward, upward,
            _direction(head, right_hand), _direction(head, left_hand),
            _direction(pelvis, right_foot), _direction(pelvis, left_foot),
            2 * heights - 1, np.clip(velocity / 2, -3, 3), np.clip(turning / 5, -3, 3), np.tanh(read[..., 33:38] / 300),
        ]  # fmt: skip
        if self.kind == "box":
            parts.append(path.qpos[..., -7:-4] - [BOX_TARGET, 0, 0])
        return np.concatenate(parts, -1)

    def judge(self, path: Path, act: np.ndarray, own: np.ndarray) -> Judged:
        """Return the rewards."""
        position, velocity = path.qpos[:, 1:], path.qvel[:, 1:]
        height = position[..., 2]
        below = height - TARGET
        if self.kind == "getup":
            reward = (below > 0).astype(float) if self.sparse else np.minimum(1 + below, 1)
        elif self.kind == "walk":
            walking = 1 - np.abs(SPEED - velocity[..., 0]) - np.abs(position[..., 1])
            reward = np.where(below <= 0, below, walking)
        else:
            box = position[..., -7:-5]
            away = np.linalg.norm(box - position[..., :2], axis=-1)
            left = np.linalg.norm(box - [BOX_TARGET, 0], axis=-1)
            reward = np.where(below <= 0, below, np.where(away > NEAR, 2 - away, 4 - 2 * left))
        return Judged(reward - np.einsum("mti,ij,mtj->mt", act, self._effort, act))

    def start(self, data: mujoco.MjData, random: np.random.Generator) -> np.ndarray:
        """Lay the humanoid on its back, or stand it up, with small random angles of its joints."""
        if self.kind == "getup":
            data.qpos[2], data.qpos[3:7] = 0.15, [np.sqrt(0.5), 0, -np.sqrt(0.5), 0]
            mujoco.mj_step(self.model, data, 250)  # until it lies
        else:
            data.qpos[2] = 1.29
        data.time, data.qvel[:] = 0, 0
        data.qpos[7:28] += random.uniform(-0.02, 0.02, 21)
        return np.zeros(0)

    def advance(self, own: np.ndarray, steps: int, random: np.random.Generator) -> np.ndarray:
        """Return the task's own numbers, none."""
        return own

    def camera(self) -> mujoco.MjvCamera:
        """Return a camera that follows the humanoid from the side."""
        camera = mujoco.MjvCamera()
        camera.type, camera.trackbodyid = mujoco.mjtCamera.mjCAMERA_TRACKING, self.model.body("torso").id
        camera.distance, camera.elevation, camera.azimuth = 4.0, -12, 100
        return camera


def inverse_mass(m: mujoco.MjModel) -> np.ndarray:
    """Return the inverse of the mass matrix in the model's first pose, per unit of action, `[A, A]`.

    The paper scales the cost of a force by the inverse of the mass matrix; here it does not change with the pose.
    """
    data, mass = mujoco.MjData(m), np.zeros((m.nv, m.nv))
    mujoco.mj_forward(m, data)
    mujoco.mj_fullM(m, mass, data.qM)
    dofs, gear = m.jnt_dofadr[m.actuator_trnid[:, 0]], m.actuator_gear[:, 0]
    return gear[:, None] * np.linalg.inv(mass)[np.ix_(dofs, dofs)] * gear


def _direction(begin: np.ndarray, end: np.ndarray) -> np.ndarray:
    away = end - begin
    return away / (np.linalg.norm(away, axis=-1, keepdims=True) + 1e-6)
