"""Offline algorithms by name: what each is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

from safeloop.agents.offline_settings import (
    TABLE_4,
    CRRSettings,
    LoopCRRSettings,
    LoopPLASSettings,
    MBOPSettings,
    OfflinePlanSettings,
    PLASSettings,
)
from safeloop.cmdp import EnvSpec, sizes
from safeloop.data.datasets import Dataset
from safeloop.errors import UsageError
from safeloop.recording.run import Run
from safeloop.registry import Policy, find_env
from safeloop.settings import build

if TYPE_CHECKING:
    from safeloop.agents.offline import OfflineAgent
    from safeloop.recording.recorder import Recorder


@dataclass(frozen=True)
class Offline:
    """One of our offline agents under a name (`registry.Algorithm`)."""

    name: str
    summary: str
    settings: type
    learner: Literal["crr", "plas", "mbop"]
    kind: Literal["OfflineAgent", "OfflinePlanner"] = "OfflineAgent"
    """A class of `safeloop.offline.agents`, which is imported when one is made."""
    constrained: bool = False
    base: str = ""
    """The algorithm that it plans on top of: the two are compared."""
    sweeps: bool = False
    """Whether the paper's grid is of this planner's settings."""
    own: Mapping[str, Any] = field(default_factory=dict)
    """Settings that make it what it is, in every preset."""
    default_steps: int = 100_000
    """Gradient steps."""
    resumable: bool = True
    offline: bool = True
    """Learns from a dataset, by `learn_from`; `learn` is refused."""

    @property
    def agent(self) -> type[OfflineAgent]:
        """The class of its agents."""
        return getattr(import_module("safeloop.agents.offline"), self.kind)

    @property
    def presets(self) -> Mapping[str, Mapping[str, Any]]:
        """`default`, and the paper's Table 4 by dataset for what plans."""
        known = {f.name for f in fields(self.settings)}
        groups = {"default": {}, **TABLE_4.get(self.learner, {})}
        return {name: {k: v for k, v in {**group, **self.own}.items() if k in known} for name, group in groups.items()}

    def told(self, settings: Any, spec: EnvSpec) -> str:
        """Known models in use, and the kind of dynamics where the entities are named."""
        if self.constrained:
            spec.need_cost(self.name)
        if not isinstance(settings, OfflinePlanSettings):
            return ""
        return ", ".join(settings.told(spec, self.constrained))

    def check(self, dataset: Dataset, settings: Any, spec: EnvSpec) -> None:
        """Raise `UsageError` where the dataset lacks what would be learned of it."""
        from safeloop.agents.offline import events, taught

        events(dataset, spec)
        if isinstance(settings, OfflinePlanSettings) and not dataset.complete.any():
            raise UsageError(f"{dataset.path}: next_observations is missing, and follows from no other observation")
        if isinstance(settings, MBOPSettings):
            taught(dataset, settings.return_horizon, settings.discount)

    def _agent(self, run: Run, dataset: Dataset | None, changes: Mapping[str, Any]) -> OfflineAgent:
        settings: Any = build(self.settings, run.settings.algo_settings, changes, owner=self.name)
        spec = find_env(run.settings.env, run.settings.env_options)
        env: Any = spec.make()
        numbers = sizes(env, spec)
        env.close()
        return self.agent(
            self, spec, *numbers, settings, dataset, run.settings.steps, run.settings.seed, run.settings.device
        )

    def learn(self, env: Recorder, budget: float | None, run: Run) -> None:
        """Refused: there is no dataset."""
        raise UsageError(f"{self.name} learns from a dataset: use `safeloop offline DATASET --algo {self.name}`")

    def learn_from(self, dataset: Dataset, run: Run) -> None:
        """Train on the dataset, or go on from the run's checkpoint."""
        if self.constrained and dataset.cost is None:
            raise UsageError(f"{dataset.path}: costs is missing, and {self.name} keeps a cost within a limit")
        from safeloop.training.offline import train

        agent = self._agent(run, dataset, {})
        train(agent, agent.spec, run)

    def load(self, run: Run, seed: int) -> Policy:
        """The policy of the run's checkpoint."""
        return self.load_with(run, {}, seed)

    def load_with(self, run: Run, changes: Mapping[str, Any], seed: int) -> Policy:
        """The policy of the run's checkpoint, with changes of settings that nothing learned depends on."""
        agent = self._agent(run, None, changes)
        agent.restore(run.load_checkpoint()["agent"])
        return agent.policy(seed)


crr = Offline("crr", "critic-regularised regression (Wang et al. 2020)", CRRSettings, "crr")
plas = Offline("plas", "policy in the latent action space (Zhou et al. 2020)", PLASSettings, "plas")
loop_crr = Offline(
    "loop-crr", "CRR + ensemble + pessimistic ARC (CoRL 2021, Algorithm 2)", LoopCRRSettings, "crr", "OfflinePlanner",
    base="crr", sweeps=True,
)  # fmt: skip
loop_plas = Offline(
    "loop-plas", "PLAS + ensemble + pessimistic ARC (CoRL 2021, Algorithm 2)", LoopPLASSettings, "plas",
    "OfflinePlanner", base="plas", sweeps=True,
)  # fmt: skip
SEARCH = {
    "actor_fraction": 0.05, "iterations": 3, "noise_correlation": 0.85, "momentum": 0.1, "inverse_temperature": 50.0,
}  # fmt: skip
"""The online planner's search: among sequences close to the actor's there may be none that is safe."""

safeloop_crr = replace(
    loop_crr, name="safeloop-crr", summary="CRR + ensemble + safeARC, on a dataset with costs", constrained=True,
    sweeps=False, own=SEARCH,
)  # fmt: skip
mbop = Offline(
    "mbop", "imitation + truncated value + ensemble (Argenson & Dulac-Arnold 2020)", MBOPSettings, "mbop",
    "OfflinePlanner",
)  # fmt: skip
