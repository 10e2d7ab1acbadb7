"""Plan with trained policies, in evaluation alone: python analysis/test_time_planning.py OUT.csv RUN [RUN ...]

MAAC's Table 1. Drives the first evaluation episodes of runs of `maac` with the policy alone, with the cross-entropy
method from the actions that the policy proposes, and with ARC among action sequences, some of which are the policy's;
the last two with the settings of `maac-mpc`, at `HORIZONS`. Writes a row for each way and episode, with the
milliseconds of a decision where several episodes are driven at once.
"""

import time

from rows import label, opened, write_rows

from safeloop.registry import find_algorithm
from safeloop.settings import build, flat
from safeloop.training.evaluation import evaluate

EPISODES, HORIZONS = 10, (3, 6)
WAYS = {
    "cem from the policy": {},
    "arc": {"around": "actions", "search": "arc", "elites": None, "actor_fraction": 0.05},
}


def planner(run, spec, **changes):
    """The agent of a run of `maac` as one of `maac-mpc`."""
    algorithm = find_algorithm("maac-mpc")
    own = flat(algorithm.info.settings())
    preset = algorithm.info.presets["default"]
    kept = {name: value for name, value in run.settings.algo_settings.items() if name in own}
    settings = build(algorithm.info.settings, {**preset, **kept, **changes}, owner="maac-mpc")
    env = spec.make()
    sizes = env.observation_space.shape[0], env.action_space.shape[0]
    env.close()
    agent = algorithm.build(settings.filled(spec), spec, *sizes, run.settings.seed, run.settings.device)
    agent.restore(run.load_checkpoint()["agent"])
    return agent


def rows(path):
    """Yield a row for each way and episode."""
    run, spec = opened(path)
    seed = run.settings.seed
    ways = [("policy alone", 0, planner(run, spec).alone())]
    for horizon in HORIZONS:
        ways += [(name, horizon, planner(run, spec, horizon=horizon, **way).policy(seed)) for name, way in WAYS.items()]
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
