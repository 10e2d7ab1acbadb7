"""Evaluate trained planners with other ways out of danger: python analysis/last_resorts.py OUT.csv RUN [RUN ...]

Drives the first `EPISODES` evaluation episodes of each run's seed again, by its final checkpoint, once for each of
`VARIANTS`. These change settings of the planner, or let it choose from sequences that hold one action, too: rest, and
each part of an action at either limit. Writes a row for each: mean return and cost return, CVaR (the worst tenth of the
episodes), and the share over budget.
"""

import os
from dataclasses import replace

import numpy as np
import torch
from rows import label, opened, trained_agent, write_rows

from safeloop.training.evaluation import evaluate

EPISODES = int(os.environ.get("EPISODES", "20"))
NARROWED = {"noise_narrowed": True}
VARIANTS = {
    "narrowed noise": NARROWED,
    "narrowed noise, penalty=3": {**NARROWED, "penalty": 3.0},
    "narrowed noise, threshold=0.25": {**NARROWED, "threshold": 0.25},
    "narrowed noise, rest": NARROWED,
    "narrowed noise, held actions": NARROWED,
    "wide noise": {"noise_narrowed": False},
}


def beside(proposals, name):
    """Proposals of a search, and sequences that hold an action where a variant has them."""

    def both(obs, mean, generators):
        horizon, size = mean.shape[1:]
        held = torch.cat((torch.zeros(1, size), torch.eye(size), -torch.eye(size)))
        held = held[: 1 if name.endswith("rest") else None].view(1, -1, 1, size)
        return torch.cat((proposals(obs, mean, generators), held.expand(len(mean), -1, horizon, -1)), 1)

    return both if name.endswith(("rest", "held actions")) else proposals


def rows(path):
    """Yield a run's rows."""
    run, spec = opened(path)
    for name, changes in VARIANTS.items():
        agent = trained_agent(path)
        agent.settings = replace(agent.settings, planner=replace(agent.settings.planner, **changes))
        limits = {key: changes[key] for key in ("penalty", "threshold") if key in changes}
        agent.parts = replace(agent.parts, constraint=replace(agent.parts.constraint, **limits))
        made = agent.new_planner

        def new_planner(*args, made=made, name=name, **options):
            planner = made(*args, **options)
            planner.search = replace(planner.search, proposals=beside(planner.search.proposals, name))
            return planner

        agent.new_planner = new_planner
        episodes = list(evaluate(agent.policy(run.settings.seed), spec, EPISODES, run.settings.seed))
        costs = np.sort([e.cost_return for e in episodes])
        worst = costs[-max(1, len(costs) // 10) :]
        numbers = np.mean([e.return_ for e in episodes]), costs.mean(), worst.mean()
        yield (
            label(path),
            name,
            len(episodes),
            *(f"{x:.2f}" for x in numbers),
            f"{np.mean(costs > run.settings.budget):.2f}",
        )


if __name__ == "__main__":
    write_rows(__doc__, ("run", "variant", "episodes", "return", "cost", "cvar", "over_budget"), rows)
