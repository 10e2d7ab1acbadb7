"""POLO's in-hand manipulation (Lowrey et al., 2019, appendix B): Adroit's hand turns a dice to changing goals."""

from __future__ import annotations

import mujoco
import numpy as np

from safeloop_envs.actions import ActionRange
from safeloop_envs.mujoco_task import folder_of, sources
from safeloop_envs.physics import Judged, Path
from safeloop_envs.physics_env import PhysicsEnv

EVERY = 75
"""Decisions after which a new orientation is asked for."""
HALF, DENSITY = 0.025, 567
"""Half the width of the dice, m, and its density, kg/m3: those of the block of the Shadow hand's tasks."""
START = (0.0, -0.2, 0.26)
"""The place from which the dice falls onto the palm, m."""
CURLED, SETTLED = 0.4, 100
"""Angle of the finger joints at first, rad, and the number of physics steps in which the dice comes to rest."""
SHOWN = (0.12, -0.2, 0.3)
"""The place of the second dice, which shows the orientation that is asked for, m."""


def model() -> mujoco.MjModel:
    """Return the hand of gymnasium-robotics' pen task, with a dice in place of pen and table.

    Motors are position controlled with the gains of that task. MuJoCo's iterations against slip are left out, which
    take half of the time. Raises `UsageError` where gymnasium-robotics is not installed.
    """
    folder = folder_of("gymnasium_robotics", "the hand's model file is gymnasium-robotics': run `safeloop doctor`")
    _, xml, assets = sources(folder / "envs" / "assets" / "adroit_hand" / "adroit_pen.xml")
    spec = mujoco.MjSpec.from_string(xml, assets)
    spec.assets = assets
    for name in ("Object", "target", "table", "vive_tracker"):
        spec.delete(spec.body(name))
    spec.delete(spec.site("eps_ball"))
    spec.option.noslip_iterations = 0
    spec.visual.global_.offwidth = spec.visual.global_.offheight = 480
    # The picture unfolds a dice: 6 above 3, 5 below, and 1, 2, 3, 4 from left to right.
    spec.add_texture(name="dice", type=mujoco.mjtTexture.mjTEXTURE_CUBE, file="dice.png", gridsize=[3, 4],
                     gridlayout=[*"..U.LFRB..D.", "\0"])  # fmt: skip
    spec.add_material(name="dice").textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = "dice"
    box, size = mujoco.mjtGeom.mjGEOM_BOX, [HALF] * 3
    dice = spec.worldbody.add_body(name="dice", pos=START)
    dice.add_freejoint()
    dice.add_geom(type=box, size=size, density=DENSITY, condim=4, material="dice")
    goal = spec.worldbody.add_body(name="goal", pos=SHOWN, mocap=True)
    goal.add_geom(type=box, size=size, contype=0, conaffinity=0, material="dice")
    compiled = spec.compile()
    for i in range(compiled.nu):
        gain = 10 if "WRJ" in compiled.actuator(i).name else 1
        compiled.actuator_gainprm[i, :3], compiled.actuator_biasprm[i, :3] = (gain, 0, 0), (0, -gain, 0)
    return compiled


class Hand:
    """The task: 0.01 s per decision, episodes of 1,000 decisions, a new goal every 75.

    Observation, 69 numbers: angles and velocities of the 24 joints; the dice's place (from its goal), its orientation
    as two axes, seen from the world and from the goal; its velocities. All are scaled to about -1 to 1. The reward is
    Eq. 8, of the state after the action. The task's own numbers are the goal's orientation, a quaternion.
    """

    substeps, episode_steps, senses = 5, 1000, False

    def __init__(self) -> None:
        self.model = model()
        self.control = ActionRange(self.model.actuator_ctrlrange).scaled
        """The desired angles of the joints, rad: an action of -1 to 1 is the whole range of a joint."""
        data = mujoco.MjData(self.model)
        mujoco.mj_kinematics(self.model, data)
        self.place = data.site("S_grasp").xpos.copy()
        """The goal's place, m: above the palm as it is first."""
        names = [self.model.actuator(i).name for i in range(self.model.nu)]
        self._curled = np.array([CURLED if n[2] in "FMRL" and n[-1] in "012" else 0.0 for n in names])

    def observe(self, path: Path, own: np.ndarray) -> np.ndarray:
        """Return the observations `[M, H+1, 69]`."""
        dice, goal = matrix(path.qpos[..., -4:]), matrix(own)[:, None]
        parts = [
            path.qpos[..., :-7], 0.1 * path.qvel[..., :-6], 10 * (path.qpos[..., -7:-4] - self.place), _axes(dice),
            _axes(goal.swapaxes(-1, -2) @ dice), path.qvel[..., -6:-3], 0.1 * path.qvel[..., -3:],
        ]  # fmt: skip
        return np.concatenate(parts, -1)

    def judge(self, path: Path, act: np.ndarray, own: np.ndarray) -> Judged:
        """Return the rewards."""
        after = path.qpos[:, self.substeps :: self.substeps]
        away = np.abs(after[..., -7:-4] - self.place).sum(-1)
        return Judged(-0.5 * away - 0.05 * apart(after[..., -4:], own[:, None]))

    def start(self, data: mujoco.MjData, random: np.random.Generator) -> np.ndarray:
        """Let the dice fall onto the palm in a random orientation, and return the goal's."""
        data.ctrl[:] = self._curled
        data.qpos[-7:-4], data.qpos[-4:] = START, orientation(random)
        mujoco.mj_step(self.model, data, SETTLED)
        data.time, data.qvel[:] = 0, 0
        return orientation(random)

    def advance(self, own: np.ndarray, steps: int, random: np.random.Generator) -> np.ndarray:
        """Return the goal's orientation after a decision."""
        return own if steps % EVERY else orientation(random)

    def camera(self) -> mujoco.MjvCamera:
        """Return a camera above the palm."""
        camera = mujoco.MjvCamera()
        camera.lookat[:], camera.distance, camera.elevation, camera.azimuth = (0.04, -0.2, 0.24), 0.55, -50, 90
        return camera


class HandEnv(PhysicsEnv):
    """The task as an environment, whose frames show the goal's orientation as a second dice beside the hand."""

    def __init__(self, render_mode: str | None = None) -> None:
        super().__init__(Hand(), render_mode)

    def render(self) -> np.ndarray | None:  # type: ignore[override]
        """Return a frame, uint8 [480, 480, 3]; None without `render_mode="rgb_array"`."""
        self.data.mocap_quat[0] = self._own
        mujoco.mj_kinematics(self.model, self.data)
        return super().render()


def orientation(random: np.random.Generator) -> np.ndarray:
    """Return a random orientation, a unit quaternion `[4]`, all being equally likely."""
    drawn = random.normal(size=4)
    return drawn / np.linalg.norm(drawn)


def apart(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """Return the angle `[...]`, rad, of the rotation between unit quaternions `[..., 4]`."""
    return 2 * np.arccos(np.minimum(np.abs((one * two).sum(-1)), 1.0))


def matrix(quaternion: np.ndarray) -> np.ndarray:
    """Return the rotation matrices `[..., 3, 3]` of unit quaternions `[..., 4]`."""
    w, x, y, z = np.moveaxis(quaternion, -1, 0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.stack([np.stack(row, -1) for row in rows], -2)


def _axes(rotation: np.ndarray) -> np.ndarray:
    """Return the first two columns of matrices `[..., 3, 3]`, `[..., 6]`."""
    return np.concatenate((rotation[..., 0], rotation[..., 1]), -1)
