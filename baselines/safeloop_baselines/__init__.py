"""Baselines to compare with: OmniSafe's (`cpo`, `ppo-lag`, `omnisafe:NAME`) and stable-baselines3's (`sb3:NAME`).

Importing this package is fast: their own packages are imported when an algorithm starts to learn.
"""

from safeloop_baselines.omnisafe_algorithms import OmniSafeAlgorithm, cpo, ppo_lag
from safeloop_baselines.omnisafe_names import omnisafe_family
from safeloop_baselines.sb3_algorithms import sb3_family

__all__ = ["OmniSafeAlgorithm", "cpo", "omnisafe_family", "ppo_lag", "sb3_family"]
