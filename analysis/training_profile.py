"""Time the parts of training: python analysis/training_profile.py CHECKOUT [ENV ALGO [OBSERVATION]]

The checkout is this one or another, which needs the names that this script imports; an earlier one has a script of its
own that fits it.

Trains `safeloop` on PointGoal1, or ALGO on ENV, with the default settings and the environment's default observation:
200 random decisions, then at least 200 that are timed, to the end of an episode, with fits of the models (of at most
200 gradient steps) among them. One thread. Prints milliseconds a decision; those of `model` are of fits and, for
learners from imagined transitions, of imagining these.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

checkout = Path(sys.argv[1]).resolve()
env, algo, *observation = sys.argv[2:] or ("PointGoal1", "safeloop")
options = {"observation": observation[0]} if observation else {}
sys.path[:0] = [str(checkout), str(checkout / "envs"), str(checkout / "baselines")]

from safeloop.agents.off_policy import ModelAgent, OffPolicyAgent  # noqa: E402
from safeloop.agents.planning import PlanningAgent  # noqa: E402
from safeloop.experiments import worker  # noqa: E402
from safeloop.recording.recorder import Recorder  # noqa: E402
from safeloop.recording.run import Run, RunSettings  # noqa: E402
from safeloop.registry import find_algorithm, find_env  # noqa: E402
from safeloop.settings import build, flat  # noqa: E402

DECISIONS = 200
seconds: dict[str, float] = {}
begun: list[float] = []
decisions: list[bool] = []


def timed(owner: type, method: str, part: str) -> None:
    """Add up the time of `owner.method`, from the first decision after the random ones."""
    call = getattr(owner, method)
    seconds[part] = 0.0

    def wrapper(*arguments, **options):
        start = time.perf_counter()
        if not begun and owner is not Recorder and not arguments[0].warming_up:
            begun.append(start)
        result = call(*arguments, **options)
        if begun:
            seconds[part] += time.perf_counter() - start
            decisions.append(part == "environment")
        return result

    setattr(owner, method, wrapper)


for owner, method, part in (
    (PlanningAgent, "plan", "planner"), (Recorder, "step", "environment"),
    (OffPolicyAgent, "update", "learner"), (ModelAgent, "fit", "model"),
):  # fmt: skip
    timed(owner, method, part)
preset = find_algorithm(algo).info.presets["default"]
asked_settings = {"warmup": DECISIONS, "fit_every": DECISIONS, "first_fit_steps": 200}
settings = flat(build(find_algorithm(algo).info.settings, {**preset, **asked_settings}, owner=algo))
with tempfile.TemporaryDirectory() as folder:
    asked = RunSettings(
        env, algo, steps=2 * DECISIONS * find_env(env, options).action_repeat, seed=0, budget=25.0, eval_episodes=0,
        algo_settings=settings, env_options=find_env(env, options).options,
    )  # fmt: skip
    worker.train(Run.create(Path(folder) / "run", asked), 1)
    seconds["all"] = time.perf_counter() - begun[0]
print(json.dumps({part: round(1e3 * s / sum(decisions), 1) for part, s in seconds.items()}))
