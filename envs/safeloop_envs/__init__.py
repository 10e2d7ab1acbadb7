"""Environments for safeloop: Safety-Gymnasium 1.0.0's tasks, the RC car, and locomotion without a cost.

Importing this package is cheap: a simulator is imported when an environment is made. It also registers the RC
car with gymnasium: `gymnasium.make("safeloop_envs:RCCarDrift-v0")`.
"""

from __future__ import annotations

import safeloop  # noqa: F401  (before gymnasium, whose plugins print notices that safeloop takes out)
from safeloop_envs.family import SafetyGymnasium, safety_gymnasium
from safeloop_envs.locomotion import Locomotion, locomotion
from safeloop_envs.rc_car.family import RCCarTasks, rc_car_tasks, register

__all__ = ["Locomotion", "RCCarTasks", "SafetyGymnasium", "locomotion", "rc_car_tasks", "safety_gymnasium"]

register()
