"""The simulator of a task beside its environment: the same numbers, and nothing that diverges scores."""

import numpy as np
import pytest
import torch

from safeloop.models.simulator import SimulatorModel
from safeloop.models.trajectories import OpenLoop, rollout
from safeloop.planning.objective import Objective
from safeloop.planning.spaces import ActionSequences
from safeloop.registry import find_env
from safeloop_envs import physics
from safeloop_envs.physics import Physics, TaskSimulator
from safeloop_envs.point_mass import PointMass

M, H, A = 7, 5, 2


def driven(name="PointMaze", seed=0, decisions=40):
    """An environment after random decisions that each last a while, so that it has met a wall."""
    env, random = find_env(name, {}).make(), np.random.default_rng(seed)
    env.reset(seed=seed)
    for _ in range(decisions // 10):
        action = random.uniform(-1, 1, env.action_space.shape)
        for _ in range(10):
            env.step(action)
    return env, random


@pytest.mark.parametrize("name", ["PointBox", "PointMaze", "HumanoidGetup", "HumanoidWalk", "HumanoidBox"])
def test_a_rollout_repeats_the_environment_bit_for_bit(name):
    env, random = driven(name, decisions=100)
    simulator, state = find_env(name, {}).simulator(1), env.get_state()
    sizes = 6, *env.action_space.shape
    actions = np.repeat(random.uniform(-1.5, 1.5, sizes), 12, 0)  # some beyond the limits, against walls
    found = simulator.rollout(state[None], actions[None])
    states, rewards = [state], []
    for action in actions:
        obs, reward, *_ = env.step(action)
        states.append(env.get_state())
        rewards.append(reward)
    size = simulator.physics.size
    assert np.array_equal(found.reward[0], rewards)
    assert np.array_equal(found.state[0, :, :size], np.stack(states)[:, :size]) and found.valid.all()
    assert np.array_equal(simulator.observe(np.stack(states)[-1:])[0], obs)
    assert (np.ptp(np.stack(states)[:, 1:3], axis=0) > 0.01).all()  # it moved


def test_the_number_of_threads_changes_no_digit():
    env, random = driven()
    states, actions = np.repeat(env.get_state()[None], M, 0), random.uniform(-1, 1, (M, H, A))
    one, two = (find_env("PointMaze", {}).simulator(threads).rollout(states, actions) for threads in (1, 2))
    assert np.array_equal(one.state, two.state) and np.array_equal(one.valid, two.valid)
    assert len({row.tobytes() for row in one.state[:, -1]}) == M  # and the rollouts differ


def test_a_state_put_back_goes_on_as_before():
    env, random = driven()
    state, actions = env.get_state(), random.uniform(-1, 1, (H, A))
    first = [env.step(a)[0] for a in actions]
    env.set_state(state)
    assert np.array_equal(first, [env.step(a)[0] for a in actions])
    other = find_env("PointMaze", {}).make()
    other.reset(seed=3, options={"state": state})
    assert np.array_equal(first, [other.step(a)[0] for a in actions])


@pytest.mark.parametrize("state", [np.zeros(3), np.full(9, np.nan)])
def test_a_state_of_another_size_or_not_finite_is_refused(state):
    with pytest.raises(ValueError, match="a full state of this environment has 9 finite numbers"):
        driven()[0].set_state(state)


def test_a_rollout_that_diverges_is_not_valid_and_never_scores(capfd):
    env, random = driven("PointBox")
    state = env.get_state()
    states = np.stack([state] * 4)
    states[1, 3], states[2, 3], states[3, 1] = 1e9, np.nan, 1e12  # velocity; velocity; position
    simulator = find_env("PointBox", {}).simulator(1)
    actions = random.uniform(-1, 1, (4, H, A))
    found = simulator.rollout(states, actions)
    assert found.valid.tolist() == [True, False, False, False]
    alone = simulator.rollout(states[:1], actions[:1])
    assert np.array_equal(found.state[0], alone.state[0])  # one beside it is not disturbed
    model = SimulatorModel(simulator, 4)
    candidates = torch.as_tensor(actions[:3], dtype=torch.float32)[None]
    for row, allowed in enumerate(found.valid):
        scores = Objective(model, 0.9, value=None)(
            torch.as_tensor(states[row : row + 1]), ActionSequences(H, A), candidates, [torch.Generator()]
        )
        assert bool(scores.returns.isfinite().all()) == allowed
    assert capfd.readouterr() == ("", "")  # MuJoCo says nothing of it


def test_a_diverged_state_is_not_replaced_by_the_first_one():
    task = PointMass("box")
    rollouts = Physics(task.model)
    state = np.array([0.0, 0.2, 0.3, 1e11, 0.0, 0.0, 0.0, 0.0, 0.0])
    found = rollouts.path(state[None], np.zeros((1, 8, 2)))
    assert not found.valid[0] and not np.allclose(found.qpos[0, -1], 0)


def test_simulating_does_not_disturb_the_environment():
    env, random = driven()
    before = env.get_state()
    TaskSimulator(env.task).rollout(before[None], random.uniform(-1, 1, (1, H, A)))
    assert np.array_equal(before, env.get_state())
    assert not env.model.opt.disableflags  # its own model stays as it is
    physics.forward(env.model, env.data)
    assert np.array_equal(before, env.get_state())


def test_actions_at_once_and_step_by_step_agree():
    env, random = driven()
    model = SimulatorModel(find_env("PointMaze", {}).simulator(1), 4)
    start = torch.as_tensor(env.get_state()).repeat(M, 1)[None]
    actions = torch.as_tensor(random.uniform(-1, 1, (1, H, M, A)), dtype=torch.float32)
    at_once = rollout(model, start, OpenLoop(actions), H, [])
    in_steps = rollout(model, start, lambda t, state: actions[:, t], H, [])
    assert at_once.obs.shape == in_steps.obs.shape == (1, H + 1, M, start.shape[-1])
    assert torch.allclose(at_once.obs[..., :5], in_steps.obs[..., :5], atol=1e-6)
    assert at_once.outcome.reward.shape == in_steps.outcome.reward.shape == (1, H, M)
    assert at_once.outcome.terminated is None and at_once.outcome.event is None


def test_sensors_are_those_of_each_state_and_of_the_last():
    import mujoco

    model = mujoco.MjModel.from_xml_string("""<mujoco><worldbody><body name="b"><joint name="j" type="slide"/>
      <geom size=".1"/></body></worldbody><actuator><motor joint="j"/></actuator>
      <sensor><jointpos joint="j"/><jointvel joint="j"/></sensor></mujoco>""")
    random = np.random.default_rng(0)
    found = Physics(model).path(random.normal(size=(3, 5)), random.normal(size=(3, 6, 1)))
    assert found.sensors.shape == (3, 7, 2)
    assert np.allclose(found.sensors[..., 0], found.qpos[..., 0]) and np.allclose(
        found.sensors[..., 1], found.qvel[..., 0]
    )


def test_coverage_is_the_share_of_free_cells_visited():
    env = find_env("PointMaze", {}).make()
    env.reset(seed=0)
    assert env.seen.sum() == 1 and env.seen[1, 1]
    info = env.step(np.zeros(A, np.float32))[-1]
    assert info["coverage"] == 1 / 400 and info["diagnostics"] == {}
    for _ in range(999):
        info = env.step(np.array([-1.0, 0.0]))[-1]
    assert info["diagnostics"] == {"coverage": info["coverage"]} and info["coverage"] > 1 / 400


def test_the_point_stops_at_walls_and_passes_by_their_gaps():
    env = find_env("PointMaze", {}).make()
    env.reset(seed=0)

    def after(*action):
        for _ in range(100):
            obs = env.step(np.array(action))[0]
        return obs[:2]

    assert abs(after(1.0, 0.0)[0] - (-0.6 - 0.03 - 0.05)) < 0.02  # at full speed
    assert after(0.0, 1.0)[1] == pytest.approx(0.95, abs=0.02)
    assert after(1.0, 0.0)[0] == pytest.approx(-0.2 - 0.03 - 0.05, abs=0.02)  # by the first gap, to the second wall


def test_the_solvers_memory_is_part_of_the_state():
    import mujoco

    boxes = "".join(
        f'<body pos="{0.03 * i} 0 {0.11 + 0.21 * i}"><freejoint/><geom type="box" size=".1 .1 .1"/></body>'
        for i in range(4)
    )
    model = mujoco.MjModel.from_xml_string(f"""<mujoco><option iterations="2" solver="CG"/>
      <worldbody><geom type="plane" size="1 1 1"/>{boxes}</worldbody></mujoco>""")
    data = mujoco.MjData(model)
    mujoco.mj_step(model, data, 150)
    state, states = physics.get_state(model, data), []
    for _ in range(20):
        mujoco.mj_step(model, data)
        states.append(physics.get_state(model, data))
    simulated, controls = Physics(model), np.zeros((1, 20, 0))
    found = simulated.path(state[None], controls).state[0, 1:, : simulated.size]
    assert np.array_equal(found, np.stack(states)[:, : simulated.size])
    state[simulated.size :] = 0
    assert not np.array_equal(found, simulated.path(state[None], controls).state[0, 1:, : simulated.size])
