"""The paper's observation of Goal tasks, and what is known about it."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest
import torch
from stock import make_stock, seek_goal, stock_decision

from safeloop_envs import safety_gymnasium


def stock_paper_observation(task, vases: int, hazards: int) -> np.ndarray:
    """The same numbers by the stock task's own accessors, one entity at a time."""
    sensor = task.agent.get_sensor
    own = [*sensor("velocimeter")[:2], *sensor("magnetometer"), sensor("gyro")[2]]
    entities = [task.goal.pos]
    entities += task.vases.pos if vases else []
    entities += task.hazards.pos if hazards else []
    return np.concatenate([own, *[task._ego_xy(position[:2]) for position in entities]])


@pytest.mark.parametrize(
    ("name", "vases", "hazards"),
    [("PointGoal0", 0, 0), ("PointGoal1", 1, 8), ("CarGoal1", 1, 8), ("PointGoal2", 10, 10)],
)
def test_numbers_are_those_of_the_stock_environment(name: str, vases: int, hazards: int) -> None:
    ours, stock = safety_gymnasium.spec(name).make(), make_stock(name)
    task, rng = stock.unwrapped.task, np.random.default_rng(0)
    observation, _ = ours.reset(seed=2)
    stock.reset(seed=2)
    assert observation.shape == (8 + 2 * (vases + hazards),)
    for _ in range(40):
        expected = stock_paper_observation(task, vases, hazards)
        # The stock accessor multiplies by the frame one entity at a time, which may round differently.
        np.testing.assert_allclose(observation, expected.astype(np.float32), rtol=0, atol=1e-6)
        action = seek_goal(task, rng)
        observation, reward, _, _, info = ours.step(action)
        _, stock_reward, cost, _, _, met = stock_decision(stock, action, 5)
        assert (reward, info["cost"], info["event"]) == (stock_reward, cost, met)


@pytest.mark.parametrize("name", ["PointGoal1", "CarGoal2"])
def test_sensors_equal_those_of_a_full_forward_pass(name: str) -> None:
    env = safety_gymnasium.spec(name).make()
    env.reset(seed=2)
    for _ in range(20):
        observation = env.step(np.array([1.0, 0.4]))[0]
        mujoco.mj_forward(env._model, env._data)
        np.testing.assert_array_equal(observation, env._positions())


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("PointButton1", ["button", "hazard", "gremlin"]),
        ("CarButton2", ["button", "hazard", "gremlin"]),
        ("PointCircle2", ["sigwall"]),
    ],
)
def test_other_tasks_show_positions_too(name: str, kinds: list[str]) -> None:
    spec = safety_gymnasium.spec(name, observation="positions")
    env, entities = spec.make(), spec.entities
    env.reset(seed=3)
    for _ in range(20):
        observation = env.step(np.array([1.0, 0.4]))[0]
    first = ["goal" if "Button" in name else "circle"]
    named = [getattr(env._task, first[0]).pos]
    for kind in kinds:
        things = getattr(env._task, f"{kind}s")
        found = things.pos if kind != "sigwall" else [env._data.body(f"sigwall{i}").xpos for i in range(things.num)]
        assert len(found) == entities.kinds.count(kind)
        named += found
    assert list(dict.fromkeys(entities.kinds)) == first + kinds
    expected = np.concatenate([env._task._ego_xy(np.asarray(position)[:2]) for position in named])
    np.testing.assert_allclose(observation[len(entities.robot) :], expected, rtol=0, atol=1e-6)
    assert entities.goal == (0 if "Button" in name else None)
    assert spec.lidars is None and spec.known() == {"cost": False, "reward": False}


def test_entities_name_every_number_of_the_observation() -> None:
    for name, kinds in (("PointGoal1", {"goal": 1, "vase": 1, "hazard": 8}), ("CarGoal0", {"goal": 1})):
        spec = safety_gymnasium.spec(name)
        entities = spec.entities
        indices = entities.robot + sum(entities.positions, ())
        assert sorted(indices) == list(range(spec.make().observation_space.shape[0]))
        assert {kind: entities.kinds.count(kind) for kind in entities.kinds} == kinds
        assert entities.kinds[entities.goal] == "goal"


def rollout(name: str, decisions: int, seed: int = 1):
    """The transitions of an episode: observations, next observations, rewards, costs, events, as tensors."""
    env = safety_gymnasium.spec(name, action_repeat=1).make()
    rng = np.random.default_rng(0)
    observation, _ = env.reset(seed=seed)
    columns: list[tuple] = []
    for _ in range(decisions):
        action = seek_goal(env._task, rng)
        following, reward, _, _, info = env.step(action)
        columns.append((observation, following, reward, info["cost"], info["event"]))
        observation = following
    return [torch.as_tensor(np.array(column)) for column in zip(*columns, strict=True)]


@pytest.mark.parametrize(("name", "seed"), [("PointGoal1", 1), ("CarGoal1", 3)])
def test_known_cost_is_positive_exactly_where_the_simulator_reports_a_cost(name: str, seed: int) -> None:
    spec = safety_gymnasium.spec(name)
    obs, next_obs, _, cost, event = rollout(name, 900, seed)
    depth = spec.cost(obs, None, next_obs)
    assert (cost > 0).sum() >= 5
    if name == "CarGoal1":  # a tilting robot sees hazards a little nearer or farther
        nearest = next_obs[:, 10:].unflatten(-1, (8, 2)).norm(dim=-1).amin(dim=-1)
        decided = (nearest - 0.2).abs() > 2e-3
        assert torch.equal((depth > 0)[decided], (cost > 0)[decided])
    else:
        assert torch.equal(depth > 0, cost > 0)
    assert event.any()


def test_known_reward_with_the_event_bonus_is_the_simulators_reward() -> None:
    spec = safety_gymnasium.spec("PointGoal1")
    obs, next_obs, reward, _, event = rollout("PointGoal1", 400)
    assert event.any()
    calm = ~event
    torch.testing.assert_close(spec.reward(obs, None, next_obs)[calm], reward[calm].float(), rtol=0, atol=1e-5)
    assert not spec.event(obs, None, next_obs)[calm].any()
    assert (reward[event] > spec.event_bonus - 0.1).all()


def test_depth_is_zero_outside_and_grows_to_the_radius_in_the_middle() -> None:
    spec = safety_gymnasium.spec("PointGoal1")
    next_obs = torch.full((3, 26), 5.0)
    next_obs[1, 24:] = torch.tensor([0.0, 0.0])
    next_obs[2, 24:] = torch.tensor([0.22, 0.0])
    torch.testing.assert_close(spec.cost(None, None, next_obs), torch.tensor([0.0, 0.2, 0.0]))
    torch.testing.assert_close(spec.cost(None, None, next_obs, margin=0.05), torch.tensor([0.0, 0.25, 0.03]))


def test_depth_counts_vases_on_level_2_alone() -> None:
    for name, size, expected in (("PointGoal1", 26, 0.0), ("PointGoal2", 48, 0.25), ("CarGoal2", 48, 0.275)):
        next_obs = torch.full((2, 4, size), 5.0)
        next_obs[..., 8:10] = 0.0
        depth = safety_gymnasium.spec(name).cost(None, None, next_obs)
        torch.testing.assert_close(depth, torch.full((2, 4), expected))


def test_goal_met_is_the_goals_radius() -> None:
    next_obs = torch.full((2, 26), 5.0)
    next_obs[:, 6:8] = torch.tensor([[0.0, 0.299], [0.301, 0.0]])
    assert safety_gymnasium.spec("PointGoal1").event(None, None, next_obs).tolist() == [True, False]
