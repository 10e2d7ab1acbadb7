"""Tabulate runs on POPLIN's tasks beside the paper: python analysis/poplin_tables.py OUT.csv RUN [RUN ...]

A run's `last` is the mean return of its last three training episodes, as in the paper's Tables 1 and 4; `evaluation`
and `policy` are the means of its last evaluation's episodes, as the agent acts and by its policy alone. `paper` is the
published mean after `paper_steps`.
"""

import csv
from pathlib import Path
from statistics import fmean

from rows import opened, write_rows

from safeloop.recording import reader

LAST = 3
HEADER = (
    "env", "algo", "variant", "seed", "steps", "last", "evaluation", "policy", "minutes", "paper", "deviation",
    "paper_steps",
)  # fmt: skip
PUBLISHED = Path(__file__).parents[1] / "results/poplin/published.csv"
"""Tables 1 and 4 of the paper: the last three training episodes of four seeds."""


def published():
    """The rows of the paper by task and algorithm."""
    with open(PUBLISHED, newline="") as file:
        return {(row["env"], row["algo"]): row for row in csv.DictReader(file)}


def rows(path):
    """The row of a run."""
    recorded = reader.read(opened(path)[0])
    s, episodes = recorded.run.settings, recorded.episodes
    paper = published().get((s.env, s.algo), {})
    means = [
        round(fmean(e.return_ for e in some), 1) if some else ""
        for some in (episodes[-LAST:], recorded.last_evaluation, recorded.last_policy_alone)
    ]
    minutes = round(episodes[-1].wall_seconds / 60, 1)
    beside = (paper.get(name, "") for name in ("mean", "deviation", "steps"))
    yield s.env, s.algo, s.variant, s.seed, episodes[-1].simulator_steps, *means, minutes, *beside


if __name__ == "__main__":
    write_rows(__doc__, HEADER, rows)
