"""Measurements for `safeloop speed env` besides safeloop's environments: stock Safety-Gymnasium, and MuJoCo alone."""

from __future__ import annotations

from collections.abc import Callable

import mujoco
import numpy as np

from safeloop_envs.family import CATALOGUE, safety_gymnasium
from safeloop_envs.navigation import NavigationEnv
from safeloop_envs.shim import bare, import_safety_gymnasium


def stock(env_id: str) -> Callable[[], int] | None:
    """Return a function that runs an episode of the stock environment, reset included; None for other environments."""
    name = safety_gymnasium.canonical(env_id)
    if name is None:
        return None
    limit = import_safety_gymnasium().wrappers.SafeTimeLimit
    env = limit(bare(CATALOGUE[name].full_id), CATALOGUE[name].episode_steps)
    rng = np.random.default_rng(0)

    def drive() -> int:
        env.reset(seed=int(rng.integers(2**31)))
        steps, done = 0, False
        while not done:
            _, _, _, terminated, truncated, _ = env.step(env.action_space.sample())
            steps, done = steps + 1, terminated or truncated
        return steps

    return drive


def mj_step(env_id: str) -> Callable[[], int] | None:
    """Return a function that makes the simulator steps of an episode, and nothing else; None if not navigation."""
    name = safety_gymnasium.canonical(env_id)
    env = safety_gymnasium.spec(name).make() if name is not None else None
    if env is None or name is None or not isinstance(env.unwrapped, NavigationEnv):
        return None
    model, data, task = env.unwrapped._model, env.unwrapped._data, CATALOGUE[name]
    count, rng = env.unwrapped._frameskip[0], np.random.default_rng(0)
    low, high = model.actuator_ctrlrange.T

    def drive() -> int:
        for step in range(task.episode_steps):
            if step % task.action_repeat == 0:
                data.ctrl[:] = rng.uniform(low, high)
            mujoco.mj_step(model, data, count)
        return task.episode_steps

    env.reset(seed=0)
    return drive
