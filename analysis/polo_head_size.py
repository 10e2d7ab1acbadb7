"""Plan with old values for a changed humanoid: python analysis/polo_head_size.py OUT.csv RUN [RUN ...]

Takes runs of `polo` on `HumanoidGetup`. For each of `SIZES` the planner knows the humanoid with a head of that size,
while the values at the end of its plans are those that were learned with the old head. Drives one evaluation episode
for each horizon, with those values and without any. Writes each episode's mean reward per decision, and the mean height
of the root in its last second (Lowrey et al., 2019, Figure 4b).
"""

from statistics import fmean

from polo_value_only import driven
from rows import label, opened, trained_agent, write_rows

from safeloop.models.simulator import SimulatorModel
from safeloop.registry import find_env

SIZES, HORIZONS, LAST = (1.0, 1.5, 2.0), (8, 16, 32, 64), 125


def rows(path):
    """Yield the rows of a run."""
    settings, agent = opened(path)[0].settings, trained_agent(path)
    obs = agent.ensemble.feature_size
    for size in SIZES:
        spec = find_env(settings.env, {**settings.env_options, "head_size": size})
        for horizon in HORIZONS:
            for value in (agent.parts.value, None):
                model = SimulatorModel(spec.simulator(1), obs)
                drive = driven(agent, spec, settings.seed, horizon, model=model, value=value)
                heights, rewards = zip(*drive, strict=True)
                yield (
                    label(path, 2), size, horizon, "learned" if value else "none",
                    f"{fmean(rewards):.4f}", f"{fmean(heights[-LAST:]):.3f}",
                )  # fmt: skip


if __name__ == "__main__":
    write_rows(__doc__, ("run", "head_size", "horizon", "value", "mean_reward", "last_height"), rows)
