"""Simulators of stock tasks beside their environments."""

import numpy as np
import pytest
import torch

from safeloop.models.simulator import SimulatorModel
from safeloop.planning.objective import Objective
from safeloop.planning.spaces import ActionSequences
from safeloop.registry import find_env

RUNNERS = ["HalfCheetah", "Walker2d", "Hopper", "Swimmer", "InvertedPendulum"]
VELOCITIES = ["HalfCheetahVelocity", "Walker2dVelocity", "HopperVelocity-v0", "SwimmerVelocity"]
M, H = 3, 40


def slowed(stock):
    """Lower a limit of speed, so that a robot that hardly moves exceeds it."""
    if hasattr(stock, "_velocity_threshold"):
        stock._velocity_threshold = -0.1


def until_the_end(name, options, seed=0):
    """States, actions and results of an episode of random actions, 40 decisions long or until it terminates."""
    env, random = find_env(name, options).make(), np.random.default_rng(seed)
    slowed(env._stock)
    obs, _ = env.reset(seed=seed)
    states, actions, results, seen = [env.get_state()], [], [], [obs]
    for _ in range(H):
        actions.append(random.uniform(-1.2, 1.2, env.action_space.shape))
        obs, reward, terminated, _, info = env.step(actions[-1])
        states.append(env.get_state())
        seen.append(obs)
        results.append((reward, info["cost"], terminated))
        if terminated:
            break
    return np.stack(states), np.stack(actions), np.array(results), np.stack(seen)


@pytest.mark.parametrize("repeat", [1, 3])
@pytest.mark.parametrize("name", RUNNERS + VELOCITIES)
def test_a_simulator_repeats_a_stock_task(name, repeat):
    options = {"action_repeat": repeat}
    spec = find_env(name, options)
    simulator = spec.simulator(1)
    slowed(simulator.task.stock)
    costs = 0.0
    for seed in range(2):
        states, actions, results, seen = until_the_end(name, options, seed)
        found = simulator.rollout(states[:1], actions[None])
        whole = -1 if found.terminated is not None and repeat > 1 else None  # the environment stops within a decision
        size = simulator.physics.size
        assert np.array_equal(found.state[0, :whole, :size], states[:whole, :size]) and found.valid.all()
        assert np.allclose(found.reward[0], results[:, 0], rtol=0, atol=1e-9)
        assert np.array_equal(found.cost[0], results[:, 1])
        assert np.array_equal(simulator.observe(states), seen)
        if spec.terminates:
            assert found.terminated[0].tolist() == (results[:, 2] > 0).tolist()
        else:
            assert found.terminated is None
        costs += found.cost.sum()
    assert spec.terminates == (name.split("Velocity")[0] in ("Walker2d", "Hopper", "InvertedPendulum"))
    assert (costs > 0) == (name in VELOCITIES)


@pytest.mark.parametrize(("name", "allowed"), [("Ant", 0.15), ("AntVelocity", 0.15), ("Humanoid", 0.002)])
def test_the_rewards_of_ant_and_humanoid_differ_by_the_last_stage_of_a_step(name, allowed):
    simulator = find_env(name, {}).simulator(1)
    for seed in range(2):
        states, actions, results, seen = until_the_end(name, {}, seed)
        found = simulator.rollout(states[:1], actions[None])
        size = simulator.physics.size
        assert np.array_equal(found.state[0, :, :size], states[:, :size])
        assert np.array_equal(simulator.observe(states), seen)
        assert found.terminated[0].tolist() == (results[:, 2] > 0).tolist()
        assert np.abs(found.reward[0] - results[:, 0]).max() < allowed
        assert abs(found.reward[0].sum() - results[:, 0].sum()) < 2 * allowed  # it does not add up


@pytest.mark.parametrize("name", ["Hopper", "HalfCheetahVelocity"])
def test_an_episode_can_start_from_a_state(name):
    states, actions, results, seen = until_the_end(name, {})
    env = find_env(name, {}).make()
    obs, _ = env.reset(seed=5, options={"state": states[3]})
    assert np.array_equal(obs, seen[3])
    for action, result, wanted in zip(actions[3:], results[3:], seen[4:], strict=True):
        obs, reward, *_ = env.step(action)
        assert np.array_equal(obs, wanted) and reward == result[0]


def test_what_states_do_not_give_has_no_simulator():
    assert find_env("Humanoid", {}).simulator is not None
    for name, options in (("Humanoid", {"observation": "task"}), ("PenGoal", {}), ("HumanoidVelocity", {})):
        assert find_env(name, options).simulator is None


def towards_the_goal(env, name):
    """An action of Point or Car towards the goal, over whatever lies between."""
    frame = env._data.xmat[env._model.body("agent").id].reshape(3, 3)
    x, y = ((env._goal - env._robot) @ frame)[:2]
    if name.startswith("Point"):  # forward is along x
        return np.array([np.clip(2 * x, -0.3, 1), np.clip(2 * np.arctan2(y, x), -1, 1)])
    angle = np.arctan2(x, -y)  # forward is against y
    return np.array([np.sign(angle), -np.sign(angle)]) if abs(angle) > 0.4 else np.ones(2)


def goal_drive(name, options, seed, decisions=120):
    """A drive of a Goal task that meets goals and violations: states, actions, results and observations."""
    env, random = find_env(name, options).make(), np.random.default_rng(seed)
    obs, _ = env.reset(seed=seed)
    states, actions, results, seen = [env.get_state()], [], [], [obs]
    for _ in range(decisions):
        actions.append(towards_the_goal(env, name) + 0.2 * random.normal(size=2))
        obs, reward, _, _, info = env.step(actions[-1])
        states.append(env.get_state())
        seen.append(obs)
        results.append((reward, info["cost"], info["event"]))
    return np.stack(states), np.stack(actions), np.array(results), np.stack(seen)


@pytest.mark.parametrize("name", ["PointGoal0", "PointGoal1", "CarGoal1", "PointGoal2", "CarGoal2"])
def test_a_simulator_repeats_a_goal_task_until_the_goal_is_met(name):
    spec, events, costs = find_env(name, {}), 0, 0.0
    simulator = spec.simulator(1)
    for seed in range(3):
        states, actions, results, seen = goal_drive(name, {}, seed)
        first = 0
        for end in [*np.flatnonzero(results[:, 2]), len(actions) - 1]:
            found = simulator.rollout(states[first : first + 1], actions[None, first : end + 1])
            last = end if results[end, 2] else end + 1  # in the last decision the next goal was placed
            size = simulator.physics.size
            assert np.array_equal(found.state[0, : last - first + 1, :size], states[first : last + 1, :size])
            assert found.event[0].tolist() == (results[first : end + 1, 2] > 0).tolist() and found.valid.all()
            before = slice(first, last)
            assert np.allclose(found.reward[0, : last - first], results[before, 0], rtol=0, atol=1e-9)
            assert np.array_equal(found.cost[0], results[first : end + 1, 1])
            if results[end, 2]:
                assert found.reward[0, -1] > 0.9  # the bonus, and what was reached before it
            costs += found.cost.sum()
            first = end + 1
        events += results[:, 2].sum()
        assert np.array_equal(simulator.observe(states[::7]), seen[::7])
    assert events > 0 and (costs > 0) == (name != "PointGoal0")


@pytest.mark.parametrize("name", ["PointGoal1", "CarGoal2"])
def test_a_goal_simulator_has_a_layout_of_its_own_in_each_row(name):
    drives = [goal_drive(name, {}, seed, decisions=25) for seed in range(3)]
    simulator = find_env(name, {}).simulator(2)
    starts, actions = np.stack([d[0][0] for d in drives]), np.stack([d[1] for d in drives])
    found = simulator.rollout(starts, actions)
    for row, (states, _, _, _) in enumerate(drives):
        size = simulator.physics.size
        steps = int(np.argmax(found.event[row])) if found.event[row].any() else 25
        assert np.array_equal(found.state[row, : steps + 1, :size], states[: steps + 1, :size])


def test_the_lidar_can_be_observed_from_states():
    states, actions, _, seen = goal_drive("PointGoal1", {"observation": "task"}, 0, decisions=8)
    simulator = find_env("PointGoal1", {"observation": "task"}).simulator(1)
    assert np.allclose(simulator.observe(states), seen, atol=1e-6)
    size = simulator.physics.size
    found = simulator.rollout(states[:1], actions[None]).state[0]
    assert np.allclose(found[:4, :size], states[:4, :size], atol=1e-6)
    assert np.array_equal(found[:, simulator.own :], states[:, simulator.own :])  # the layout and the last control


def test_the_last_control_is_part_of_a_state():
    """The accelerometer shows the force of the motor."""
    states, _, _, seen = goal_drive("PointGoal1", {"observation": "task"}, 0, decisions=3)
    simulator, without = find_env("PointGoal1", {"observation": "task"}).simulator(1), states[-1:].copy()
    without[:, simulator.own - 2 : simulator.own] = 0
    assert np.array_equal(simulator.observe(states[-1:])[0], seen[-1])
    assert not np.allclose(simulator.observe(without)[0, 0], seen[-1][0])


def test_a_goal_episode_can_start_from_a_state():
    states, actions, results, seen = goal_drive("CarGoal1", {}, 1, decisions=8)
    env = find_env("CarGoal1", {}).make()
    obs, _ = env.reset(seed=9, options={"state": states[3]})
    assert np.array_equal(obs, seen[3])
    for action, result, wanted in zip(actions[3:], results[3:], seen[4:], strict=True):
        obs, reward, _, _, info = env.step(action)
        assert np.array_equal(obs, wanted) and (reward, info["cost"]) == (result[0], result[1])


@pytest.mark.parametrize("name", ["AntGoal1", "PointButton1", "PointPush1", "PointCircle1"])
def test_other_navigation_tasks_have_no_simulator(name):
    assert find_env(name, {}).simulator is None


@pytest.mark.parametrize(("name", "gamma"), [("PointGoal1", 0.9), ("HalfCheetahVelocity", 0.8)])
def test_a_planner_scores_candidates_as_the_environment_would(name, gamma):
    env, random = find_env(name, {}).make(), np.random.default_rng(0)
    size = env.action_space.shape[0]
    if name == "HalfCheetahVelocity":
        slowed(env._stock)
        env.reset(seed=2)
        state = env.get_state()
    else:  # just before it is in a hazard
        states, _, results, _ = goal_drive(name, {}, 3)
        state = states[np.flatnonzero(results[:, 1])[0] - 1]
    candidates = np.repeat(random.uniform(-1, 1, (M, 2, 1, size)), 3, 2).reshape(M, 6, size)  # held, to get somewhere
    simulator = find_env(name, {}).simulator(1)
    if name == "HalfCheetahVelocity":
        slowed(simulator.task.stock)
    objective = Objective(SimulatorModel(simulator, env.observation_space.shape[0]), gamma, value=None)
    scores = objective(
        torch.as_tensor(state)[None], ActionSequences(6, size),
        torch.as_tensor(candidates, dtype=torch.float32)[None], [torch.Generator()],
    )  # fmt: skip
    for row, actions in enumerate(np.float32(candidates)):
        env.reset(seed=0, options={"state": state})
        found = [env.step(action) for action in actions]
        assert not any(info.get("event") for *_, info in found)
        returns = sum(gamma**t * step[1] for t, step in enumerate(found))
        costs = sum(gamma**t * step[-1]["cost"] for t, step in enumerate(found))
        assert scores.returns[0, row].item() == pytest.approx(returns, abs=1e-5)
        assert scores.costs[0, row].item() == pytest.approx(costs, abs=1e-5)
    assert scores.costs.max() > 0 and len(set(scores.returns[0].tolist())) == M
