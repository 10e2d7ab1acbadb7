"""Accuracy and speed of the RC car's integrator: python analysis/integrator.py

200 random drives of 100 steps (starts and commands as in RCCarDrift, commands uniform), beside the same
Runge-Kutta pair with a tolerance of 1e-9; the largest error of each drive over its states. Then steps a second,
of one car and of 4,096 at once.
"""

import time

import numpy as np
import torch

from safeloop_envs.rc_car.environment import STEERING, WHEEL_SPEED
from safeloop_envs.rc_car.task import Task
from safeloop_envs.rc_car.vehicle import Vehicle, advance

CAR = Vehicle()


def drives(count, steps):
    starts = Task().starts(count, torch.Generator().manual_seed(0)).numpy()
    commands = np.random.default_rng(0).uniform((0, -STEERING), (WHEEL_SPEED, STEERING), (steps, count, 2))
    return starts, commands


def roll(starts, commands, **options):
    states = [starts]
    for command in commands:
        states.append(advance(states[-1], command, CAR, **options))
    return np.stack(states)


def main():
    starts, commands = drives(200, 100)
    error = np.abs(roll(starts, commands) - roll(starts, commands, tolerance=1e-9, smallest=1e-7)).max((0, 2))
    quantiles = (0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 1)
    print("quantile       " + " ".join(f"{q:>8.0%}" for q in quantiles))
    print("largest error  " + " ".join(f"{q:8.1e}" for q in np.quantile(error, quantiles)))
    for count in (1, 4096):
        starts, commands = drives(count, 100)
        rates = []
        for _ in range(5):
            begin = time.perf_counter()
            roll(starts, commands)
            rates.append(100 * count / (time.perf_counter() - begin))
        spread = f"median of 5; {min(rates):,.0f} to {max(rates):,.0f}"
        print(f"{count} at once: {np.median(rates):,.0f} car-steps a second ({spread})")


if __name__ == "__main__":
    main()
