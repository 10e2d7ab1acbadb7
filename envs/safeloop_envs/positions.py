"""The content of observations of positions: the robot's own six numbers and the positions of objects in its frame.

They are the paper's observation of Goal tasks (see `safeloop_envs.goal`), and the same for Button and Circle tasks.
"""

from __future__ import annotations

from safeloop.cmdp import Entities

ROBOT_NUMBERS = 6
SHOWN: dict[str, dict[str, int]] = {
    "Goal0": {"goal": 1},
    "Goal1": {"goal": 1, "vase": 1, "hazard": 8},
    "Goal2": {"goal": 1, "vase": 10, "hazard": 10},
    "Button0": {"goal": 1, "button": 4},
    "Button1": {"goal": 1, "button": 4, "hazard": 4, "gremlin": 4},
    "Button2": {"goal": 1, "button": 4, "hazard": 8, "gremlin": 6},
    "Circle0": {"circle": 1},
    "Circle1": {"circle": 1, "sigwall": 2},
    "Circle2": {"circle": 1, "sigwall": 4},
}
"""The objects that the observation of each task shows, in order: their kinds and numbers."""


def entities(task: str) -> Entities:
    """Return the entities in the observation of positions of a task (a key of `SHOWN`)."""
    kinds = tuple(kind for kind, count in SHOWN[task].items() for _ in range(count))
    positions = tuple((ROBOT_NUMBERS + 2 * i, ROBOT_NUMBERS + 2 * i + 1) for i in range(len(kinds)))
    return Entities(tuple(range(ROBOT_NUMBERS)), positions, kinds, kinds.index("goal") if "goal" in kinds else None)
