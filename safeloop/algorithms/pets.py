"""PETS, random shooting, RCE and CCE by name: an ensemble and a planner, without a value or an actor."""

from __future__ import annotations

from safeloop.agents.settings import OnlinePlanning
from safeloop.algorithms.loop import CEM, named
from safeloop.algorithms.model_free import ONLINE_STEPS
from safeloop.algorithms.presets import OMNISAFE, POPLIN, POPLIN_PAPER, PRESETS, SMALL_SEARCH

PETS = {**CEM, "value": "none"}
RCE, CCE = {**PETS, "cost_over": "worst"}, {**PETS, "cost_over": "mean"}
RS = {**PETS, "search": "random", "elites": None}
WITH_OMNISAFE = {**PRESETS, "omnisafe": OMNISAFE}
AROUND = {"initial_variance": 0.25, "noise_narrowed": True}
"""PETS's search distribution at first: a quarter of the range of actions."""
WITH_POPLIN = {**PRESETS, "paper": {**POPLIN_PAPER, **AROUND}, "poplin": {**POPLIN, **AROUND}}
UNIFORM = {
    name: {**group, "population": group["population"] * group["iterations"]}
    for name, group in {"default": SMALL_SEARCH, "paper": POPLIN_PAPER, "poplin": POPLIN}.items()
}
"""As many sequences as the cross-entropy method draws in all its iterations."""

pets = named(
    "pets", "ensemble + CEM, no constraint, no value (Chua et al. 2018)", PETS, OnlinePlanning, groups=WITH_POPLIN
)
rs = named("rs", "ensemble + random shooting (Richards 2005)", RS, OnlinePlanning, ONLINE_STEPS, groups=UNIFORM)
rce = named(
    "rce", "ensemble + CEM under the worst cost over the models (Liu et al. 2020)", RCE, OnlinePlanning,
    constrained=True, groups=WITH_OMNISAFE,
)  # fmt: skip
cce = named(
    "cce", "ensemble + CEM under the mean cost over the models (Wen & Topcu 2018)", CCE, OnlinePlanning,
    constrained=True, groups=WITH_OMNISAFE,
)  # fmt: skip
