"""What each part of offline LOOP adds: python analysis/offline/ablations.py OUT.csv RUN [RUN ...]

Takes finished runs of `loop-crr` or `loop-plas`. Evaluates what each learned with its own planner, with one thing about
the planner changed at a time, and the learner's actor alone, in the episodes of the run's own evaluation. Nothing is
trained again.
"""

import csv
import sys
from pathlib import Path
from statistics import fmean

import torch

from safeloop.evaluation import evaluate
from safeloop.policies import ActorPolicy
from safeloop.recording.run import Run
from safeloop.registry import find_algorithm, find_env

CHANGES = {
    "as trained": {},
    "beta = 0.05": {"actor_fraction": 0.05, "iterations": 5, "momentum": 0.1},  # the online ARC (Table 3)
    "beta_pess = 0": {"pessimism": 0.0},
    "beta_pess = 1": {"pessimism": 1.0},
    "beta_pess = 5": {"pessimism": 5.0},
    "no value": {"value": "none"},
    "equal weights": {"inverse_temperature": 1e-6},
}


def policies(run):
    """Each change's name and policy, the actor alone last."""
    algorithm = find_algorithm(run.settings.algo)
    for name, changes in CHANGES.items():
        policy = algorithm.load_with(run, changes, run.settings.seed)
        yield name, policy
    yield "the actor alone", ActorPolicy(policy.agent.learner, "cpu")


def main():
    """Write a row for each run and change."""
    torch.set_num_threads(1)
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    out, *paths = sys.argv[1:]
    with open(out, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("run", "planner", "episodes", "return", "cost_return"))
        for path in paths:
            run, where = Run.open(Path(path)), "/".join(Path(path).parts[-3:])
            spec = find_env(run.settings.env, run.settings.env_options)
            for name, policy in policies(run):
                rows = list(evaluate(policy, spec, run.settings.eval_episodes, run.settings.seed))
                means = fmean(r.return_ for r in rows), fmean(r.cost_return for r in rows)
                writer.writerow((where, name, len(rows), *(f"{x:.2f}" for x in means)))
                file.flush()


if __name__ == "__main__":
    main()
