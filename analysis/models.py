"""Locate the errors of an ensemble, and fit it for longer: python analysis/models.py OUT.csv RUN [RUN ...]

Takes runs of agents with models on HalfCheetah, Hopper or Walker2d. Gymnasium clips what Hopper and Walker2d observe of
velocities to [-10, 10]: where one is out of it, the state is not seen. Writes for each run the root mean square error
of one step on held-out transitions (of the mean over models, in standard deviations of changes): over all, over those
with a velocity of 10 or more before or after the step, over the others; the share of the former; and the errors after
`MORE` further gradient steps on the same transitions.
"""

import torch
from rows import label, trained_agent, write_rows

LIMIT = 10.0  # rad/s or m/s
MORE = 8000


def errors(agent, batch, fast):
    """Root mean square errors over all, fast and other transitions."""
    squares = agent.ensemble.errors(batch)
    return [part.mean().sqrt().item() for part in (squares, squares[fast], squares[~fast])]


def rows(path):
    """Yield a run's row."""
    agent = trained_agent(path)
    batch = agent.replay.rows(agent.replay.split()[1])
    velocities = -(-batch.obs.shape[1] // 2)  # positions but the first, then velocities
    both = torch.cat([batch.obs[:, -velocities:], batch.next_obs[:, -velocities:]], dim=1)
    fast = (both.abs() >= LIMIT).any(1)
    before = errors(agent, batch, fast)
    agent.ensemble.fit(agent.replay, MORE)
    numbers = [fast.float().mean().item(), *before, *errors(agent, batch, fast)]
    yield label(path), len(agent.replay), len(batch.obs), *(f"{x:.3f}" for x in numbers)


if __name__ == "__main__":
    names = ("all", "fast", "other")
    more = [f"{name}_after_{MORE}_more" for name in names]
    write_rows(__doc__, ("run", "transitions", "held_out", "share_fast", *names, *more), rows)
