"""Gymnasium's locomotion tasks, and Safety-Gymnasium's velocity tasks, as functions of paths of the physics.

Letters: M rollouts, H decisions, N simulator steps, T steps of the physics, A action, S observation.
"""

from __future__ import annotations

from typing import Any

import mujoco
import numpy as np

from safeloop_envs.actions import ActionRange
from safeloop_envs.clipping import CLIPPED
from safeloop_envs.physics import Judged, Path, summed_until

HIDDEN = {"HalfCheetah": 1, "Walker2d": 1, "Hopper": 1, "Swimmer": 2, "Ant": 2, "Humanoid": 2}
"""Number of positions, the first ones, that an observation leaves out."""
RADIAL = ("Ant", "Humanoid")
"""Robots whose limit of speed holds in every direction; that of the others holds along x."""


class Running:
    """A stock task's reward, cost, termination and observation, from paths (`physics.Task`).

    The stock environment's numbers are used: weights, bounds, its limit of speed where it has one. `InvertedPendulum`
    has a reward of 1 in every simulator step.

    All results are those of the stock environment, but for the rewards of Ant and Humanoid: there it reads the place of
    the robot from the last stage of a Runge-Kutta step, which is no part of a state. Here the place is the state's. The
    two differ by 0.009 (Ant) and 0.0002 (Humanoid) of reward in a step (root mean square, random actions), and the
    difference does not add up over steps.
    """

    senses = False

    def __init__(self, robot: str, stock: Any, actions: ActionRange, repeat: int, observed: slice):
        self.robot, self.stock, self.repeat, self.observed = robot, stock, repeat, observed
        self.model, self.substeps, self.control = stock.model, stock.frame_skip * repeat, actions.scaled
        self._data = mujoco.MjData(stock.model)

    def observe(self, path: Path, own: np.ndarray) -> np.ndarray:
        """Return the observations `[M, H+1, S]`."""
        limit = max(CLIPPED.get(self.robot, {}).values(), default=np.inf)
        velocities = path.qvel.clip(-limit, limit)
        return np.concatenate((path.qpos[..., HIDDEN.get(self.robot, 0) :], velocities), -1)[..., self.observed]

    def judge(self, path: Path, act: np.ndarray, own: np.ndarray) -> Judged:
        """Return the results of actions `[M, H, A]`: sums over the simulator steps before a termination."""
        stock, each = self.stock, self.stock.frame_skip
        qpos, qvel = path.qpos[:, each::each], path.qvel[:, each::each]  # [M, N, .]
        if self.robot == "InvertedPendulum":
            reward, cost, fallen = np.ones(qpos.shape[:2]), None, np.abs(qpos[..., 1]) > 0.2
        else:
            velocity = np.diff(self._places(path.qpos[:, ::each]), axis=1) / stock.dt  # [M, N, 2]
            effort = np.square(self.control(act)).sum(-1).repeat(self.repeat, 1)
            fallen = self._fallen(qpos, qvel)
            reward = self._weight("_forward_reward_weight", 1.0) * velocity[..., 0]
            reward = reward + self._weight("_healthy_reward", 0.0) - stock._ctrl_cost_weight * effort
            cost = self._cost(velocity)
        ended = np.zeros_like(reward, dtype=bool) if fallen is None else fallen
        ended = ended.reshape(*act.shape[:2], self.repeat)
        terminated = None if fallen is None else ended.any(-1)
        return Judged(summed_until(ended, reward), None if cost is None else summed_until(ended, cost), terminated)

    def _weight(self, name: str, otherwise: float) -> float:
        return float(getattr(self.stock, name, otherwise))

    def _cost(self, velocity: np.ndarray) -> np.ndarray | None:
        """Return 1 for each simulator step `[M, N]` above the limit of speed; None for a task without one."""
        limit = getattr(self.stock, "_velocity_threshold", None)
        if limit is None:
            return None
        speed = np.sqrt(np.square(velocity).sum(-1)) if self.robot in RADIAL else velocity[..., 0]
        return (speed > limit).astype(float)

    def _fallen(self, qpos: np.ndarray, qvel: np.ndarray) -> np.ndarray | None:
        """Return whether simulator steps `[M, N]` end in a fall; None for a robot that has no such end."""
        if self.robot in ("HalfCheetah", "Swimmer"):
            return None
        low, high = self.stock._healthy_z_range
        if self.robot == "Humanoid":
            return ~((low < qpos[..., 2]) & (qpos[..., 2] < high))
        if self.robot == "Ant":
            return ~((low <= qpos[..., 2]) & (qpos[..., 2] <= high))
        least, most = self.stock._healthy_angle_range
        height, angle = qpos[..., 1], qpos[..., 2]
        healthy = (low < height) & (height < high) & (least < angle) & (angle < most)
        if self.robot == "Hopper":
            least, most = self.stock._healthy_state_range
            rest = np.concatenate((qpos, qvel), -1)[..., 2:]
            healthy &= ((least < rest) & (rest < most)).all(-1)
        return ~healthy

    def _places(self, qpos: np.ndarray) -> np.ndarray:
        """Return the places `[M, N+1, 2]` of the robot whose velocity is rewarded, at positions `[M, N+1, nq]`."""
        if self.robot != "Humanoid":
            return qpos[..., :2]
        mass, found = self.model.body_mass[:, None], np.empty((*qpos.shape[:-1], 2))
        for place in np.ndindex(qpos.shape[:-1]):
            self._data.qpos[:] = qpos[place]
            mujoco.mj_kinematics(self.model, self._data)
            found[place] = (mass * self._data.xipos).sum(0)[:2] / mass.sum()
        return found
