"""Plan with POLO's value alone: python analysis/polo_value_only.py OUT.csv RUN [RUN ...]

Takes runs of `polo` on `HumanoidGetup`. Drives one evaluation episode of each run's seed in three ways: as it was
trained; with plans of `LONG` decisions that see no reward, so that they are scored by the value at their end alone; and
greedily, by the value after one decision. Writes the height of the root and the reward of every `EVERY`-th decision,
and draws the heights beside OUT.csv, as OUT.png (Lowrey et al., 2019, Figure 3, right).
"""

import csv
import sys
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import torch
from rows import label, opened, trained_agent, write_rows

from safeloop.models.trajectories import Watched
from safeloop.planning.planners import planner
from safeloop.report import style
from safeloop.rng import EVALUATION, derived_seed

LONG, EVERY = 64, 5


class Unrewarded(Watched):
    """A model whose rewards are 0."""

    def rollout(self, *arguments, **named):
        """The model's rollouts without their rewards."""
        found = super().rollout(*arguments, **named)
        return found._replace(outcome=found.outcome._replace(reward=0 * found.outcome.reward))  # NaN stays NaN

    def saw(self, found):
        """Nothing is kept."""


def driven(agent, spec, seed, horizon, **changed):
    """Drive an evaluation episode with plans of another horizon and some changed parts of the planner.

    Yields the root's height and the reward of each decision.
    """
    settings, parts = replace(agent.settings.planner, horizon=horizon), replace(agent.parts, **changed)
    plans = planner(settings, parts, [torch.Generator().manual_seed(seed)])
    env, done, first = spec.make(), False, True
    env.reset(seed=derived_seed(seed, EVALUATION, 0))
    while not done:
        plan = agent.plan(env.get_state()[None], first, plans)
        _, reward, terminated, truncated, _ = env.step(plan.action[0].numpy())
        first, done = False, terminated or truncated
        yield env.data.qpos[2], reward


def rows(path):
    """Yield the rows of a run."""
    run, spec = opened(path)
    agent, seed = trained_agent(path), run.settings.seed
    for way, horizon in (("trained", agent.settings.planner.horizon), ("value alone", LONG), ("greedy", 1)):
        model = agent.parts.model if way == "trained" else Unrewarded(agent.parts.model)
        for decision, (height, reward) in enumerate(driven(agent, spec, seed, horizon, model=model), 1):
            if decision % EVERY == 0:
                yield label(path, 2), way, horizon, decision, f"{height:.3f}", f"{reward:.3f}"


def draw(path):
    """Draw the heights of a table by time, a line for each run."""
    found = defaultdict(list)
    with open(path) as file:
        for row in csv.DictReader(file):
            found[row["way"], row["run"]].append((int(row["decision"]), float(row["height"])))
    figure = style.Figure(figsize=(6, 4), layout="constrained")
    axes, ways = figure.subplots(), list(dict.fromkeys(way for way, _ in found))
    for (way, run), points in found.items():
        first = run == next(r for w, r in found if w == way)
        axes.plot(*zip(*points, strict=True), label=way if first else None, **style.look(ways.index(way)))
    axes.axhline(1.1, color="black", linewidth=0.8, label="standing")
    axes.set(xlabel="decisions (8 ms each)", ylabel="height of the root (m)", ylim=(0, None))
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path.with_suffix(".png"), dpi=120)


if __name__ == "__main__":
    write_rows(__doc__, ("run", "way", "horizon", "decision", "height", "reward"), rows)
    draw(Path(sys.argv[1]))
