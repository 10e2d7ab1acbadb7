"""Time the decisions of trained planners, in turns: python analysis/decision_speed.py OUT.csv RUN [RUN ...]

Each run's planner decides on the first `DECISIONS` observations of an evaluation episode that it has driven itself, in
`ROUNDS` rounds; the runs take turns within a round. Writes the median, lowest and highest milliseconds of a decision,
those of its matrix products alone (the same shapes, strides and types on random numbers), and the ratio to the first
run, the median over rounds. One thread. Compare only numbers of one file.
"""

import sys

import torch
from rows import label, opened, trained_agent, write_table

from safeloop.measurements import Products, in_turns, ratio, spread
from safeloop.rng import EVALUATION, derived_seed

DECISIONS, ROUNDS = 20, 10


def driven(path):
    """A run's agent, and observations of its own driving."""
    run, spec = opened(path)
    agent, env = trained_agent(path), spec.make()
    policy = agent.policy(run.settings.seed)
    policy.reset()
    obs, seen = env.reset(seed=derived_seed(run.settings.seed, EVALUATION, 0))[0], []
    for _ in range(DECISIONS):
        seen.append(obs)
        obs = env.step(policy.act(obs))[0]
    env.close()
    return agent, seen


def main():
    """Measure the runs."""
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    torch.set_num_threads(1)
    out, *paths = sys.argv[1:]
    calls = {}
    for path in paths:
        agent, seen = driven(path)

        def decide(agent=agent, seen=seen):
            for i, obs in enumerate(seen):
                agent.plan(obs[None], i == 0)

        with Products() as products:
            decide()
        calls[path, "decision"], calls[path, "products"] = decide, products.alone()
    found = {key: [1e3 * s / DECISIONS for s in seconds] for key, seconds in in_turns(calls, ROUNDS).items()}
    header = ("run", "dynamics", *(f"{part}_{of}" for part in ("decision", "products") for of in ("ms", "low", "high")))
    rows = []
    for path in paths:
        both = [spread(found[path, part], 1).values() for part in ("decision", "products")]
        settings = opened(path)[0].settings.algo_settings
        against = ratio(found[path, "decision"], found[paths[0], "decision"])
        rows.append((label(path), settings["dynamics"], *both[0], *both[1], against))
    write_table(out, (*header, "ratio_to_first"), rows)


if __name__ == "__main__":
    main()
