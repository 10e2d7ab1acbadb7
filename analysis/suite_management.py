"""Time the management of a suite: python analysis/suite_management.py OUT.csv [RUNS] [SECONDS]

A suite of RUNS (100) synthetic runs, two at once, is started from Python: each drives the RC car at random for two
thousand decisions, and sleeps until SECONDS (5) have passed. Management is the time in which a place for a run is
empty: that of preparing folders, of noticing that a run has ended, and of tables and pictures at the end. The life of
the processes around the training in them, their start, is apart. Then `safeloop suite status` is timed on 1,000 runs,
copies of one.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rows import write_table

from safeloop import api
from safeloop.experiments import local

JOBS, STATUS_RUNS, SEEDS = 2, 1000, 50
PACKAGE = """
import os, time
from dataclasses import dataclass
import numpy as np
from safeloop.protocols import AlgorithmInfo, Resolved

@dataclass(frozen=True)
class Settings:
    seconds: float = 5.0

class Synthetic:
    info = AlgorithmInfo("synthetic", "random actions, then sleep", Settings, default_steps=2000)
    def resolve(self, settings, spec):
        return Resolved(settings)
    def train(self, env, run):
        begun, random = time.monotonic(), np.random.default_rng(run.settings.seed)
        env.reset(seed=run.settings.seed)
        while env.simulator_steps < run.settings.steps:
            *_, terminated, truncated, _ = env.step(random.uniform(-1, 1, env.action_space.shape))
            if terminated or truncated:
                env.reset()
        time.sleep(max(0.0, begun + run.settings.algo_settings["seconds"] - time.monotonic()))
        run.save_checkpoint({})
        (run.path / "trained").write_text(str(time.monotonic() - begun))
    def load(self, run, seed):
        raise NotImplementedError

synthetic = Synthetic()
"""


def install(folder: Path) -> None:
    """Make the synthetic algorithm known to this process and to those that it starts."""
    (folder / "synthetic_runs.py").write_text(PACKAGE)
    record = folder / "synthetic_runs-1.dist-info"
    record.mkdir()
    (record / "METADATA").write_text("Metadata-Version: 2.1\nName: synthetic-runs\nVersion: 1\n")
    (record / "entry_points.txt").write_text("[safeloop.algorithms]\nsynthetic = synthetic_runs:synthetic\n")
    os.environ["PYTHONPATH"] = str(folder)
    sys.path.insert(0, str(folder))


def suite(name: str, algorithms: int, seeds: int, seconds: float) -> dict:
    """The suite of one task and so many variants of the synthetic algorithm."""
    return {
        "name": name, "version": 1, "tasks": [{"env": "RCCarDrift", "budget": 25}], "seeds": seeds, "steps": 2000,
        "evaluation": {"episodes": 1},
        "algorithms": [
            {"algo": "synthetic", "variant": f"v{i}", "settings": {"seconds": seconds}} for i in range(algorithms)
        ],
    }  # fmt: skip


class Lives:
    """The lives of worker processes, from before they are started until the launcher has noticed their ends."""

    def __init__(self) -> None:
        self.seconds = dict[Path, float]()

    def __enter__(self) -> Lives:
        begin, ended = local.Child.__init__, local.Child.ended
        born = dict[Path, float]()

        def starting(child, job, selector):
            born[job.run.path] = time.monotonic()
            begin(child, job, selector)

        def seen(child):
            found, path = ended(child), child.job.run.path
            if found and path not in self.seconds:
                self.seconds[path] = time.monotonic() - born[path]
            return found

        self.before = begin, ended
        local.Child.__init__, local.Child.ended = starting, seen
        return self

    def __exit__(self, *exception: object) -> None:
        local.Child.__init__, local.Child.ended = self.before


def management(folder: Path, runs: int, seconds: float) -> tuple[dict[str, float], Path]:
    """Run the suite; the seconds of its parts, and its folder."""
    file = folder / "suite.yaml"
    file.write_text(json.dumps(suite("synthetic", -(-runs // SEEDS), min(runs, SEEDS), seconds)))  # JSON is YAML
    begun, processor = time.monotonic(), time.process_time()
    with Lives() as lives:
        made = api.run_suite(file, out=folder / "out", jobs=JOBS, quiet=True)
    wall, processor = time.monotonic() - begun, time.process_time() - processor
    trained = [float((path / "trained").read_text()) for path in lives.seconds]
    living, empty = sum(lives.seconds.values()), JOBS * wall - sum(lives.seconds.values())
    assert not made.failures and len(trained) == runs
    return {
        "runs": runs, "at once": JOBS, "wall": wall, "training": sum(trained), "starts": living - sum(trained),
        "management": empty, "share": empty / sum(trained), "processor": processor,
    }, made.folder  # fmt: skip


def status(folder: Path, source: Path) -> float:
    """The seconds of `safeloop suite status` on 1,000 runs, copies of one of `source`."""
    file = folder / "many.yaml"
    file.write_text(json.dumps(suite("many", STATUS_RUNS // SEEDS, SEEDS, 1.0)))
    one = next(source.glob("*/*/seed-0"))
    for variant in range(STATUS_RUNS // SEEDS):
        for seed in range(SEEDS):
            shutil.copytree(one, folder / f"many/many@1/RCCarDrift/synthetic-v{variant}/seed-{seed}")
    command = [sys.executable, "-m", "safeloop", "suite", "status", str(file), "--out", str(folder / "many")]
    begun = time.monotonic()
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert f"{STATUS_RUNS:,} finished" in shown, shown
    return time.monotonic() - begun


def main(out: str, runs: str = "100", seconds: str = "5") -> None:
    """Measure both, and write a row for each number."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        install(folder)
        found, made = management(folder, int(runs), float(seconds))
        found[f"status of {STATUS_RUNS} runs"] = status(folder, made)
    write_table(out, ("measured", "value"), [(key, f"{value:.4g}") for key, value in found.items()])


if __name__ == "__main__":
    main(*sys.argv[1:])
