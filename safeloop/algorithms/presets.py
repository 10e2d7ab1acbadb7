"""Named groups of settings. Each algorithm takes those that it has."""

from __future__ import annotations

from typing import Any

PAPER = {
    "dynamics": "full", "particles": 4, "iterations": 8, "inverse_temperature": 1.0, "discount": 0.99,
    "cost_margin": 0.0, "threshold": 0.0, "warmup": 2000, "warmup_hold": 1,
    "fit_steps": 5000, "first_fit_steps": 5000, "fit_patience": 5, "value": "actor",
}  # fmt: skip
"""CoRL 2021, Tables 2 and 3, C.4: where they differ from the defaults."""

RC_CAR = {
    "layers": 2, "width": 128, "penalty": 30.0, "fit_steps": 1000, "updates_per_decision": 4,
}  # fmt: skip
"""For a few thousand decisions on the RC car: models and values learn more from each (results/rc_car)."""

ONLINE_PAPER = {
    "discount": 0.99, "horizon": 3, "iterations": 5, "noise_correlation": 0.0, "inverse_temperature": 1.0,
    "initial_temperature": 1.0, "warmup_hold": 1, "exploration": "draw", "particles": 4,
    "fit_steps": 5000, "first_fit_steps": 5000, "fit_patience": 5,
}  # fmt: skip
"""In environments without a cost, CoRL 2021, Tables 2 and 3, C.2; drawing in training is the authors' program's."""

ONLINE = {
    **ONLINE_PAPER, "particles": 1, "fit_steps": 200, "first_fit_steps": 2000, "fit_patience": 0,
    "layers": 3, "width": 128, "iterations": 3, "hidden": 128, "updates_per_decision": 3,
    "actor_fraction": 1.0, "model_noise": False, "inverse_temperature": 10.0,
    "initial_temperature": 0.1, "backup_entropy": False, "layer_norm": True,
}  # fmt: skip
"""The same with less to compute, and the settings that learning from a planner's data needs (docs/algorithms)."""

OMNISAFE = {
    "dynamics": "full", "ensemble_size": 5, "layers": 4, "width": 200, "model_learning_rate": 1e-3, "batch_size": 256,
    "fit_every": 240, "fit_steps": 5000, "first_fit_steps": 5000, "fit_patience": 5, "warmup": 2000, "warmup_hold": 1,
    "horizon": 7, "population": 512, "elites": 64, "min_feasible": 64, "iterations": 5, "particles": 4,
    "momentum": 0.1, "initial_variance": 4.0, "noise_correlation": 0.0, "noise_narrowed": False, "model_noise": True,
    "discount": 1.0, "threshold": 0.007, "cost_margin": 0.0,
}  # fmt: skip
"""OmniSafe 0.5.0's settings of RCEPETS and CCEPETS on navigation tasks, of `rce` and `cce` alone (docs/algorithms)."""

SMALL_SEARCH: dict[str, Any] = {
    "horizon": 20, "population": 100, "iterations": 3, "elites": 10, "momentum": 0.1, "initial_variance": 0.1,
    "noise_correlation": 0.0, "noise_narrowed": False, "particles": 1, "model_noise": False, "discount": 1.0,
    "warmup_hold": 1, "value": "none",
}  # fmt: skip
"""Searches of PETS, random shooting and POPLIN with about a twelfth of the paper's arithmetic."""

POPLIN: dict[str, Any] = {
    **SMALL_SEARCH, "dynamics": "full", "layers": 3, "width": 128, "reward": "known", "warmup": 200,
}  # fmt: skip
"""The same on the tasks of POPLIN, with models that are smaller, too."""

POPLIN_PAPER: dict[str, Any] = {
    **POPLIN, "layers": 4, "width": 200, "ensemble_size": 5, "propagation": "expectation",
    "horizon": 30, "population": 500, "iterations": 5, "elites": 50,
}  # fmt: skip
"""Wang & Ba, 2020, A.3.1 and the authors' program, for all three alike."""

PRESETS: dict[str, dict[str, Any]] = {
    "default": {}, "paper": PAPER, "rc-car": RC_CAR, "online": ONLINE, "online-paper": ONLINE_PAPER
}  # fmt: skip

CROSSQ: dict[str, Any] = {
    "hidden": 256, "updates_per_decision": 1, "initial_temperature": 1.0, "backup_entropy": True,
}  # fmt: skip
"""CrossQ's, in all presets: batch renormalisation takes the place of more updates and of layer normalisation."""
CROSSQ_PRESETS: dict[str, dict[str, Any]] = {
    name: {**group, "critic_width": 2048} if name in ("paper", "online-paper") else group
    for name, group in PRESETS.items()
}
"""The same groups, with critics as wide as published in those of papers (Bhatt et al., 2024)."""
