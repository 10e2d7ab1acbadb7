"""Measure the parts of offline LOOP: python analysis/ablations.py OUT.csv RUN [RUN ...]

Takes finished runs of `loop-crr` or `loop-plas`. Evaluates what each learned with its own planner, with one thing about
the planner changed at a time, and the learner's actor alone, in the episodes of the run's own evaluation. Nothing is
trained again.
"""

from statistics import fmean

from rows import label, opened, write_rows

from safeloop.agents.policies import ActorPolicy
from safeloop.registry import find_algorithm
from safeloop.training.evaluation import evaluate

CHANGES = {
    "as trained": {},
    "beta = 0.05": {"actor_fraction": 0.05, "iterations": 5, "momentum": 0.1},  # the online ARC (Table 3)
    "beta_pess = 0": {"pessimism": 0.0},
    "beta_pess = 1": {"pessimism": 1.0},
    "beta_pess = 5": {"pessimism": 5.0},
    "no value": {"value": "none"},
    "equal weights": {"inverse_temperature": 1e-6},
}


def policies(run):
    """Each change's name and policy, the actor alone last."""
    algorithm = find_algorithm(run.settings.algo)
    for name, changes in CHANGES.items():
        policy = algorithm.load_with(run, changes, run.settings.seed)
        yield name, policy
    yield "the actor alone", ActorPolicy(policy.agent.learner, "cpu")


def rows(path):
    """Yield a row for each change of a run's planner."""
    run, spec = opened(path)
    for name, policy in policies(run):
        found = list(evaluate(policy, spec, run.settings.eval_episodes, run.settings.seed))
        means = fmean(r.return_ for r in found), fmean(r.cost_return for r in found)
        yield label(path), name, len(found), *(f"{x:.2f}" for x in means)


if __name__ == "__main__":
    write_rows(__doc__, ("run", "planner", "episodes", "return", "cost_return"), rows)
