"""The stock Safety-Gymnasium environment beside ours, driven by one scripted controller."""

from __future__ import annotations

from functools import partial
from typing import Any
from unittest import mock

import gymnasium
import mujoco
import numpy as np
import xmltodict

from safeloop_envs.family import CATALOGUE
from safeloop_envs.shim import bare, import_safety_gymnasium
from safeloop_envs.world import _without_skybox


class WithoutSky(gymnasium.Wrapper):
    """Leaves the sky's images out of the worlds that the stock environment compiles: most of their time."""

    def reset(self, **options: Any) -> tuple[Any, dict[str, Any]]:
        unparse = partial(_without_skybox, xmltodict.unparse)
        with mock.patch.object(xmltodict, "unparse", unparse):
            return self.env.reset(**options)


def make_stock(name: str) -> Any:
    """Safety-Gymnasium's own environment, which recompiles at every reset, behind its own time limit."""
    limit = import_safety_gymnasium().wrappers.SafeTimeLimit
    made = limit(bare(CATALOGUE[name].full_id), gymnasium.spec(CATALOGUE[name].full_id).max_episode_steps)
    return made if "Velocity" in name else WithoutSky(made)


def seek_goal(task: Any, rng: np.random.Generator) -> np.ndarray:
    """An action in [-1, 1] that drives Point and Car to the goal, with noise; a random one for others."""
    noise = rng.uniform(-1, 1, task.action_space.shape)
    if not hasattr(task, "goal") or task.agent_name not in ("Point", "Car"):
        return noise.astype(np.float32)
    x, y = task._ego_xy(task.goal.pos[:2])
    if task.agent_name == "Point":
        angle = np.arctan2(y, x)
        action = np.array([np.cos(angle), 3 * angle])
    else:
        angle = np.arctan2(-x, -y)
        action = np.array([np.cos(angle) - angle, np.cos(angle) + angle])
    return np.clip(action + 0.3 * noise, -1, 1).astype(np.float32)


def stock_decision(env: Any, action: np.ndarray, repeat: int) -> tuple[Any, ...]:
    """`repeat` stock steps: observation, summed reward, summed cost, terminated, truncated, goal met."""
    reward, cost, met = 0.0, 0.0, False
    for _ in range(repeat):
        observation, step_reward, step_cost, terminated, truncated, info = env.step(action)
        reward += step_reward
        cost += step_cost
        met = met or "goal_met" in info
        if terminated or truncated:
            break
    return observation.astype(np.float32), float(reward), float(cost), terminated, truncated, met


def model_arrays(model: mujoco.MjModel) -> dict[str, np.ndarray]:
    """Every array of a model and its statistics, copied."""
    names = [name for name in dir(model) if not name.startswith("_")]
    arrays = {name: np.array(getattr(model, name)) for name in names if isinstance(getattr(model, name), np.ndarray)}
    stat = model.stat
    arrays["stat"] = np.array([stat.meaninertia, stat.meanmass, stat.meansize, stat.extent, *stat.center])
    return arrays
