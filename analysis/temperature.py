"""Count the sequences that a plan is the mean of: python analysis/temperature.py OUT.csv RUN [RUN ...]

Takes runs of agents that plan with ARC (`safeloop`, `loop`, `loop-sac`). Plans from `STATES` observations that each
has stored (none of its first tenth), with its own settings but for 1/eta and the models' noise, and writes for each
iteration the effective number of sequences, `1 / sum w^2` of their weights w, and the weight on the actor's: means over
states and over two plans, the second of which goes on from the first.
"""

from dataclasses import replace

import torch
from rows import label, trained_agent, write_rows

STATES = 6
TEMPERATURES = (1, 3, 10, 50)


def looks(agent, inverse_temperature, noise):
    """Return the weights `[B, N]` of each iteration of two plans; and how many are not of the actor's sequences."""
    seen, stored = [], len(agent.replay)
    obs = agent.replay.data.obs[torch.linspace(stored // 10, stored - 1, STATES).long()]
    plans = agent.new_planner([torch.Generator().manual_seed(i) for i in range(STATES)])
    weighting = replace(plans.search.weighting, inverse_temperature=float(inverse_temperature))

    def watched(scores):
        seen.append(weighting(scores))
        return seen[-1]

    plans.search = replace(plans.search, weighting=watched)
    agent.model.noise = noise
    for t0 in (True, False):
        plans.plan(obs, t0, agent.value_after_event)
    return seen, plans.search.population


def rows(path):
    """Yield a row for each noise, temperature and iteration."""
    agent = trained_agent(path)
    for noise in (True, False):
        for temperature in TEMPERATURES:
            seen, population = looks(agent, temperature, noise)
            iterations = len(seen) // 2
            for i in range(iterations):
                weights = torch.cat(seen[i::iterations])  # of both plans
                effective = (1 / weights.square().sum(1)).mean().item()
                actors = weights[:, population:].sum(1).mean().item()
                numbers = (weights.shape[1], f"{effective:.1f}", f"{actors:.3f}")
                yield label(path), noise, temperature, i + 1, *numbers


if __name__ == "__main__":
    head = ("run", "model_noise", "inverse_temperature", "iteration", "sequences", "effective_number", "actor_weight")
    write_rows(__doc__, head, rows)
