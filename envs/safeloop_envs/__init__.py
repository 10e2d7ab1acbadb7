"""Environments for safeloop: Safety-Gymnasium 1.0.0's tasks, the RC car, locomotion without a cost, and the tasks
of POLO, PETS and POPLIN.

Importing this package and describing an environment is cheap: simulator, gymnasium and torch are imported when an
environment is made or a known model is used. The package also registers the RC car with gymnasium:
`gymnasium.make("safeloop_envs:RCCarDrift-v0")`.
"""

from __future__ import annotations

from safeloop_envs.family import SafetyGymnasium, safety_gymnasium
from safeloop_envs.locomotion import Locomotion, locomotion
from safeloop_envs.poplin import PoplinTasks, poplin_tasks
from safeloop_envs.rc_car.family import RCCarTasks, rc_car_tasks
from safeloop_envs.rc_car.registration import register
from safeloop_envs.simulated import SimulatedTasks, simulated_tasks

__all__ = [
    "Locomotion", "PoplinTasks", "RCCarTasks", "SafetyGymnasium", "SimulatedTasks", "locomotion", "poplin_tasks",
    "rc_car_tasks", "safety_gymnasium", "simulated_tasks",
]  # fmt: skip

register()
