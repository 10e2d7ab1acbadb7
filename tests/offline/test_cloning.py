"""Behaviour cloning, of all episodes of a dataset or of those within a budget."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import safeloop
from safeloop.data.datasets import read
from safeloop.data.episodes import within_budget
from safeloop.errors import UsageError
from safeloop.experiments.specify import Request, fitting_env, specify
from safeloop.learners.bc import BC
from safeloop.learners.settings import BCSettings
from safeloop.recording.run import Run
from safeloop.registry import find_algorithm
from tests.core.test_sac import A, S, batch
from tests.models.test_ensemble import through_a_file
from tests.offline.conftest import killed_at, specified


def bc(**changes):
    return BC(S, A, BCSettings(**{"hidden": 16, **changes}), torch.Generator().manual_seed(0))


def priced(dataset, costs, length):
    """The dataset as episodes of `length` decisions, the last one of what is left, with these cost returns."""
    n = len(dataset)
    ends = np.arange(1, n + 1) % length == 0
    cost = np.zeros(n, np.float32)
    cost[::length] = costs
    return replace(dataset, cost=cost, terminated=np.zeros(n, bool), truncated=ends)


def test_the_policy_is_the_mean_of_the_actions_in_each_state_and_has_no_value():
    # Two states; in one the actions are -0.2 and 0.6 in equal parts, in the other 0.9.
    n, learner = 64, bc(learning_rate=1e-2)
    one = torch.arange(n) % 2 == 0
    act = torch.where(one, torch.where(torch.arange(n) % 4 == 0, -0.2, 0.6), torch.tensor(0.9))
    data = batch(n)._replace(obs=one.float().unsqueeze(1).expand(n, S), act=act.unsqueeze(1).expand(n, A))
    for _ in range(400):
        learner.update(data)
    obs = torch.stack((torch.ones(2, S), torch.zeros(2, S)))  # [2, 2, S]
    expected = torch.tensor([0.2, 0.9]).view(2, 1, 1).expand(2, 2, A)
    assert torch.allclose(learner.act(obs, None), expected, atol=0.03)
    assert learner.value(obs).shape == (2, 2) and learner.value(obs).isnan().all()


def test_a_restored_clone_goes_on_as_the_kept_one():
    first, second, data = bc(), bc(), batch()
    for _ in range(3):
        first.update(data)
    second.restore(through_a_file(first.checkpoint()))
    for learner in (first, second):
        learner.update(data)
    assert torch.equal(first.act(data.obs, None), second.act(data.obs, None))


def test_episodes_within_the_budget_are_kept_whole_and_in_order(point):
    data = priced(read(point), [3.0, 9.0, 2.0, 0.0, 9.0, 3.5], 70)  # 400 rows: the last episode has 50, with no end
    found = within_budget(data, 3.0, "bc-safe")
    kept = np.concatenate((np.arange(70), np.arange(140, 280)))
    assert np.array_equal(found.act, data.act[kept]) and np.array_equal(found.next_obs, data.next_obs[kept])
    assert found.per_episode(found.cost).tolist() == [3.0, 2.0, 0.0]
    open_end = within_budget(data, 3.5, "bc-safe")
    assert open_end.per_episode(open_end.cost).tolist() == [3.0, 2.0, 0.0, 3.5]


def test_a_dataset_without_costs_or_without_an_episode_within_the_budget_is_refused(point, pendulum):
    data = priced(read(point), [3.0, 9.0, 2.5, 4.0, 9.0, 3.5], 70)
    told = r"no episode has a cost return within the budget of 2, the lowest is 2\.5: give --budget 2\.5 or more"
    ask = Request(["bc-safe"], steps=10, budget=2.0)
    env, options = fitting_env(data, None, ())
    with pytest.raises(UsageError, match=told):
        specify(ask, env, options, data)
    assert len(specify(replace(ask, budget=2.5), env, options, data)) == 1
    with pytest.raises(UsageError, match="costs is missing, and bc-safe imitates the episodes within a budget"):
        specify(ask, env, options, replace(data, cost=None))
    with pytest.raises(UsageError, match="InvertedPendulum has no cost, and bc-safe keeps a cost within a limit"):
        specified(pendulum, "bc-safe")


def test_bc_safe_imitates_the_episodes_within_the_runs_budget_alone(point, tmp_path):
    data = priced(read(point), [3.0, 9.0, 2.0, 0.0, 9.0, 3.5], 70)
    cheap = np.repeat([True, False, True, True, False, False], [70, 70, 70, 70, 70, 50])
    data = replace(data, act=np.where(cheap, 0.5, -0.5)[:, None].repeat(2, 1).astype(np.float32))
    said, acts = [], {}
    for name in ("bc", "bc-safe"):
        asked = Request([name], steps=300, budget=3.0, eval_episodes=0, settings={"hidden": 16, "learning_rate": 1e-2})
        env, options = fitting_env(data, None, ())
        run = Run.create(tmp_path, specify(asked, env, options, data)[0])
        run.notify = said.append
        find_algorithm(name).train_on(data, run)
        policy = safeloop.load(run.path)
        policy.reset(len(data))
        acts[name] = policy.act(data.obs).mean()
        (row,) = run.updates.read()
        assert np.isnan([row.value, row.data_return]).all() and row.action_error < (0.1 if name == "bc-safe" else 1)
    assert acts["bc-safe"] == pytest.approx(0.5, abs=0.05) and acts["bc"] < 0.2
    assert said == ["learns from 3 of 6 episodes, those within the budget of 3"]


def test_a_resumed_bc_safe_ends_as_an_uninterrupted_one(point, tmp_path, monkeypatch):
    monkeypatch.setattr("safeloop.training.offline.CHECKPOINT_EVERY", 10)
    data = priced(read(point), [3.0, 9.0, 2.0, 0.0, 9.0, 3.5], 70)
    asked = Request(["bc-safe"], steps=25, budget=3.0, eval_episodes=0, settings={"hidden": 16})
    env, options = fitting_env(data, None, ())
    algorithm, settings = find_algorithm("bc-safe"), specify(asked, env, options, data)[0]
    whole, killed = (Run.create(tmp_path / name, settings) for name in ("whole", "killed"))
    algorithm.train_on(data, whole)
    with killed_at(15, monkeypatch):
        algorithm.train_on(data, killed)
    algorithm.train_on(data, killed)
    one, other = (run.load_checkpoint()["agent"]["learner"]["actor"] for run in (whole, killed))
    assert all(torch.equal(one[key], other[key]) for key in one)
