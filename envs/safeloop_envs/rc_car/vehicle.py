"""The RC car: a three-degree-of-freedom dynamic bicycle, rear-wheel drive, brush or linear tyres.

Source: E. Ahn, "Towards safe reinforcement learning in the real world", 2019, and the simulator
`aa_simulation` by the same author: parameters, tyre laws, damping and time step are theirs.

A state is `x, y, yaw, v_x, v_y, yaw rate` (m, rad, m/s in the body's frame, rad/s); a command is the rear
wheels' speed (m/s) and the steering angle (rad).

The tyre laws are discontinuous: a rear tyre that starts to slide has more force (friction 1.96 against 1.37), and
within 0.01 m/s of the ground's speed the driven wheels have no force. A motion can even follow such a discontinuity,
with the tyre switching back and forth; it is then the limit of ever smaller steps (Filippov 1988). The integrator
therefore chooses its own steps, down to a smallest one. See docs/rc-car.md for its errors.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit, prange


class Vehicle(NamedTuple):
    """Parameters of the car; a named tuple, which compiled functions can read."""

    mass: float = 2.645
    """Mass, kg."""
    front: float = 0.137
    """Distance from the centre of mass to the front axle, m."""
    rear: float = 0.120
    """Distance from the centre of mass to the rear axle, m."""
    front_load: float = 12.100
    """Load on the front axle, N."""
    rear_load: float = 13.8178
    """Load on the rear axle, N."""
    longitudinal_stiffness: float = 103.94
    """C_x, N."""
    cornering_stiffness: float = 56.4
    """C_alpha, N/rad."""
    inertia: float = 0.0558
    """Moment of inertia about the vertical, kg m^2."""
    friction: float = 1.37
    """Coefficient of friction of a gripping tyre, and of the front tyre at its limit."""
    sliding_friction: float = 1.96
    """Coefficient of friction of a sliding rear tyre."""
    brush: bool = True
    """Whether the tyres are brush tyres; linear ones never slide."""

    def scaled(self, grip: float, mass: float, stiffness: float) -> Vehicle:
        """Return the car with other tyres and another mass, and the loads and the inertia that follow from it."""
        return self._replace(
            mass=self.mass * mass, inertia=self.inertia * mass,
            front_load=self.front_load * mass, rear_load=self.rear_load * mass,
            longitudinal_stiffness=self.longitudinal_stiffness * stiffness,
            cornering_stiffness=self.cornering_stiffness * stiffness,
            friction=self.friction * grip, sliding_friction=self.sliding_friction * grip,
        )  # fmt: skip


TIME_STEP = 0.035
"""Duration of one decision, s."""
STILL = 0.01
"""Speed below which the car stands, and difference from the ground's speed below which a wheel does not slip, m/s."""
TOLERANCE = 1e-6
"""Largest estimated error of one integration step, in m/s and rad/s."""
SMALLEST = 2e-4
"""Smallest integration step, s."""

# Dormand and Prince 1980, the pair of orders 5 and 4: stages, and the difference of the two solutions.
_STAGES = np.array(
    [
        [0, 0, 0, 0, 0, 0],
        [1 / 5, 0, 0, 0, 0, 0],
        [3 / 40, 9 / 40, 0, 0, 0, 0],
        [44 / 45, -56 / 15, 32 / 9, 0, 0, 0],
        [19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729, 0, 0],
        [9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656, 0],
        [35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84],
    ]
)
_ERROR = np.array([71 / 57600, 0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40])
_compiled = njit(cache=True, error_model="numpy")  # numpy's: dividing by zero gives infinity


def sideslip(v_x: float, v_y: float) -> float:
    """Return the angle (rad) from the car's nose to its velocity; 0 below 0.1 m/s, where it has no meaning."""
    return math.atan2(v_y, v_x) if math.hypot(v_x, v_y) > 0.1 else 0.0


@_compiled
def brush(gamma: float, grip: float, sliding: float) -> float:
    """Return the force (N) of a brush tyre at the combined slip force `gamma` (N, the force of a linear tyre).

    Up to `3 grip` the tyre grips, with at most `grip`; beyond that it slides, with `sliding`.
    """
    if gamma > 3 * grip:
        return sliding
    return gamma - gamma**2 / (3 * grip) + gamma**3 / (27 * grip**2)


@_compiled
def front_force(slip: float, car: Vehicle) -> float:
    """Return the lateral force (N) on the front tyre at the tangent of its slip angle; positive to the left."""
    if car.brush:
        grip = car.friction * car.front_load
        force = brush(car.cornering_stiffness * abs(slip), grip, grip)
    else:
        force = car.cornering_stiffness * math.atan(abs(slip))
    return -math.copysign(force, slip)


@_compiled
def rear_force(ratio: float, slip: float, car: Vehicle) -> tuple[float, float]:
    """Return the longitudinal and lateral force (N) on the rear tyre.

    `ratio` is the wheel's slip `(wheel speed - v_x) / |v_x|`, `slip` the tangent of the slip angle. An
    infinite ratio (a spinning wheel on a standing car) is full longitudinal saturation.
    """
    load, c_x, c_alpha = car.rear_load, car.longitudinal_stiffness, car.cornering_stiffness
    if math.isinf(ratio):
        return math.copysign(car.friction * load, ratio), 0.0
    share = abs(ratio) / (1 + abs(ratio))
    if not car.brush:
        return math.copysign(c_x * share, ratio), -c_alpha * math.atan(slip) / (1 + abs(ratio))
    along, across = c_x * share, c_alpha * slip / (1 + abs(ratio))
    gamma = math.sqrt(along * along + across * across)
    if gamma == 0:
        return 0.0, 0.0
    if math.isinf(gamma):
        return 0.0, -math.copysign(car.sliding_friction * load, slip)
    force = brush(gamma, car.friction * load, car.sliding_friction * load)
    return math.copysign(along / gamma * force, ratio), -across / gamma * force


@_compiled
def accelerations(
    v_x: float, v_y: float, rate: float, wheel: float, cos: float, sin: float, car: Vehicle
) -> tuple[float, float, float]:
    """Return the time derivatives of v_x, v_y and the yaw rate; `cos` and `sin` are the steering angle's."""
    mass, front, rear, inertia = car.mass, car.front, car.rear, car.inertia
    if abs(v_x) < STILL and abs(v_y) < STILL:
        front_slip = rear_slip = 0.0
    else:
        # Tangents of the slip angles. Rolling backwards mirrors them, hence the absolute values.
        lateral = v_y + front * rate
        across, along = lateral * cos - v_x * sin, v_x * cos + lateral * sin
        front_slip = across / abs(along) if across != 0 else 0.0
        lateral = v_y - rear * rate
        rear_slip = lateral / abs(v_x) if lateral != 0 else 0.0
    if abs(wheel - v_x) < STILL:
        ratio = 0.0
    elif abs(v_x) < STILL:
        ratio = math.copysign(math.inf, wheel)
    else:
        ratio = (wheel - v_x) / abs(v_x)
    f_front = front_force(front_slip, car)
    f_x, f_y = rear_force(ratio, rear_slip, car)
    return (
        (f_x - f_front * sin) / mass + rate * v_y - 0.025 * v_x,
        (f_front * cos + f_y) / mass - rate * v_x - 0.025 * v_y,
        (front * f_front * cos - rear * f_y) / inertia - 0.02 * rate,
    )


@_compiled
def _integrate(
    state: np.ndarray,
    wheel: float,
    steering: float,
    car: Vehicle,
    duration: float,
    tolerance: float,
    smallest: float,
) -> None:
    """Advance `state [6]` in place by `duration` (s) with steps of adaptive length.

    The velocities do not depend on the pose: they are integrated alone, and the pose follows by Simpson's rule
    from the velocities at both ends and in the middle of each step (cubic between them).
    """
    cos, sin = math.cos(steering), math.sin(steering)
    slopes, now, new, middle = np.empty((7, 3)), state[3:].copy(), np.empty(3), np.empty(3)
    slopes[0] = accelerations(now[0], now[1], now[2], wheel, cos, sin, car)
    yaw = state[2]
    v_east = now[0] * math.cos(yaw) - now[1] * math.sin(yaw)
    v_north = now[0] * math.sin(yaw) + now[1] * math.cos(yaw)
    done, step = 0.0, duration / 2
    while True:
        last = step >= duration - done
        if last:
            step = duration - done
        for stage in range(1, 7):
            for i in range(3):
                slope = 0.0
                for j in range(stage):
                    slope += _STAGES[stage, j] * slopes[j, i]
                new[i] = now[i] + step * slope
            slopes[stage] = accelerations(new[0], new[1], new[2], wheel, cos, sin, car)
        error = 0.0
        for i in range(3):
            difference = 0.0
            for j in range(7):
                difference += _ERROR[j] * slopes[j, i]
            error = max(error, abs(step * difference))
        if error <= tolerance or step <= smallest:
            for i in range(3):
                middle[i] = (now[i] + new[i]) / 2 + step / 8 * (slopes[0, i] - slopes[6, i])
            half = yaw + step / 24 * (5 * now[2] + 8 * middle[2] - new[2])
            yaw += step / 6 * (now[2] + 4 * middle[2] + new[2])
            for weight, angle, v in ((4.0, half, middle), (1.0, yaw, new)):
                east = v[0] * math.cos(angle) - v[1] * math.sin(angle)
                north = v[0] * math.sin(angle) + v[1] * math.cos(angle)
                v_east, v_north = v_east + weight * east, v_north + weight * north
            state[0] += step / 6 * v_east
            state[1] += step / 6 * v_north
            v_east, v_north = east, north
            now[:] = new
            slopes[0] = slopes[6]  # the last stage is the next step's first
            if last:
                state[2], state[3:] = yaw, now
                return
            done += step
        factor = 0.9 * (tolerance / error) ** 0.2 if error > 0 else 5.0
        step = max(smallest, step * min(5.0, max(0.1, factor)))


@njit(cache=True, error_model="numpy", parallel=True)
def _integrate_all(
    states: np.ndarray,
    commands: np.ndarray,
    car: Vehicle,
    duration: float,
    tolerance: float,
    smallest: float,
) -> None:
    for i in prange(len(states)):
        _integrate(states[i], commands[i, 0], commands[i, 1], car, duration, tolerance, smallest)


def advance(
    states: np.ndarray,
    commands: np.ndarray,
    vehicle: Vehicle,
    duration: float = TIME_STEP,
    tolerance: float = TOLERANCE,
    smallest: float = SMALLEST,
) -> np.ndarray:
    """Return the states `[B, 6]` after `duration` (s) under `commands [B, 2]`, each car by itself.

    Raises `ValueError` for a wrong shape, NaN or infinity.
    """
    states = np.array(states, np.float64, order="C")
    commands = np.ascontiguousarray(commands, np.float64)
    if states.ndim != 2 or states.shape[1] != 6 or commands.shape != (len(states), 2):
        raise ValueError(f"expected states [B, 6] and commands [B, 2], got {states.shape} and {commands.shape}")
    if not (np.isfinite(states).all() and np.isfinite(commands).all()):
        raise ValueError("states and commands must be finite")
    if len(states) == 1:  # one car needs no threads
        _integrate(states[0], commands[0, 0], commands[0, 1], vehicle, duration, tolerance, smallest)
    else:
        _integrate_all(states, commands, vehicle, duration, tolerance, smallest)
    return states
