"""Say where the costs of trained planners fall: python analysis/where_costs_fall.py OUT.csv RUN [RUN ...]

Drives the first `EPISODES` evaluation episodes of each run's seed again. Writes a row for each run and kind of cost:
the kind of the object that is nearest, less its size (`walls` where the task has none); whether the plan of that
decision had enough feasible sequences (`feasible`) or not; and whether the decision before was free of cost (`entered`)
or not (`inside`). `cost` is the mean cost return of an episode that falls there.
"""

import os
from collections import Counter

import numpy as np
from rows import label, opened, trained_agent, write_rows

from safeloop.rng import EVALUATION, derived_seed

EPISODES = int(os.environ.get("EPISODES", "20"))
SIZES = {"hazards": 0.2, "vases": 0.1, "pillars": 0.2, "gremlins": 0.15, "buttons": 0.1}  # metres, of the simulator


def nearest(task):
    """The kind of the nearest object that can cost something."""
    gaps = {}
    for objects in task._obstacles:
        if objects.name in SIZES:
            distance = np.linalg.norm(np.atleast_2d(objects.pos)[:, :2] - task.agent.pos[:2], axis=1)
            if objects.name == "buttons":
                distance[task.buttons.goal_button] = np.inf
            gaps[objects.name] = distance.min() - SIZES[objects.name]
    return min(gaps, key=gaps.get) if gaps else "walls"


def rows(path):
    """Yield a run's rows."""
    run, spec = opened(path)
    agent, env, found, returns, feasible = trained_agent(path), spec.make(), Counter(), [], []
    for episode in range(EPISODES):
        policy, seen, before, done, total = agent.policy(run.settings.seed), 0, 0.0, False, 0.0
        policy.begun = episode
        policy.reset()
        obs, _ = env.reset(seed=derived_seed(run.settings.seed, EVALUATION, episode))
        while not done:
            plan = agent.plan(obs[None], seen == 0, policy.planner)
            enough = plan.feasible.item() >= agent.settings.planner.min_feasible
            obs, reward, terminated, truncated, info = env.step(plan.action[0].numpy())
            if info["cost"]:
                where = nearest(env.unwrapped._task)
                found[where, "feasible" if enough else "infeasible", "inside" if before else "entered"] += info["cost"]
            total, before, seen, done = total + reward, info["cost"], seen + 1, terminated or truncated
            feasible.append(enough)
        returns.append(total)
    for kind, cost in sorted(found.items(), key=lambda item: -item[1]):
        yield label(path), *kind, f"{cost / EPISODES:.2f}"
    yield (
        label(path),
        "all",
        f"feasible in {np.mean(feasible):.1%}",
        f"return {np.mean(returns):.2f}",
        (f"{sum(found.values()) / EPISODES:.2f}"),
    )


if __name__ == "__main__":
    write_rows(__doc__, ("run", "nearest", "plan", "decision", "cost"), rows)
