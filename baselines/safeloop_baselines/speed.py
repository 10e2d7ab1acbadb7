"""The measurement of `safeloop speed --against omnisafe`: training of OmniSafe's own SafeLOOP."""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any
from unittest import mock

import torch

from safeloop.errors import UsageError
from safeloop.measurements import Stopwatch
from safeloop_baselines.omnisafe_bridge import contained, omnisafe
from safeloop_envs.shim import bare, import_safety_gymnasium

ACTION_REPEAT = 5


def safeloop_of_omnisafe(env: str) -> Callable[[Mapping[str, Any], int, int], dict[str, Any]]:
    """Return the measurement of OmniSafe's SafeLOOP on its own environment `env`: `_train` without the first argument.

    Raises `UsageError` for an environment that OmniSafe's model-based algorithms don't have.
    """
    env_id = f"Safety{env}-v0-modelbased"
    if env_id not in omnisafe.envs.support_envs():
        raise UsageError(f"--against omnisafe: its SafeLOOP has no environment {env_id}; try PointGoal1 or CarGoal1")
    return partial(_train, env_id)


def own_environments() -> Any:
    """Return a context in which OmniSafe can make its environments: `safety_gymnasium.make` fails on Gymnasium 1.x."""

    def make(id: str, autoreset: bool, **options: Any) -> Any:
        return bare(id, **options)  # navigation tasks truncate their episodes themselves

    return mock.patch.object(import_safety_gymnasium(), "make", make)


def _train(env_id: str, setting: Mapping[str, Any], warmup: int, trained: int) -> dict[str, Any]:
    """Return the decisions per second once it plans.

    The planner's settings are `setting` (flat settings of `safeloop`), without its early stop; the models are fitted
    and the actor and critics updated as often as in safeloop. The rest are OmniSafe's defaults.
    """
    total = (warmup + trained) * ACTION_REPEAT
    with (
        tempfile.TemporaryDirectory() as folder,
        contained(),
        contextlib.redirect_stdout(io.StringIO()),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")  # gymnasium's warnings of the way in which OmniSafe reads its environment
        custom = {
            "seed": 0,
            "algo_cfgs": {
                "steps_per_epoch": total, "start_learning_steps": warmup * ACTION_REPEAT,
                "update_dynamics_cycle": trained * ACTION_REPEAT, "action_repeat": ACTION_REPEAT,
            },
            "dynamics_cfgs": {"num_ensemble": setting["ensemble_size"], "elite_size": setting["ensemble_size"],
                              "hidden_size": setting["width"]},
            "planner_cfgs": {
                "plan_horizon": setting["horizon"], "num_iterations": setting["iterations"],
                "num_particles": setting["particles"], "num_samples": setting["population"],
                "mixture_coefficient": setting["actor_fraction"], "epsilon": 0.0,
            },
            "evaluation_cfgs": {"use_eval": False},
            "logger_cfgs": {"use_wandb": False, "use_tensorboard": False, "log_dir": folder},
        }  # fmt: skip
        terminal = {
            "total_steps": total, "vector_env_nums": 1, "parallel": 1, "torch_threads": torch.get_num_threads(),
            "device": "cpu",
        }  # fmt: skip
        with mock.patch.dict(os.environ), own_environments():
            agent = omnisafe.Agent("SafeLOOP", env_id, terminal, custom).agent
        stopwatch = Stopwatch()
        stopwatch.watch("planner", agent._planner, "output_action")
        stopwatch.watch("environment", agent._env, "step")
        stopwatch.watch("learner", agent, "_update_policy")
        stopwatch.watch("model", agent, "_update_dynamics_model")
        agent.learn()
        return stopwatch.split(trained)
