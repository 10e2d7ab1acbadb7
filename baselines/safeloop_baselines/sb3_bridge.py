"""The bridge from stable-baselines3 to safeloop: our environment as its, and models of our settings.

This module imports stable-baselines3 and sb3-contrib, so import it only for learning.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import sb3_contrib
import stable_baselines3
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecNormalize

from safeloop.errors import UsageError
from safeloop.recording.recorder import Recorder
from safeloop.recording.run import Run
from safeloop.rng import AGENT, derived_seed
from safeloop_baselines.sb3_settings import PPOSettings, Sb3Settings

CLASSES = {
    **{name: getattr(stable_baselines3, name) for name in ("PPO", "SAC", "TD3")},
    **{name: getattr(sb3_contrib, name) for name in ("CrossQ", "TQC")},
}


class Watched(gymnasium.Wrapper):
    """The recorder as the library steps it: bounded finite actions, and a word before each episode's first decision."""

    def __init__(self, env: Recorder, between_episodes: Callable[[], None]):
        super().__init__(env)
        space = env.action_space
        if not isinstance(space, gymnasium.spaces.Box) or not space.is_bounded():
            raise UsageError(
                f"{env.safeloop_spec.id}: stable-baselines3's algorithms need bounded actions, not {space}"
            )
        self.recorder, self.between_episodes = env, between_episodes
        self.low, self.high = space.low, space.high

    def step(self, action: Any) -> Any:
        """Step the recorder with the action clipped to its space. Raises `ValueError` for one that is not finite."""
        if self.recorder.between_episodes:
            self.between_episodes()
        if not np.isfinite(action).all():
            raise ValueError(f"the policy's action is not finite: {np.asarray(action).tolist()}")
        obs, reward, terminated, truncated, _ = self.recorder.step(np.clip(action, self.low, self.high))
        return obs, reward, terminated, truncated, {}  # the library copies what is in `info`

    def close(self) -> None:
        """Do nothing: the code that made the recorder closes it."""


class Rollout(RolloutBuffer):
    """PPO's data, which can go on from the middle, and tells of each decision that was added."""

    kept = 0
    """Decisions that the next rollout begins with."""

    @staticmethod
    def added() -> None:
        """Do what is to be done after each decision."""

    def go_on_from(self, rows: int) -> None:
        """Have the next rollout begin with the first `rows` decisions, which are there."""
        self.kept = self.pos = rows

    def reset(self) -> None:
        """Empty the buffer, unless it is to go on."""
        if self.kept == 0:
            super().reset()
        self.kept = 0

    def add(self, *values: Any) -> None:
        """Add a decision."""
        super().add(*values)
        self.added()


def new_model(name: str, settings: Sb3Settings, env: Recorder, run: Run, between_episodes: Callable[[], None]) -> Any:
    """Return a model of the library's class `name`, whose environment steps `env` and is at the start of an episode.

    `between_episodes` is called before the first decision of each episode. Raises `UsageError` where the environment's
    actions are not bounded.
    """
    watched, keywords = Watched(env, between_episodes), settings.keywords()
    vector: VecEnv = DummyVecEnv([lambda: watched])
    if isinstance(settings, PPOSettings):
        keywords["rollout_buffer_class"] = Rollout
        if settings.normalize_obs or settings.normalize_reward:
            vector = VecNormalize(
                vector, norm_obs=settings.normalize_obs, norm_reward=settings.normalize_reward, gamma=settings.gamma
            )
    elif noise := getattr(settings, "action_noise", 0.0):
        size = env.action_space.shape[0]  # type: ignore[index]
        keywords["action_noise"] = NormalActionNoise(np.zeros(size), np.full(size, noise))
    seed = derived_seed(run.settings.seed, AGENT)
    model = CLASSES[name]("MlpPolicy", vector, seed=seed, device=run.settings.device, **keywords)
    model._setup_learn(math.ceil(run.settings.steps / env.safeloop_spec.action_repeat))
    return model
