"""Plan with trained policies, in evaluation alone: python analysis/plans_of_policies.py OUT.csv RUN [RUN ...]

MAAC's Table 1. Drives the first evaluation episodes of runs of `maac` with the policy alone, with the cross-entropy
method from the actions that the policy proposes, and with ARC among action sequences, some of which are the policy's;
the last two with the settings of `maac-mpc`, at `HORIZONS`. Writes a row for each way and episode, with the
milliseconds of a decision where several episodes are driven at once.
"""

import time

from rows import label, opened, write_rows

from safeloop.algorithms.maac import MPC
from safeloop.registry import find_algorithm
from safeloop.training.evaluation import evaluate

EPISODES, HORIZONS = 10, (3, 6)
WAYS = {
    "cem from the policy": {},
    "arc": {"around": "actions", "search": "arc", "elites": None, "actor_fraction": 0.05},
}


def planner(run, **changes):
    """The agent of a run of `maac` as one of `maac-mpc`."""
    return find_algorithm("maac-mpc").restored(run, {**MPC, **changes})


def rows(path):
    """Yield a row for each way and episode."""
    run, spec = opened(path)
    seed = run.settings.seed
    ways = [("policy alone", 0, planner(run).alone())]
    for horizon in HORIZONS:
        ways += [(name, horizon, planner(run, horizon=horizon, **way).policy(seed)) for name, way in WAYS.items()]
    for name, horizon, policy in ways:
        begun = time.perf_counter()
        found = list(evaluate(policy, spec, EPISODES, seed))
        decisions = sum(-(-row.length // spec.action_repeat) for row in found)
        each = f"{1e3 * (time.perf_counter() - begun) / decisions:.1f}"
        for row in found:
            yield label(path, 2), name, horizon, row.episode, f"{row.return_:.1f}", each
        print(f"{label(path)} {name} H={horizon} done", flush=True)


if __name__ == "__main__":
    write_rows(__doc__, ("run", "way", "horizon", "episode", "return", "milliseconds"), rows)
