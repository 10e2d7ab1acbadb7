"""POLO by name, over the task's own simulator or learned models, and planning without a value (Lowrey et al., 2019)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from safeloop.agents.settings import OnlinePlanning, PoloSettings
from safeloop.algorithms.base import Online, presets
from safeloop.algorithms.loop import named, privileged
from safeloop.algorithms.model_free import GENERATORS, ONLINE_STEPS
from safeloop.cmdp import EnvSpec
from safeloop.protocols import AlgorithmInfo

if TYPE_CHECKING:
    from safeloop.agents.polo import PoloAgent

MPPI = {
    "search": "mppi", "actor_fraction": 0.0, "iterations": 1, "exploration": "mean", "discount": 0.99,
    "horizon": 32, "population": 30, "initial_variance": 0.16, "noise_correlation": 0.95,
    "inverse_temperature": 5.0,
}  # fmt: skip
"""POLO's planner, at a size for two cores; the paper's humanoid has 120 sequences of 64 decisions."""
EXPLORATION = {
    "value_inputs": 2, "input_gain": 6.0, "value_learning_rate": 0.01, "inverse_temperature": 100.0,
    "noise_correlation": 0.8,
}  # fmt: skip
"""For a point mass without reward. Values see the place alone: else they are highest at places with a certain velocity,
for which a plan takes a run-up, and each next plan takes it later."""
HUMANOID = {"initial_variance": 0.04, "noise_correlation": 0.9, "value_scale": 30.0}
"""For the humanoid (appendix A): its noise, and values of the size of 100 decisions' rewards."""
HAND = {
    "population": 80, "horizon": 16, "inverse_temperature": 10.0, "noise_correlation": 0.8, "update_every": 25,
    "value_steps": 16, "value_batch": 16, "value_scale": 0.1,
}  # fmt: skip
"""For the hand (appendix B); its temperature of 10 is read as 1/eta. Priors of the size of a decision's rewards: beside
larger ones a dice that falls off the hand is worth trying."""
PRESETS = {
    "default": MPPI,
    "exploration": {**MPPI, **EXPLORATION},
    "humanoid": {**MPPI, **HUMANOID},
    "hand": {**MPPI, **HAND},
}
SIMULATOR = {"dynamics": "simulator"}


def build(settings: PoloSettings, spec: EnvSpec, obs_dim: int, act_dim: int, seed: int, device: str) -> PoloAgent:
    """Return a POLO agent: a simulator or an ensemble, a value ensemble, and a planner over both."""
    from safeloop.agents import parts
    from safeloop.agents.polo import PoloAgent
    from safeloop.data.replay import Replay
    from safeloop.learners.value_ensemble import ValueEnsemble
    from safeloop.planning.planners import Parts

    c = settings.filled(spec)
    g = parts.generators(seed, device, GENERATORS)
    models = parts.models(c.models, c.planner, spec, False, obs_dim, act_dim, g[1], device)
    values = ValueEnsemble(models.feature_size, c.value_ensemble, g[4], device)
    planned = Parts(
        parts.planning_world(models, c.models, c.planner, spec, False), act_dim, c.learner.discount,
        value=parts.of_features(models, values.value), follows=parts.followed(models),
    )  # fmt: skip
    replay = Replay(c.online.capacity, obs_dim, act_dim, device)
    return PoloAgent(replay, c, g[0], models, planned, g[3], values)


def _named(name: str, summary: str, own: dict[str, Any]) -> Online:
    info = AlgorithmInfo(
        name, summary, PoloSettings, ONLINE_STEPS, presets(PRESETS, PoloSettings, own),
        keeps_checkpoints=True, explores=True,
    )  # fmt: skip
    return Online(info, build, partial(privileged))


polo = _named("polo", "MPPI + value ensemble, on the simulator (Lowrey et al. 2019)", SIMULATOR)
polo_greedy = _named("polo-greedy", "POLO with a lookahead of one decision (3.1)", {**SIMULATOR, "horizon": 1})
polo_model = _named("polo-model", "POLO on learned models (CoRL 2021, D.2)", {})
mpc = named(
    "mpc", "MPPI on the simulator, without a value (Lowrey et al. 2019)", {**SIMULATOR, "value": "none"},
    OnlinePlanning, groups=PRESETS,
)  # fmt: skip
