"""Where the time of a training run goes, for this or an earlier checkout: `python training_profile.py CHECKOUT`.

Trains `safeloop` with its default settings on PointGoal1: 200 random decisions, then 200 planned ones that are timed,
one fit of the models (of at most 200 gradient steps) among them. One thread. Prints milliseconds a decision.
"""

import json
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

checkout = Path(sys.argv[1]).resolve()
sys.path[:0] = [str(checkout), str(checkout / "envs"), str(checkout / "baselines")]

from safeloop.agents.online import PlanningAgent  # noqa: E402
from safeloop.agents.settings import Settings  # noqa: E402
from safeloop.experiments import worker  # noqa: E402
from safeloop.recording.recorder import Recorder  # noqa: E402
from safeloop.recording.run import Run, RunSettings  # noqa: E402

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
    (PlanningAgent, "update", "learner"), (PlanningAgent, "fit", "model"),
):  # fmt: skip
    timed(owner, method, part)
settings = asdict(Settings(warmup=DECISIONS, fit_every=DECISIONS, first_fit_steps=200))
with tempfile.TemporaryDirectory() as folder:
    asked = RunSettings(
        "PointGoal1", "safeloop", steps=5 * 2 * DECISIONS, seed=0, budget=25.0, eval_episodes=0, algo_settings=settings
    )
    worker.train(Run.create(Path(folder) / "run", asked), 1)
    seconds["all"] = time.perf_counter() - begun[0]
print(json.dumps({part: round(1e3 * s / DECISIONS, 1) for part, s in seconds.items()}))
