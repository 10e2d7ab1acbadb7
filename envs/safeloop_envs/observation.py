"""Read observations of positions (see `safeloop_envs.positions`) from the simulator."""

from __future__ import annotations

from typing import Any

import mujoco
import numpy as np

from safeloop_envs.positions import ROBOT_NUMBERS, SHOWN


def _body(kind: str, index: int) -> str:
    """Return the simulator's name of an object."""
    if kind in ("goal", "circle"):
        return kind
    return f"gremlin{index}obj" if kind == "gremlin" else f"{kind}{index}"


class Positions:
    """The observation of positions of a task, read from the simulator's arrays.

    The state must be that after `mj_kinematics`; of the rest of `mj_forward`, these sensors need only the parts that
    are computed here.
    """

    def __init__(self, task: Any, name: str) -> None:
        self.model, self.data = model, data = task.model, task.data
        shown = SHOWN[name]
        self.bodies = [model.body(_body(kind, i)).id for kind, count in shown.items() for i in range(count)]
        robot = model.body("agent").id
        self.positions, self.robot = data.xpos, data.xpos[robot]
        self.frame = data.xmat[robot].reshape(3, 3)
        self.sensors = data.sensordata
        start = {name: int(model.sensor(name).adr[0]) for name in ("velocimeter", "magnetometer", "gyro")}
        velocity, magnetic, gyro = start["velocimeter"], start["magnetometer"], start["gyro"]
        self.own = [velocity, velocity + 1, magnetic, magnetic + 1, magnetic + 2, gyro + 2]
        self.size = ROBOT_NUMBERS + 2 * len(self.bodies)

    def __call__(self) -> np.ndarray:
        """Return the observation, [size] float32. An entity's height counts as 0, as in Safety-Gymnasium's lidar."""
        model, data = self.model, self.data
        mujoco.mj_comPos(model, data)
        mujoco.mj_comVel(model, data)
        mujoco.mj_sensorPos(model, data)
        mujoco.mj_sensorVel(model, data)
        observation = np.empty(self.size, dtype=np.float32)
        observation[:ROBOT_NUMBERS] = self.sensors[self.own]
        offsets = self.positions[self.bodies]  # [entities, 3]
        offsets[:, 2] = 0.0
        offsets -= self.robot
        observation[ROBOT_NUMBERS:] = (offsets @ self.frame[:, :2]).ravel()
        return observation
