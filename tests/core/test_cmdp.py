from types import SimpleNamespace

import numpy as np
import pytest
import torch
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


NAMES = ("walls", "speed")


@pytest.mark.parametrize(
    ("costs", "sums", "more"),
    [
        ({"speed": 0.5, "walls": 3.0}, (3.0, 0.5), {}),
        ({"walls": [1.0, 0.0, 2.0], "speed": [0.0, 0.0, 0.5]}, (3.0, 0.5), {"costs": [1.0, 0.0, 2.5]}),
        ({"walls": [1.0, 0.0], "speed": 0.5}, (1.0, 0.5), {}),
    ],
)
def test_several_costs_are_told_apart_in_the_order_of_the_spec(costs, sums, more):
    given = {"costs": costs, "cost": 2.0, "violations": 2, "simulator_steps": 3}
    found = complete(given, spec(cost_names=NAMES, action_repeat=3))
    assert list(found.pop("named_costs").items()) == list(zip(NAMES, sums, strict=True))
    assert found == {"cost": 2.0, "violations": 2, "simulator_steps": 3, **more}


def test_without_a_cost_of_its_own_the_cost_is_the_sum_of_those_with_names():
    found = complete({"costs": {"walls": [1.0, 0.0, 2.0], "speed": [0.0, 0.0, 0.5]}}, spec(cost_names=NAMES))
    assert (found["cost"], found["violations"], found["simulator_steps"]) == (3.5, 2, 3)


@pytest.mark.parametrize("costs", [None, 3.0, [1.0, 0.0], {"walls": 1.0}, {"walls": 1.0, "speed": 0.0, "noise": 2.0}])
def test_costs_other_than_those_of_the_spec_are_an_error(costs):
    with pytest.raises(ValueError, match=r"Toy: info\['costs'\] is .*, expected the costs of walls, speed"):
        complete({"costs": costs, "cost": 1.0}, spec(cost_names=NAMES))


@pytest.mark.parametrize("names", [("a b",), ("Walls",), ("a", "a"), ("",)])
def test_names_of_costs_can_be_told_apart(names):
    with pytest.raises(ValueError, match="expected different names"):
        spec(cost_names=names)


def test_an_algorithm_of_one_cost_sees_the_sum_of_known_ones():
    def depths(obs, act, next_obs, margin=0.0):
        return torch.stack((next_obs[..., 0] + margin, 2 * next_obs[..., 1]), -1)

    several = spec(cost_names=NAMES, cost=depths)
    one, x = several.with_one_cost(), torch.rand(5, 3, 2)
    assert several.costs == 2 and (one.costs, one.cost_names) == (1, ())
    assert torch.allclose(one.cost(x, x, x, margin=0.1), x[..., 0] + 0.1 + 2 * x[..., 1])
    assert spec(cost=depths).with_one_cost().cost is depths
