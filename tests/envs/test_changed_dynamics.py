"""Options that change the physics: of the robot in navigation tasks, and of the RC car."""

from __future__ import annotations

import numpy as np
import pytest
from stock import make_stock, model_arrays

from safeloop.errors import UsageError
from safeloop.registry import find_env
from safeloop_envs import rc_car_tasks, safety_gymnasium
from safeloop_envs.rc_car.vehicle import Vehicle

ROBOTS = ["Point", "Car", "Racecar", "Doggo", "Ant"]


def drive(env, action, decisions=40, seed=3):
    """Observations, and the robot's places, of an episode under one action."""
    seen, places = [env.reset(seed=seed)[0]], [env._robot[:2].copy()]
    for _ in range(decisions):
        seen.append(env.step(np.array(action, np.float32))[0])
        places.append(env._robot[:2].copy())
    return np.stack(seen), np.stack(places)


def free(name, **options):
    """A task whose objects stand in nobody's way."""
    env = safety_gymnasium.spec(name, **options).make()
    env.reset(seed=3)
    model = env._model
    others = model.body_rootid[model.geom_bodyid] != model.body("agent").id
    others[model.geom("floor").id] = False
    model.geom_contype[others] = model.geom_conaffinity[others] = 0
    return env


@pytest.mark.parametrize("robot", ROBOTS)
def test_scales_of_one_are_the_stock_task_and_are_not_recorded(robot):
    name = f"{robot}Goal2"
    spec, usual = safety_gymnasium.spec(name, friction="1", mass=1.0), safety_gymnasium.spec(name)
    assert spec.options == usual.options and not {"friction", "mass"} & spec.options.keys()
    ours, stock = spec.make(), make_stock(name)
    ours.reset(seed=3)
    stock.reset(seed=3)
    mine, theirs = model_arrays(ours._model), model_arrays(stock.unwrapped.task.model)
    for key, array in mine.items():
        np.testing.assert_array_equal(array, theirs[key], err_msg=key)


@pytest.mark.parametrize("robot", ROBOTS)
def test_scales_change_the_robot_alone_and_stay_when_an_episode_begins(robot):
    usual, other = (safety_gymnasium.spec(f"{robot}Goal2", **o).make() for o in ({}, {"friction": 0.5, "mass": 2}))
    for env in (usual, other):
        env.reset(seed=1)
        env.reset(seed=3)
    before, after = model_arrays(usual._model), model_arrays(other._model)
    mine = usual._model.body_rootid == usual._model.body("agent").id
    for name in ("body_mass", "body_inertia"):
        np.testing.assert_array_equal(after[name][mine], 2 * before[name][mine])
        np.testing.assert_array_equal(after[name][~mine], before[name][~mine])
    frictions = "dof_damping" if robot == "Point" else "geom_friction"
    rows = mine[before["dof_bodyid" if robot == "Point" else "geom_bodyid"]]
    np.testing.assert_array_equal(after[frictions][rows], 0.5 * before[frictions][rows])
    np.testing.assert_array_equal(after[frictions][~rows], before[frictions][~rows])
    np.testing.assert_allclose(other._model.body("agent").subtreemass, 2 * usual._model.body("agent").subtreemass)


@pytest.mark.parametrize("options", [{}, {"friction": 0.5, "mass": 3}])
def test_the_changed_motion_is_the_same_again(options):
    first, second = (drive(safety_gymnasium.spec("PointGoal1", **options).make(), [0.7, 0.4]) for _ in range(2))
    np.testing.assert_array_equal(first[0], second[0])


def speeds(name, **options):
    """Metres a decision, in the first three decisions and in the last ten."""
    each = np.linalg.norm(
        np.diff(drive(free(name, **options), [1.0] * 2 if "Car" in name else [1, 0])[1], axis=0), axis=1
    )
    return each[:3].sum(), each[-10:].mean()


def test_point_ends_slower_with_friction_and_gets_going_slower_with_mass():
    usual, slippery, rough, heavy = (
        speeds("PointGoal1", **o) for o in ({}, {"friction": 0.5}, {"friction": 2}, {"mass": 3})
    )
    assert slippery[1] > 1.5 * usual[1] and rough[1] == pytest.approx(usual[1] / 2, rel=0.05)
    assert heavy[0] < 0.5 * usual[0] and slippery[0] > usual[0] > rough[0]


def test_car_slips_with_little_friction():
    usual, slippery = speeds("CarGoal1"), speeds("CarGoal1", friction=0.1)
    assert slippery[0] < 0.3 * usual[0]


def test_a_simulator_has_the_changed_physics():
    for options in ({}, {"friction": 0.5, "mass": 2}):
        spec = safety_gymnasium.spec("PointGoal1", **options)
        env, simulator = spec.make(), spec.simulator(1)
        env.reset(seed=3)
        state, act = env.get_state(), np.full((1, 5, 2), 0.5, np.float32)
        for action in act[0]:
            env.step(action)
        found = simulator.rollout(state[None], act)
        moving = 1 + env._model.nq + env._model.nv
        np.testing.assert_array_equal(found.state[0, -1, :moving], env.get_state()[:moving])


@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        ("PointGoal1", {"friction": "0"}, "PointGoal1: friction=0.0: expected at least 0.1 and at most 10"),
        ("CarButton1", {"mass": "-1"}, "CarButton1: mass=-1.0: expected at least 0.1 and at most 10"),
        ("PointPush1", {"mass": "nan"}, "mass=nan: expected"),
        ("PointRun0", {"friction": "slippery"}, "friction=slippery: expected a number"),
        ("HopperVelocity", {"friction": "0.5"}, "HopperVelocity has no setting 'friction'"),
        ("RCCarDrift", {"grip": "0"}, "RCCarDrift: grip=0.0: expected at least 0.1 and at most 10"),
        ("RCCarDrift", {"mass": "11"}, "RCCarDrift: mass=11.0: expected at least 0.1 and at most 10"),
        ("RCCarDrift", {"stiffness": "inf"}, "stiffness=inf: expected"),
    ],
)
def test_impossible_physics_is_one_line(name, options, told):
    with pytest.raises(UsageError) as refused:
        find_env(name, options)
    assert told in str(refused.value) and "\n" not in str(refused.value)


def test_changed_options_are_recorded_and_found_again():
    for name, options in (("PointGoal1", {"friction": 0.5}), ("RCCarDrift", {"grip": 0.5, "mass": 2.0})):
        spec = find_env(name, {key: str(value) for key, value in options.items()})
        assert spec.options == find_env(name).options | options
        assert find_env(name, spec.options).options == spec.options


def car_after(action, state=(-1.0, 0, 4.7, 3.0, -1.0, 3.0), **options):
    """The car's state after a decision."""
    env = rc_car_tasks.spec("RCCarDrift", **options).make()
    env.reset(options={"state": list(state)})
    return env.step(np.array(action))[4]["state"]


def test_scales_of_one_leave_the_car_as_it_is():
    usual = rc_car_tasks.spec("RCCarDrift")
    assert rc_car_tasks.spec("RCCarDrift", grip=1, mass="1", stiffness=1.0).options == usual.options
    assert not {"grip", "mass", "stiffness"} & usual.options.keys()
    assert Vehicle().scaled(1.0, 1.0, 1.0) == Vehicle()


def test_the_scales_of_the_car():
    car, other = Vehicle(), Vehicle().scaled(grip=0.5, mass=2.0, stiffness=3.0)
    assert other.friction == car.friction / 2 and other.sliding_friction == car.sliding_friction / 2
    assert other.front_load == 2 * car.front_load and other.inertia == 2 * car.inertia
    assert other.cornering_stiffness == 3 * car.cornering_stiffness
    straight = (0, 0, 0, 2.0, 0, 0)
    usual, icy, heavy = (car_after([1.0, 0.0], straight, **o)[3] for o in ({}, {"grip": 0.3}, {"mass": 3}))
    assert icy < usual and heavy < usual
    assert np.abs(car_after([0.8, 0.9], stiffness=0.5) - car_after([0.8, 0.9])).max() > 1e-3
