"""What a policy that the user holds is given: anything but an observation of its environment is refused."""

import re

import numpy as np
import pytest
import torch

from safeloop.agents.policies import Checked
from safeloop.errors import UsageError
from safeloop.registry import find_algorithm, find_env
from safeloop.settings import build, kinds
from safeloop_baselines.frozen_policy import FrozenPolicy

PENDULUM = find_env("InvertedPendulum")
SMALL = {
    "ensemble_size": 2, "width": 8, "layers": 1, "population": 20, "iterations": 1, "horizon": 2, "hidden": 8,
    "batch_size": 8, "capacity": 100, "warmup": 10,
}  # fmt: skip


def own(name):
    algorithm = find_algorithm(name)
    info = algorithm.info
    known = {k: v for k, v in SMALL.items() if k in kinds(info.settings)}
    settings = build(info.settings, info.presets["online"], known, owner=name)
    return algorithm.build(settings, PENDULUM, 4, 1, 0, "cpu").policy(seed=0)


def frozen():
    one = torch.ones(1)
    return FrozenPolicy(
        {
            "weights": [torch.ones(1, 4)], "biases": [torch.zeros(1)], "activation": "Tanh", "squashed": True,
            "obs_mean": torch.zeros(4), "obs_std": torch.ones(4), "obs_clip": 5.0, "action_low": -one,
            "action_high": one,
        }
    )  # fmt: skip


POLICIES = {"a planner": lambda: own("loop-sac"), "an actor": lambda: own("sac"), "a frozen policy": frozen}


@pytest.mark.parametrize("kind", POLICIES)
def test_what_is_no_observation_is_refused_by_every_policy(kind):
    policy = Checked(POLICIES[kind](), PENDULUM)
    policy.reset()
    for wrong, message in (
        (np.zeros(5), "of InvertedPendulum has the shape [4], several together [B, 4]: got [5]"),
        (np.zeros((1, 1, 4)), "got [1, 1, 4]"),
        (0.0, "got []"),
        ((np.zeros(4), {}), "is an array [4] of numbers, not tuple"),
        ({"obs": np.zeros(4)}, "not dict"),
        ([["a", "b", "c", "d"]], "not list"),
        (None, "not NoneType"),
        (np.zeros((2, 4)), "2 observations, but reset() started 1 episodes"),
        (np.array([0, np.nan, 0, 0]), "number [1] is nan: expected finite numbers"),
        (np.array([[0, 0, 0, np.inf]]), "number [0, 3] is inf: expected finite numbers"),
        (np.array([1e300, 0, 0, 0]), "number [0] is 1e+300: expected finite numbers"),
    ):
        with pytest.raises(UsageError, match=re.escape(message)):
            policy.act(wrong)
    with pytest.raises(UsageError, match="episodes 0: expected at least 1"):
        policy.reset(0)


@pytest.mark.parametrize("kind", POLICIES)
def test_what_is_an_observation_reaches_the_policy_as_it_is(kind):
    policy, plain = Checked(POLICIES[kind](), PENDULUM), POLICIES[kind]()
    several = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    for each in (policy, plain):
        each.reset(3)
    assert np.array_equal(policy.act(several), plain.act(several))
    policy.reset()
    assert policy.act([0.0, 0, 0, 0]).shape == (1,) and policy.act(torch.zeros(1, 4)).shape == (1, 1)
