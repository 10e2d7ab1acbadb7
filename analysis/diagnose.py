"""Measure how far a trained safeloop can be trusted: python analysis/diagnose.py OUT.csv RUN [RUN ...]

Takes runs on a navigation task with hazards (PointGoal1, CarGoal1) and drives the first evaluation episodes of each
run's seed. Writes a row for each run and measure:

- `hazard`, `goal`: mean distance (m) between where the ensemble sees it after h decisions of the actions that were
  taken, open loop, and where it is, by its true distance from the robot. Windows in which the goal jumped are left out.
- `reward`: the same of the reward summed over the window, in windows without an event, mean absolute difference.
- `event`: predicted probability of an event in the next decision, and how often there was one, by prediction.
- `worst case`: how often the ensemble's worst case is at least the true cost of the window (both the depth in the
  forbidden region, summed over decisions), of windows with a true cost; and how often it has none where there is none.
  `random driving` is the same in fresh episodes of the warm-up's random actions, which cross hazards.
- `feasible`: decisions with at least min_feasible allowed sequences.
- `violated`: how often a violation followed these, in the next decision and within the horizon; of those in the next
  decision, how many were not in the forbidden region at the decision's end (cost between the observations).
- `value`: correlation of the value with the discounted return that followed, and the mean difference, on evaluation
  episodes (layouts never met) and on the last training episodes in the replay buffer.
"""

from itertools import pairwise

import numpy as np
import torch
from rows import label, opened, trained_agent, write_rows

from safeloop.models.trajectories import rollout
from safeloop.rng import EVALUATION, derived_seed

EPISODES = 10
HORIZON = 16
STEPS = (1, 4, 8, HORIZON)
DISTANCES = (0.0, 0.5, 1.0, 2.0, np.inf)
CHANCES = (0.0, 0.01, 0.1, 0.5, 0.9, 1.01)


def drive(agent, spec, seed, episode, planned):
    """One evaluation episode: observations `[T+1, S]`, actions, rewards, events, violations, feasible sequences.

    Planned, or with the warm-up's random actions (no sequence is then said to be feasible).
    """
    env, policy = spec.make(), agent.policy(seed)
    policy.begun = episode
    policy.reset()
    obs, _ = env.reset(seed=derived_seed(seed, EVALUATION, episode))
    seen, rows, done = [obs], [], False
    while not done:
        if planned:
            plan = agent.plan(obs[None], not rows, policy.planner)
            act, feasible = plan.action[0].numpy(), plan.feasible.item()
        else:
            act, feasible = agent.random_action(), 0
        obs, reward, terminated, truncated, info = env.step(act)
        rows.append((act, reward, info["event"], info["violations"], feasible))
        seen.append(obs)
        done = terminated or truncated
    env.close()
    return [torch.as_tensor(np.array(x), dtype=torch.float32) for x in (seen, *zip(*rows, strict=True))]


@torch.no_grad()
def rolled(agent, obs, act, horizon):
    """The rollouts of the models from each state under the actions taken, W windows of `horizon` decisions."""
    windows, k = len(act) - horizon + 1, agent.ensemble.ensemble_size
    start = obs[:windows].expand(k, -1, -1)
    taken = lambda h, _: act[h : h + windows].expand(k, -1, -1)  # noqa: E731
    return rollout(agent.model, start, taken, horizon, [torch.Generator().manual_seed(0)])


def followed(reward, discount, last):
    """Discounted return that followed each decision, `last` after the end."""
    found = []
    for r in reward.flip(0):
        last = r + discount * last
        found.append(last)
    return torch.stack(found).flip(0)


def binned(errors, distances):
    """Mean error in each bin of distance, and how many."""
    for low, high in pairwise(DISTANCES):
        here = (distances >= low) & (distances < high)
        if here.any():
            yield f"{low:g} to {high:g} m", errors[here].mean().item(), int(here.sum())


def measure(agent, spec, seed, episode, planned=True):
    """The quantities of one episode that are compared: windows W of `HORIZON` decisions."""
    obs, act, reward, event, violations, feasible = drive(agent, spec, seed, episode, planned)
    path, _, outcome = rolled(agent, obs, act, HORIZON)  # outcome: [K, H, W]
    windows = path.shape[2]

    def ahead(rows):
        """`[T] -> [H, W]`: what each window has of `rows`."""
        return torch.stack([rows[h : h + windows] for h in range(HORIZON)])

    depth = spec.cost(obs[:-1], act, obs[1:])
    predicted = outcome.reward.mean(0)  # [H, W]
    return {
        "path": path, "obs": obs, "calm": ahead(event).cumsum(0) == 0,
        "reward": (predicted.cumsum(0) - ahead(reward).cumsum(0)).abs(),  # [H, W]
        "deep": ahead(depth).sum(0), "worst": outcome.cost.sum(1).amax(0),
        "depth": depth[:windows], "next": violations[:windows], "later": ahead(violations).sum(0),
        "allowed": feasible[:windows] >= agent.settings.planner.min_feasible,
        "chance": outcome.event[:, 0].mean(0), "event": event[:windows],
        "value": agent.value(obs[:-1]),
        "returned": followed(reward, agent.settings.learner.discount, agent.value(obs[-1:])[0]),
    }  # fmt: skip


def model_rows(parts, entities):
    """How far predictions are off."""
    where, hazards = torch.tensor(entities.positions), [i for i, kind in enumerate(entities.kinds) if kind == "hazard"]
    for h in STEPS:
        for name, which in (("hazard", hazards), ("goal", [entities.goal])):
            errors, distances = [], []
            for part in parts:
                calm = part["calm"][h - 1]
                keep = calm if name == "goal" else torch.ones_like(calm)
                true = part["obs"][h : h + len(keep)][keep][:, where[which]]  # [W, E, 2]
                seen = part["path"][:, h][:, keep][:, :, where[which]]  # [K, W, E, 2]
                errors.append((seen - true).norm(dim=-1).mean(0).flatten())
                distances.append(true.norm(dim=-1).flatten())
            yield from ((name, h, *row) for row in binned(torch.cat(errors), torch.cat(distances)))
        off = torch.cat([part["reward"][h - 1][part["calm"][h - 1]] for part in parts])
        yield "reward", h, "absolute difference", off.mean().item(), len(off)
    chance, happened = (torch.cat([part[name] for part in parts]) for name in ("chance", "event"))
    for low, high in pairwise(CHANCES):
        here = (chance >= low) & (chance < high)
        yield "event", 1, f"predicted {low:g} to {min(high, 1):g}", *rate(happened, here)


def rate(happened, among):
    """Share and count."""
    return happened[among].float().mean().item(), int(among.sum())


def covering_rows(parts, name):
    """Whether the worst case covers the truth."""
    deep, worst = (torch.cat([part[key] for part in parts]) for key in ("deep", "worst"))
    yield name, HORIZON, "covers a true cost", *rate(worst >= deep, deep > 0)
    yield name, HORIZON, "none where there is none", *rate(worst == 0, deep == 0)


def safety_rows(parts):
    """The costs that follow plans judged feasible."""
    depth, now, later, allowed = (
        torch.cat([part[name] for part in parts]) for name in ("depth", "next", "later", "allowed")
    )
    yield "feasible", 1, "plans", *rate(allowed, torch.ones_like(allowed))
    yield "violated", 1, "after a feasible plan", *rate(now > 0, allowed)
    yield "violated", HORIZON, "after a feasible plan", *rate(later > 0, allowed)
    yield "violated", 1, "of these, outside when observed", *rate(depth <= 0, allowed & (now > 0))


def value_rows(agent, parts):
    """The value beside the return that followed."""
    kept, n, per = agent.replay.data, len(agent.replay), len(parts[0]["value"])
    episodes = [slice(i, i + per) for i in range(max(0, n - EPISODES * per), n - per + 1, per)]
    trained = [
        (
            agent.value(kept.obs[e]),
            followed(kept.reward[e], agent.settings.learner.discount, agent.value(kept.next_obs[e])[-1]),
        )
        for e in episodes
    ]
    for group, pairs in (
        ("evaluation", [(part["value"], part["returned"]) for part in parts]),
        ("replay buffer", trained),
    ):
        value, returned = (torch.cat(x) for x in zip(*pairs, strict=True))
        correlation = torch.corrcoef(torch.stack((value, returned)))[0, 1].item()
        yield "value", 0, f"correlation, {group}", correlation, len(value)
        yield "value", 0, f"difference, {group}", (value - returned).mean().item(), len(value)


def diagnose(path):
    """Rows (measure, decisions, group, number, count) of one run."""
    (run, spec), agent = opened(path), trained_agent(path)
    parts = [measure(agent, spec, run.settings.seed, episode) for episode in range(EPISODES)]
    fresh = [measure(agent, spec, run.settings.seed, episode, planned=False) for episode in range(EPISODES)]
    return [
        *model_rows(parts, spec.entities), *covering_rows(parts, "worst case"), *safety_rows(parts),
        *covering_rows(fresh, "worst case, random driving"), *value_rows(agent, parts),
    ]  # fmt: skip


def rows(run):
    """Yield a run's rows."""
    for name, h, group, number, count in diagnose(run):
        yield label(run, 2), name, h, group, f"{number:.4g}", count


if __name__ == "__main__":
    head = ("run", "measure", "decisions", "group", "number", "count")
    write_rows(__doc__, head, rows)
