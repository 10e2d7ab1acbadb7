"""Steady circles of the RC car, and what each earns: python analysis/steady_states.py

A car that drives a circle of radius R (m) at speed v (m/s) with a constant sideslip angle b has v_x = v cos b,
v_y = v sin b and yaw rate v / R; three equations (forces along and across, and the moment) must hold. For each b
they give the front tyre's force, hence the steering angle; the rear tyre's force, hence, from its direction, the
wheels' slip; what is left is one equation, that the rear tyre's force has the size that this slip produces.
Its roots in b are the steady circles. They are of three kinds: the rear tyre grips, it slides, or it sits at the
jump between the two, switching back and forth ("edge", see safeloop_envs/rc_car/vehicle.py).

Writes docs/rc-car/steady_states.csv and docs/rc-car/steady_states.png.
"""

import math
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from numba import vectorize
from rows import write_table

from safeloop_envs.rc_car.environment import DRIFTING, STEERING, WHEEL_SPEED
from safeloop_envs.rc_car.task import SPEED_WEIGHT
from safeloop_envs.rc_car.vehicle import Vehicle
from safeloop_envs.rc_car.vehicle import brush as brush_of_one

CAR = Vehicle()
brush = vectorize(brush_of_one.py_func)
GRIP, SLIDE = CAR.friction * CAR.rear_load, CAR.sliding_friction * CAR.rear_load
ANGLES = np.radians(np.linspace(-85, 30, 1151))  # sideslip
LOCK = np.linspace(-STEERING, STEERING, 241)[:, None]
DOCS = Path(__file__).resolve().parents[1] / "docs/rc-car"


def roots(values):
    """Indices after which `values` changes its sign."""
    return np.nonzero(values[:-1] * values[1:] < 0)[0]


def steady(speed, radius):
    """All steady circles: rows (kind, sideslip, steering, wheel speed), angles in rad."""
    rate = speed / radius
    v_x, v_y = speed * np.cos(ANGLES), speed * np.sin(ANGLES)
    across = CAR.mass * (rate * v_x + 0.025 * v_y)  # total force across the car
    spin = 0.02 * CAR.inertia * rate
    front_across = (CAR.rear * across + spin) / (CAR.front + CAR.rear)
    slip = np.arctan2(v_y + CAR.front * rate, v_x) - LOCK  # [locks, angles]
    grip = CAR.friction * CAR.front_load
    front = -np.sign(slip) * brush(CAR.cornering_stiffness * np.abs(np.tan(slip)), grip, grip)
    missing = front * np.cos(LOCK) - front_across
    changes = missing[:-1] * missing[1:] < 0
    found = set()
    for at in (np.argmax(changes, 0), len(changes) - 1 - np.argmax(changes[::-1], 0)):  # at most two
        column = np.arange(len(ANGLES))
        low, high = missing[at, column], missing[at + 1, column]
        steering = LOCK[at, 0] + (LOCK[1, 0] - LOCK[0, 0]) * low / (low - high)
        along = front_across * np.tan(steering) + CAR.mass * (0.025 * v_x - rate * v_y)
        rear_across = across - front_across
        tangent = (v_y - CAR.rear * rate) / np.abs(v_x)
        ratio = -along / rear_across * CAR.cornering_stiffness * tangent / CAR.longitudinal_stiffness
        gamma = np.hypot(CAR.longitudinal_stiffness * ratio, CAR.cornering_stiffness * tangent) / (1 + np.abs(ratio))
        needed = np.hypot(along, rear_across)
        possible = changes.any(0) & (np.sign(rear_across) == -np.sign(tangent))
        at_edge = possible & (needed > GRIP) & (needed < SLIDE)
        for kind, equation in (
            ("grip", np.where(possible & (gamma <= 3 * GRIP), brush(gamma, GRIP, SLIDE) - needed, np.nan)),
            ("slide", np.where(possible & (gamma > 3 * GRIP), SLIDE - needed, np.nan)),
            ("edge", np.where(at_edge, gamma - 3 * GRIP, np.nan)),
        ):
            for i in roots(equation):
                wheel = v_x[i] * (1 + ratio[i])
                if 0 <= wheel <= WHEEL_SPEED:
                    found.add((kind, ANGLES[i], steering[i], wheel))
    return sorted(found)


def main():
    rows = []
    for radius in np.arange(0.90, 1.2001, 0.05):
        for speed in np.arange(2.0, 4.5001, 0.05):
            for kind, sideslip, steering, wheel in steady(speed, radius):
                rows.append((radius, speed, kind, math.degrees(sideslip), math.degrees(steering), wheel))
    head = ("radius_m", "speed_m_s", "kind", "sideslip_deg", "steering_deg", "wheel_speed_m_s")
    written = [(f"{r:.2f}", f"{v:.2f}", k, f"{b:.1f}", f"{d:.1f}", f"{w:.2f}") for r, v, k, b, d, w in rows]
    write_table(DOCS / "steady_states.csv", head, written)

    limit = math.degrees(DRIFTING)
    kinds = {
        f"sideslip at most {limit:.0f}°": [row for row in rows if abs(row[3]) <= limit],
        f"drifting: sideslip over {limit:.0f}°": [row for row in rows if abs(row[3]) > limit],
    }
    print("fastest on the 1 m circle, m/s:")
    for name, chosen in kinds.items():
        print(f"  {name}: {max(v for r, v, *_ in chosen if abs(r - 1) < 1e-9):.2f}")
    print("best reward a step over all radii, by desired speed:")
    for desired in (3.0, 3.5, 3.8, 4.0, 4.5, 5.0):
        best = [max(-abs(r - 1) - SPEED_WEIGHT * (v - desired) ** 2 for r, v, *_ in c) for c in kinds.values()]
        print(f"  {desired:.1f} m/s: {best[0]:.3f} at most {limit:.0f}°, {best[1]:.3f} drifting")

    figure, axes = plt.subplots(figsize=(6.4, 4), layout="constrained")
    for (name, chosen), colour, marker in zip(kinds.items(), ("#0072B2", "#D55E00"), ("o", "^"), strict=True):
        circle = [row for row in chosen if abs(row[0] - 1) < 1e-9]
        axes.scatter([r[1] for r in circle], [-r[3] for r in circle], s=14, c=colour, marker=marker, label=name)
    axes.axvline(4.0, color="#444444", linestyle="--", label="desired speed of RCCarDrift")
    axes.set(
        xlabel="speed (m/s)",
        ylabel="sideslip, nose inwards (degrees)",
        title="Sideslip against speed, steady driving on the 1 m circle",
    )
    axes.legend(frameon=False, loc="upper left")
    figure.savefig(DOCS / "steady_states.png", dpi=120)


if __name__ == "__main__":
    main()
