from types import SimpleNamespace

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

from safeloop.cmdp import EnvSpec, complete, sizes
from safeloop.errors import UsageError


def spec(**changes):
    return EnvSpec(**{"id": "Toy", "suite": "", "make": None, "action_repeat": 1, "episode_steps": 9,
                      "cost_meaning": "", **changes})  # fmt: skip


@pytest.mark.parametrize(("cost", "violations"), [(0.0, 0), (0.5, 1), (2.0, 1)])
def test_without_an_action_repeat_violations_and_steps_follow_from_the_cost(cost, violations):
    info = {"cost": cost, "event": True}
    assert complete(info, spec()) == {**info, "violations": violations, "simulator_steps": 1}
    assert info == {"cost": cost, "event": True}


def test_what_is_there_is_kept():
    info = {"cost": 3.0, "violations": 2, "simulator_steps": 4}
    assert complete(info, spec()) == complete(info, spec(action_repeat=5)) == info


def test_where_nothing_costs_the_cost_is_0():
    assert complete({}, spec(budget=None)) == {"cost": 0.0, "violations": 0, "simulator_steps": 1}


@pytest.mark.parametrize(
    ("info", "changes", "missing"),
    [
        ({}, {}, r"\['cost', 'simulator_steps', 'violations'\]"),
        ({"cost": 1.0}, {"action_repeat": 2}, r"\['simulator_steps', 'violations'\]"),
    ],
)
def test_what_does_not_follow_is_missed(info, changes, missing):
    with pytest.raises(ValueError, match=f"Toy: info lacks {missing}"):
        complete(info, spec(**changes))


def box(bound, *shape):
    return Box(-bound, bound, shape, np.float32)


def test_sizes_are_those_of_vectors():
    assert sizes(SimpleNamespace(observation_space=box(np.inf, 3), action_space=box(1, 2)), spec()) == (3, 2)


@pytest.mark.parametrize(
    ("observations", "actions", "text"),
    [
        (box(1, 3, 3), box(1, 2), r"observations are Box.*, expected a Box of shape \(n,\)"),
        (box(1, 3), Discrete(2), "actions are Discrete"),
        (box(1, 3), box(2, 2), "expected -1 to 1: wrap it in gymnasium.wrappers.RescaleAction"),
    ],
)
def test_spaces_that_our_agents_cannot_use_are_refused(observations, actions, text):
    with pytest.raises(UsageError, match=text) as refused:
        sizes(SimpleNamespace(observation_space=observations, action_space=actions), spec())
    assert "\n" not in str(refused.value)
