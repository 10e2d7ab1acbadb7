"""Returns of random actions on POPLIN's tasks: python analysis/random_returns.py OUT.csv

Takes `EPISODES` episodes of each task with actions drawn uniformly, and writes the mean and the standard deviation of
their returns. The arm's tasks have a second row, with torques up to 1 N m.
"""

import sys

import numpy as np
from rows import write_table

from safeloop.registry import find_env
from safeloop.rng import EVALUATION, derived_seed
from safeloop_envs.poplin import TASKS

EPISODES = 20
SHARES = {"PetsReacher3D": (1.0, 1 / 20), "PetsPusher": (1.0, 1 / 2)}
"""Shares of the range of actions that they are drawn from."""


def measured(name, share):
    """The row of a task."""
    env, random, found = find_env(name, {}).make(), np.random.default_rng(0), []
    for episode in range(EPISODES):
        env.reset(seed=derived_seed(0, EVALUATION, episode))
        total, ended = 0.0, False
        while not ended:
            act = share * random.uniform(-1, 1, env.action_space.shape)
            _, reward, terminated, truncated, _ = env.step(act)
            total, ended = total + float(reward), terminated or truncated
        found.append(total)
    return name, share, EPISODES, round(np.mean(found), 1), round(np.std(found), 1)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    header = ("env", "share", "episodes", "mean", "deviation")
    write_table(sys.argv[1], header, (measured(name, s) for name in TASKS for s in SHARES.get(name, (1.0,))))
