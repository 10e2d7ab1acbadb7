"""The wrapper that delays an environment's actions and observations (`delay.py`)."""

from __future__ import annotations

from collections import deque
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box

from safeloop.cmdp import Delay, EnvSpec, complete
from safeloop.protocols import Transition


class Delayed(gymnasium.Wrapper):
    """An environment whose actions take effect, and whose observations arrive, so many decisions later.

    At first actions of 0 are executed, and the first observation stays. Reward, cost and ends are those of the present
    decision; at an episode's end the observations under way arrive. `info["arrived"]` has the transitions that the
    agent can know since this decision: with the executed actions, in order, whatever the delay.
    """

    def __init__(self, env: gymnasium.Env, spec: EnvSpec, delay: Delay):
        super().__init__(env)
        self.safeloop_spec, self.delay = spec, delay

    def reset(self, **given: Any) -> Any:
        """Start an episode."""
        obs, info = self.env.reset(**given)
        space = self.action_space
        assert isinstance(space, Box)
        self.now = self.shown = np.array(obs)
        self.actions = deque([np.zeros(space.shape, space.dtype)] * self.delay.action)
        self.under_way: deque[Transition] = deque()
        return self.shown.copy(), info

    def step(self, action: Any) -> Any:
        """Send an action; execute the one whose turn it is."""
        self.actions.append(np.array(action))
        executed = self.actions.popleft()
        obs, reward, terminated, truncated, info = self.env.step(executed)
        before, self.now = self.now, np.array(obs)
        known = complete(info, self.safeloop_spec)
        self.under_way.append(Transition(before, executed, float(reward), terminated, truncated, known, self.now))
        hidden = 0 if terminated or truncated else self.delay.observation
        arrived = [self.under_way.popleft() for _ in range(len(self.under_way) - hidden)]
        if arrived:
            self.shown = arrived[-1].next_obs
        return self.shown.copy(), reward, terminated, truncated, {**info, "arrived": arrived}
