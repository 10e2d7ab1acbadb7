"""Environments for safeloop: every navigation and velocity task of Safety-Gymnasium 1.0.0.

Importing this package is cheap: the simulator is imported when an environment is made.
"""

from __future__ import annotations

from safeloop_envs.family import SafetyGymnasium, safety_gymnasium

__all__ = ["SafetyGymnasium", "safety_gymnasium"]
