"""The robot arm of PETS (Chua et al., 2018): Reacher3D, and Pusher."""

from __future__ import annotations

from typing import Any

import gymnasium
import mujoco
import numpy as np

from safeloop_envs.actions import ActionRange
from safeloop_envs.mujoco_task import folder_of
from safeloop_envs.physics import Judged, Path

HINGES = 7
FRAME = 480
BASE, LIFT, ELBOW, WRIST = (0.0, -0.188, 0.0), (0.1, 0.0, 0.0), (0.4, 0.0, 0.0), (0.321, 0.0, 0.0)
"""Places of the shoulder, then of each joint that is not at the one before it, from that one, m."""
PALM, FINGER, TIP = (0.05, 0.0, 0.02), (0.07691, 0.03, 0.0), (0.09137, 0.00495, 0.0)
"""Half of the palm, the first joint of a finger and its second one, m."""
ORIGIN = (0.0, 0.0, 0.0)
HAND = FINGER[0] + TIP[0]
"""Distance of the place between the fingers' tips from the wrist, m."""


def reacher_model() -> mujoco.MjModel:
    """Return the arm with a target that nothing touches: 7 hinges with torques to 20 N m."""
    spec = mujoco.MjSpec()
    spec.compiler.degree = False
    spec.option.timestep, spec.option.integrator = 0.01, mujoco.mjtIntegrator.mjINT_RK4
    spec.option.gravity = ORIGIN
    spec.visual.global_.offwidth = spec.visual.global_.offheight = FRAME
    spec.worldbody.add_light(pos=[0, 0, 5])

    def link(parent: Any, place: Any, axis: Any, damping: float, limits: tuple[float, float] | None = None) -> Any:
        body = parent.add_body(pos=place)
        name = f"hinge{len(spec.actuators)}"
        joint = body.add_joint(name=name, axis=axis, damping=damping, armature=0.04)
        if limits:
            joint.limited, joint.range = True, limits
        motor = spec.add_actuator(target=name, trntype=mujoco.mjtTrn.mjTRN_JOINT)
        motor.ctrllimited, motor.ctrlrange = True, (-20, 20)
        return body

    def capsule(body: Any, begin: Any, end: Any, radius: float) -> None:
        body.add_geom(type=mujoco.mjtGeom.mjGEOM_CAPSULE, fromto=[*begin, *end], size=[radius, 0, 0], contype=0,
                      conaffinity=0)  # fmt: skip

    x, y, z = np.eye(3)
    pan = link(spec.worldbody, BASE, z, 10, (-2.2854, 1.714602))
    for side in (-0.06, 0.06):
        for forward, radius in ((0.05, 0.05), (0.09, 0.03)):
            pan.add_geom(type=mujoco.mjtGeom.mjGEOM_SPHERE, pos=[side, forward, 0.2], size=[radius, 0, 0], contype=0,
                         conaffinity=0)  # fmt: skip
    capsule(pan, -0.4 * z, 0.2 * z, 0.1)
    lift = link(pan, LIFT, y, 10, (-0.5236, 1.3963))
    capsule(lift, -0.1 * y, 0.1 * y, 0.1)
    upper_arm = link(lift, ORIGIN, x, 0.1, (-3.9, 0.8))
    capsule(upper_arm, -0.1 * x, 0.1 * x, 0.02)
    capsule(upper_arm, ORIGIN, ELBOW, 0.06)
    elbow = link(upper_arm, ELBOW, y, 1, (-2.3213, 0))
    capsule(elbow, -0.02 * y, 0.02 * y, 0.06)
    forearm = link(elbow, ORIGIN, x, 0.1)
    capsule(forearm, -0.1 * x, 0.1 * x, 0.02)
    capsule(forearm, ORIGIN, WRIST, 0.05)
    wrist = link(forearm, WRIST, y, 0.1, (-2.094, 0))
    capsule(wrist, -0.02 * y, 0.02 * y, 0.01)
    hand = link(wrist, ORIGIN, x, 0.1)
    capsule(hand, -0.02 * x, 0.02 * x, 0.01)
    capsule(hand, (PALM[0], 0, -PALM[2]), PALM, 0.05)
    for side in (1, -1):
        mirrored = np.array([1, side, 1])
        first, second = FINGER * mirrored, (np.array(FINGER) + TIP) * mirrored
        capsule(hand, first, second, 0.01)
        capsule(hand, second, second + TIP[0] * x, 0.01)
    hand.add_site(name="tip", pos=HAND * x)
    target = spec.worldbody.add_body(name="target", pos=[0, 0.25, 0])
    for axis, place in zip((x, y, z), (0, 0.25, 0), strict=True):
        target.add_joint(type=mujoco.mjtJoint.mjJNT_SLIDE, axis=axis, ref=place)
    target.add_geom(type=mujoco.mjtGeom.mjGEOM_SPHERE, size=[0.035, 0, 0], contype=0, conaffinity=0,
                    rgba=[0.9, 0.2, 0.2, 1])  # fmt: skip
    _see(spec, mujoco.mjtSensor.mjSENS_FRAMEPOS, mujoco.mjtObj.mjOBJ_SITE, "tip")
    return spec.compile()


def pusher_model() -> mujoco.MjModel:
    """Return Gymnasium's arm with an object and its goal, and the shoulder's range of PETS."""
    folder = folder_of("gymnasium", f"Gymnasium {gymnasium.__version__} has no files") / "envs" / "mujoco" / "assets"
    spec = mujoco.MjSpec.from_file(str(folder / "pusher.xml"))
    spec.joint("r_shoulder_pan_joint").range = (-2.2854, 2.0)
    spec.visual.global_.offwidth = spec.visual.global_.offheight = FRAME
    for name in ("tips_arm", "object", "goal"):
        _see(spec, mujoco.mjtSensor.mjSENS_SUBTREECOM, mujoco.mjtObj.mjOBJ_BODY, name)
    return spec.compile()


def _see(spec: mujoco.MjSpec, kind: mujoco.mjtSensor, of: mujoco.mjtObj, name: str) -> None:
    """Add a sensor of a place."""
    spec.add_sensor(name=f"seen_{name}", type=kind, objtype=of, objname=name)


class Arm:
    """A task of the arm: 150 decisions an episode, and no numbers of its own."""

    episode_steps, senses = 150, True
    substeps: int

    def __init__(self, model: mujoco.MjModel) -> None:
        self.model = model
        self._actions = ActionRange(model.actuator_ctrlrange)
        self.control = self._actions.scaled
        """The torques of actions, N m."""

    def advance(self, own: np.ndarray, steps: int, random: np.random.Generator) -> np.ndarray:
        """Return the task's own numbers, none."""
        return own

    def camera(self) -> mujoco.MjvCamera:
        """Return a camera in front of the arm, above it."""
        camera = mujoco.MjvCamera()
        camera.lookat[:], camera.distance, camera.elevation, camera.azimuth = (0.3, 0, 0), 2.5, -35, 135
        return camera


class Reacher3D(Arm):
    """Reach a target with the fingers; 0.02 s a decision.

    Observation, 20 numbers: angles of the 7 joints, place of the target, velocities of the joints, place of the
    fingers. The reward is of the state after the action.
    """

    substeps = 2

    def __init__(self) -> None:
        super().__init__(reacher_model())

    def start(self, data: mujoco.MjData, random: np.random.Generator) -> np.ndarray:
        """Stretch the arm out, and draw the target's place around (0, 0.25, 0) m."""
        data.qpos[HINGES:] += random.normal(0, 0.1, 3)
        return np.zeros(0)

    def observe(self, path: Path, own: np.ndarray) -> np.ndarray:
        """Return the observations `[M, H+1, 20]`."""
        return np.concatenate((path.qpos, path.qvel[..., :HINGES], path.sensors), -1)

    def judge(self, path: Path, act: np.ndarray, own: np.ndarray) -> Judged:
        """Return the rewards."""
        after = slice(self.substeps, None, self.substeps)
        away = np.square(path.sensors[:, after] - path.qpos[:, after, HINGES:]).sum(-1)
        return Judged(-away - 0.01 * np.square(self.control(act)).sum(-1))


class Pusher(Arm):
    """Push an object to a goal on the table; 0.04 s a decision.

    Observation, 23 numbers: angles and velocities of the 7 joints; places of the hand's tips, the object and the goal.
    The reward is of the state before the action.
    """

    substeps = 4

    def __init__(self) -> None:
        super().__init__(pusher_model())

    def start(self, data: mujoco.MjData, random: np.random.Generator) -> np.ndarray:
        """Stretch the arm out, and put the object near (0.6, -0.3) m; the goal is always at the same place."""
        data.qpos[HINGES : HINGES + 2] = random.normal((-0.25, 0.15), 0.025)
        data.qvel[:HINGES] = random.uniform(-0.005, 0.005, HINGES)
        return np.zeros(0)

    def observe(self, path: Path, own: np.ndarray) -> np.ndarray:
        """Return the observations `[M, H+1, 23]`."""
        return np.concatenate((path.qpos[..., :HINGES], path.qvel[..., :HINGES], path.sensors), -1)

    def judge(self, path: Path, act: np.ndarray, own: np.ndarray) -> Judged:
        """Return the rewards."""
        places = path.sensors[:, : -1 : self.substeps]
        tips, thing, goal = (places[..., 3 * i : 3 * i + 3] for i in range(3))
        away = 0.5 * np.abs(tips - thing).sum(-1) + 1.25 * np.abs(goal - thing).sum(-1)
        return Judged(-away - 0.1 * np.square(self.control(act)).sum(-1))
