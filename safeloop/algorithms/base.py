"""Our own algorithms as the registry knows them: a record, how an agent is built, and what to refuse.

Agents are built when a run begins, by functions that import torch themselves: a list of names should not wait for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from safeloop.agents.offline_settings import OfflinePlanning
from safeloop.cmdp import EnvSpec, sizes
from safeloop.errors import UsageError
from safeloop.protocols import AlgorithmInfo, Policy, Resolved, Run
from safeloop.registry import find_env
from safeloop.settings import build, changed, kinds

NOTHING: Mapping[str, Any] = MappingProxyType({})


def presets(
    groups: Mapping[str, Mapping[str, Any]], settings: type, own: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """Return named groups of settings, with an algorithm's `own` in each; names that it does not have are left out."""
    known = kinds(settings)
    return {name: {k: v for k, v in {**group, **own}.items() if k in known} for name, group in groups.items()}


def refuse_without_cost(info: AlgorithmInfo, spec: EnvSpec) -> None:
    """Raise `UsageError` in environments without a cost, for an algorithm that keeps one within a limit."""
    if info.constrained:
        spec.need_cost(info.name)


@dataclass(frozen=True)
class Online:
    """One of our agents that learn while acting, under a name (`protocols.OnlineAlgorithm`)."""

    info: AlgorithmInfo
    build: Callable[..., Any]
    """From settings, spec, observation size, action size, seed and device to the agent (`protocols.Agent`)."""
    privileged: Callable[[AlgorithmInfo, Any, EnvSpec], list[str]] = lambda info, settings, spec: []
    """The privileged information in use. Raises `UsageError` for settings that can't be in this environment."""
    for_budget: bool = False
    """The agent is trained for the run's budget, which `build` takes as the keyword `budgets`: one for each cost."""

    def resolve(self, settings: Any, spec: EnvSpec) -> Resolved:
        """Return the settings for an environment, with the privileged information that they use.

        Raises `UsageError` where the environment can't give what the settings ask for.
        """
        refuse_without_cost(self.info, spec)
        known = ", ".join(self.privileged(self.info, settings, spec))
        return Resolved(settings.filled(spec), known)

    def train(self, env: Any, run: Any) -> None:
        """Train, or go on from the run's checkpoint. The budget is for the report: d0 is the constraint here."""
        from safeloop.training.online import train

        train(self.agent(env, env.safeloop_spec, run), env, run)

    def load(self, run: Run, seed: int) -> Policy:
        """Return the policy of the run's checkpoint."""
        return self.load_with(run, {}, seed)

    def load_with(self, run: Run, changes: Mapping[str, Any], seed: int, budget: float | None = None) -> Policy:
        """Return the policy of the run's checkpoint, with changes of settings that nothing learned depends on.

        `budget` stands in place of the run's.
        """
        return self.restored(run, changes, budget).policy(seed)

    def explorer(self, run: Run, seed: int) -> Policy:
        """Return the same as it explores in training."""
        return self.restored(run).explorer(seed)

    def agent(
        self, env: Any, spec: EnvSpec, run: Run, changes: Mapping[str, Any] = NOTHING, budget: float | None = None
    ) -> Any:
        """Return a new agent for a run."""
        settings: Any = build(self.info.settings, run.settings.algo_settings, owner=self.info.name)
        c, asked = run.settings, {}
        several = self.info.constrained and spec.costs > 1
        if self.for_budget:
            own = [c.budgets[name] for name in spec.cost_names] if self.info.constrained else []
            asked = {"budgets": [budget] if budget is not None else own or [c.budget]}
        if not several:
            spec = spec.with_one_cost()
        return self.build(changed(settings, changes), spec, *sizes(env, spec), c.seed, c.device, **asked)

    def restored(self, run: Run, changes: Mapping[str, Any] = NOTHING, budget: float | None = None) -> Any:
        """Return the agent of the run's checkpoint."""
        spec = find_env(run.settings.env, run.settings.env_options)
        env = spec.make()
        agent = self.agent(env, spec, run, changes, budget)
        env.close()
        agent.restore(run.load_checkpoint()["agent"])
        return agent


@dataclass(frozen=True)
class Offline:
    """One of our agents that learn from a dataset, under a name (`protocols.OfflineAlgorithm`)."""

    info: AlgorithmInfo
    build: Callable[..., Any]
    """From settings, spec, observation size, action size, seed, device, dataset (or None) and gradient steps to the
    agent (`protocols.OfflineAgent`)."""
    check: Callable[[Any, Any, EnvSpec], None]
    """From dataset, settings and spec. Raises `UsageError` where the dataset lacks something."""
    selects: Callable[[Any, float, str], Any] | None = None
    """From dataset, the run's budget and the algorithm's name to the part of the dataset that is learned from."""
    for_budget: bool = False
    """The agent is trained for the run's budget, which `build` takes as the keyword `budget`."""

    def resolve(self, settings: Any, spec: EnvSpec) -> Resolved:
        """Return the settings for an environment, with the privileged information that they use.

        Raises `UsageError` where the environment can't give what the settings ask for.
        """
        refuse_without_cost(self.info, spec)
        if self.selects is not None or self.for_budget:
            spec.need_cost(self.info.name)
        if not isinstance(settings, OfflinePlanning):
            return Resolved(settings)
        if settings.models.dynamics == "simulator":
            raise UsageError(f"dynamics=simulator: {self.info.name} learns from a dataset alone; use dynamics=auto")
        settings = settings.filled(spec)
        check_planner(settings, spec, self.info.constrained)
        return Resolved(settings, ", ".join(settings.models.privileged(spec, self.info.constrained)))

    def train_on(self, dataset: Any, run: Any) -> None:
        """Train on the dataset, or go on from the run's checkpoint."""
        from safeloop.training.offline import train

        if self.selects is not None:
            budget, whole = run.settings.budget, dataset
            dataset = self.selects(whole, budget, self.info.name)
            count, of = int(dataset.ends.sum()), int(whole.ends.sum())
            run.notify(f"learns from {count:,} of {of:,} episodes, those within the budget of {budget:g}")
        spec, agent = self._agent(run, dataset, {})
        train(agent, spec, run)

    def load(self, run: Run, seed: int) -> Policy:
        """Return the policy of the run's checkpoint."""
        return self.load_with(run, {}, seed)

    def load_with(self, run: Run, changes: Mapping[str, Any], seed: int) -> Policy:
        """Return the policy of the run's checkpoint, with changes of settings that nothing learned depends on."""
        _, agent = self._agent(run, None, changes)
        agent.restore(run.load_checkpoint()["agent"])
        return agent.policy(seed)

    def _agent(self, run: Run, dataset: Any, changes: Mapping[str, Any]) -> tuple[EnvSpec, Any]:
        settings: Any = build(self.info.settings, run.settings.algo_settings, owner=self.info.name)
        spec = find_env(run.settings.env, run.settings.env_options).with_one_cost()
        env: Any = spec.make()
        numbers = sizes(env, spec)
        env.close()
        c = run.settings
        asked = {"budget": c.budget} if self.for_budget else {}
        return spec, self.build(changed(settings, changes), spec, *numbers, c.seed, c.device, dataset, c.steps, **asked)


def check_planner(settings: Any, spec: EnvSpec, constrained: bool) -> None:
    """Raise `UsageError` for a threshold that no sequence can be below, and for states that have no mean."""
    kind = settings.models.kind(spec)
    if settings.planner.propagation == "expectation" and kind != "full":
        raise UsageError(f"propagation=expectation: it needs dynamics=full, in {spec.id} they are over {kind}")
    if constrained and settings.planner.threshold == 0 and not settings.models.knows_cost(spec):
        raise UsageError(
            f"threshold=0: the cost in {spec.id} is learned, as a probability, which is never 0; "
            "give --set threshold=0.5"
        )
