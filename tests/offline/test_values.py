"""Values learned of a dataset stay within what its returns allow, and a run says where they do not."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from safeloop.agents.offline import WATCHED, OfflineAgent
from safeloop.data.datasets import read
from safeloop.data.episodes import discounted_returns
from safeloop.data.replay import Batch
from safeloop.experiments import worker
from safeloop.experiments.config import with_config
from safeloop.experiments.specify import Request
from safeloop.learners.crr import CRR
from safeloop.learners.settings import CRRSettings, LearnerSettings
from safeloop.learners.targets import one_step
from safeloop.networks import normalised_relu
from safeloop.recording.reader import open_run
from safeloop.recording.rows import Update
from safeloop.recording.run import Run
from safeloop.registry import find_algorithm, find_env
from safeloop.settings import build
from safeloop.training import offline as training
from tests.core.test_sac import batch
from tests.offline.conftest import PENDULUM, agent, small, specified

RECORDED = Path(__file__).parents[2] / "results/offline/hopper-medium/crr/seed-0"
GAMMA = 0.9
VALUE = 1 / (1 - GAMMA)
"""The value of a reward of 1 for ever: that of every policy in `narrow`."""


def narrow(n=200, obs_dim=16, act_dim=8):
    """Transitions among a few similar states, with actions near the corners of a box: a reward of 1 for ever."""
    g = torch.Generator().manual_seed(0)
    obs = 0.2 * torch.randn(n + 1, obs_dim, generator=g)
    act = 0.4 * obs[:n, :act_dim].sign() + 0.02 * torch.randn(n, act_dim, generator=g)
    none = torch.zeros(n)
    return Batch(obs[:n], act, torch.ones(n), none, none, none, obs[1:])


def learned_values(steps=100, bounds=None, layer_norm=True):
    """The values `[n]` in the dataset's states, after so many gradient steps of CRR."""
    data, settings = narrow(), CRRSettings(advantage_temperature=0.01)
    shared = LearnerSettings(discount=GAMMA, learning_rate=2e-2, tau=0.5, hidden=32, batch_size=16)
    learner = CRR(16, 8, shared, settings, torch.Generator().manual_seed(0), bounds=bounds, layer_norm=layer_norm)
    rows = torch.Generator().manual_seed(1)
    for _ in range(steps):
        chosen = torch.randint(len(data.reward), (16,), generator=rows)
        learner.update(Batch(*(column[chosen] for column in data)))
    return learner.value(data.obs)


def test_layer_normalisation_keeps_a_narrow_datasets_values_within_its_returns_and_clamped_targets_near_them():
    assert learned_values(layer_norm=False).mean() > 2 * VALUE
    values = learned_values()
    assert values.min() > 0.95 * VALUE and values.max() < 1.01 * VALUE
    assert learned_values(layer_norm=False, bounds=(0.0, VALUE)).max() < 1.5 * VALUE  # beyond, as targets are not


def data_of(dataset, rewards, ends):
    """The first transitions of a dataset with these rewards; ends by row, "t" a termination, "c" a cut."""
    n = len(rewards)
    kept = {key: value[:n] for key, value in vars(dataset).items() if isinstance(value, np.ndarray)}
    terminated, truncated = (np.array([ends.get(i) == kind for i in range(n)]) for kind in "tc")
    return replace(
        dataset, **{**kept, "reward": np.array(rewards, np.float32), "terminated": terminated, "truncated": truncated}
    )


def test_discounted_returns_end_with_a_termination_and_go_on_at_the_mean_reward_after_a_cut(pendulum):
    data = data_of(read(pendulum), [1.0, 2, 4, 3, 5, 7], {2: "t", 4: "c"})
    # 3 and 5 were cut off: their mean of 4 goes on for ever, 4 / (1 - 0.5) = 8; so does the last row's 7, to 14.
    expected = [1 + 0.5 * 4, 2 + 0.5 * 4, 4, 3 + 0.5 * (5 + 0.5 * 8), 5 + 0.5 * 8, 7 + 0.5 * 14]
    assert np.allclose(discounted_returns(data, 0.5), expected)
    assert np.allclose(discounted_returns(data, 1.0), [7, 6, 4, 8, 5, 7])  # a cut counts as an end


def test_a_constant_rewards_return_is_the_same_before_a_cut_as_without_one(pendulum):
    data = data_of(read(pendulum), [2.0] * 7, {3: "c"})
    assert np.allclose(discounted_returns(data, 0.9), 20.0)


def test_targets_are_clamped_to_the_bounds_where_there_are_any():
    data = batch()._replace(reward=torch.tensor([1.0, 2, 3, 4, 5, 6]), terminated=torch.tensor([0.0, 1, 0, 0, 0, 1]))
    following = torch.tensor([10.0, 10, -40, 0, 2, 9])
    assert one_step(data, following, 0.5).target.tolist() == [6, 2, -17, 4, 6, 6]
    assert one_step(data, following, 0.5, (-3.0, 5.5)).target.tolist() == [5.5, 2, -3, 4, 5.5, 5.5]


@pytest.mark.parametrize("name", ["crr", "plas", "loop-crr", "loop-plas"])
def test_clamped_targets_are_within_the_datasets_discounted_returns(name, pendulum):
    data = read(pendulum)
    found = agent(name, data, **small(name, clamp_targets=True)).learner.bounds
    lengths = data.per_episode(np.ones(len(data)))  # a reward of 1 a decision, each episode ends with a fall
    assert found == pytest.approx((1.0, (1 - 0.99 ** lengths.max()) / 0.01), rel=1e-4)
    assert agent(name, data, **small(name)).learner.bounds is None  # off by default
    assert agent(name, None, **small(name, clamp_targets=True)).learner.bounds is None  # a loaded one only acts


def test_returns_and_actions_are_measured_at_the_places_of_the_value(pendulum):
    data = read(pendulum)
    a = agent("loop-crr", data, **small("loop-crr"))
    assert len(a.watched) == WATCHED
    found, places = a.measured(), a.watched.numpy()
    returns = discounted_returns(data, 0.99)
    missed = a.learner.act(a.replay.data.obs[a.watched], None).numpy() - data.act[places]
    assert found["action_error"] == pytest.approx(np.sqrt((missed**2).mean()), rel=1e-5)
    assert found["data_return"] == pytest.approx(returns[places].mean(), rel=1e-5)
    assert (found["data_lowest"], found["data_highest"]) == (returns.min(), returns.max())


def test_mbops_values_are_measured_beside_truncated_returns_where_these_are_known(pendulum):
    data = read(pendulum)
    cut = replace(data, terminated=np.zeros(len(data), bool), truncated=data.ends)
    found = agent("mbop", cut, **small("mbop", return_horizon=2, discount=0.5)).measured()
    assert found["data_return"] == found["data_lowest"] == found["data_highest"] == 1.5


def row(value, mean=5.0, lowest=2.0, highest=10.0):
    return Update(1000, 1.0, value, mean, lowest, highest)


def test_values_are_implausible_outside_the_returns_and_zero_where_all_values_begin():
    plausible = [-0.9, 0.0, 5.0, 10.9]  # a tenth of the range from 0 to 10 is allowed beyond
    assert not any(training.implausible(row(value)) for value in plausible)
    assert all(training.implausible(row(value)) for value in (-1.1, 11.1, 1e30, np.inf, np.nan))
    assert not training.implausible(row(0.5, -5.0, -10.0, -2.0)) and training.implausible(row(1.5, -5.0, -10.0, -2.0))
    assert not training.implausible(Update(1000, 1.0, np.nan))  # no values are learned


def test_a_run_says_once_that_its_values_can_not_be_also_when_it_is_resumed(pendulum, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "REPORT_EVERY", 5)
    run, said = Run.create(tmp_path, specified(pendulum, "crr", steps=30, layer_norm=False)), []
    run.notify = said.append
    algorithm, data = find_algorithm("crr"), read(pendulum)
    monkeypatch.setattr(OfflineAgent, "value", lambda agent: 400.0)
    algorithm.train_on(data, run)
    highest = run.updates.read()[0].data_highest
    assert said == [
        f"after 5 gradient steps the mean value is 400, while the returns of the dataset that values stand for are "
        f"1 to {highest:.4g}: try --set layer_norm=true"
    ]
    settings = run.settings.algo_settings
    told = training.warning(row(20.0), {**settings, "layer_norm": True})
    assert told.endswith("are 2 to 10: try --set clamp_targets=true")
    assert training.warning(row(20.0), {}).endswith("are 2 to 10")
    longer = run.path / "settings.json"
    longer.write_text(longer.read_text().replace('"steps": 30', '"steps": 40'))
    again = open_run(run.path)
    again.notify = said.append
    algorithm.train_on(data, again)
    assert len(run.updates.read()) == 8 and len(said) == 1


def test_a_notice_of_a_run_reaches_its_log_and_its_launcher(pendulum, tmp_path, monkeypatch, capsys):
    run, sent = Run.create(tmp_path, specified(pendulum, "crr", eval_episodes=0)), []
    monkeypatch.setattr(worker, "train", lambda run, threads: run.notify("all is not well"))
    assert worker.work(run, 1, sent.append) == 0
    assert {"notice": "all is not well"} in sent and "safeloop: all is not well\n" in capsys.readouterr().err


def test_runs_from_before_layer_normalisation_are_read_without_it(tmp_path):
    path = Path(shutil.copytree(RECORDED, tmp_path / "first"))  # of the first schema
    assert "layer_norm" not in (path / "settings.json").read_text()
    assert open_run(path).settings.algo_settings["layer_norm"] is False
    second = json.loads((path / "settings.json").read_text())
    del second["told"]
    second["schema"] = 2
    second["algo_settings"]["tau"] = second["algo_settings"].pop("polyak")
    (path / "settings.json").write_text(json.dumps(second))
    settings = open_run(path).settings.algo_settings
    assert settings["layer_norm"] is False
    built = build(find_algorithm("crr").info.settings, settings, owner="crr")
    critic = find_algorithm("crr").build(built, find_env("Hopper"), 11, 3, 0, "cpu", None, 10).learner.critic
    assert critic.activation is not normalised_relu
    second["algo_settings"]["layer_norm"] = True
    (path / "settings.json").write_text(json.dumps(second))
    assert open_run(path).settings.algo_settings["layer_norm"] is True
    usual = build(find_algorithm("crr").info.settings, owner="crr")
    assert find_algorithm("crr").build(usual, PENDULUM, 4, 1, 0, "cpu", None, 10).learner.critic.activation is (
        normalised_relu
    )


def test_a_recorded_configuration_keeps_its_meaning_and_a_written_one_has_the_present_defaults(tmp_path):
    asked, _ = with_config(Request(config=RECORDED / "settings.json"), None)
    assert asked.settings["layer_norm"] is False
    (tmp_path / "own.json").write_text('{"algo": "crr", "algo_settings": {"hidden": 64}}')
    asked, _ = with_config(Request(config=tmp_path / "own.json"), "Hopper")
    assert asked.settings == {"hidden": 64}
