"""Adroit's pen task with goals from a narrow range."""

from __future__ import annotations

from typing import Any

import numpy as np

from safeloop_envs.mujoco_task import simulation
from safeloop_envs.shim import import_safety_gymnasium

import_safety_gymnasium()  # imports gymnasium-robotics quietly

from gymnasium_robotics.envs.adroit_hand.adroit_pen import AdroitHandPenEnv  # noqa: E402
from gymnasium_robotics.utils.rotations import euler2quat  # noqa: E402

MEAN, DEVIATION = 0.7, 0.1
"""Mean and standard deviation of both angles of a goal (rad); the paper's N(0, 0.1) is read as a standard deviation."""


class PenGoal(AdroitHandPenEnv):
    """gymnasium-robotics' pen task with goals `[0.7, 0.7] + N(0, 0.1)` (CoRL 2021, C.2). It never terminates."""

    _initialize_simulation = simulation

    def reset_model(self) -> np.ndarray:
        """Set the hand at rest with the pen in it, draw a goal, and return the observation [45]."""
        angles: Any = np.append(self.np_random.normal(MEAN, DEVIATION, 2), 0.0)
        self.model.body_quat[self.target_obj_body_id] = euler2quat(angles)
        self.set_state(self.init_qpos, self.init_qvel)
        sites = self.data.site_xpos
        self.pen_length = np.linalg.norm(sites[self.obj_t_site_id] - sites[self.obj_b_site_id])
        self.tar_length = np.linalg.norm(sites[self.tar_t_site_id] - sites[self.tar_b_site_id])
        return self._get_obs()
