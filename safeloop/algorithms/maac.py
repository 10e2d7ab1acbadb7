"""MAAC, STEVE and SVG(1) by name (Clavera et al., 2020; Buckman et al., 2018; Heess et al., 2015)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from safeloop.agents.imagination_settings import MAACPlanningSettings, MAACSettings, SafeMAACSettings, SVGSettings
from safeloop.algorithms.base import Online, presets
from safeloop.algorithms.imagination import parts, privileged
from safeloop.algorithms.model_free import GENERATORS, ONLINE_STEPS
from safeloop.cmdp import EnvSpec
from safeloop.protocols import AlgorithmInfo

if TYPE_CHECKING:
    from safeloop.agents.maac import MAACAgent, MAACPlanner, SVGAgent
    from safeloop.agents.safemaac import SafeMAACAgent

PAPER = {
    "ensemble_size": 8, "layers": 4, "width": 200, "batch_size": 256, "updates_per_decision": 8, "discount": 0.99,
    "warmup": 5000, "warmup_hold": 1, "fit_steps": 2000, "first_fit_steps": 5000, "fit_patience": 5,
    "initial_temperature": 1.0,
}  # fmt: skip
"""The paper's, and its program's."""
AFFORDABLE = {
    **PAPER, "ensemble_size": 4, "batch_size": 128, "updates_per_decision": 2, "warmup": 1000, "fit_steps": 200,
    "first_fit_steps": 2000, "fit_patience": 0, "rollouts": 40, "initial_temperature": 0.1, "layer_norm": True,
}  # fmt: skip
"""About a twentieth of the paper's arithmetic for a decision."""
MPC = {
    "search": "cem", "actor_fraction": 0.0, "horizon": 3, "iterations": 3, "population": 100, "elites": 10,
    "initial_variance": 0.1, "noise_correlation": 0.0, "noise_narrowed": False, "model_noise": False,
    "precision": "float32",
}  # fmt: skip
"""The paper gives no numbers of its search."""
STEVE = {"gradient_horizon": 0, "gradient_samples": 1, "real_fraction": 1.0}


def _maac(*arguments: Any) -> MAACAgent:
    from safeloop.agents.maac import MAACAgent

    return MAACAgent(*parts(*arguments))


def _safemaac(
    c: Any, spec: EnvSpec, obs_dim: int, act_dim: int, seed: int, device: str, budgets: Sequence[float]
) -> SafeMAACAgent:
    from safeloop.agents.parts import generators
    from safeloop.agents.safemaac import SafeMAACAgent

    made = parts(c, spec, obs_dim, act_dim, seed, device, constrained=True)
    return SafeMAACAgent(*made, budget=budgets[0], generator=generators(seed, device, GENERATORS)[4])


def _needs_cost(info: AlgorithmInfo, settings: Any, spec: EnvSpec) -> list[str]:
    """Return known models in use. Raises `UsageError` in environments without a cost."""
    spec.need_cost(info.name)
    return settings.filled(spec).models.privileged(spec, True)


def _maac_mpc(*arguments: Any) -> MAACPlanner:
    from safeloop.agents.maac import MAACPlanner

    return MAACPlanner(*parts(*arguments))


def _svg(*arguments: Any) -> SVGAgent:
    from safeloop.agents.maac import SVGAgent

    return SVGAgent(*parts(*arguments))


def _named(name: str, summary: str, settings: type, build: Callable[..., Any], own: Mapping[str, Any]) -> Online:
    groups = {"default": AFFORDABLE, "paper": PAPER}
    info = AlgorithmInfo(
        name, summary, settings, ONLINE_STEPS, presets(groups, settings, own), keeps_checkpoints=True, explores=True
    )
    return Online(info, build, privileged)


maac = _named(
    "maac", "SAC along the gradient through models, STEVE's targets (Clavera et al. 2020)", MAACSettings, _maac, {}
)
safemaac = replace(
    _named("safemaac", "MAAC along the gradient of return less a price of cost", SafeMAACSettings, _safemaac, {}),
    privileged=_needs_cost, for_budget=True,
)  # fmt: skip
maac_mpc = _named(
    "maac-mpc", "MAAC, and in evaluation CEM from its policy (Clavera et al. 2020, 5.4)", MAACPlanningSettings,
    _maac_mpc, MPC,
)  # fmt: skip
steve = _named(
    "steve", "SAC with stochastic ensemble value expansion (Buckman et al. 2018)", MAACSettings, _maac, STEVE
)
svg1 = _named("svg1", "SAC along the gradient through one step of models (Heess et al. 2015)", SVGSettings, _svg, {})
