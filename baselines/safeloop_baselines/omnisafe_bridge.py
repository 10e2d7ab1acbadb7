"""The bridge from OmniSafe to safeloop: our environment as OmniSafe's, and OmniSafe without output or side effects.

This module imports OmniSafe, so import it only for learning.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable, Iterator
from typing import Any, ClassVar
from unittest import mock

import gymnasium
import numpy as np
import torch
from torch import Tensor

from safeloop.errors import UsageError
from safeloop.recording.recorder import Recorder
from safeloop_envs.shim import import_safety_gymnasium

import_safety_gymnasium()  # OmniSafe imports it, which needs the shim since Python 3.11

import omnisafe  # noqa: E402
from omnisafe.adapter import onpolicy_adapter  # noqa: E402
from omnisafe.algorithms.on_policy.base import policy_gradient  # noqa: E402
from omnisafe.algorithms.on_policy.first_order import cup, focops  # noqa: E402
from omnisafe.envs.core import CMDP, env_register, env_unregister  # noqa: E402


def _environment_class(env: Recorder, env_id: str, between_episodes: Callable[[], None]) -> type:
    """Return a class of OmniSafe environments: its first instance steps `env`, and no other can be stepped."""
    unclaimed = [env]
    space = env.action_space
    if not isinstance(space, gymnasium.spaces.Box) or not space.is_bounded():
        raise UsageError(f"{env.safeloop_spec.id}: OmniSafe's algorithms need bounded actions, not {space}")
    low, high, dtype = space.low, space.high, space.dtype

    class RecordedEnvironment(CMDP):
        """The environment `env` in tensors. OmniSafe makes a second one for evaluation, which must not be stepped."""

        need_auto_reset_wrapper = True
        need_time_limit_wrapper = False
        _num_envs = 1
        _metadata: ClassVar[dict[str, Any]] = {}
        _support_envs: ClassVar[list[str]] = [env_id]

        def __init__(self, env_id: str, num_envs: int, device: torch.device):
            super().__init__(env_id)
            self._recorder = unclaimed.pop() if unclaimed else None
            self._device = device
            self._observation_space, self._action_space = env.observation_space, space
            self._episode_started = False

        @property
        def recorder(self) -> Recorder:
            if self._recorder is None:
                raise RuntimeError("OmniSafe stepped its second environment, which is not recorded")
            return self._recorder

        def _tensor(self, value: Any, dtype: torch.dtype = torch.float32) -> Tensor:
            return torch.tensor(value, dtype=dtype, device=self._device)  # a copy: OmniSafe writes into it

        def reset(self, seed: int | None = None, options: dict[str, Any] | None = None):
            obs, _ = self.recorder.reset(seed=seed, options=options)
            self._episode_started = False
            return self._tensor(obs), {}

        def step(self, action: Tensor):
            if not self._episode_started:
                between_episodes()
                self._episode_started = True
            act = action.detach().cpu().numpy().astype(dtype)  # [A]
            if not np.isfinite(act).all():
                raise ValueError(f"the policy's action is not finite: {act.tolist()}")
            obs, reward, terminated, truncated, info = self.recorder.step(np.clip(act, low, high))
            ends = self._tensor(terminated, torch.bool), self._tensor(truncated, torch.bool)
            return self._tensor(obs), self._tensor(reward), self._tensor(info["cost"]), *ends, {}

        def set_seed(self, seed: int) -> None:
            """Do nothing: the recorder seeds every episode."""

        def render(self) -> None:
            """Do nothing: videos come from safeloop's evaluation."""

        def close(self) -> None:
            """Do nothing: the code that made the recorder closes it."""

    return RecordedEnvironment


def _without_progress_bar(sequence: Any, **_: Any) -> Any:
    return sequence


@contextlib.contextmanager
def contained() -> Iterator[None]:
    """Run OmniSafe without progress bars, and restore the process-wide settings that it changes."""
    deterministic = torch.are_deterministic_algorithms_enabled()
    cudnn, benchmark = torch.backends.cudnn.enabled, torch.backends.cudnn.benchmark
    with contextlib.ExitStack() as patches:
        patches.enter_context(mock.patch.dict(os.environ))
        for module in (onpolicy_adapter, policy_gradient, cup, focops):
            patches.enter_context(mock.patch.object(module, "track", _without_progress_bar))
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(deterministic)
            torch.backends.cudnn.enabled, torch.backends.cudnn.benchmark = cudnn, benchmark


@contextlib.contextmanager
def learner(
    algorithm: str, env: Recorder, configuration: dict[str, Any], between_episodes: Callable[[], None]
) -> Iterator[Any]:
    """Yield OmniSafe's algorithm object on `env`; within this context it may `learn()`.

    `configuration` has OmniSafe's names; its `train_cfgs` are the terminal ones. `between_episodes` is called
    before the first decision of each episode, when the updates that follow the previous one have been made.
    """
    env_id = f"safeloop-{env.safeloop_spec.id}"  # no name that OmniSafe has special settings for
    environment = _environment_class(env, env_id, between_episodes)
    custom = {key: value for key, value in configuration.items() if key != "train_cfgs"}
    with contained():
        env_register(environment)
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                made = omnisafe.Agent(algorithm, env_id, configuration["train_cfgs"], custom).agent
            made.logger._console.quiet = True  # its tables are in progress.csv
            yield made
        finally:
            env_unregister(environment)
