"""POLO's humanoid tasks: the rewards of appendix A by hand, starts, and observations."""

import numpy as np
import pytest

from safeloop.errors import UsageError
from safeloop.registry import find_env
from safeloop_envs.humanoid import Humanoid, inverse_mass
from safeloop_envs.physics import Path

M, H = 3, 2


def path(task, **numbers):
    """A path of M rollouts at the first pose, with these `(place, value)` of positions `q` and velocities `v`."""
    qpos = np.tile(task.model.qpos0, (M, H + 1, 1))
    qvel = np.zeros((M, H + 1, task.model.nv))
    for name, value in numbers.items():
        (qpos if name[0] == "q" else qvel)[:, 1:, int(name[1:])] = value
    return Path(qpos, qpos, qvel, qpos, np.ones(M, bool))


def reward(task, act=0.0, **numbers):
    found = task.judge(path(task, **numbers), np.full((M, H, 21), act), np.zeros((M, 0))).reward
    assert found.shape == (M, H) and np.allclose(found, found[0, 0])
    return found[0, 0]


def test_getting_up_is_rewarded_by_height_up_to_the_target():
    task = Humanoid("getup")
    assert reward(task, q2=0.3) == pytest.approx(0.2) and reward(task, q2=1.1) == reward(task, q2=1.4) == 1
    sparse = Humanoid("getup", sparse=True)
    assert reward(sparse, q2=1.1) == 0 and reward(sparse, q2=1.1001) == 1


def test_walking_is_rewarded_by_speed_and_straightness_while_on_its_feet():
    task = Humanoid("walk")
    assert reward(task, q2=0.9, v0=1.0) == pytest.approx(-0.2)
    assert reward(task, q2=1.2, v0=0.6, q1=-0.25, q0=9.0) == pytest.approx(1 - 0.4 - 0.25)


def test_the_box_is_rewarded_when_it_is_near():
    task = Humanoid("box")
    place = task.model.nq - 7
    assert reward(task, q2=0.9) == pytest.approx(-0.2)
    assert reward(task, q2=1.2, q0=0.2) == pytest.approx(2 - 1.3)  # it begins at 1.5
    found = reward(task, q2=1.2, q0=1.5, q1=0.0, **{f"q{place}": 2.1, f"q{place + 1}": 0.3})
    assert found == pytest.approx(4 - 2 * 0.5)


def test_the_cost_of_control_is_that_of_forces_over_the_mass_matrix():
    task = Humanoid("getup", control_cost=1e-6)
    act = np.full(21, 0.5)
    effort = act @ inverse_mass(task.model) @ act
    assert effort > 0 and np.allclose(inverse_mass(task.model), inverse_mass(task.model).T)
    assert reward(task, act=0.5, q2=1.2) == pytest.approx(1 - 1e-6 * effort)


def test_it_begins_on_its_back_or_on_its_feet():
    lying = find_env("HumanoidGetup", {}).make()
    starts = [lying.reset(seed=seed)[0] for seed in (0, 0, 1)]
    assert lying.data.qpos[2] < 0.2 and starts[0].shape == (34,)
    assert np.array_equal(starts[0], starts[1]) and not np.array_equal(starts[0], starts[2])
    assert starts[0][2] > 0.9  # its front is up
    standing = find_env("HumanoidBox", {}).make()
    obs = standing.reset(seed=0)[0]
    assert obs.shape == (37,) and obs[5] > 0.99 and obs[-3:] == pytest.approx([-1, 0, 0.45], abs=0.01)
    assert standing.data.geom_xpos[:, 2].min() > -0.01 and standing.data.ncon < 20


def test_an_episode_has_600_decisions_of_8_milliseconds():
    env = find_env("HumanoidWalk", {}).make()
    env.reset(seed=0)
    for i in range(600):
        *_, truncated, info = env.step(np.zeros(21))
        assert truncated == (i == 599) and info["simulator_steps"] == 1
    assert env.data.time == pytest.approx(4.8)


def test_a_larger_head_weighs_more():
    own, larger = (Humanoid("getup", head_size=size).model for size in (1.0, 1.5))
    head = own.geom("head").id
    assert larger.geom_size[head, 0] == pytest.approx(1.5 * own.geom_size[head, 0])
    assert larger.body_mass.sum() - own.body_mass.sum() == pytest.approx(own.body("head").mass[0] * (1.5**3 - 1))


def test_options_that_can_not_be_are_refused():
    with pytest.raises(UsageError, match=r"control_cost=-1\.0: expected"):
        find_env("HumanoidWalk", {"control_cost": -1.0})
    with pytest.raises(UsageError, match=r"head_size=0\.0: expected more than 0"):
        find_env("HumanoidWalk", {"head_size": 0.0})
    with pytest.raises(UsageError, match="HumanoidWalk has no setting 'sparse'"):
        find_env("HumanoidWalk", {"sparse": True})
    with pytest.raises(UsageError, match="PointBox: it has no options, got sparse"):
        find_env("PointBox", {"sparse": True})


def test_without_dm_control_the_remedy_is_said(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install --no-deps dm-control==1\.0\.34"):
        find_env("HumanoidWalk", {}).make()


@pytest.mark.parametrize("name", ["PointMaze", "HumanoidBox"])
def test_frames_show_the_present_state(name):
    env = find_env(name, {}).make(render_mode="rgb_array")
    env.reset(seed=0)
    before = np.array(env.render())
    for _ in range(20):
        env.step(np.ones(env.action_space.shape))
    after = np.array(env.render())
    env.close()
    assert before.shape == (480, 480, 3) and before.dtype == np.uint8 and before.std() > 10
    assert (before != after).any()
    assert find_env(name, {}).make().render() is None
