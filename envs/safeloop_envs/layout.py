"""Safety-Gymnasium's layouts, drawn with the same random numbers in a fraction of the time.

A layout is drawn object by object; an object too near to an earlier one is drawn again, and after 100 failures the
whole layout is drawn again. On crowded tasks (Button, Goal2) this takes tens of thousands of distances, which the stock
code computes with NumPy, two numbers at a time.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np

ATTEMPTS = 100


def _sample(generator: Any) -> bool:
    """Try to draw `generator.layout`, an [x, y] in metres for each object; return False where that failed."""
    margin = generator.placements_margin
    layout: dict[str, np.ndarray] = {}
    placed: list[tuple[float, float, float]] = []  # x, y, keepout
    for name, (placements, keepout) in generator.placements.items():
        for _ in range(ATTEMPTS):
            position = generator.draw_placement(placements, keepout)
            x, y = position.tolist()
            if not any(
                math.sqrt((x - other_x) * (x - other_x) + (y - other_y) * (y - other_y)) < other + margin + keepout
                for other_x, other_y, other in placed
            ):
                break
        else:
            return False
        layout[name] = position
        placed.append((x, y, keepout))
    generator.layout = layout
    return True


def sample_quickly(generator: Any) -> None:
    """Make a Safety-Gymnasium random generator draw layouts in this way. The draws stay the same."""
    generator.sample_layout = partial(_sample, generator)
