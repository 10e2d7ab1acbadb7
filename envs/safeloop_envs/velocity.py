"""Safety-Gymnasium's velocity tasks: MuJoCo locomotion with a limit on speed."""

from __future__ import annotations

from unittest import mock

from safeloop_envs.mujoco_task import CAMERA, MujocoTask, simulation
from safeloop_envs.rendering import choose_backend
from safeloop_envs.shim import bare, import_safety_gymnasium


def make_velocity(full_id: str, action_repeat: int, episode_steps: int, render_mode: str | None = None) -> MujocoTask:
    """Make one of Safety-Gymnasium 1.0.0's velocity tasks; a simulator step above the task's speed limit costs 1.

    Episodes end where the robot falls (Ant, Hopper, Humanoid, Walker2d).
    """
    import_safety_gymnasium()
    from gymnasium.envs.mujoco.swimmer_v4 import SwimmerEnv

    if render_mode == "rgb_array":
        choose_backend()
    with mock.patch.object(SwimmerEnv, "_initialize_simulation", simulation):
        stock = bare(full_id, render_mode=render_mode, camera_name=CAMERA)
    return MujocoTask(stock, action_repeat, episode_steps, render_mode)
