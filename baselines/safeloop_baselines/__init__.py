"""Baselines to compare with, of OmniSafe (`cpo`, `ppo-lag`, `omnisafe:NAME`), stable-baselines3 and d3rlpy.

Importing this package is fast: their own packages are imported when an algorithm starts to learn.
"""

from safeloop_baselines.d3rlpy_algorithms import d3rlpy_family
from safeloop_baselines.omnisafe_algorithms import OmniSafeAlgorithm, cpo, ppo_lag
from safeloop_baselines.omnisafe_names import omnisafe_family
from safeloop_baselines.sb3_algorithms import sb3_family

__all__ = ["OmniSafeAlgorithm", "cpo", "d3rlpy_family", "omnisafe_family", "ppo_lag", "sb3_family"]
