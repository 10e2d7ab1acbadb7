"""The claw of Nagabandi et al. (2019): three fingers of three joints turn a valve to an angle.

The model files are those of robel (Apache-2.0), which are read where it is installed; nothing of it is imported.
"""

from __future__ import annotations

from pathlib import Path as File

import mujoco
import numpy as np

from safeloop.doctor import with_uv
from safeloop.protocols import Simulated
from safeloop_envs.actions import ActionRange
from safeloop_envs.claw_reward import Kind, reward
from safeloop_envs.mujoco_task import folder_of
from safeloop_envs.physics import Judged, Path, TaskSimulator
from safeloop_envs.physics_env import PhysicsEnv

JOINTS = 9
"""Joints of the fingers; the valve's is the tenth."""
START = (0.0, -1.0, 1.35)
"""First angles of the joints of each finger, rad."""
SPEED, BENT = 5.0, np.pi / 2
"""The fastest that a joint is asked to turn, rad/s, and the largest angle that it is asked for, rad."""
MARK = 0.125
"""Height of the mark that shows the goal in frames, m: that of the valve's own mark."""


def model() -> mujoco.MjModel:
    """Return robel's claw over a valve with three arms.

    The second claw of the file, which only shows angles in pictures, is left out; nothing touches it. The solver begins
    each step anew, so that a step follows from positions and velocities alone. Raises `UsageError` where robel is not
    installed.
    """
    missing = f"Claw's model files are robel's, whose metadata pip refuses: run `{with_uv('robel')}`"
    folder = folder_of("robel", missing)
    scenes = folder / "robel-scenes"
    included = {f"../../{file.relative_to(folder)}": _readable(file).encode() for file in scenes.rglob("*.xml")}
    spec = mujoco.MjSpec.from_string(_readable(folder / "dclaw" / "assets" / "dclaw3xh_valve3_v0.xml"), included)
    files = {file.name: file for file in scenes.rglob("*") if file.suffix in (".stl", ".png")}
    spec.meshdir = spec.texturedir = ""
    for asset in (*spec.meshes, *(texture for texture in spec.textures if texture.file)):
        asset.file = File(asset.file).name
        spec.assets[asset.file] = files[asset.file].read_bytes()
    spec.mesh("plastic_finger").scale = (1, 1, 1)  # this file is in metres; it is only for pictures
    spec.delete(spec.body("_dclaw"))
    spec.body("target").mocap = True
    spec.visual.global_.offwidth = spec.visual.global_.offheight = 480
    spec.option.disableflags |= mujoco.mjtDisableBit.mjDSBL_WARMSTART
    return spec.compile()


def _readable(file: File) -> str:
    """Return an XML file without the licence before its declaration, where MuJoCo 3 allows nothing."""
    text = file.read_text("utf-8")
    return text[max(text.find("<?xml"), 0) :]


class Claw:
    """The task: 0.1 s per decision, episodes of 40 decisions that never terminate.

    Observation, 21 numbers: angles and velocities of the 9 joints, rad and rad/s; the valve's angle and velocity; the
    angle that is asked for. The reward is of the state after the action. The task's own number is that angle.
    """

    substeps, episode_steps, senses = 40, 40, False

    def __init__(self, kind: Kind = "published") -> None:
        self.model, self.kind = model(), kind
        self.control = ActionRange(self.model.actuator_ctrlrange).scaled
        """The desired angles of the joints, rad, before `limited`."""
        self._reach = SPEED * self.substeps * self.model.opt.timestep

    def limited(self, control: np.ndarray, angles: np.ndarray) -> np.ndarray:
        """Return the desired angles `[..., 9]`, rad, limited to those that joints at `angles [..., 9]` reach."""
        near = np.clip(control, angles - self._reach, angles + self._reach)
        return np.clip(near, -BENT, BENT)

    def observe(self, path: Path, own: np.ndarray) -> np.ndarray:
        """Return the observations `[M, H+1, 21]`."""
        goal = np.broadcast_to(own[:, None], (*path.qpos.shape[:-1], 1))
        joints, valve = slice(JOINTS), slice(JOINTS, None)
        parts = (x[..., part] for part in (joints, valve) for x in (path.qpos, path.qvel))
        return np.concatenate((*parts, goal), -1)

    def judge(self, path: Path, act: np.ndarray, own: np.ndarray) -> Judged:
        """Return the rewards."""
        return Judged(reward(path.qpos[:, self.substeps :: self.substeps, JOINTS], own, self.kind))

    def start(self, data: mujoco.MjData, random: np.random.Generator) -> np.ndarray:
        """Bend the fingers, turn the valve by up to 45 degrees, and return a goal of 90 to 180 degrees either way."""
        data.qpos[:] = *START * 3, random.uniform(-np.pi / 4, np.pi / 4)
        return random.uniform(np.pi / 2, np.pi, 1) * random.choice((-1, 1))

    def advance(self, own: np.ndarray, steps: int, random: np.random.Generator) -> np.ndarray:
        """Return the goal, which stays."""
        return own

    def camera(self) -> mujoco.MjvCamera:
        """Return a camera that looks as the program's does, from nearer."""
        camera = mujoco.MjvCamera()
        camera.lookat[:], camera.distance, camera.elevation, camera.azimuth = (0, 0, 0.18), 0.7, -50, 140
        return camera


class ClawEnv(PhysicsEnv):
    """The task as an environment, whose frames show the goal as a green mark above the valve."""

    task: Claw

    def __init__(self, kind: Kind = "published", render_mode: str | None = None) -> None:
        super().__init__(Claw(kind), render_mode)

    def _control(self, act: np.ndarray) -> np.ndarray:
        return self.task.limited(self.task.control(act), self.data.qpos[:JOINTS])

    def render(self) -> np.ndarray | None:  # type: ignore[override]
        """Return a frame, uint8 [480, 480, 3]; None without `render_mode="rgb_array"`."""
        half = self._own[0] / 2
        self.data.mocap_pos[0, 2], self.data.mocap_quat[0] = MARK, (np.cos(half), 0, 0, np.sin(half))
        mujoco.mj_kinematics(self.model, self.data)
        return super().render()


class ClawSimulator(TaskSimulator):
    """The simulator of the claw: a control follows from the joints as well, so it goes decision by decision."""

    task: Claw

    def rollout(self, state: np.ndarray, act: np.ndarray) -> Simulated:
        """Return the rollouts of actions `[M, H, A]` from full states `[M, F]`."""
        states, found = [state[:, None]], []
        for t in range(act.shape[1]):
            found.append(super().rollout(states[-1][:, -1], act[:, t : t + 1]))
            states.append(found[-1].state[:, 1:])
        rewards, costs = (np.concatenate(x, 1) for x in zip(*((f.reward, f.cost) for f in found), strict=True))
        valid = np.logical_and.reduce([f.valid for f in found])
        return Simulated(np.concatenate(states, 1), rewards, costs, None, None, valid)

    def _controls(self, state: np.ndarray, act: np.ndarray) -> np.ndarray:
        return self.task.limited(self.task.control(act), state[:, None, 1 : 1 + JOINTS])
