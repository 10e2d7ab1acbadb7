"""Evaluate trained planners with other populations: python analysis/populations.py OUT.csv RUN [RUN ...]

Wang & Ba (2020, Figure 4) train at each population; here each run's models and policy are those of its checkpoint, and
only the planner that acts in `EPISODES` evaluation episodes draws another number of candidates. A tenth of them are
elites.
"""

from dataclasses import replace
from statistics import fmean

from rows import label, opened, trained_agent, write_rows

from safeloop.agents.policies import PlannerPolicy
from safeloop.training.evaluation import evaluate

EPISODES = 3
POPULATIONS = (25, 50, 100, 200)


def rows(path):
    """A row of each population."""
    run, spec = opened(path)
    agent = trained_agent(path)

    def planner_of(population):
        def made(generators):
            planner = agent.new_planner(generators)
            search = planner.search
            weighting = replace(search.weighting, count=max(2, population // 10))
            planner.search = replace(search, population=population, weighting=weighting)
            return planner

        return made

    for population in POPULATIONS:
        policy = PlannerPolicy(agent, run.settings.seed, planner_of(population))
        found = [each.return_ for each in evaluate(policy, spec, EPISODES, run.settings.seed)]
        print(f"{label(path)} {population}: {fmean(found):.1f}", flush=True)
        yield label(path), population, EPISODES, round(fmean(found), 1), round(min(found), 1), round(max(found), 1)


if __name__ == "__main__":
    write_rows(__doc__, ("run", "population", "episodes", "mean", "lowest", "highest"), rows)
