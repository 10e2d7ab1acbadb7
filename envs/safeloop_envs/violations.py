"""Checks whether the present state of a Safety-Gymnasium task violates a constraint, without its slow parts.

Safety-Gymnasium reports 1 for a simulator step in which any constraint's cost is positive, whatever its
size. So each constraint is a yes-or-no check of MuJoCo's arrays here; the stock code looks up names for
every contact. The results are the same, bit for bit (tests/envs/test_lean_step.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import mujoco
import numpy as np

Check = Callable[[], bool]


class Contacts:
    """Contacts between the robot and geoms of a given name."""

    def __init__(self, task: Any) -> None:
        self.data = task.data
        self.names = [task.model.geom(i).name for i in range(task.model.ngeom)]
        robot = set(task.agent.body_info.geom_names)
        self.robot = np.array([name in robot for name in self.names])

    def named(self, prefix: str) -> np.ndarray:
        """Return which geoms have a name that starts with `prefix`, [geoms] bool."""
        return np.array([name.startswith(prefix) for name in self.names])

    def touched(self, geoms: np.ndarray) -> bool:
        """Return whether the robot touches any of `geoms` ([geoms] bool)."""
        pairs = self.data.contact.geom  # [contacts, 2]
        return bool((geoms[pairs].any(axis=1) & self.robot[pairs].any(axis=1)).any())


def _hazards(task: Any) -> Check:
    """Check that the robot's centre is less than a hazard's radius away from its centre, seen from above."""
    size = task.hazards.size
    first = task.model.body("hazard0").id  # the bodies of hazards have consecutive ids
    hazards = task.data.xpos[first : first + task.hazards.num, :2]
    robot = task.data.xpos[task.model.body("agent").id, :2]

    def check() -> bool:
        x, y = robot.tolist()
        for other_x, other_y in hazards.tolist():
            dx, dy = other_x - x, other_y - y
            if math.sqrt(dx * dx + dy * dy) < size:
                return True
        return False

    return check


def _moving_vases(task: Any) -> Check:
    """Check that a vase moves at `velocity_threshold` or faster.

    A vase's velocity is its free joint's, up to rounding; the stock arithmetic, a product with a Jacobian,
    decides the cases within a thousandth of the threshold.
    """
    model, data, threshold = task.model, task.data, task.vases.velocity_threshold
    bodies = [model.body(f"vase{i}").id for i in range(task.vases.num)]
    velocities = np.array([[model.body_dofadr[b] + i for i in range(3)] for b in bodies])  # [vases, 3]

    def exactly(body: int) -> bool:
        jacobian = np.zeros((3, model.nv))
        mujoco.mj_jacBody(model, data, jacobian, None, body)
        return bool(np.sqrt(np.sum(np.square(np.dot(jacobian, data.qvel)))) >= threshold)

    def check() -> bool:
        speeds = np.sqrt(np.square(data.qvel[velocities]).sum(axis=1))  # [vases]
        if (speeds > 1.001 * threshold).any():
            return True
        return any(exactly(bodies[i]) for i in np.flatnonzero(speeds > 0.999 * threshold))

    return check


def _wrong_button(task: Any, contacts: Contacts) -> Check:
    """Check that the robot touches a button that is not the goal, after the buttons' timer has run out."""
    buttons = contacts.named("button")
    wrong = [buttons & ~contacts.named(f"button{i}") for i in range(task.buttons.num)]
    return lambda: task.buttons.timer == 0 and contacts.touched(wrong[task.buttons.goal_button])


def _outside(task: Any) -> Check:
    """Check that the robot's centre is beyond the walls that mark the allowed strip or square."""
    limit, robot = task.sigwalls.locate_factor, task.data.xpos[task.model.body("agent").id]
    axes = 2 if task.sigwalls.num == 4 else 1
    return lambda: bool((np.abs(robot[:axes]) > limit).any())


def checks(task: Any, contacts: Contacts) -> tuple[dict[str, list[Check]], bool]:
    """Return the checks of `task` by the name of their cost, and whether they need more than body positions.

    They read the state after `mj_kinematics` or, where the second result is True, after `mj_fwdPosition`, which gives
    contacts and Jacobians.
    """
    found: dict[str, list[Check]] = {}
    needs_contacts = False
    for item in task._obstacles:
        if not item.is_constrained:
            continue
        if item.name == "hazards":
            found["hazards"] = [_hazards(task)]
        elif item.name == "sigwalls":
            found["out_of_boundary"] = [_outside(task)]
        else:
            needs_contacts = True
            if item.name == "buttons":
                found["buttons"] = [_wrong_button(task, contacts)]
                continue
            geoms = contacts.named(item.name[:-1])
            found[item.name] = [lambda geoms=geoms: contacts.touched(geoms)]  # type: ignore[misc]
            if item.name == "vases":
                found["vases"].append(_moving_vases(task))
    return found, needs_contacts
