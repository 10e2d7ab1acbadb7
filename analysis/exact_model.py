"""The planners on RCCarDrift with the exact model, nothing learned: python analysis/exact_model.py

What a planner earns when it imagines the car exactly, by its horizon, weighting and constraint: the first five
evaluation episodes of seed 0, no value at the horizon.
Writes docs/rc-car/exact_model.csv.
"""

import csv
from pathlib import Path

import numpy as np
import torch

from safeloop.agents.settings import RC_CAR, Settings
from safeloop.algorithms.online import CEM
from safeloop.cmdp import Constraint
from safeloop.models.trajectories import Outcome
from safeloop.planning.search import Planner, PlannerSettings
from safeloop.rng import EVALUATION, derived_seed
from safeloop_envs.rc_car.environment import EPISODE_STEPS, STEERING, WHEEL_SPEED, RCCar
from safeloop_envs.rc_car.vehicle import Vehicle, advance

EPISODES = 5
DOCS = Path(__file__).resolve().parents[1] / "docs/rc-car"
SETTINGS = Settings(**RC_CAR)


class ExactModel:
    """`safeloop.models.trajectories.Model` of the car itself, on observations of the kind `path`."""

    members = 1

    def __init__(self, task):
        self.task = task

    def start(self, start):
        """Observations `[1, M, S]`: they are all that is carried."""
        return start, start

    def step(self, carry, act, streams):
        """The car's next observations, the task's reward, and its cost as the agents plan with it."""
        following = self.after(carry, act)
        cost = self.task.depth(carry, act, following, SETTINGS.cost_margin)
        return following, following, Outcome(self.task.reward(carry, act, following), cost, None, None)

    def after(self, obs, act):
        """The next observations: all places of the circle are alike, so the car is put on the positive x-axis."""
        offset, cos, sin, v_x, v_y, rate = obs.double().reshape(-1, 6).T
        yaw = torch.atan2(sin, cos) + torch.pi / 2
        state = torch.stack((self.task.radius + offset, torch.zeros_like(offset), yaw, v_x, v_y, rate), 1)
        throttle, steering = act.double().reshape(-1, 2).T
        commands = torch.stack(((throttle + 1) / 2 * WHEEL_SPEED, steering * STEERING), 1)
        after = torch.from_numpy(advance(state.numpy(), commands.numpy(), Vehicle()))
        return self.task.observe(after).to(obs.dtype).view(obs.shape)


def drive(env, index, horizon, elites, constrained):
    """Return, cost return and drifting fraction of one episode."""
    settings = PlannerSettings(horizon=horizon, actor_fraction=0.0, elites=elites)
    constraint = Constraint(0.02, penalty=SETTINGS.penalty) if constrained else None
    streams = [torch.Generator().manual_seed(index)]
    planner = Planner(settings, constraint, ExactModel(env.task), 2, actor=None, value=None, streams=streams)
    obs, _ = env.reset(seed=derived_seed(0, EVALUATION, index))
    totals, truncated = np.zeros(3), False
    for t in range(EPISODE_STEPS):
        obs, reward, _, truncated, info = env.step(
            planner.plan(torch.from_numpy(obs)[None], t0=t == 0).action[0].numpy()
        )
        totals += (reward, info["cost"], info["diagnostics"]["drifting"] / EPISODE_STEPS)
    assert truncated
    return totals


def main():
    torch.set_num_threads(1)
    env = RCCar(observation="path")
    with open(DOCS / "exact_model.csv", "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("weights", "constrained", "horizon", "episode", "return", "cost_return", "drifting"))
        for horizon in (8, 20):
            for name, elites in (("exponential", 0), ("elites", CEM["elites"])):
                for constrained in (True, False):
                    rows = np.array([drive(env, i, horizon, elites, constrained) for i in range(EPISODES)])
                    for i, (total, cost, drifting) in enumerate(rows):
                        values = (f"{total:.2f}", f"{cost:.0f}", f"{drifting:.2f}")
                        writer.writerow((name, constrained, horizon, i, *values))
                    file.flush()
                    total, cost, drifting = rows.mean(0)
                    print(f"H={horizon} {name:11s} constrained={constrained!s:5s} means: return {total:.1f}, "
                          f"cost {cost:.1f}, drifting {drifting:.2f}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
