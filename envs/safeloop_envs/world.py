"""A Safety-Gymnasium world that is compiled once and then moved, instead of recompiled for every episode.

Safety-Gymnasium writes an XML file and compiles it at each reset. Between two episodes of one task only poses differ,
so the compiled model can be kept: this module sets the poses that the XML would have had, lets MuJoCo recompute the
values that depend on them (`mj_setConst`), and starts from a fresh state. Every array of the model then equals the
recompiled one (tests/envs/test_fast_reset.py compares them all).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any
from unittest import mock

import mujoco
import numpy as np


def _quaternion(rotation: float) -> np.ndarray:
    """Return the unit quaternion [4] of a rotation by `rotation` radians about z, normalised as the compiler does."""
    quat = np.array([np.cos(rotation / 2), 0.0, 0.0, np.sin(rotation / 2)])
    mujoco.mju_normalize4(quat)
    return quat


def move_body(model: mujoco.MjModel, name: str, position: np.ndarray, quat: np.ndarray) -> None:
    """Set the first pose of a body; `settle` has to follow."""
    body = model.body(name)
    body.pos[:] = position
    body.quat[:] = quat
    if body.mass[0] == 0.0:  # the compiler leaves the pose behind as the inertial frame
        body.ipos[:] = position
        body.iquat[:] = quat
    if body.jntnum[0] and model.jnt_type[body.jntadr[0]] == mujoco.mjtJoint.mjJNT_FREE:
        start = model.jnt_qposadr[body.jntadr[0]]
        for initial in (model.qpos0, model.qpos_spring):
            initial[start : start + 3] = position
            initial[start + 3 : start + 7] = quat


def settle(model: mujoco.MjModel, data: mujoco.MjData) -> None:
    """Compute the model's values that follow from the first poses."""
    # A weld whose relative pose is zero is filled in by mj_setConst from the initial state; the compiler leaves the
    # pose behind in eq_data[3:10], so it is cleared before.
    model.eq_data[model.eq_type == mujoco.mjtEq.mjEQ_WELD, 3:10] = 0.0
    mujoco.mj_resetData(model, data)  # mj_setConst reads mocap poses from the state
    mujoco.mj_setConst(model, data)


def _without_skybox(unparse: Callable[..., str], xml: dict[str, Any]) -> str:
    """Return the world's XML without its skybox, whose six images take most of the compile time and a gigabyte."""
    asset = xml["mujoco"]["asset"]
    asset["texture"] = [texture for texture in asset["texture"] if texture.get("@type") != "skybox"]
    return unparse(xml)


class MovedWorld:
    """A replacement of `task.world.rebuild` after the stock world has been compiled."""

    def __init__(self, world: Any) -> None:
        self.robot_height = world._agent.z_height
        self.model = world.model
        self.data = world.data

    def __call__(self, config: dict[str, Any], state: bool = False) -> None:
        """Move everything to its place in `config`, a world configuration of Safety-Gymnasium."""
        model = self.model
        position = np.r_[config["agent_xy"], self.robot_height]
        move_body(model, "agent", position, _quaternion(config["agent_rot"]))
        self._move_tracking_camera(config["agent_rot"])
        for group in ("free_geoms", "geoms"):
            for name, item in config[group].items():
                move_body(model, name, item["pos"], _quaternion(item["rot"]))
        for name, item in config["mocaps"].items():
            self._move_mocap(name, item["pos"], _quaternion(item["rot"]))
        settle(model, self.data)
        mujoco.mj_resetData(model, self.data)
        mujoco.mj_forward(model, self.data)

    def _move_mocap(self, name: str, position: np.ndarray, quat: np.ndarray) -> None:
        """Set the pose of a mocap body's only geom; the body itself stays at the origin."""
        geom, body = self.model.geom(name), self.model.body(name)
        geom.pos[:] = position
        geom.quat[:] = quat
        body.ipos[:] = position
        body.iquat[:] = quat

    def _move_tracking_camera(self, rotation: float) -> None:
        """Put the camera two metres behind and above the robot, in the pose that the stock XML gives it."""
        theta = rotation + np.pi
        sin, cos = np.sin(theta), np.cos(theta)
        x_axis, y_axis = np.array([cos, -sin, 0.0]), np.array([sin, cos, 1.0]) / np.sqrt(2.0)
        axes = np.stack([x_axis, y_axis, np.cross(x_axis, y_axis)], axis=1)
        camera = self.model.camera("track")
        camera.pos[:] = [-2.0 * sin, -2.0 * cos, 2.0]
        mujoco.mju_mat2Quat(camera.quat, axes.ravel())


def compile_once(task: Any, skybox: bool) -> None:
    """Compile the world of `task`, a Safety-Gymnasium task, and make its later resets move it.

    `skybox` keeps the sky's images, which only rendering needs. The function draws one layout, so the task has to be
    seeded afterwards.
    """
    import xmltodict
    from safety_gymnasium.world import World

    unparse = xmltodict.unparse if skybox else partial(_without_skybox, xmltodict.unparse)
    # The stock task compiles a new world twice in a row: once in World.reset, once in World.build.
    with mock.patch.object(World, "reset"), mock.patch.object(xmltodict, "unparse", unparse):
        task.reset()
    task.world.rebuild = MovedWorld(task.world)


def change_robot(model: mujoco.MjModel, friction: float, mass: float) -> None:
    """Scale the friction and the mass of the robot in a compiled model; scales of 1 leave it as it is.

    A robot on slides, Point, touches the floor without a force: its friction is the damping of its joints. That of
    others is in their contacts, where the robot's coefficients then count, whatever it touches. With the mass goes the
    inertia. `settle` has to follow, as it does in every reset.
    """
    mine = model.body_rootid == model.body("agent").id
    if mass != 1:
        model.body_mass[mine] *= mass
        model.body_inertia[mine] *= mass
    if friction == 1:
        return
    if model.jnt_type[model.body("agent").jntadr[0]] == mujoco.mjtJoint.mjJNT_SLIDE:
        model.dof_damping[mine[model.dof_bodyid]] *= friction
    else:
        geoms = mine[model.geom_bodyid]
        model.geom_friction[geoms] *= friction
        model.geom_priority[geoms] += 1
