"""Count the sequences that a plan is the mean of: python analysis/temperature.py OUT.csv RUN [RUN ...]

Takes runs of agents that plan with ARC (`safeloop`, `loop`, `loop-sac`). Plans from `STATES` observations that each
has stored (none of its first tenth), with its own settings but for 1/eta and the models' noise, and writes for each
iteration the effective number of sequences, `1 / sum w^2` of their weights w, and the weight on the actor's: means over
states and over two plans, the second of which goes on from the first.
"""

from dataclasses import replace
from pathlib import Path

import torch
from rows import write_rows

import safeloop
from safeloop.planning import search as planner

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


def rows(path):
    """Yield a row for each noise, temperature and iteration."""
    agent, where = safeloop.load(path).policy.agent, "/".join(Path(path).parts[-3:])
    for noise in (True, False):
        for temperature in TEMPERATURES:
            seen, settings = looks(agent, temperature, noise)
            iterations = len(seen) // 2
            for i in range(iterations):
                weights = torch.cat(seen[i::iterations])  # of both plans
                effective = (1 / weights.square().sum(1)).mean().item()
                actors = weights[:, settings.population * (settings.actor_fraction < 1) :].sum(1).mean().item()
                numbers = (weights.shape[1], f"{effective:.1f}", f"{actors:.3f}")
                yield where, noise, temperature, i + 1, *numbers


if __name__ == "__main__":
    head = ("run", "model_noise", "inverse_temperature", "iteration", "sequences", "effective_number", "actor_weight")
    write_rows(__doc__, head, rows)
