"""stable-baselines3's and sb3-contrib's algorithms, `sb3:NAME`, on safeloop's environments.

Sources: Raffin et al., "Stable-Baselines3: Reliable Reinforcement Learning Implementations", JMLR 22, 2021; the papers
of the algorithms are in `ALGORITHMS`. Names, classes and defaults are those of version 2.5.0. Naming an algorithm
imports neither package.

Departures from the library:

- The environment is safeloop's: its observation, action repeat and recorder.
- A run ends with the episode that reaches the requested simulator steps. PPO learns nothing from a rollout of `n_steps`
  decisions that this cuts, where the library's `learn` would finish it.
- Evaluation is safeloop's, of the deterministic action. The library's logs and monitors are off.
- Seed, device and threads are the run's.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import Any

from safeloop.cmdp import EnvSpec
from safeloop.errors import UsageError
from safeloop.protocols import AlgorithmInfo, Policy, Resolved
from safeloop.recording.run import Run
from safeloop.settings import build
from safeloop_baselines.library_family import LibraryFamily
from safeloop_baselines.sb3_settings import (
    CrossQSettings,
    OffPolicySettings,
    PPOSettings,
    SACSettings,
    TD3Settings,
    TQCSettings,
)

PREFIX = "sb3:"
PACKAGES = {"stable_baselines3": "stable-baselines3", "sb3_contrib": "sb3-contrib"}
"""Names on the package index of the modules that the family needs."""

ALGORITHMS: dict[str, tuple[str, type[Any]]] = {
    "SAC": ("Soft Actor-Critic (Haarnoja et al. 2018)", SACSettings),
    "TD3": ("Twin Delayed DDPG (Fujimoto et al. 2018)", TD3Settings),
    "PPO": ("Proximal Policy Optimization (Schulman et al. 2017)", PPOSettings),
    "TQC": ("Truncated Quantile Critics (Kuznetsov et al. 2020)", TQCSettings),
    "CrossQ": ("CrossQ, without target networks (Bhatt et al. 2024)", CrossQSettings),
}

STEPS = {"on-policy": 100_000, "off-policy": 50_000}
"""Simulator steps of a run, as many as those of `cpo` and `sac`."""


NEEDS = "needs stable-baselines3 and sb3-contrib 2.5.0 ({}): pip install 'safeloop[sb3]'"


def lacks() -> str:
    """Return which package is missing and the command that installs it; "" where none is."""
    missing = [each for module, each in PACKAGES.items() if importlib.util.find_spec(module) is None]
    return NEEDS.format(f"{' and '.join(missing)} not installed") if missing else ""


@dataclass(frozen=True)
class Sb3Algorithm:
    """An algorithm of stable-baselines3 or sb3-contrib, as safeloop's `Algorithm`."""

    info: AlgorithmInfo
    """Its settings have `keywords()`, the keywords of the library's class."""
    class_name: str
    """The class in the library."""

    @classmethod
    def named(cls, name: str) -> Sb3Algorithm:
        """Return the algorithm of the library's class `name`."""
        summary, settings = ALGORITHMS[name]
        steps = STEPS["off-policy" if issubclass(settings, OffPolicySettings) else "on-policy"]
        info = AlgorithmInfo(
            PREFIX + name,
            f"{summary}, no constraint, stable-baselines3's",
            settings,
            steps,
            presets={"default": {}, "paper": {}},
        )
        return cls(info, name)

    def resolve(self, settings: Any, spec: EnvSpec) -> Resolved:
        """Return the settings as they are. Raises `UsageError` where a package of the library is missing."""
        if fault := lacks():
            raise UsageError(f"{self.info.name} {fault}")
        return Resolved(settings)

    def train(self, env: Any, run: Any) -> None:
        """Train on `env` until `run.settings.steps` simulator steps, or go on from a checkpoint.

        Evaluates when due, always with the updates made so far, and at the end. Raises `UsageError` where the library
        is missing or can't act in `env`, and `RuntimeError` with the reason where it fails.
        """
        settings: Any = build(self.info.settings, run.settings.algo_settings, owner=self.info.name)
        with env.clock_stopped():
            try:
                from safeloop_baselines.sb3_session import Session
            except ImportError as error:
                raise UsageError(f"{self.info.name} {NEEDS.format(error)}") from None
            session = Session(self.info.name, env, run)
        try:
            session.learn(self.class_name, settings)
        except UsageError:
            raise
        except Exception as error:
            raise RuntimeError(
                f"stable-baselines3's {self.class_name} failed after {env.simulator_steps:,} simulator steps: "
                f"{type(error).__name__}: {error}"
            ) from error
        session.end()

    def load(self, run: Run, seed: int) -> Policy:
        """Return the policy of the run's checkpoint, deterministic (so `seed` has no effect), without the library.

        Raises `UsageError` where there is no checkpoint of this algorithm.
        """
        from safeloop_baselines.frozen_policy import trained

        return trained(run, self.info.name)


sb3_family = LibraryFamily(PREFIX, list(ALGORITHMS), Sb3Algorithm.named, lacks)
"""The entry point `sb3` in `safeloop.algorithm_families`."""
