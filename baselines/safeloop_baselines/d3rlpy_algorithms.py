"""d3rlpy's algorithms, `d3rlpy:NAME`, on safeloop's datasets.

Sources: Seno and Imai, "d3rlpy: An Offline Deep Reinforcement Learning Library", JMLR 23, 2022; the papers of the
algorithms are in `ALGORITHMS`. Names, classes and defaults are those of version 2.6.1. Naming an algorithm does not
import the package.

Departures from the library:

- Batches are drawn by safeloop, from all transitions; the library leaves out the last one of a cut episode.
- Evaluation is safeloop's, of the mean action; CRR's is the library's without its choice among drawn actions.
- The library's logs and saved files are off. Seed, device and threads are the run's.
"""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass
from typing import Any

from safeloop.algorithms.offline import check_dataset
from safeloop.cmdp import EnvSpec, sizes
from safeloop.errors import UsageError
from safeloop.protocols import AlgorithmInfo, Policy, Resolved
from safeloop.recording.run import Run
from safeloop.registry import find_env
from safeloop.settings import build
from safeloop_baselines.d3rlpy_settings import (
    BCSettings,
    CQLSettings,
    CRRSettings,
    IQLSettings,
    TD3PlusBCSettings,
)
from safeloop_baselines.library_family import LibraryFamily

PREFIX = "d3rlpy:"

ALGORITHMS: dict[str, tuple[str, type[Any]]] = {
    "BC": ("behaviour cloning (Pomerleau 1988)", BCSettings),
    "TD3PlusBC": ("TD3+BC (Fujimoto & Gu 2021)", TD3PlusBCSettings),
    "IQL": ("Implicit Q-Learning (Kostrikov et al. 2022)", IQLSettings),
    "CQL": ("Conservative Q-Learning (Kumar et al. 2020)", CQLSettings),
    "CRR": ("critic-regularised regression (Wang et al. 2020)", CRRSettings),
}


VERSION = "2.6.1"
"""The last version that takes Gymnasium 0.29.1: later ones refuse it when they are imported."""
NEEDS = f"needs d3rlpy {VERSION} ({{}}): pip install 'safeloop[d3rlpy]'"


def lacks() -> str:
    """Return what is wrong with the installed d3rlpy and the command that repairs it; "" where nothing is."""
    try:
        found = importlib.metadata.version("d3rlpy")
    except importlib.metadata.PackageNotFoundError:
        found = "not installed"
    return "" if found == VERSION else NEEDS.format(found)


@dataclass(frozen=True)
class D3rlpyAlgorithm:
    """An algorithm of d3rlpy, as safeloop's `OfflineAlgorithm`."""

    info: AlgorithmInfo
    """Its settings have `keywords()`, the keywords of the library's configuration."""
    class_name: str
    """The class in the library."""

    @classmethod
    def named(cls, name: str) -> D3rlpyAlgorithm:
        """Return the algorithm of the library's class `name`."""
        summary, settings = ALGORITHMS[name]
        paper = {"normalize_obs": True} if name == "TD3PlusBC" else {}
        info = AlgorithmInfo(
            PREFIX + name, f"{summary}, no constraint, d3rlpy's", settings, 100_000,
            presets={"default": {}, "paper": paper}, offline=True,
        )  # fmt: skip
        return cls(info, name)

    def resolve(self, settings: Any, spec: EnvSpec) -> Resolved:
        """Return the settings as they are. Raises `UsageError` where the package is missing or of another version."""
        if fault := lacks():
            raise UsageError(f"{self.info.name} {fault}")
        return Resolved(settings)

    def check(self, dataset: Any, settings: Any, spec: EnvSpec) -> None:
        """Raise `UsageError` where the dataset lacks something that would be learned of it."""
        check_dataset(dataset, settings, spec)

    def train_on(self, dataset: Any, run: Any) -> None:
        """Take `run.settings.steps` gradient steps on the dataset, or go on from the run's checkpoint.

        Raises `UsageError` where the library can't be imported.
        """
        from safeloop.training.offline import train

        try:
            from safeloop_baselines.d3rlpy_agent import new_agent
        except ImportError as error:
            raise UsageError(f"{self.info.name} {NEEDS.format(error)}") from None
        c = run.settings
        settings: Any = build(self.info.settings, c.algo_settings, owner=self.info.name)
        spec = find_env(c.env, c.env_options).with_one_cost()
        env: Any = spec.make()
        numbers = sizes(env, spec)
        env.close()
        train(new_agent(self.class_name, settings, spec, *numbers, c.seed, c.device, dataset), spec, run)

    def load(self, run: Run, seed: int) -> Policy:
        """Return the policy of the run's checkpoint, deterministic (so `seed` has no effect), without the library.

        Raises `UsageError` where there is no checkpoint of this algorithm.
        """
        from safeloop_baselines.frozen_policy import trained

        return trained(run, self.info.name)


d3rlpy_family = LibraryFamily(PREFIX, list(ALGORITHMS), D3rlpyAlgorithm.named, lacks)
"""The entry point `d3rlpy` in `safeloop.algorithm_families`."""
