"""The planners on RCCarDrift with the exact model, nothing learned: python analysis/exact_model.py

What a planner earns when it imagines the car exactly, by its horizon, weighting and constraint: the first five
evaluation episodes of seed 0, no value at the horizon.
Writes docs/rc-car/exact_model.csv.
"""

from pathlib import Path

import numpy as np
import torch
from rows import write_table

from safeloop.cmdp import Constraint
from safeloop.models.trajectories import Outcome
from safeloop.planning.planners import Parts, planner
from safeloop.planning.settings import BY_DYNAMICS, PlannerSettings
from safeloop.registry import find_algorithm
from safeloop.rng import EVALUATION, derived_seed
from safeloop.settings import build
from safeloop_envs.rc_car.environment import EPISODE_STEPS, STEERING, WHEEL_SPEED, RCCar
from safeloop_envs.rc_car.vehicle import Vehicle, advance

EPISODES = 5
DOCS = Path(__file__).resolve().parents[1] / "docs/rc-car"
SAFELOOP = find_algorithm("safeloop").info
SETTINGS = build(SAFELOOP.settings, SAFELOOP.presets["rc-car"], owner="safeloop")
MARGIN = BY_DYNAMICS["full"]["cost_margin"]


class ExactModel:
    """`safeloop.models.trajectories.Model` of the car itself, on observations of the kind `path`."""

    ensemble_size = 1

    def __init__(self, task):
        self.task = task

    def start(self, start):
        """Observations `[1, M, S]`: they are all that is carried."""
        return start, start

    def step(self, carry, act, generators):
        """The car's next observations, the task's reward, and its cost as the agents plan with it."""
        following = self.after(carry, act)
        cost = self.task.depth(carry, act, following, MARGIN)
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


def drive(env, index, horizon, search, constrained):
    """Return, cost return and drifting fraction of one episode."""
    settings = PlannerSettings(
        search=search, horizon=horizon, iterations=5, noise_correlation=0.0, actor_fraction=0.0, precision="float32"
    )
    constraint = Constraint(0.02, penalty=SETTINGS.planner.penalty) if constrained else None
    parts = Parts(ExactModel(env.task), 2, SETTINGS.learner.discount, constraint)
    plans = planner(settings, parts, [torch.Generator().manual_seed(index)])
    obs, _ = env.reset(seed=derived_seed(0, EVALUATION, index))
    totals, truncated = np.zeros(3), False
    for t in range(EPISODE_STEPS):
        obs, reward, _, truncated, info = env.step(plans.plan(torch.from_numpy(obs)[None], t0=t == 0).action[0].numpy())
        totals += (reward, info["cost"], info["diagnostics"]["drifting"] / EPISODE_STEPS)
    assert truncated
    return totals


def rows():
    """Yield a row an episode, and print the means of each planner's."""
    env = RCCar(observation="path")
    for horizon in (8, 20):
        for name, search in (("exponential", "arc"), ("elites", "cem")):
            for constrained in (True, False):
                found = np.array([drive(env, i, horizon, search, constrained) for i in range(EPISODES)])
                for i, (total, cost, drifting) in enumerate(found):
                    yield name, constrained, horizon, i, f"{total:.2f}", f"{cost:.0f}", f"{drifting:.2f}"
                total, cost, drifting = found.mean(0)
                print(f"H={horizon} {name:11s} constrained={constrained!s:5s} means: return {total:.1f}, "
                      f"cost {cost:.1f}, drifting {drifting:.2f}", flush=True)  # fmt: skip


if __name__ == "__main__":
    torch.set_num_threads(1)
    head = ("weights", "constrained", "horizon", "episode", "return", "cost_return", "drifting")
    write_table(DOCS / "exact_model.csv", head, rows())
