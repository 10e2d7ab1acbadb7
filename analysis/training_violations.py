"""Count the violations in training: python analysis/training_violations.py OUT.csv RUN [RUN ...]

Reads the replay buffers of runs that plan, in their checkpoints. Writes a row for each run and stretch of training: the
warm-up, and the planned decisions until 10,000 simulator steps, until 20,000, and until the end. `costly` decisions had
a cost in any of their simulator steps; `entries` are those of them before which the decision had none.
"""

import numpy as np
import torch
from rows import label, opened, trained_agent, write_rows

from safeloop.models.windows import continuing


def rows(path):
    """Yield a run's rows."""
    agent, repeat = trained_agent(path), opened(path)[1].action_repeat
    data = agent.replay.rows(torch.arange(len(agent.replay)))
    bad = data.violated.numpy() > 0
    before = np.concatenate(([False], bad[:-1])) & continuing(data).numpy()
    ends = {"warm-up": agent.warmup, **{f"to {n:,}": n // repeat for n in (10_000, 20_000, len(bad) * repeat)}}
    begun = 0
    for name, end in ends.items():
        here = slice(begun, end)
        begun = end
        yield label(path), name, len(bad[here]), bad[here].sum(), (bad & ~before)[here].sum()


if __name__ == "__main__":
    write_rows(__doc__, ("run", "stretch", "decisions", "costly", "entries"), rows)
