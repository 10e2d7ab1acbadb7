"""POPLIN by name, around actions and around weights, also under a constraint (Wang & Ba, 2020)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from safeloop.agents.settings import PoplinSettings
from safeloop.algorithms.base import Online, presets
from safeloop.algorithms.loop import CEM, privileged
from safeloop.algorithms.model_free import GENERATORS, ONLINE_STEPS
from safeloop.algorithms.presets import POPLIN, POPLIN_PAPER, SMALL_SEARCH
from safeloop.cmdp import EnvSpec
from safeloop.protocols import AlgorithmInfo

if TYPE_CHECKING:
    from safeloop.agents.poplin import PoplinAgent

A = {"search_space": "replan", "distillation": "bc"}
P = {"search_space": "sep", "distillation": "avg"}


def build(
    settings: PoplinSettings, spec: EnvSpec, obs_dim: int, act_dim: int, seed: int, device: str,
    *, budgets: Sequence[float] = (), constrained: bool = False,
) -> PoplinAgent:  # fmt: skip
    """Return a POPLIN agent: an ensemble, a policy, and a planner around it."""
    from safeloop.agents import parts
    from safeloop.agents.poplin import PoplinAgent
    from safeloop.data.replay import Replay
    from safeloop.learners.distillation import Distillation
    from safeloop.learners.flat_policy import FlatPolicy
    from safeloop.planning.planners import Parts

    c = settings.filled(spec)
    g = parts.generators(seed, device, GENERATORS)
    models = parts.models(c.models, c.planner, spec, constrained, obs_dim, act_dim, g[1], device, c.delay(spec))
    hidden = [c.policy.policy_width] * c.policy.policy_layers
    policy = FlatPolicy([models.feature_size, *hidden, act_dim], g[2], device, zero=c.policy.distillation == "zero")
    constraint = parts.constraint(c.models, c.planner, spec, constrained)
    constraint, threshold = parts.adaptive(constraint, c.budget, c.planner, budgets, device)
    planned = Parts(
        parts.planning_world(models, c.models, c.planner, spec, constrained), act_dim, c.learner.discount,
        constraint, follows=parts.followed(models), delay=c.delay(spec),
    )  # fmt: skip
    return PoplinAgent(
        Replay(c.online.capacity, obs_dim, act_dim, device, spec.costs), c, g[0], models, planned, g[3],
        Distillation(policy, c.policy, c.planner.initial_variance, g[4]), threshold, spec.cost_names,
    )  # fmt: skip


def _named(name: str, summary: str, own: dict[str, Any], constrained: bool = False) -> Online:
    own = {**CEM, "value": "auto", **own}
    groups = {"default": SMALL_SEARCH, "poplin": POPLIN, "paper": POPLIN_PAPER}
    info = AlgorithmInfo(
        name, summary, PoplinSettings, ONLINE_STEPS, presets(groups, PoplinSettings, own),
        constrained=constrained, keeps_checkpoints=True, explores=True,
    )  # fmt: skip
    return Online(info, partial(build, constrained=constrained), privileged, for_budget=constrained)


poplin_a = _named("poplin-a", "CEM on the noise of a policy's actions (Wang & Ba 2020)", A)
poplin_p = _named("poplin-p", "CEM on the noise of a policy's weights (Wang & Ba 2020)", P)
safepoplin_a = _named("safepoplin-a", "POPLIN-A under the worst cost over the models", A, constrained=True)
safepoplin_p = _named("safepoplin-p", "POPLIN-P under the worst cost over the models", P, constrained=True)
