"""CoRL 2021, Table 4: offline planners' settings by dataset, and the grid that they were chosen from."""

from __future__ import annotations

from typing import Any


def _table(text: str) -> dict[str, dict[str, dict[str, Any]]]:
    """Presets by learner and dataset, from rows of `dataset  h 1/eta beta_pess sigma  h 1/eta beta_pess sigma`."""
    names = ("horizon", "inverse_temperature", "pessimism", "actor_noise")
    found: dict[str, dict[str, dict[str, Any]]] = {"crr": {}, "plas": {}}
    for row in text.strip().splitlines():
        dataset, *numbers = row.split()
        for learner, part in (("crr", numbers[:4]), ("plas", numbers[4:])):
            values = dict(zip(names, map(float, part), strict=True))
            found[learner][dataset] = {**values, "horizon": int(values["horizon"])}
    return found


TABLE_4 = _table("""
hopper-random              2 10   0.5 0.4   4 3    0.5 0.4
halfcheetah-random         2 0.01 5   0.4   2 1    0   0.01
walker2d-random            4 3    0   0.05  10 10  0   0.05
hopper-medium              2 3    1   0.01  2 10   0.5 0.01
halfcheetah-medium         2 0.01 0   0.01  2 0.01 1   0.01
walker2d-medium            2 0.1  0.5 0.05  4 3    0   0.01
hopper-medium-replay       4 0.03 0.5 0.01  2 3    1   0.01
halfcheetah-medium-replay  2 1    0.5 0.01  2 0.03 5   0.01
walker2d-medium-replay     4 1    0.5 0.1   4 0.01 0.5 0.01
hopper-medium-expert       4 0.1  1   0.05  4 0.1  5   0.01
halfcheetah-medium-expert  2 0.01 5   0.01  2 0.01 0.5 0.05
walker2d-medium-expert     4 0.01 1   0.01  2 10   1   0.01
""")
"""CoRL 2021, Table 4: LOOP-CRR's settings, then LOOP-PLAS's."""

TRIAL = ("sweep", 10_000)
"""Variant and seed of the run that settings are tried on; episodes of its evaluation are others too."""

GRID: dict[str, tuple[float, ...]] = {
    "horizon": (2, 4, 10),
    "pessimism": (0.0, 0.5, 1.0, 5.0),
    "inverse_temperature": (0.01, 0.03, 0.1, 1.0, 3.0, 10.0),
    "actor_noise": (0.01, 0.05, 0.1),
}
"""The grid from which the paper's settings were chosen (C.3)."""
