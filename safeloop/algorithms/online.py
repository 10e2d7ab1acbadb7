"""Our own algorithms by name: what each is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

from safeloop.agents.settings import (
    PRESETS,
    ExpansionSettings,
    LearnerSettings,
    MBPOSettings,
    ModelSettings,
    OnlineLearnerSettings,
    Settings,
)
from safeloop.cmdp import EnvSpec, sizes
from safeloop.errors import UsageError
from safeloop.recording.run import Run
from safeloop.registry import Policy, find_env

if TYPE_CHECKING:
    from safeloop.agents.online import Agent
    from safeloop.recording.recorder import Recorder


@dataclass(frozen=True)
class OffPolicy:
    """One of our agents under a name (`registry.Algorithm`)."""

    name: str
    summary: str
    kind: Literal["Agent", "MBPO", "ValueExpansion", "PlanningAgent"] = "PlanningAgent"
    """A class of `safeloop.agents`, which is imported when one is made: a list of names should not wait for torch."""
    settings: type = Settings
    constrained: bool = False
    learner: Literal["sac", "td3"] | None = "sac"
    """What learns an actor, which proposes sequences, and values, which end the lookahead."""
    plans: Literal["always", "evaluation"] = "always"
    """A planning agent plans in training and evaluation, or in evaluation alone."""
    own: Mapping[str, Any] = field(default_factory=dict)
    """Settings that make it what it is, in every preset."""
    default_steps: int = 20_000
    resumable: bool = True
    keeps: bool = True
    """Whether a run can keep earlier checkpoints."""

    @property
    def agent(self) -> type[Agent[Any]]:
        """The class of its agents."""
        return getattr(import_module("safeloop.agents.online"), self.kind)

    @property
    def presets(self) -> Mapping[str, Mapping[str, Any]]:
        """Named settings. Where nothing costs, `online` stands for `default` and `online-paper` for `paper`."""
        known = {f.name for f in fields(self.settings)}
        return {name: {k: v for k, v in {**group, **self.own}.items() if k in known} for name, group in PRESETS.items()}

    def told(self, settings: LearnerSettings, spec: EnvSpec) -> str:
        """Known models in use, and the kind of dynamics where the entities are named."""
        if self.constrained:
            spec.need_cost(self.name)
        if not isinstance(settings, ModelSettings):
            return ""
        self._check_imagined(settings, spec)
        told = settings.told(spec, self.constrained)
        if isinstance(settings, Settings) and self._value_of_entities(settings, spec) and not settings.factored(spec):
            told.append("entities")
        return ", ".join(told)

    def _check_imagined(self, settings: ModelSettings, spec: EnvSpec) -> None:
        """Raise `UsageError` where the learner could not learn from what is imagined, or nothing is imagined for it."""
        augmented = isinstance(settings, Settings) and settings.augmentation > 0
        if augmented and (self.learner is None or self.plans == "evaluation"):
            why = "has no actor" if self.learner is None else "does not plan in training"
            raise UsageError(f"augmentation: {self.name} {why}, so there is nothing to augment; leave it out")
        if spec.has_events and (augmented or isinstance(settings, (MBPOSettings, ExpansionSettings))):
            raise UsageError(
                f"{self.name}{' with augmentation' * augmented} learns from imagined transitions, and what follows a "
                f"goal that was met, as in {spec.id}, can't be imagined; use {'it without' if augmented else 'loop'}"
            )

    def _value_of_entities(self, settings: Settings, spec: EnvSpec) -> bool:
        """Whether the value is a function of a set of entities. Raises `UsageError` for a planner that can't be."""
        if settings.value_sees == "entities" and spec.entities is None:
            raise UsageError(f"value_sees=entities: {spec.id} names no entities in its observation; use observation")
        for name, asked in (("actor_fraction", settings.actor_fraction > 0), ("value", settings.value == "actor")):
            if asked and self.learner is None:
                raise UsageError(f"{name}={getattr(settings, name)}: {self.name} has no actor; leave it out")
        value = settings.value_of(self.constrained, self.learner is not None)
        return value == "behaviour" and settings.sees_entities(spec)

    def _agent(self, env: Any, spec: EnvSpec, run: Run) -> Agent[Any]:
        settings = self.settings(**run.settings.algo_settings)
        return self.agent(self, spec, *sizes(env, spec), settings, run.settings.seed, run.settings.device)

    def learn(self, env: Recorder, budget: float | None, run: Run) -> None:
        """Train, or go on from the run's checkpoint. `budget` is for the report: d0 is the constraint here."""
        from safeloop.training.online import train

        train(self._agent(env, env.safeloop_spec, run), env, run)

    def load(self, run: Run, seed: int) -> Policy:
        """The policy of the run's checkpoint."""
        return self._restored(run).policy(seed)

    def explorer(self, run: Run, seed: int) -> Policy:
        """The same as it explores in training; a planner that executes means there explores no more than here."""
        import torch

        from safeloop.agents.online import PlanningAgent
        from safeloop.agents.policies import Exploring

        agent = self._restored(run)
        if isinstance(agent, PlanningAgent) and self.plans == "always":
            return agent.policy(seed, draws=agent.settings.exploration == "draw")
        return Exploring(agent.learner, agent.device, torch.Generator(device=agent.device).manual_seed(seed))

    def _restored(self, run: Run) -> Agent[Any]:
        spec = find_env(run.settings.env, run.settings.env_options)
        env = spec.make()
        agent = self._agent(env, spec, run)
        env.close()
        agent.restore(run.load_checkpoint()["agent"])
        return agent


CEM = {"elites": 20, "actor_fraction": 0.0, "exploration": "mean"}
"""The cross-entropy method: equal weights for the best, and no actor that proposes."""
PETS = {**CEM, "value": "none"}
SOME = {"actor_fraction": 0.05}
"""Few of the sequences are the actor's: among its own alone there may be none that is safe, or that differ."""
ONLINE_STEPS = 50_000
TD3_CEM = {**SOME, "elites": 20, "momentum": 0.25, "horizon": 5, "exploration": "mean"}
"""Workshop paper, appendix A; alpha 0.25 as the weight on the old mean, as in PETS' program."""

safeloop = OffPolicy("safeloop", "SAC + ensemble + safeARC (CoRL 2021, Algorithm 4)", constrained=True, own=SOME)
loop = OffPolicy("loop", "SAC + ensemble + ARC, no constraint (CoRL 2021, Algorithm 3)")
pets = OffPolicy("pets", "ensemble + CEM, no constraint, no value (Chua et al. 2018)", learner=None, own=PETS)
safepets = replace(
    pets, name="safepets", summary="ensemble + CEM under the constraint, no value (CoRL 2021, 6.3)", constrained=True
)

loop_sac = replace(
    loop, name="loop-sac", summary="SAC + ensemble + ARC (CoRL 2021, Algorithm 1)", default_steps=ONLINE_STEPS
)
loop_sac_cem = replace(loop_sac, name="loop-sac-cem", summary="LOOP-SAC with CEM in place of ARC (D.5.1)", own=CEM)
loop_td3 = replace(
    loop_sac, name="loop-td3", summary="TD3 + ensemble + actor-guided CEM (Sikchi et al. 2020)", learner="td3",
    own=TD3_CEM,
)  # fmt: skip
loop_sarsa = replace(
    loop_sac, name="loop-sarsa", summary="LOOP with the value of what was done (CoRL 2021, 6.1)", learner=None,
    own={"value": "behaviour", "actor_fraction": 0.0},
)  # fmt: skip
sac_evalloop = replace(
    loop_sac, name="sac-evalloop", summary="SAC, with LOOP's planner in evaluation (CoRL 2021, D.6)", plans="evaluation"
)
sac_ve = OffPolicy(
    "sac-ve", "SAC with value expansion in the models (Feinberg et al. 2018)", "ValueExpansion", ExpansionSettings,
    default_steps=ONLINE_STEPS,
)  # fmt: skip
mbpo = OffPolicy(
    "mbpo", "SAC on branched rollouts in the models (Janner et al. 2019)", "MBPO", MBPOSettings,
    own={"updates_per_decision": 20}, default_steps=ONLINE_STEPS,
)  # fmt: skip
sac = OffPolicy(
    "sac", "soft actor-critic (Haarnoja et al. 2018)", "Agent", OnlineLearnerSettings, default_steps=ONLINE_STEPS
)
td3 = replace(
    sac, name="td3", summary="twin delayed deterministic policy gradients (Fujimoto et al. 2018)", learner="td3"
)
