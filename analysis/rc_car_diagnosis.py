"""Find the limits of a trained agent on RCCarDrift: python analysis/rc_car_diagnosis.py OUT RUN [RUN ...]

Takes runs of safeloop with the observation `path` and changes one part of their planner at a time: the learned model
for the exact one, the value at the horizon for none, the horizon from 8 to 20 steps. Each variant drives the first
evaluation episodes of the run's seed. Along what the unchanged planner drives, the model's error is measured open
loop (the ensemble's, with the actions that were taken), and the value beside the return that followed.

Writes OUT/planners.csv, a row an episode, OUT/model_error.csv and OUT/value_error.csv.
"""

import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from exact_model import ExactModel
from rows import opened, write_table

import safeloop
from safeloop.planning.planners import planner
from safeloop.training.evaluation import evaluate

EPISODES = 3
LONG = 20
VARIANTS = [  # model, value at the horizon, horizon
    ("learned", True, 8),
    ("learned", False, 8),
    ("learned", False, LONG),
    ("exact", True, 8),
    ("exact", False, 8),
    ("exact", False, LONG),
]


class Watched:
    """A policy that keeps what it saw and did, `[B, .]` in each step."""

    def __init__(self, policy):
        self.policy, self.seen, self.did = policy, [], []

    def reset(self, episodes=1):
        """Begin episodes."""
        self.policy.reset(episodes)

    def act(self, obs):
        """The policy's actions."""
        self.seen.append(obs.copy())
        self.did.append(self.policy.act(obs))
        return self.did[-1]


def variant(policy, task, model, value, horizon):
    """The policy with another model, value and horizon."""
    agent = policy.agent
    world = ExactModel(task) if model == "exact" else agent.model
    parts = replace(agent.parts, model=world, value=agent.value if value else None)
    policy.new_planner = partial(planner, replace(agent.settings.planner, horizon=horizon), parts)
    return policy


@torch.no_grad()
def open_loop(ensemble, obs, act):
    """Errors `[T, LONG, S]` of the ensemble's prediction, its mean over models, of one episode from every state."""
    obs, act = torch.from_numpy(np.array(obs)), torch.from_numpy(np.array(act))
    starts = len(obs) - LONG
    s, errors = obs[:starts].expand(ensemble.ensemble_size, -1, -1), []
    generators = [torch.Generator().manual_seed(0)]
    for t in range(LONG):
        a = act[t : t + starts].expand(ensemble.ensemble_size, -1, -1)
        s = ensemble.step(s, a, generators)[0]
        errors.append(s.mean(0) - obs[t + 1 : t + 1 + starts])
    return torch.stack(errors, 1).numpy()


@torch.no_grad()
def promised(agent, task, obs):
    """`[T, 2]`: the value of each state, and the discounted reward that followed, the last state's value after it."""
    obs, gamma = torch.from_numpy(np.array(obs)), agent.settings.learner.discount
    value = agent.value(obs)
    after = value[-1]
    followed = []
    for reward in task.reward(obs[1:], None, obs[1:]).flip(0):
        after = reward + gamma * after
        followed.append(after)
    return torch.stack((value[:-1], torch.stack(followed).flip(0)), 1).numpy()


def diagnose(path):
    """All rows of one run."""
    torch.set_num_threads(1)
    run, spec = opened(path)
    seed, task = run.settings.seed, spec.make().unwrapped.task
    assert task.observation == "path", f"{path}: expected a run with --env-set observation=path"
    planners, errors, values = [], [], []
    for model, value, horizon in VARIANTS:
        policy = variant(safeloop.load(path).policy, task, model, value, horizon)
        watched = Watched(policy)
        for row in evaluate(watched, spec, EPISODES, seed):
            planners.append((seed, model, value, horizon, row.episode, f"{row.return_:.2f}", row.violations))
        if (model, value, horizon) != VARIANTS[0]:
            continue
        for seen, did in zip(*(np.swapaxes(x, 0, 1) for x in (watched.seen, watched.did)), strict=True):
            errors.append(open_loop(policy.agent.ensemble, seen, did))
            values.append(promised(policy.agent, task, seen))
    offset = np.abs(np.concatenate(errors)[:, :, 0])
    speed = np.hypot(*np.moveaxis(np.concatenate(errors)[:, :, 3:5], -1, 0))
    lines = []
    for t in range(LONG):
        quantiles = [f"{np.quantile(x[:, t], q):.4f}" for x in (offset, speed) for q in (0.5, 0.9)]
        lines.append((seed, t + 1, *quantiles))
    value, followed = np.concatenate(values).T
    error = value - followed
    numbers = (np.corrcoef(value, followed)[0, 1], error.mean(), np.sqrt((error**2).mean()), followed.std())
    return planners, lines, [(seed, *(f"{x:.3f}" for x in numbers))]


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    out, *runs = sys.argv[1:]
    heads = {
        "planners": ("seed", "model", "value", "horizon", "episode", "return", "violations"),
        "model_error": ("seed", "step", "offset_median_m", "offset_90_m", "velocity_median_m_s", "velocity_90_m_s"),
        "value_error": ("seed", "correlation", "mean_error", "rms_error", "deviation_of_returns"),
    }
    with ProcessPoolExecutor(2) as pool:
        found = list(pool.map(diagnose, runs))
    for (name, head), parts in zip(heads.items(), zip(*found, strict=True), strict=True):
        write_table(Path(out) / f"{name}.csv", head, (row for part in parts for row in part))


if __name__ == "__main__":
    main()
