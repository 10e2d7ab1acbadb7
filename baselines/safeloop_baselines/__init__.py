"""Algorithms that safeloop compares with and does not own: OmniSafe's CPO and PPO-Lagrangian.

Importing this package is light: OmniSafe itself is imported when an algorithm starts to learn.
"""

from safeloop_baselines.omnisafe_algorithms import OmniSafeAlgorithm, cpo, ppo_lag

__all__ = ["OmniSafeAlgorithm", "cpo", "ppo_lag"]
