"""Compare which planners get out from behind hazards: python analysis/pockets.py OUT.csv RUN [RUN ...]

Takes runs of safeloop on PointGoal1. Puts the robot, nearly at rest, into 24 made-up pockets: two hazards ahead that
overlap once they are widened by the planner's margin, the goal beyond them, the other six anywhere. Then drives it for
four seconds in the run's own model (its first member is the world), with the run's settings but for those in
`VARIANTS`. Writes, for each run and variant, how many goals were met, after how many decisions on average (40 where
it was not), and in how many decisions the robot was in a hazard.
"""

import math

import torch
from rows import label, opened, trained_agent, write_rows
from values import copied

POCKETS = 24
DECISIONS = 40
VARIANTS = (
    {"horizon": 8, "iterations": 5, "noise_correlation": 0.0},
    {"horizon": 8, "iterations": 5, "noise_correlation": 0.0, "value": "none"},
    {"horizon": 8, "iterations": 5, "noise_correlation": 0.7},
    {"horizon": 8, "iterations": 5, "noise_correlation": 0.7, "value": "none"},
    {"horizon": 16, "iterations": 3, "noise_correlation": 0.0},
    {"horizon": 16, "iterations": 3, "noise_correlation": 0.85},
    {"horizon": 16, "iterations": 3, "noise_correlation": 0.85, "value": "none"},
    {"horizon": 16, "iterations": 5, "noise_correlation": 0.85},
)


def pockets(seen, entities, generator):
    """Observations `[24, S]` made from ones that the run has `seen [M, S]`."""

    def between(low, high):
        return low + (high - low) * torch.rand((), generator=generator).item()

    found = []
    hazards = [i for i, kind in enumerate(entities.kinds) if kind == "hazard"]
    robot = list(entities.robot)
    for _ in range(POCKETS):
        obs, other = seen[torch.randint(len(seen), (2,), generator=generator)]
        obs = obs.clone()
        obs[robot] = 0.3 * other[robot]
        turn = between(-0.5, 0.5)
        c, s = math.cos(turn), math.sin(turn)
        towards = torch.tensor([[c, -s], [s, c]])
        ahead = between(0.33, 0.42)
        goal = towards @ torch.tensor([between(0.8, 1.5), between(-0.15, 0.15)])
        positions = [
            towards @ torch.tensor([ahead + between(-0.05, 0.05), side * between(0.15, 0.23)]) for side in (1, -1)
        ]
        while len(positions) < len(hazards):
            p = 1.3 * torch.randn(2, generator=generator)
            apart = min((p - q).norm() for q in positions) > 0.36
            if apart and p.norm() > 0.55 and (p - goal).norm() > 0.45:
                positions.append(p)
        for i, p in zip([entities.goal, *hazards], [goal, *positions], strict=True):
            obs[list(entities.positions[i])] = p
        found.append(obs)
    return torch.stack(found)


@torch.no_grad()
def drive(agent, spec, obs):
    """Which of the goals are met, after how many decisions, and decisions spent in a hazard."""
    planner = agent.new_planner([torch.Generator().manual_seed(i) for i in range(len(obs))])
    generators, k = [torch.Generator().manual_seed(0)], agent.ensemble.ensemble_size
    going, decisions, inside = torch.ones(len(obs), dtype=torch.bool), torch.zeros(len(obs)), 0
    for t in range(DECISIONS):
        act = agent.plan(obs.numpy(), t == 0, planner).action
        _, following, outcome = agent.model.step(obs.expand(k, -1, -1), act.expand(k, -1, -1), generators)
        met = outcome.event[0] > 0.5
        inside += int(((spec.cost(obs, act, following[0]) > 0) & going).sum())
        decisions += going
        going &= ~met
        obs = following[0]
    return int((~going).sum()), decisions.mean().item(), inside


NAMES = ("horizon", "iterations", "noise_correlation", "value")
"""Settings that variants differ in."""


def rows(path):
    """Yield a row for each variant of a run's planner."""
    (run, spec), trained = opened(path), trained_agent(path)
    seen = trained.replay.data.obs[trained.warmup : len(trained.replay)]
    obs = pockets(seen, spec.entities, torch.Generator().manual_seed(0))
    for variant in VARIANTS:
        agent = copied(trained, spec, run.settings, **{"value": "behaviour", **variant})
        met, decisions, inside = drive(agent, spec, obs)
        row = (variant.get(name, "behaviour") for name in NAMES)
        yield label(path, 2), *row, len(obs), met, round(decisions, 1), inside


if __name__ == "__main__":
    write_rows(__doc__, ("run", *NAMES, "pockets", "met", "decisions", "inside"), rows)
