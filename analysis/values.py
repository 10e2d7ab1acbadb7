"""Compare values at the horizon: python analysis/values.py OUT.csv RUN [RUN ...]

Drives the first evaluation episodes of each run's seed with the run's models and actor, and at the horizon

- `own`: the value that the run ended with;
- `none`: no value;
- `refitted`: the behaviour's value fitted anew on the run's replay buffer by 10,000 updates;
- `refitted, each event by itself`: the same, but what follows an event is taught as it happened to be, and not as the
  mean over events.

The first two also drive layouts that no run was ever evaluated on. Writes a row for each run, value and episode. Same
layouts for all, so differences can be taken by episode.
"""

from dataclasses import replace

import torch
from rows import label, opened, trained_agent, write_rows

from safeloop.learners.value import BehaviourValue
from safeloop.registry import find_algorithm
from safeloop.settings import changed
from safeloop.training.evaluation import evaluate

EPISODES = 10
FRESH, FRESH_EPISODES = 1000, 20
"""Seed of layouts of no run's own, and how many."""
UPDATES = 10_000


def copied(trained, spec, settings, **changes):
    """Return a copy of the trained agent of a run (`settings` are the run's) with changed settings, by flat names."""
    obs_dim, act_dim = (x.shape[1] for x in (trained.replay.data.obs, trained.replay.data.act))
    agent = find_algorithm(settings.algo).build(
        changed(trained.settings, changes), spec, obs_dim, act_dim, settings.seed, settings.device
    )
    agent.restore(trained.checkpoint())
    agent.value_after_event = trained.value_after_event
    return agent


def refitted(trained, spec, settings, shared):
    """The trained agent with a value learned from nothing on its replay buffer."""
    agent, c = copied(trained, spec, settings), trained.settings
    generator = torch.Generator().manual_seed(0)
    agent.behaviour = BehaviourValue(
        trained.replay.data.obs.shape[1], c.learner, c.value.behaviour_hidden, generator,
        entities=spec.entities, entity_width=c.models.entity_width,
    )  # fmt: skip
    agent.parts = replace(agent.parts, value=agent.behaviour.value)
    for _ in range(UPDATES):
        batch = agent.replay.sample(c.learner.batch_size, generator)
        agent.behaviour.update(batch if shared else batch._replace(event=torch.zeros_like(batch.event)))
    agent.refresh()
    return agent


def agents(trained, spec, settings):
    """Each value's name and agent."""
    yield "own", trained
    without = copied(trained, spec, settings, value="none")
    without.value_after_event = torch.zeros(())
    yield "none", without
    yield "refitted", refitted(trained, spec, settings, shared=True)
    yield "refitted, each event by itself", refitted(trained, spec, settings, shared=False)


def rows(path):
    """Yield a row for each value and episode."""
    run, spec = opened(path)
    for name, agent in agents(trained_agent(path), spec, run.settings):
        layouts = [(run.settings.seed, EPISODES), *([(FRESH, FRESH_EPISODES)] if name in ("own", "none") else [])]
        for seed, episodes in layouts:
            for row in evaluate(agent.policy(seed), spec, episodes, seed):
                yield label(path, 2), name, seed, row.episode, f"{row.return_:.1f}", row.cost_return


if __name__ == "__main__":
    write_rows(__doc__, ("run", "value", "layouts", "episode", "return", "cost_return"), rows)
