"""The RC car: tyres, integrator, tasks, environment."""

import subprocess
import sys

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from scipy.integrate import solve_ivp

from safeloop.errors import UsageError
from safeloop.recording.recorder import Recorder
from safeloop.recording.run import Run, RunSettings
from safeloop.report import pictures
from safeloop_envs import rc_car_tasks
from safeloop_envs.rc_car.environment import STEERING, WHEEL_SPEED, RCCar
from safeloop_envs.rc_car.task import OBSERVATIONS, Task
from safeloop_envs.rc_car.vehicle import TIME_STEP, Vehicle, accelerations, advance, front_force, rear_force

CAR, LINEAR = Vehicle(), Vehicle(brush=False)
FRONT_GRIP, REAR_GRIP, REAR_SLIDE = 1.37 * 12.1, 1.37 * 13.8178, 1.96 * 13.8178


def drives(count, steps, seed=0):
    """Random starts `[count, 6]` and commands `[steps, count, 2]`."""
    rng = np.random.default_rng(seed)
    starts = Task().starts(count, torch.Generator().manual_seed(seed)).numpy()
    commands = rng.uniform((0, -STEERING), (WHEEL_SPEED, STEERING), (steps, count, 2))
    return starts, commands


def roll(starts, commands, **options):
    """States `[steps + 1, count, 6]`."""
    states = [starts]
    for command in commands:
        states.append(advance(states[-1], command, CAR, **options))
    return np.stack(states)


def rates(state, wheel, steering, car=CAR):
    """The time derivative of a state, pose included."""
    yaw, v_x, v_y, rate = state[2:]
    pose = (v_x * np.cos(yaw) - v_y * np.sin(yaw), v_x * np.sin(yaw) + v_y * np.cos(yaw), rate)
    return np.array([*pose, *accelerations(v_x, v_y, rate, wheel, np.cos(steering), np.sin(steering), car)])


@pytest.mark.parametrize("car", [CAR, LINEAR], ids=["brush", "linear"])
@pytest.mark.parametrize("slip", [0.01, 0.2, 0.7, 3.0])
def test_tyre_forces_are_odd_in_slip(car, slip):
    assert front_force(slip, car) == -front_force(-slip, car) < 0
    for ratio in (0.05, 0.6, 4.0):
        x, y = rear_force(ratio, slip, car)
        assert rear_force(-ratio, -slip, car) == (-x, -y)
        assert rear_force(ratio, -slip, car) == (x, -y)
        assert x > 0 > y


def test_tyres_saturate_at_friction_times_load():
    slips = np.linspace(0, 50, 5001)
    front = np.array([-front_force(s, CAR) for s in slips])
    assert np.all(np.diff(front) >= -1e-12) and front[-1] == pytest.approx(FRONT_GRIP)
    rear = np.array([np.hypot(*rear_force(r, s, CAR)) for r in (0.0, 0.3, 2.0, 80.0) for s in slips])
    gripping = rear < REAR_GRIP + 1e-9
    assert np.all(gripping | np.isclose(rear, REAR_SLIDE))
    assert gripping.any() and not gripping.all()


def test_small_slips_give_the_stiffness_of_the_source():
    assert front_force(1e-6, CAR) / 1e-6 == pytest.approx(-56.4, rel=1e-4)
    assert rear_force(1e-6, 0.0, CAR)[0] / 1e-6 == pytest.approx(103.94, rel=1e-4)
    assert rear_force(0.0, 1e-6, CAR)[1] / 1e-6 == pytest.approx(-56.4, rel=1e-4)


def test_a_spinning_wheel_on_a_standing_car_pushes_with_all_grip():
    assert rates([0, 0, 0, 0, 0, 0], 5.0, 0.0)[3] == pytest.approx(REAR_GRIP / 2.645)
    assert rates([0, 0, 0, 0, 0, 0], 0.0, 0.3).tolist() == [0] * 6


def test_rolling_backwards_mirrors_the_slip():
    forwards, backwards = rates([0, 0, 0, 2, 0.3, 0], 2, 0), rates([0, 0, 0, -2, 0.3, 0], -2, 0)
    assert backwards[4] == pytest.approx(forwards[4])  # no yaw rate: the same sideways force


def test_energy_is_not_created_at_zero_throttle():
    starts, commands = drives(50, 100, seed=3)
    commands[..., 0] = 0.0
    states = roll(starts, commands)
    energy = 0.5 * (2.645 * (states[..., 3] ** 2 + states[..., 4] ** 2) + 0.0558 * states[..., 5] ** 2)
    assert np.diff(energy, axis=0).max() < 1e-6
    assert energy[-1].max() < 0.05 * energy[0].max()


def test_integrator_follows_an_adaptive_reference():
    starts, commands = drives(200, 100)
    states = roll(starts, commands)
    reference = roll(starts, commands, tolerance=1e-9, smallest=1e-6)
    worst = np.abs(states - reference).max((0, 2))
    assert np.median(worst) <= 5e-3


def smooth_drives():
    """Gentle drives: the rear wheels spin without sliding, faster than the ground throughout."""
    rng = np.random.default_rng(1)
    starts = np.zeros((6, 6))
    starts[:, 3] = rng.uniform(1.6, 2.2, 6)
    commands = np.stack((np.full((100, 6), 3.0), rng.uniform(-0.2, 0.2, (100, 6))), -1)
    return starts, commands


def test_smooth_drives_are_accurate_beside_scipy():
    starts, commands = smooth_drives()
    states = roll(starts, commands)
    v_x = states[..., 3]
    slip = np.abs(states[..., 4] - 0.12 * states[..., 5]) / v_x
    ratio = (3.0 - v_x) / v_x
    gamma = np.hypot(103.94 * ratio, 56.4 * slip) / (1 + ratio)
    assert np.all(v_x < 3.0 - 0.01) and gamma.max() < 3 * REAR_GRIP
    reference = starts.copy()
    worst = 0.0
    for t, command in enumerate(commands):
        for i, (wheel, steering) in enumerate(command):
            solved = solve_ivp(
                lambda _, s, w=wheel, d=steering: rates(s, w, d), (0, TIME_STEP), reference[i], rtol=1e-9, atol=1e-9
            )
            reference[i] = solved.y[:, -1]
        worst = max(worst, np.abs(states[t + 1] - reference).max())
    assert worst <= 1e-4


def test_batched_equals_single():
    starts, commands = drives(7, 30)
    together = roll(starts, commands)
    for i in range(7):
        np.testing.assert_array_equal(roll(starts[i : i + 1], commands[:, i : i + 1])[:, 0], together[:, i])


@pytest.mark.parametrize("bad", [np.zeros((1, 5)), np.zeros(6), np.full((1, 6), np.nan)])
def test_impossible_states_are_refused(bad):
    with pytest.raises(ValueError):
        advance(bad, np.zeros((1, 2)), Vehicle())


@pytest.mark.parametrize("name", ["RCCarDrift", "RCCarCircle", "RCCarStraight"])
@pytest.mark.parametrize("observation", OBSERVATIONS)
def test_known_models_equal_the_simulator(name, observation):
    spec = rc_car_tasks.spec(name, observation=observation)
    env = spec.make()
    rng = np.random.default_rng(0)
    costs = 0.0
    for episode in range(4):
        obs, _ = env.reset(seed=episode)
        truncated, steps = False, 0
        while not truncated:
            action = rng.uniform(-1, 1, 2).astype(np.float32)
            next_obs, reward, terminated, truncated, info = env.step(action)
            transition = [torch.from_numpy(x) for x in (obs, action, next_obs)]
            assert spec.reward(*transition).item() == pytest.approx(reward, abs=1e-4)
            assert (spec.cost(*transition).item() > 0) == (info["cost"] == 1.0) == (info["violations"] == 1)
            assert not terminated and info["simulator_steps"] == 1
            obs, costs, steps = next_obs, costs + info["cost"], steps + 1
        assert steps == 100
    assert costs > 0


def test_a_margin_widens_the_known_cost():
    spec = rc_car_tasks.spec("RCCarDrift")
    obs = torch.tensor([[1.15, 0, 0, 0, 0, 0], [1.0, 0, 0, 0, 0, 0], [0, -1.5, 0, 0, 0, 0]]).float()
    assert torch.allclose(spec.cost(obs, obs, obs), torch.tensor([0.0, 0.0, 0.3]))
    assert torch.allclose(spec.cost(obs, obs, obs, margin=0.1), torch.tensor([0.05, 0.0, 0.4]))


def test_reward_is_best_on_the_path_at_the_desired_speed():
    task = Task()
    best = task.observe(torch.tensor([-1.0, 0, 1.5 * np.pi, 4.0, 0, 4.0]))
    assert task.reward(best, best, best).item() == pytest.approx(0, abs=1e-5)
    # 0.1 m outside, 1 m/s too slow, the nose turned round: 0.1 + 0.25 + 0.25 (pi/2)^2
    worse = task.observe(torch.tensor([-1.1, 0, 0.5 * np.pi, 3.0, 0, 4.0]))
    assert task.reward(worse, worse, worse).item() == pytest.approx(-(0.35 + 0.25 * (np.pi / 2) ** 2), abs=1e-5)


@pytest.mark.parametrize("observation", OBSERVATIONS)
def test_observations_agree_on_the_course(observation):
    states = Task().starts(50, torch.Generator().manual_seed(0))
    states[:, 1] = torch.linspace(-2, 2, 50)
    task = Task(observation=observation)
    expected, found = Task().course(Task().observe(states)), task.course(task.observe(states))
    for a, b in zip(expected, found, strict=True):
        assert torch.allclose(a, b, atol=1e-9)


def test_pose_rates_are_the_derivatives_of_the_pose():
    task, state = Task(), torch.tensor([0.3, -0.8, 1.1, 2.0, -0.7, 1.5], dtype=torch.float64)
    found = rates(state.numpy(), 2.0, 0.0)[:3]
    np.testing.assert_allclose(task.observe(state)[3:].numpy(), found, atol=1e-12)


def test_starts_are_inside_the_limit_and_spread_as_documented():
    for task in (Task(), Task(path="line", speed=1.0, limit=0.2)):
        states = task.starts(4000, torch.Generator().manual_seed(0))
        obs = task.observe(states)
        course = task.course(obs)
        assert task.depth(obs, obs, obs).max() == 0
        assert course.heading.abs().max() <= np.pi / 3 + 1e-9 and course.heading.abs().max() > 1.0
        fastest = 2 * task.speed if task.path == "circle" else 1.3 * task.speed
        assert 0.98 * fastest < states[:, 3].max() <= fastest and states[:, 3].min() >= 0
    assert Task().course(Task().observe(Task().starts(4000, torch.Generator()))).offset.min() < -0.24


@pytest.mark.parametrize("name", ["RCCarDrift", "RCCarCircle", "RCCarStraight"])
def test_gymnasium_finds_and_approves_them(name):
    env = gymnasium.make(f"safeloop_envs:{name}-v0")
    check_env(env.unwrapped, skip_render_check=True)
    assert env.unwrapped.task == rc_car_tasks.spec(name).make().task


@pytest.mark.parametrize(
    "first",
    ["import gymnasium, safeloop_envs", "import safeloop_envs, gymnasium",
     "import safeloop_envs, importlib.util; importlib.util.find_spec('gymnasium'); import gymnasium"],
)  # fmt: skip
def test_gymnasium_finds_them_whichever_is_imported_first(first):
    code = f"{first}; print(gymnasium.make('safeloop_envs:RCCarDrift-v0').unwrapped.task.path)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "circle\n" and "Overriding" not in done.stderr


def test_the_same_seed_gives_the_same_episode():
    runs = []
    for _ in range(2):
        env = RCCar()
        observations = [env.reset(seed=5)[0]]
        observations += [env.step(np.array([0.3, 0.5]))[0] for _ in range(100)]
        runs.append(np.stack(observations))
    np.testing.assert_array_equal(*runs)
    assert not np.array_equal(RCCar().reset(seed=6)[0], runs[0][0])


def test_a_state_can_be_set_and_read():
    env, state = RCCar(), [0.1, -1.0, 0.2, 2.0, -0.5, 1.0]
    _, info = env.reset(seed=0, options={"state": state})
    assert info["state"].tolist() == state
    _, _, _, _, info = env.step(np.array([0.0, 0.0]))
    expected = advance(np.array([state]), np.array([[5.0, 0.0]]), Vehicle())
    np.testing.assert_array_equal(info["state"], expected[0])
    assert info["sideslip"] == pytest.approx(np.arctan2(expected[0, 4], expected[0, 3]))
    with pytest.raises(ValueError, match="six finite numbers"):
        env.reset(options={"state": [1.0, 2.0]})


def test_drifting_is_a_sideslip_over_twenty_degrees():
    env = RCCar()
    for v_y, drifting in ((-0.2, 0.0), (-2.0, 1.0)):
        env.reset(options={"state": [-1, 0, 4.7, 3.0, v_y, 3.0]})
        assert env.step(np.array([0.0, 0.0]))[4]["diagnostics"] == {"drifting": drifting}


def test_friction_and_tyres_reach_the_car():
    state, action = [-1.0, 0, 4.7, 3.0, -1.0, 3.0], np.array([0.8, 0.9])
    found = []
    for options in ({}, {"friction": 0.5}, {"sliding_friction": 0.5}, {"tyres": "linear"}):
        env = RCCar(**options)
        env.reset(options={"state": state})
        found.append(env.step(action)[4]["state"])
    for other in found[1:]:
        assert np.abs(other - found[0]).max() > 1e-3


def test_rendering_draws_frames():
    env = RCCar("rgb_array")
    env.reset(seed=0)
    first = env.render()
    env.step(np.array([0.5, 0.5]))
    second = env.render()
    assert first.shape == second.shape == (480, 560, 3) and first.dtype == np.uint8
    assert (first != second).any()
    assert RCCar().render() is None


def test_options_come_as_text_or_as_recorded():
    spec = rc_car_tasks.spec("RCCarDrift", speed="3.5", tyres="linear")
    assert spec.options["speed"] == 3.5 and spec.options["tyres"] == "linear"
    again = rc_car_tasks.spec("RCCarDrift-v0", **spec.options)
    assert again.options == spec.options and again.make().task == spec.make().task


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"sped": "3"}, "speed"),
        ({"speed": "fast"}, "speed=fast"),
        ({"speed": "-1"}, "above 0"),
        ({"limit": "0.5"}, "limit=0.5"),
        ({"tyres": "wood"}, "brush, linear"),
        ({"path": "line"}, "the task decides"),
    ],
)
def test_impossible_options_are_told(options, told):
    with pytest.raises(UsageError, match=told):
        rc_car_tasks.spec("RCCarDrift", **options)


def test_a_run_records_and_draws_the_drifting_fraction_of_each_episode(tmp_path):
    spec = rc_car_tasks.spec("RCCarDrift")
    run = Run.create(tmp_path, RunSettings("RCCarDrift", "safeloop", 200, 0, 5.0, env_options=spec.options))
    env, rng = Recorder(spec.make(), spec, run), np.random.default_rng(0)
    expected = []
    for _ in range(2):
        env.reset()
        drifting = [env.step(rng.uniform(-1, 1, 2))[4]["diagnostics"]["drifting"] for _ in range(100)]
        expected.append(np.mean(drifting))
    rows = run.diagnostics.read()
    assert [(r.simulator_steps, r.episode, r.name) for r in rows] == [(100, 0, "drifting"), (200, 1, "drifting")]
    assert [r.mean for r in rows] == pytest.approx(expected, abs=1e-6) and 0 < expected[0] < 1
    pictures.write(tmp_path / "RCCarDrift")
    assert (tmp_path / "RCCarDrift" / "diagnostics.png").stat().st_size > 5000
    run.drop_rows_after(100)
    assert len(run.diagnostics.read()) == 1
