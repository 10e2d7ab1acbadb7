"""Measure how long the page of many runs takes to write, its size, and the memory that it takes.

    python analysis/report_speed.py [RUNS] [EPISODES]

The runs are made up: ten tasks, ten algorithms, so many seeds that there are RUNS (default 1,000) in all, each with
EPISODES training episodes (default 1,000). They are written to a temporary folder, and the page is in a process of
its own.
"""

import random
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from safeloop.experiments import specify
from safeloop.experiments.specify import Request
from safeloop.recording.rows import EvaluationEpisode
from safeloop.recording.run import Run

TASKS = ("PointGoal1", "PointGoal2", "PointButton1", "PointCircle1", "PointPush1", "CarGoal1", "CarGoal2", "CarButton1",
         "CarCircle1", "CarPush1")  # fmt: skip
ALGORITHMS = ("safeloop", "loop", "rce", "pets", "cpo", "ppo-lag", "omnisafe:PPO", "omnisafe:TRPOLag", "lbpo",
              "omnisafe:CUP")  # fmt: skip
PAGE = "import sys; from safeloop import api; api.report(sys.argv[1])"


def main(runs: int = 1000, episodes: int = 1000) -> None:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        seeds = -(-runs // (len(TASKS) * len(ALGORITHMS)))
        for task in TASKS:
            for settings in specify.specify(Request(algos=ALGORITHMS, steps=1000 * episodes, eval_episodes=20), task):
                for seed in range(seeds):
                    make(out, replace(settings, seed=seed), episodes)
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", PAGE, str(out)], check=True)
        seconds = time.perf_counter() - start
        memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        size = (out / "report.html").stat().st_size / 1e6
    count = seeds * len(TASKS) * len(ALGORITHMS)
    print(f"{count:,} runs of {episodes:,} episodes: {seconds:.1f} s, {memory:.0f} MiB at most, {size:.1f} MB")


def make(out: Path, settings, episodes: int) -> None:
    """Write a run whose return rises and whose cost falls."""
    draw, run = random.Random(f"{settings}"), Run.create(out, settings)
    run.set_status("finished")
    lines = ["episode,simulator_steps,decisions,return,cost_return,violations,length,wall_seconds,longest_run"]
    for i in range(episodes):
        cost = int(draw.expovariate(0.02) * (1 - 0.7 * i / episodes))
        lines.append(f"{i},{1000 * (i + 1)},{200 * (i + 1)},{draw.gauss(20 * i / episodes, 3):.6f},{cost},{cost},1000,"
                     f"{i + 1},{min(cost, 9)}")  # fmt: skip
    run.episodes.path.write_text("\n".join(lines) + "\n")
    for i in range(settings.eval_episodes):
        cost = int(draw.expovariate(0.05))
        run.evaluations.append(
            EvaluationEpisode(1000 * episodes, i, draw.gauss(20, 3), float(cost), cost, 1000, i + 1.0, min(cost, 9))
        )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
