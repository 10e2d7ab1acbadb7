"""Algorithms that safeloop compares with: OmniSafe's, as `cpo`, `ppo-lag` and `omnisafe:NAME`.

Importing this package is light: OmniSafe itself is imported when an algorithm starts to learn.
"""

from safeloop_baselines.omnisafe_algorithms import OmniSafeAlgorithm, cpo, ppo_lag
from safeloop_baselines.omnisafe_names import omnisafe_family

__all__ = ["OmniSafeAlgorithm", "cpo", "omnisafe_family", "ppo_lag"]
