"""Environments for safeloop: Safety-Gymnasium 1.0.0's tasks, the RC car, POLO's tasks, locomotion without a cost.

Importing this package and describing an environment is cheap: simulator, gymnasium and torch are imported when an
environment is made or a known model is used. The package also registers the RC car with gymnasium:
`gymnasium.make("safeloop_envs:RCCarDrift-v0")`.
"""

from __future__ import annotations

from safeloop_envs.family import SafetyGymnasium, safety_gymnasium
from safeloop_envs.locomotion import Locomotion, locomotion
from safeloop_envs.rc_car.family import RCCarTasks, rc_car_tasks
from safeloop_envs.rc_car.registration import register
from safeloop_envs.simulated import SimulatedTasks, simulated_tasks

__all__ = [
    "Locomotion", "RCCarTasks", "SafetyGymnasium", "SimulatedTasks", "locomotion", "rc_car_tasks", "safety_gymnasium",
    "simulated_tasks",
]  # fmt: skip

register()
