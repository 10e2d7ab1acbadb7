"""LOOP, safeLOOP and their relatives by name: a learner, an ensemble, and a planner over both (CoRL 2021)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from safeloop.agents.imagination_settings import LoopMOPOSettings
from safeloop.agents.settings import (
    EvaluatedLoop,
    OnlineLoop,
    OnlineLoopCRR,
    OnlineLoopTD3,
    OnlinePlanning,
    PoplinSettings,
)
from safeloop.algorithms.base import Online, check_planner, presets
from safeloop.algorithms.model_free import GENERATORS, ONLINE_STEPS, learner_of
from safeloop.algorithms.presets import CROSSQ, CROSSQ_PRESETS, PRESETS
from safeloop.cmdp import EnvSpec
from safeloop.errors import UsageError
from safeloop.protocols import AlgorithmInfo

if TYPE_CHECKING:
    from safeloop.agents.planning import PlanningAgent

AUGMENTATION, WITNESSED = 12_000, 50
"""Size of the buffer of imagined transitions (workshop paper, appendix D), and of those kept of an iteration."""


def build(
    settings: OnlinePlanning,
    spec: EnvSpec,
    obs_dim: int,
    act_dim: int,
    seed: int,
    device: str,
    *,
    budgets: Sequence[float] = (),
    constrained: bool = False,
) -> PlanningAgent:
    """Return a planning agent: the learner that its settings name, an ensemble, and a planner over both.

    An adaptive threshold follows costs towards its budget, one for each cost.
    """
    import torch

    from safeloop.agents import parts
    from safeloop.agents.mopo import LoopMOPOAgent
    from safeloop.agents.planning import PlanningAgent
    from safeloop.data.replay import Replay
    from safeloop.learners.imagined import Witness
    from safeloop.learners.value import BehaviourCost, BehaviourValue
    from safeloop.models.point_ensemble import PointEnsemble
    from safeloop.models.world import World
    from safeloop.planning.planners import Parts

    c = settings.filled(spec)
    if c.training.augmentation and torch.device(device).type == "cuda":
        raise UsageError(f"augmentation={c.training.augmentation}: planning on CUDA is captured; use --device cpu")
    g = parts.generators(seed, device, GENERATORS)
    ensemble = parts.models(c.models, c.planner, spec, constrained, obs_dim, act_dim, g[1], device, c.delay(spec))
    learner = learner_of(c, ensemble.feature_size, act_dim, g[2], device)
    model = parts.planning_world(ensemble, c.models, c.planner, spec, constrained)
    kind, behaviour, value = c.value_of(constrained, learner is not None), None, None
    entities = None
    if c.sees_entities(spec):
        entities = ensemble.tracks.entities() if isinstance(ensemble, PointEnsemble) else spec.entities
    sizes: tuple[Any, Any, Any] = ensemble.feature_size, c.learner, c.value.behaviour_hidden
    behaviour_cost, cost_value = None, None
    if c.value.cost_value == "behaviour":
        assert isinstance(model, World)  # `check_constraint`
        behaviour_cost = BehaviourCost(*sizes, g[6], device, entities, c.models.entity_width, known=model.cost)
        cost_value = behaviour_cost.value
    if kind == "behaviour":
        behaviour = BehaviourValue(*sizes, g[4], device, entities, c.models.entity_width)
        value = behaviour.value
    elif kind == "actor" and learner is not None:
        value = learner.value
    actor = learner.act if learner else None
    witness = None
    if c.training.augmentation:
        witness = Witness(model, WITNESSED, Replay(AUGMENTATION, obs_dim, act_dim, device), g[5])
    agent = LoopMOPOAgent if isinstance(settings, LoopMOPOSettings) else PlanningAgent
    constraint = parts.constraint(c.models, c.planner, spec, constrained)
    constraint, threshold = parts.adaptive(constraint, c.budget, c.planner, budgets, device)
    return agent(
        learner, Replay(c.online.capacity, obs_dim, act_dim, device, spec.costs), c, g[0], ensemble,
        Parts(
            model, act_dim, c.learner.discount, constraint,
            parts.of_features(ensemble, actor), parts.of_features(ensemble, value),
            parts.of_features(ensemble, cost_value),
            follows=parts.followed(ensemble), delay=c.delay(spec),
        ),
        g[3], value, behaviour=behaviour, witness=witness, has_events=spec.has_events,
        threshold=threshold, behaviour_cost=behaviour_cost, cost_names=spec.cost_names,
    )  # fmt: skip


def privileged(info: AlgorithmInfo, settings: OnlinePlanning, spec: EnvSpec) -> list[str]:
    """Return known models in use, and the kind of dynamics where the entities are named.

    Raises `UsageError` for settings that can't be in this environment.
    """
    c, learns, has_actor = settings, info.settings is not OnlinePlanning, settings.learner_name is not None
    if c.training.augmentation and (not has_actor or c.training.actor_episodes == 1):
        why = "does not plan in training (actor_episodes=1)" if has_actor else "has no actor"
        raise UsageError(f"augmentation: {info.name} {why}, so there is nothing to augment; leave it out")
    if spec.has_events and isinstance(settings, LoopMOPOSettings):
        raise UsageError(no_imagination(info.name, spec, "loop"))
    if spec.has_events and c.training.augmentation:
        raise UsageError(no_imagination(f"{info.name} with augmentation", spec, "it without"))
    kind = c.models.kind(spec)
    if kind in ("points", "simulator") and c.training.augmentation:
        other = "factored" if kind == "points" else "auto"
        raise UsageError(f"augmentation: imagined states of dynamics={kind} are no observations; use dynamics={other}")
    check_planner(c, spec, info.constrained)
    check_constraint(c, info, spec)
    known = c.models.privileged(spec, info.constrained)
    if c.value.value_sees == "entities" and spec.entities is None and kind != "points":
        raise UsageError(f"value_sees=entities: {spec.id} names no entities in its observation; use observation")
    asked = {
        "actor_fraction": (c.planner.actor_fraction, c.planner.actor_fraction > 0),
        "actor_episodes": (c.training.actor_episodes, c.training.actor_episodes > 0),
        "value": (c.value.value, c.value.value == "actor"),
    }
    for name, (value, needs_actor) in asked.items():
        if needs_actor and not has_actor:
            raise UsageError(f"{name}={value}: {info.name} has no actor; leave it out")
    of_entities = c.value_of(info.constrained, learns) == "behaviour" and c.sees_entities(spec)
    if kind == "simulator" and spec.delay is not None:
        raise UsageError(f"dynamics=simulator: a simulator plans from the present state, and {spec.id} has a delay")
    return known + ["entities"] * (of_entities and kind == "full") + ["delay"] * (c.delay(spec) is not None)


def check_constraint(settings: OnlinePlanning, info: AlgorithmInfo, spec: EnvSpec) -> None:
    """Raise `UsageError` for a threshold that follows a budget, or a value of cost, where there is no constraint.

    Also for several costs where only one can be had.
    """
    if info.constrained and spec.costs > 1 and settings.models.dynamics == "simulator":
        raise UsageError(f"dynamics=simulator: it knows one cost in {spec.id}; leave costs=separate out")
    if settings.budget.constraint != "fixed" and not info.constrained:
        raise UsageError(f"constraint={settings.budget.constraint}: {info.name} keeps no constraint; use safeloop")
    if settings.value.cost_value == "none":
        return
    if spec.costs > 1:
        raise UsageError(f"cost_value={settings.value.cost_value}: it is of one cost; leave costs=separate out")
    if not info.constrained or settings.models.dynamics == "simulator" or isinstance(settings, PoplinSettings):
        raise UsageError(
            f"cost_value={settings.value.cost_value}: it is for planners of action sequences under a constraint, with "
            f"learned dynamics; {info.name} is none here, so leave it out"
        )


def no_imagination(what: str, spec: EnvSpec, instead: str) -> str:
    """Return the message for learners that can't be taught what follows a goal."""
    return (
        f"{what} learns from imagined transitions, and what follows a goal that was met, as in {spec.id}, can't be "
        f"imagined; use {instead}"
    )


def named(
    name: str,
    summary: str,
    own: Mapping[str, Any],
    settings: type = OnlineLoop,
    steps: int = 20_000,
    constrained: bool = False,
    groups: Mapping[str, Mapping[str, Any]] = PRESETS,
) -> Online:
    """Return a planning agent under a name; `own` settings make it what it is, in every preset."""
    info = AlgorithmInfo(
        name, summary, settings, steps, presets(groups, settings, own),
        constrained=constrained, keeps_checkpoints=True, explores=True,
    )  # fmt: skip
    return Online(info, partial(build, constrained=constrained), privileged, for_budget=constrained)


CEM = {"search": "cem", "actor_fraction": 0.0, "exploration": "mean"}
"""The cross-entropy method: equal weights for the best, and no actor that proposes."""
SOME = {"actor_fraction": 0.05}
"""Few of the sequences are the actor's: among its own alone there may be none that is safe, or that differ."""
TD3_CEM = {**SOME, "search": "cem", "momentum": 0.25, "horizon": 5, "exploration": "mean"}
"""Workshop paper, appendix A; alpha 0.25 as the weight on the old mean, as in PETS' program."""

safeloop = named("safeloop", "SAC + ensemble + safeARC (CoRL 2021, Algorithm 4)", SOME, constrained=True)
loop = named("loop", "SAC + ensemble + ARC, no constraint (CoRL 2021, Algorithm 3)", {})
loop_sac = named("loop-sac", "SAC + ensemble + ARC (CoRL 2021, Algorithm 1)", {}, steps=ONLINE_STEPS)
loop_crossq = named(
    "loop-crossq", "CrossQ + ensemble + ARC", {**CROSSQ, "learner": "crossq", "layer_norm": False}, steps=ONLINE_STEPS,
    groups=CROSSQ_PRESETS,
)  # fmt: skip
loop_sac_cem = named("loop-sac-cem", "LOOP-SAC with CEM in place of ARC (D.5.1)", CEM, steps=ONLINE_STEPS)
loop_td3 = named(
    "loop-td3", "TD3 + ensemble + actor-guided CEM (Sikchi et al. 2020)", TD3_CEM, OnlineLoopTD3, ONLINE_STEPS
)
loop_sarsa = named(
    "loop-sarsa", "LOOP with the value of the behaviour (CoRL 2021, 6.1)",
    {"value": "behaviour", "actor_fraction": 0.0}, OnlinePlanning, ONLINE_STEPS,
)  # fmt: skip
MANY_UPDATES = {"updates_per_decision": 20}
loop_crr_online = named(
    "loop-crr-online", "CRR, trained while acting, + ensemble + ARC (CoRL 2021, D.7)",
    MANY_UPDATES, OnlineLoopCRR, ONLINE_STEPS,
)  # fmt: skip
loop_mopo = named(
    "loop-mopo", "MOPO, trained while acting, + ensemble + ARC (CoRL 2021, D.7)", MANY_UPDATES, LoopMOPOSettings,
    ONLINE_STEPS,
)  # fmt: skip
sac_evalloop = named(
    "sac-evalloop", "SAC, with LOOP's planner in evaluation (CoRL 2021, D.6)", {}, EvaluatedLoop, ONLINE_STEPS
)
