"""Measure the gain from planning over the actor, and the value: python analysis/actor.py OUT.csv RUN [RUN ...]

Takes runs of agents that plan with an actor (`loop-sac`, `sac-evalloop`, ...). Writes for each the mean return of its
last 10 training episodes and of its evaluation (planner), that of `EPISODES` episodes of the actor alone, the mean
value of the last episode's states beside what was in fact returned from there (discounted, over the first half, so that
the end weighs little), and for HalfCheetah the share of the last 10,000 decisions that it lay on its back.
"""

import math
from statistics import fmean

from rows import label, opened, trained_agent, write_rows

from safeloop.agents.policies import ActorPolicy
from safeloop.training.evaluation import evaluate

EPISODES = 10
PITCH = 1  # HalfCheetah's observation: height, pitch, ...


def value_and_return(agent, last):
    """Means over the first half of the last episode of the value and of the discounted return that followed."""
    discount, returns, rest = agent.settings.learner.discount, [], 0.0
    for reward in reversed(last.reward.tolist()):
        rest = reward + discount * rest
        returns.append(rest)
    half = -(-len(returns) // 2)
    value = agent.learner.value(last.obs[:half]).mean().item()
    return value, fmean(returns[::-1][:half])


def rows(path):
    """Yield a run's row."""
    (run, spec), agent = opened(path), trained_agent(path)
    episodes = run.episodes.read()
    planner = [e.return_ for e in run.evaluations.read()]
    actor = fmean(e.return_ for e in evaluate(ActorPolicy(agent.learner, "cpu"), spec, EPISODES, run.settings.seed))
    value, returned = value_and_return(agent, agent.replay.last(episodes[-1].length))
    back = math.nan
    if spec.id == "HalfCheetah":
        back = (agent.replay.last(10_000).obs[:, PITCH].abs() > math.pi / 2).float().mean().item()
    training = fmean(e.return_ for e in episodes[-10:])
    numbers = (training, fmean(planner) if planner else math.nan, actor, value, returned)
    yield label(path), len(agent.replay), *(f"{x:.1f}" for x in numbers), f"{back:.2f}"


if __name__ == "__main__":
    head = ("run", "steps", "training", "planner", "actor", "value", "returned", "on_its_back")
    write_rows(__doc__, head, rows)
