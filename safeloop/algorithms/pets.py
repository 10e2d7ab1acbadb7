"""PETS, RCE and CCE by name: an ensemble and the cross-entropy method, without a value or an actor."""

from __future__ import annotations

from safeloop.agents.settings import OnlinePlanning
from safeloop.algorithms.loop import CEM, named
from safeloop.algorithms.presets import OMNISAFE, PRESETS

PETS = {**CEM, "value": "none"}
RCE, CCE = {**PETS, "cost_over": "worst"}, {**PETS, "cost_over": "mean"}
WITH_OMNISAFE = {**PRESETS, "omnisafe": OMNISAFE}

pets = named("pets", "ensemble + CEM, no constraint, no value (Chua et al. 2018)", PETS, OnlinePlanning)
rce = named(
    "rce", "ensemble + CEM under the worst cost over the models (Liu et al. 2020)", RCE, OnlinePlanning,
    constrained=True, groups=WITH_OMNISAFE,
)  # fmt: skip
cce = named(
    "cce", "ensemble + CEM under the mean cost over the models (Wen & Topcu 2018)", CCE, OnlinePlanning,
    constrained=True, groups=WITH_OMNISAFE,
)  # fmt: skip
