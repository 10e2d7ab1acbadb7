"""A policy around another one, for those that count or time what it does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from safeloop.agents.policies import Checked


class Wrapped:
    """A policy that hands everything on to another one."""

    def __init__(self, policy: Checked):
        self.policy = policy

    @property
    def needs_states(self) -> bool:
        """True where the policy has to be given full states before each decision."""
        return self.policy.needs_states

    def see(self, states: np.ndarray) -> None:
        """Take full states `[B, F]` for the policy."""
        self.policy.see(states)

    def reset(self, episodes: int = 1) -> None:
        """Start episodes."""
        self.policy.reset(episodes)

    def keep(self, rows: Sequence[int]) -> None:
        """Continue only the episodes at the places `rows`."""
        self.policy.keep(rows)

    def act(self, obs: np.ndarray) -> np.ndarray:
        """Return the policy's actions `[B, A]` for `obs [B, S]`."""
        return self.policy.act(obs)
