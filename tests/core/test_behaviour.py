"""The behaviour's value against closed forms on a cycle of states."""

import copy

import pytest
import torch

from safeloop.cmdp import Entities
from safeloop.data.replay import Replay
from safeloop.learners.settings import LearnerSettings
from safeloop.learners.value import BehaviourCost, BehaviourValue

S, A, DISCOUNT = 5, 2, 0.8
SHARED = LearnerSettings(discount=DISCOUNT, learning_rate=3e-3, tau=0.05)
STATES = torch.eye(S)


def cycle(end: bool):
    """States 0, 1, 2, 0, ...: rewards 1, 2, 3; with `end`, leaving state 2 terminates."""
    replay = Replay(90, S, A)
    for i in range(90):
        s = i % 3
        replay.add(
            STATES[s].numpy(), torch.zeros(A).numpy(), float(s + 1), False, end and s == 2, False,
            STATES[(s + 1) % 3].numpy(),
        )  # fmt: skip
    return replay


ENTITIES = Entities(robot=(4,), positions=((3,), (0,), (2,), (1,)), kinds=("goal", "wall", "pit", "wall"), goal=0)


def learned(replay, steps=1500, entities=None):
    generator = torch.Generator().manual_seed(0)
    behaviour = BehaviourValue(S, SHARED, 32, generator, entities=entities, entity_width=16)
    for _ in range(steps):
        behaviour.update(replay.sample(64, generator))
    return behaviour


@pytest.mark.parametrize("entities", [None, Entities((0,), ((1, 2), (3, 4)), ("goal", "wall"), 0)])
def test_value_is_the_discounted_sum_of_the_rewards_that_followed(entities):
    # V0 = 1 + g V1, V1 = 2 + g V2, V2 = 3 + g V0
    g = DISCOUNT
    v0 = (1 + g * 2 + g * g * 3) / (1 - g**3)
    v2 = 3 + g * v0
    expected = [v0, 2 + g * v2, v2]
    assert learned(cycle(end=False), entities=entities).value(STATES[:3]).tolist() == pytest.approx(expected, rel=0.03)


def test_nothing_follows_a_termination():
    g = DISCOUNT
    expected = [1 + g * (2 + g * 3), 2 + g * 3, 3.0]
    assert learned(cycle(end=True)).value(STATES[:3]).tolist() == pytest.approx(expected, rel=0.03)


def test_what_follows_an_event_counts_as_the_mean_over_events():
    # 0 -> 1 and 2 -> 3 are events, so both are followed by m = (V1 + V3) / 2; V1 = 2 + g V2, V3 = 4 + g V0
    replay, rewards = Replay(80, S, A), (1.0, 2.0, 0.0, 4.0)
    for i in range(80):
        s = i % 4
        following = STATES[(s + 1) % 4].numpy()
        replay.add(STATES[s].numpy(), torch.zeros(A).numpy(), rewards[s], False, False, s % 2 == 0, following)
    g = DISCOUNT
    m = (6 + g) / 2 / (1 - g * g)
    expected = [1 + g * m, 2 + g * g * m, g * m, 4 + g * (1 + g * m)]
    assert learned(replay).value(STATES[:4]).tolist() == pytest.approx(expected, rel=0.03)


def test_shapes_minimum_and_checkpoint():
    behaviour = learned(cycle(end=True), steps=3)
    obs = torch.randn(3, 7, S)
    value = behaviour.value(obs)
    both = behaviour.net(obs.reshape(-1, S).expand(2, -1, -1))[..., 0]
    assert torch.allclose(value.flatten(), both.amin(0), atol=1e-6) and value.shape == (3, 7)
    other = BehaviourValue(S, SHARED, 32, torch.Generator().manual_seed(9))
    other.restore(copy.deepcopy(behaviour.checkpoint()))
    batch = cycle(end=True).sample(16, torch.Generator().manual_seed(1))
    other.update(batch)
    behaviour.update(batch)
    assert torch.equal(other.value(obs), behaviour.value(obs))


def test_entities_of_one_kind_are_exchangeable_and_no_others():
    value = learned(cycle(end=False), steps=3, entities=ENTITIES).value
    obs = torch.randn(3, 7, S)
    before = value(obs)
    assert before.shape == (3, 7)
    assert torch.allclose(value(obs[..., [1, 0, 2, 3, 4]]), before, atol=1e-6)  # the walls are at 0 and 1
    for swap in ([2, 1, 0, 3, 4], [3, 1, 2, 0, 4], [4, 1, 2, 3, 0], [0, 1, 2, 4, 3]):
        assert not torch.allclose(value(obs[..., swap]), before, atol=1e-3)


def test_value_of_cost_is_the_larger_twin_of_the_discounted_costs_that_follow():
    """Of a known cost of 2 on entering state 2: on the cycle 0, 1, 2 the costs to come are 2g/(1-g^3), ..."""
    g, generator = DISCOUNT, torch.Generator().manual_seed(0)
    replay = cycle(end=False)
    known = lambda obs, act, next_obs: 2 * next_obs[..., 2]  # noqa: E731
    value = BehaviourCost(S, SHARED, 32, generator, known=known)
    for _ in range(1500):
        batch = replay.sample(64, generator)
        value.update(batch, value.costs(batch))
    whole = 2 / (1 - g**3)
    assert value.value(STATES[:3]).tolist() == pytest.approx([g * whole, whole, g * g * whole], rel=0.05)
    assert torch.equal(
        BehaviourCost.of_twins(torch.tensor([[-1.0, 2.0, -3.0], [1.0, 1.0, -2.0]])), torch.tensor([1.0, 2, 0])
    )
    data = replay.data
    data.cost[:90] = torch.arange(90.0) % 2 * 5
    learned_of = BehaviourCost(S, SHARED, 32, generator)
    batch = replay.sample(64, generator)
    assert torch.equal(learned_of.costs(batch), (batch.cost > 0).float())  # decisions, not simulator steps
