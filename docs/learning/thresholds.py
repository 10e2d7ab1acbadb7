"""What the threshold of a learned cost trades: python docs/learning/thresholds.py OUT.csv RUN [RUN ...]

Drives the first evaluation episodes of each run's seed with what the run has learned and other thresholds d0, the
expected number of violated decisions within the horizon that the worst model may see in a feasible sequence. Writes a
row for each run, threshold and episode. Same layouts for all, so differences can be taken by episode.
"""

import csv
import sys
from pathlib import Path

import torch
from values import copied

import safeloop
from safeloop.evaluation import evaluate
from safeloop.registry import find_env
from safeloop.runs import Run

EPISODES = 10
THRESHOLDS = (0.1, 0.2, 0.5, 1.0, 2.0)


def main():
    """Write every run's rows."""
    torch.set_num_threads(1)
    out, *runs = sys.argv[1:]
    with open(out, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("run", "threshold", "episode", "return", "cost_return"))
        for path in runs:
            settings = Run.open(Path(path)).settings
            spec = find_env(settings.env, settings.env_options)
            trained = safeloop.load(path).agent
            for threshold in THRESHOLDS:
                agent = copied(trained, spec, settings, threshold=threshold)
                for row in evaluate(agent.policy(settings.seed), spec, EPISODES, settings.seed):
                    name = "/".join(Path(path).parts[-3:])
                    writer.writerow((name, threshold, row.episode, f"{row.return_:.2f}", row.cost_return))
                    file.flush()


if __name__ == "__main__":
    main()
