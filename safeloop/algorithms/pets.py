"""PETS and safePETS by name: an ensemble and the cross-entropy method, without a value or an actor."""

from __future__ import annotations

from safeloop.agents.settings import OnlinePlanning
from safeloop.algorithms.loop import CEM, named

PETS = {**CEM, "value": "none"}

pets = named("pets", "ensemble + CEM, no constraint, no value (Chua et al. 2018)", PETS, OnlinePlanning)
safepets = named(
    "safepets", "ensemble + CEM under the constraint, no value (CoRL 2021, 6.3)", PETS, OnlinePlanning, constrained=True
)
