"""Delays of actions and observations, for every environment (`--env-set action_delay=N`, `observation_delay=N`)."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from safeloop.cmdp import Delay, EnvSpec
from safeloop.protocols import Transition
from safeloop.settings import check_whole

if TYPE_CHECKING:
    import gymnasium

OPTIONS = ("action_delay", "observation_delay")
MOST = 100


def split(options: Mapping[str, Any]) -> tuple[Delay, dict[str, Any]]:
    """Return the delay that options of an environment ask for, and the other options. Raises `UsageError`."""
    numbers = [check_whole(f"--env-set {name}", _whole(options.get(name, 0)), 0, MOST) for name in OPTIONS]
    return Delay(*numbers), {name: value for name, value in options.items() if name not in OPTIONS}


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, str) and value.strip().isdecimal() else value


def delayed(spec: EnvSpec, delay: Delay) -> EnvSpec:
    """Return the spec of the same environment under a delay."""
    if not delay.decisions:
        return spec
    options = dict(zip(OPTIONS, (delay.action, delay.observation), strict=True))
    return replace(
        spec, make=partial(_make, spec.make, delay), delay=delay,
        options={**spec.options, **{name: value for name, value in options.items() if value}},
    )  # fmt: skip


def _make(make: Any, delay: Delay, **options: Any) -> gymnasium.Env:
    import gymnasium
    import numpy as np

    class Delayed(gymnasium.Wrapper):
        """An environment whose actions take effect, and whose observations arrive, so many decisions later.

        At first actions of 0 are executed, and the first observation stays. Reward, cost and ends are those of the
        present decision; at an episode's end the observations under way arrive. `info["arrived"]` has the transitions
        that the agent can know since this decision: with the executed actions, in order, whatever the delay.
        """

        def reset(self, **given: Any) -> Any:
            obs, info = self.env.reset(**given)
            self.now = np.array(obs)
            self.actions = deque([np.zeros_like(self.action_space.sample())] * delay.action)
            self.under_way: deque[Transition] = deque()
            self.shown = self.now
            return self.shown.copy(), info

        def step(self, action: Any) -> Any:
            self.actions.append(np.array(action))
            executed = self.actions.popleft()
            obs, reward, terminated, truncated, info = self.env.step(executed)
            following = np.array(obs)
            known = {"cost": 0.0, **info}
            self.under_way.append(
                Transition(self.now, executed, float(reward), terminated, truncated, known, following)
            )
            self.now, left = following, 0 if terminated or truncated else delay.observation
            arrived = [self.under_way.popleft() for _ in range(len(self.under_way) - left)]
            if arrived:
                self.shown = arrived[-1].next_obs
            return self.shown.copy(), reward, terminated, truncated, {**info, "arrived": arrived}

    return Delayed(make(**options))
