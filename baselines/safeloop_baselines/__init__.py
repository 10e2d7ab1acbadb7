"""Baseline algorithms to compare with: OmniSafe's, as `cpo`, `ppo-lag` and `omnisafe:NAME`.

Importing this package is fast: OmniSafe itself is imported when an algorithm starts to learn.
"""

from safeloop_baselines.omnisafe_algorithms import OmniSafeAlgorithm, cpo, ppo_lag
from safeloop_baselines.omnisafe_names import omnisafe_family

__all__ = ["OmniSafeAlgorithm", "cpo", "omnisafe_family", "ppo_lag"]
