"""Where the time of a training run goes, in this checkout or another: python analysis/training_profile.py CHECKOUT

The other one needs the names that this script imports; an earlier one has a script of its own that fits it.

Trains `safeloop` with its default settings on PointGoal1: 200 random decisions, then 200 planned ones that are timed,
one fit of the models (of at most 200 gradient steps) among them. One thread. Prints milliseconds a decision.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

checkout = Path(sys.argv[1]).resolve()
sys.path[:0] = [str(checkout), str(checkout / "envs"), str(checkout / "baselines")]

from safeloop.agents.off_policy import ModelAgent, OffPolicyAgent  # noqa: E402
from safeloop.agents.planning import PlanningAgent  # noqa: E402
from safeloop.experiments import worker  # noqa: E402
from safeloop.recording.recorder import Recorder  # noqa: E402
from safeloop.recording.run import Run, RunSettings  # noqa: E402
from safeloop.registry import find_algorithm  # noqa: E402
from safeloop.settings import build, flat  # noqa: E402

DECISIONS = 200
seconds: dict[str, float] = {}
begun: list[float] = []


def timed(owner: type, method: str, part: str) -> None:
    """Add up the time of `owner.method`, from the first planned decision on."""
    call = getattr(owner, method)
    seconds[part] = 0.0

    def wrapper(*arguments, **options):
        start = time.perf_counter()
        if part == "planner" and not begun:
            begun.append(start)
        result = call(*arguments, **options)
        if begun:
            seconds[part] += time.perf_counter() - start
        return result

    setattr(owner, method, wrapper)


for owner, method, part in (
    (PlanningAgent, "plan", "planner"), (Recorder, "step", "environment"),
    (OffPolicyAgent, "update", "learner"), (ModelAgent, "fit", "model"),
):  # fmt: skip
    timed(owner, method, part)
asked_settings = {"warmup": DECISIONS, "fit_every": DECISIONS, "first_fit_steps": 200}
settings = flat(build(find_algorithm("safeloop").info.settings, asked_settings, owner="safeloop"))
with tempfile.TemporaryDirectory() as folder:
    asked = RunSettings(
        "PointGoal1", "safeloop", steps=5 * 2 * DECISIONS, seed=0, budget=25.0, eval_episodes=0, algo_settings=settings
    )
    worker.train(Run.create(Path(folder) / "run", asked), 1)
    seconds["all"] = time.perf_counter() - begun[0]
print(json.dumps({part: round(1e3 * s / DECISIONS, 1) for part, s in seconds.items()}))
