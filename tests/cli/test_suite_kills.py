"""A suite of two tasks and three algorithms, one of them OmniSafe's: killed, resumed, and made on a cluster."""

import os
import random
import signal
import subprocess
import time

import pytest

from safeloop import api
from safeloop.experiments import suite as launching
from safeloop.experiments import suite_file
from safeloop.experiments.progress import Quiet
from safeloop.experiments.ray import RayExecutor
from safeloop.experiments.slurm import SlurmExecutor
from tests.cli.test_suite import found, write

pytestmark = pytest.mark.slow
SUITE = """name: small
version: 1
tasks:
  - env: WallStop
    options: {wall: 0.7}
    budget: 4
  - env: RCCarDrift
    budget: 25
algorithms:
  - algo: cem-linear
  - algo: omnisafe:PPOLag
    settings: {episodes_per_epoch: 2}
  - algo: rce
    settings: {population: 8, horizon: 2, iterations: 1, elites: 2, ensemble_size: 2, layers: 1, width: 8, warmup: 100}
seeds: 2
steps: 3000
evaluation: {episodes: 2}
"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The runs of the suite, made without interruption."""
    folder = tmp_path_factory.mktemp("whole")
    made = api.run_suite(write(folder, SUITE), out=folder, quiet=True)
    assert not made.failures
    rows = found(made.folder)
    assert len(rows) == 12 and all(rows.values())
    return rows


def test_killed_five_times_at_random_it_ends_as_an_uninterrupted_one(whole, start, tmp_path):
    draw, asked = random.Random(1), ["suite", "run", write(tmp_path, SUITE), "--out", tmp_path, "--quiet"]
    for attempt in range(5):
        launcher = start(*asked)
        time.sleep(4 + 4 * draw.random())
        workers = subprocess.run(
            ["pgrep", "-f", f"experiments.worker {tmp_path}"], capture_output=True, text=True, check=False
        )
        pids = [int(pid) for pid in workers.stdout.split()]
        assert pids, "the suite ended before it was killed"
        for pid in [draw.choice(pids)] if attempt % 2 else [launcher.pid, *pids]:  # a single worker, or all
            os.kill(pid, signal.SIGKILL)
        if attempt % 2:
            time.sleep(1)
            launcher.kill()
        launcher.communicate(timeout=60)
    assert start(*asked).wait(300) == 0
    assert found(tmp_path / "small@1") == whole


def test_a_cluster_makes_the_same_runs_and_one_whose_worker_is_killed_goes_on(whole, tmp_path):
    """Two workers of a local Ray, and submitit's executor of this machine in SLURM's place."""
    suite = suite_file.read(write(tmp_path, SUITE))
    for name, make in (
        ("ray", lambda: RayExecutor(2, None, {"cores": 1})),
        ("slurm", lambda: SlurmExecutor(2, tmp_path / "jobs", {}, "local")),
    ):
        out = tmp_path / name
        launcher = launching.Launcher(out, suite, suite)
        killer = subprocess.Popen(
            f"until pkill -KILL -f '[e]xperiments.worker {launcher.out.resolve()}.*PPOLag'; do sleep 0.05; done",
            shell=True,
        )  # fmt: skip
        made = launcher.run(make, Quiet)
        assert killer.wait(5) == 0 and not made.failures
        assert found(made.folder) == whole
        logs = [(made.folder / run / "log.txt").read_text().count("started with") for run in whole]
        assert max(logs) == 2
