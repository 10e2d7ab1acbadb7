"""How many sequences a plan is the mean of: python analysis/learning/temperature.py OUT.csv RUN [RUN ...]

Takes runs of agents that plan with ARC (`safeloop`, `loop`, `loop-sac`). Plans from `STATES` observations that each
has stored (none of its first tenth), with its own settings but for 1/eta and the models' noise, and writes for each
iteration the effective number of sequences, `1 / sum w^2` of their weights w, and the weight on the actor's: means over
states and over two plans, the second of which goes on from the first.
"""

import csv
import sys
from dataclasses import replace
from pathlib import Path

import torch

import safeloop
from safeloop import planner

STATES = 6
TEMPERATURES = (1, 3, 10, 50)


def looks(agent, inverse_temperature, noise):
    """The weights `[B, N]` of each iteration of two plans."""
    seen, weigh = [], planner.weigh

    def watched(scores, constraint, *rest):
        seen.append(weigh(scores, constraint, *rest))
        return seen[-1]

    stored = len(agent.replay)
    obs = agent.replay.data.obs[torch.linspace(stored // 10, stored - 1, STATES).long()]
    plans = agent.new_planner([torch.Generator().manual_seed(i) for i in range(STATES)])
    plans.settings = replace(plans.settings, inverse_temperature=float(inverse_temperature))
    agent.model.noise = noise
    planner.weigh = watched
    try:
        for t0 in (True, False):
            plans.plan(obs, t0, agent.value_after_event)
    finally:
        planner.weigh = weigh
    return seen, plans.settings


def main():
    """Write every run's rows."""
    torch.set_num_threads(1)
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    out, *runs = sys.argv[1:]
    with open(out, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            ("run", "model_noise", "inverse_temperature", "iteration", "sequences", "effective_number", "actor_weight")
        )
        for path in runs:
            agent = safeloop.load(path).agent
            for noise in (True, False):
                for temperature in TEMPERATURES:
                    seen, settings = looks(agent, temperature, noise)
                    iterations = len(seen) // 2
                    for i in range(iterations):
                        weights = torch.cat(seen[i::iterations])  # of both plans
                        effective = (1 / weights.square().sum(1)).mean().item()
                        actors = weights[:, settings.population * (settings.actor_fraction < 1) :].sum(1).mean().item()
                        where = "/".join(Path(path).parts[-3:])
                        numbers = (weights.shape[1], f"{effective:.1f}", f"{actors:.3f}")
                        writer.writerow((where, noise, temperature, i + 1, *numbers))
                file.flush()


if __name__ == "__main__":
    main()
