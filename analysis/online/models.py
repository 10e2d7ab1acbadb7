"""Where an ensemble is wrong, and whether more fitting helps: python analysis/online/models.py OUT.csv RUN [RUN ...]

Takes runs of agents with models on HalfCheetah, Hopper or Walker2d. Gymnasium clips what Hopper and Walker2d observe of
velocities to [-10, 10]: where one is out of it, the state is not seen. Writes for each run the root mean square error
of one step on held-out transitions (of the mean over models, in standard deviations of changes): over all, over those
with a velocity of 10 or more before or after the step, over the others; the share of the former; and the errors after
`MORE` further gradient steps on the same transitions.
"""

import csv
import sys
from pathlib import Path

import torch

import safeloop

LIMIT = 10.0  # rad/s or m/s
MORE = 8000


def errors(agent, batch, fast):
    """Root mean square errors over all, fast and other transitions."""
    squares = agent.dynamics.errors(batch)
    return [part.mean().sqrt().item() for part in (squares, squares[fast], squares[~fast])]


def main():
    """Write every run's row."""
    torch.set_num_threads(1)
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    out, *runs = sys.argv[1:]
    with open(out, "w", newline="") as file:
        writer = csv.writer(file)
        names = ("all", "fast", "other")
        more = [f"{name}_after_{MORE}_more" for name in names]
        writer.writerow(("run", "transitions", "held_out", "share_fast", *names, *more))
        for path in runs:
            agent = safeloop.load(path).policy.agent
            batch = agent.replay.rows(agent.replay.split()[1])
            velocities = -(-batch.obs.shape[1] // 2)  # positions but the first, then velocities
            both = torch.cat([batch.obs[:, -velocities:], batch.next_obs[:, -velocities:]], dim=1)
            fast = (both.abs() >= LIMIT).any(1)
            before = errors(agent, batch, fast)
            agent.dynamics.fit(agent.replay, MORE)
            numbers = [fast.float().mean().item(), *before, *errors(agent, batch, fast)]
            where = "/".join(Path(path).parts[-3:])
            writer.writerow((where, len(agent.replay), len(batch.obs), *(f"{x:.3f}" for x in numbers)))
            file.flush()


if __name__ == "__main__":
    main()
