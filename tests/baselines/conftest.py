from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from line_env import SMALL, SMALL_OFF_POLICY, line_spec

from safeloop.cmdp import EnvSpec
from safeloop.recording.recorder import Recorder
from safeloop.recording.run import Run, RunSettings
from safeloop.registry import find_algorithm


@pytest.fixture
def train(tmp_path):
    """`train(name, spec, algo settings, **run settings) -> (Run, Recorder)`, one run a folder."""
    threads, count = torch.get_num_threads(), 0

    def _train(name: str, spec: EnvSpec | None = None, changes: dict | None = None, **settings):
        nonlocal count
        count += 1
        spec = spec or line_spec()
        algorithm = find_algorithm(name)
        small = SMALL_OFF_POLICY if hasattr(algorithm.info.settings, "start_learning_steps") else SMALL
        resolved = asdict(replace(algorithm.info.settings(), **(small if changes is None else changes)))
        run_settings = RunSettings(
            **{
                "env": spec.id, "algo": name, "steps": 200, "seed": 0, "budget": spec.budget,
                "algo_settings": resolved, "eval_every": 100, "eval_episodes": 2,
            } | settings
        )  # fmt: skip
        run = Run.create(Path(tmp_path) / str(count), run_settings)
        env = Recorder(spec.make(), spec, run)
        algorithm.train(env, run)
        env.close()
        return run, env

    yield _train
    torch.set_num_threads(threads)
