"""Collecting datasets and learning from them: what is asked for reaches the run, and a killed run ends the same."""

import json
import shutil
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

import safeloop
from safeloop.agents.offline import buffer, events
from safeloop.data.datasets import read
from safeloop.errors import UsageError
from safeloop.experiments import specify
from safeloop.experiments.collect import collect
from safeloop.experiments.specify import Request
from safeloop.recording.reader import open_run, runs_under
from safeloop.recording.run import Run
from safeloop.registry import find_algorithm, find_env
from safeloop.training import offline as training
from tests.offline.conftest import PENDULUM, agent, killed_at, small, specified, trained

NAMES = ("bc", "crr", "plas", "loop-crr", "loop-plas", "mbop")


def test_a_random_dataset_is_whole_episodes_and_the_same_for_a_seed(pendulum, tmp_path):
    data = read(pendulum)
    assert (data.env, data.cost, len(data.per_episode(data.reward))) == ("InvertedPendulum", None, 40)
    assert data.terminated[data.ends].all() and 0.1 < data.act.std() < 0.5  # a policy's, not uniform
    collect("InvertedPendulum", ["random"], tmp_path / "same", episodes=40, quiet=True)
    collect("InvertedPendulum", ["random"], tmp_path / "other", episodes=40, seed=1, quiet=True)
    assert read(tmp_path / "same").fingerprint == data.fingerprint != read(tmp_path / "other").fingerprint


def test_costs_are_collected_where_there_are_any(point):
    data = read(point)
    assert data.cost is not None and len(data) == 400 and data.env_options["action_repeat"] == 5


def test_a_run_acts_as_it_explores_at_the_step_asked_for_and_its_buffer_is_a_dataset(tmp_path):
    options = {"hidden": 16, "batch_size": 16, "warmup": 100}
    safeloop.run("InvertedPendulum", ["sac"], steps=400, settings=options, keep_every=200, out=tmp_path,
                 eval_episodes=0, quiet=True)  # fmt: skip
    run = tmp_path / "InvertedPendulum" / "sac" / "seed-0"
    seen = open_run(run)
    steps = [e.simulator_steps for e in seen.episodes.read()]
    early = next(s for s in steps if s >= 200)
    made = collect("InvertedPendulum", [f"{run}@200"], tmp_path / "replay", replay=True, quiet=True)
    assert len(made.data) == early and np.flatnonzero(made.data.ends).tolist() == [s - 1 for s in steps if s <= early]
    whole = collect("InvertedPendulum", [str(run)], tmp_path / "whole", replay=True, quiet=True)
    assert len(whole.data) == steps[-1] and np.array_equal(whole.data.obs[:early], made.data.obs)
    assert np.allclose(whole.data.per_episode(whole.data.reward), [e.return_ for e in seen.episodes.read()])
    both = collect("InvertedPendulum", ["random", str(run)], tmp_path / "both", episodes=6, quiet=True)
    alone = collect("InvertedPendulum", ["random"], tmp_path / "alone", episodes=3, quiet=True)
    n = len(alone.data)
    assert np.array_equal(both.data.act[:n], alone.data.act) and len(both.data.per_episode(both.data.reward)) == 6
    mean = safeloop.load(run)
    mean.reset()
    assert not np.allclose(mean.act(both.data.obs[n : n + 1]), both.data.act[n : n + 1])  # it explores
    with pytest.raises(UsageError, match=r"no checkpoint at 300 steps \(there are: 200, 400\)"):
        collect("InvertedPendulum", [f"{run}@300"], tmp_path / "none", quiet=True)
    with pytest.raises(UsageError, match="a run of InvertedPendulum"):
        collect("Hopper", [str(run)], tmp_path / "none", quiet=True)
    assert not (tmp_path / "none").exists()


def test_an_agent_that_plans_in_evaluation_only_explores_as_its_actor_does(tmp_path):
    options = {"hidden": 16, "batch_size": 16, "warmup": 50, "ensemble_size": 2, "width": 16, "first_fit_steps": 10}
    safeloop.run("InvertedPendulum", ["sac-evalloop"], steps=60, settings=options, out=tmp_path, eval_episodes=0,
                 quiet=True)  # fmt: skip
    (run,) = runs_under(tmp_path / "InvertedPendulum")
    algorithm = find_algorithm("sac-evalloop")
    assert type(algorithm.explorer(run, 0)).__name__ == "Exploring"
    assert type(algorithm.load(run, 0)).__name__ == "PlannerPolicy"


@pytest.mark.parametrize("exploration", ["mean", "draw"])
def test_a_planner_explores_as_in_training(tmp_path, exploration):
    options = {"hidden": 16, "batch_size": 16, "warmup": 50, "ensemble_size": 2, "width": 16, "first_fit_steps": 10}
    safeloop.run("InvertedPendulum", ["loop-sac"], steps=60, settings={**options, "exploration": exploration},
                 out=tmp_path, eval_episodes=0, quiet=True)  # fmt: skip
    (run,) = runs_under(tmp_path / "InvertedPendulum")
    explorer, policy = find_algorithm("loop-sac").explorer(run, 0), find_algorithm("loop-sac").load(run, 0)
    for each in (explorer, policy):
        each.reset()
    assert (explorer.planner.search.draws, policy.planner.search.draws) == (exploration == "draw", False)


@pytest.mark.parametrize("name", NAMES)
def test_each_learns_from_the_dataset_and_acts(name, pendulum, tmp_path):
    run = trained(tmp_path, pendulum, name)
    assert [u.simulator_steps for u in run.updates.read()] == [30]
    assert len(run.evaluations.read()) == 2 and len(run.fits.read()) == (0 if name in ("bc", "crr", "plas") else 1)
    policy, obs = safeloop.load(run.path), np.zeros((3, 4), np.float32)
    policy.reset(3)
    act = policy.act(obs)
    assert act.shape == (3, 1) and (abs(act) <= 1).all()


def test_over_points_states_are_made_from_the_datasets_observations_and_learners_read_their_features(tmp_path):
    path = tmp_path / "lidar"
    collect("PointButton1", ["random"], path, env_options={"observation": "task"}, episodes=2, quiet=True)
    run = trained(tmp_path, path, "safeloop-crr", dynamics="points", tracks=3, fit_window=3, eval_episodes=1)
    assert run.settings.privileged == "lidars, lidar model" and len(run.evaluations.read()) == 1
    plain = specified(path, "safeloop-crr")
    assert plain.algo_settings["dynamics"] == "auto" and plain.privileged == "lidars"
    policy, obs = safeloop.load(run.path), np.random.default_rng(0).random((2, 76), np.float32)
    policy.reset(2)
    act = policy.act(obs)
    assert act.shape == (2, 2) and (abs(act) <= 1).all()


@pytest.mark.parametrize("name", ["bc", "loop-crr", "plas"])
def test_a_killed_run_ends_as_an_uninterrupted_one(name, pendulum, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "CHECKPOINT_EVERY", 10)
    whole = trained(tmp_path / "whole", pendulum, name)
    run = Run.create(tmp_path / "killed", specified(pendulum, name))
    algorithm, data = find_algorithm(name), read(pendulum)
    with killed_at(24, monkeypatch):
        algorithm.train_on(data, run)
    assert run.load_checkpoint()["steps"] == 20
    algorithm.train_on(data, run)
    assert [e.return_ for e in run.evaluations.read()] == [e.return_ for e in whole.evaluations.read()]
    for table in ("fits", "evaluations"):
        assert getattr(run, table).read() == getattr(whole, table).read()
    one, other = (r.load_checkpoint()["agent"]["learner"] for r in (run, whole))
    assert all(torch.equal(one["actor"][key], other["actor"][key]) for key in one["actor"])
    assert all(torch.equal(one[net][key], other[net][key]) for net in {"critic"} & one.keys() for key in one[net])


def test_loop_plans_over_the_very_learner_that_its_base_is(pendulum, tmp_path):
    base, loop = (trained(tmp_path, pendulum, name, eval_episodes=0) for name in ("crr", "loop-crr"))
    one, other = (r.load_checkpoint()["agent"]["learner"]["critic"] for r in (base, loop))
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_the_planner_is_one_iteration_over_the_actors_sequences_with_pessimism(pendulum):
    s = agent("loop-crr", read(pendulum), "hopper-medium-replay").new_planner([torch.Generator()]).search
    assert (s.space.horizon, s.weighting.inverse_temperature) == (4, 0.03)
    assert (s.objective.pessimism, s.proposals.noise) == (0.5, 0.01)
    assert (s.iterations, s.refit.momentum, s.population, s.proposals.count) == (1, 0.0, 0, 100)


def test_models_are_fitted_on_what_was_recorded_only_and_a_value_on_all(pendulum):
    data = read(pendulum)
    complete = np.ones(len(data), bool)
    complete[data.terminated] = False
    data = type(data)(**{**vars(data), "complete": complete})
    a, seen = agent("loop-crr", data, **small("loop-crr")), []
    a.ensemble.fit = lambda replay, *rest: seen.append(len(replay)) or (0, 0.0, 0.0)
    a.fit()
    assert seen == [complete.sum()] and len(a.replay) == len(data) == len(buffer(data, PENDULUM, "cpu"))


def test_mbops_value_is_taught_truncated_returns(pendulum):
    data, settings = read(pendulum), small("mbop", return_horizon=2, discount=0.5)
    a, last = agent("mbop", data, **settings), torch.as_tensor(data.ends)
    assert torch.equal(a.replay.data.reward, torch.where(last, 1.0, 1.5))  # a reward of 1 a decision
    cut = replace(data, terminated=np.zeros(len(data), bool), truncated=data.ends)
    assert torch.equal(agent("mbop", cut, **settings).replay.data.reward.isnan(), last)
    with pytest.raises(UsageError, match="nowhere are return_horizon=500 decisions in a row recorded"):
        agent("mbop", cut, **{**settings, "return_horizon": 500})


def test_the_value_reported_is_of_observations_from_all_over_the_dataset(pendulum):
    data = read(pendulum)
    many = replace(data, **{
        name: np.tile(value, (60, 1)) if value.ndim == 2 else np.tile(value, 60)
        for name, value in vars(data).items() if isinstance(value, np.ndarray)
    })  # fmt: skip
    assert len(many) > 3000
    a, twin = agent("crr", many), agent("crr", many)
    places = torch.arange(float(len(many))).unsqueeze(1)
    a.replay.data.obs[:] = places
    a.learner.value = lambda obs: obs[:, 0]
    assert a.value() == pytest.approx(len(many) / 2, rel=0.1)
    twin.update()
    a.value()
    a.update()
    assert torch.equal(a.generator.get_state(), twin.generator.get_state())  # a stream of its own


def test_a_dataset_that_moved_is_the_same(pendulum, tmp_path):
    shutil.copytree(pendulum, tmp_path / "there" / pendulum.name)
    learn = partial(safeloop.offline, algos=["crr"], settings=small("crr"), out=tmp_path / "out", eval_episodes=0,
                    quiet=True)  # fmt: skip
    learn(tmp_path / "there" / pendulum.name, steps=10)
    shutil.rmtree(tmp_path / "there")
    assert not learn(pendulum, steps=10).failures
    text = (tmp_path / "out" / pendulum.name / "crr" / "seed-0" / "settings.json").read_text()
    assert str(tmp_path) not in text and str(pendulum) not in text


def test_an_episode_longer_than_the_environments_is_refused(pendulum):
    data = read(pendulum)
    long = np.zeros(1001, int)
    data = replace(data, **{
        name: np.asarray(getattr(data, name)[long]) for name in ("obs", "act", "reward", "next_obs", "complete")
    }, terminated=long > 0, truncated=long > 0)  # fmt: skip
    with pytest.raises(UsageError, match="an episode of 1,001 decisions, those of InvertedPendulum have 1,000 at most"):
        specify.fitting_env(data, None, ())


def test_goals_that_were_met_are_known_from_the_reward_where_they_were_not_recorded(point, pendulum):
    data, spec = read(point), find_env("PointGoal1", {"observation": "task"})
    reward = data.reward.copy()
    reward[[7, 300]] = 0.96, 0.3
    silent = replace(data, event=None, reward=reward)
    assert np.flatnonzero(events(silent, spec)).tolist() == [7]
    assert not events(replace(read(pendulum), event=None), find_env("InvertedPendulum")).any()
    with pytest.raises(UsageError, match="when goals of PointGoal1 were met was not recorded"):
        events(silent, replace(spec, event_bonus=0.0))


def test_the_datasets_options_stand_also_where_its_environment_is_named(tmp_path):
    collect("InvertedPendulum", ["random"], tmp_path / "d", episodes=2, env_options={"action_repeat": 2}, quiet=True)
    data = read(tmp_path / "d")
    for env in (None, "InvertedPendulum"):
        assert specify.fitting_env(data, env, ())[1]["action_repeat"] == 2
    assert specify.fitting_env(data, None, {"action_repeat": "2"})[1]["action_repeat"] == 2
    with pytest.raises(UsageError, match="was collected with action_repeat=2: leave --env-set action_repeat=3 out"):
        specify.fitting_env(data, None, {"action_repeat": "3"})


def test_plas_fits_its_autoencoder_alone_for_a_share_of_the_steps():
    assert agent("plas", None, steps=60).learner.pretraining == 12


def test_a_safe_planner_needs_costs(point, pendulum, tmp_path):
    run = trained(tmp_path, point, "safeloop-crr", eval_episodes=1, horizon=4)
    assert run.settings.privileged == "known cost, entities"
    with pytest.raises(UsageError, match="costs is missing, and safeloop-crr keeps a cost within a limit"):
        specified(pendulum, "safeloop-crr")


def test_a_changed_dataset_is_refused(pendulum, point, tmp_path):
    run = Run.create(tmp_path, specified(pendulum, "crr"))
    with pytest.raises(UsageError, match="the path of its dataset pendulum-random is not known here"):
        safeloop.resume(run.path, quiet=True)
    run.dataset = str(pendulum)
    settings = json.loads((run.path / "settings.json").read_text())
    settings["data"]["fingerprint"] = "other"
    (run.path / "settings.json").write_text(json.dumps(settings))
    found = safeloop.resume(run.path, quiet=True)
    assert len(found.failures) == 1 and "has changed since this run began" in found.failures[0].reason


def test_the_verbs_former_name_still_works_and_says_the_new_one(pendulum, tmp_path):
    with (
        pytest.warns(FutureWarning, match=r"safeloop\.learn is safeloop\.offline now"),
        pytest.raises(UsageError, match="sac learns while acting"),
    ):
        safeloop.learn(pendulum, ["sac"], out=tmp_path / "out", quiet=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"algos": ["sac"]},
            "sac learns while acting: of a dataset learn bc, bc-lag, bc-safe, cpq, crr, loop-crr, loop-plas, mbop",
        ),
        ({"env": "Hopper"}, r"observations have 4 numbers, those of Hopper \(.*\) 11: give --env NAME"),
        ({"env": "Hoper"}, "unknown environment 'Hoper'"),
        ({"sweep": 217}, "--sweep 217: expected 1 to 216"),
        ({"sweep": 2, "algos": ["crr"]}, "--sweep 2: the paper's grid is not of crr's settings"),
        ({"sweep": 2, "algos": ["mbop"]}, "--sweep 2: the paper's grid is not of mbop's settings"),
        ({"sweep": 2, "algos": ["loop-crr"], "seeds": [0, 10_000]}, "--seed 10000: --sweep 2 tries settings on it"),
        ({"algos": "crr"}, r"algos='crr': expected a list of names, \['crr'\]"),
        ({"settings": {"pesimism": 1}}, "no setting 'pesimism'; nearest: pessimism"),
    ],
)
def test_what_can_not_be_is_told_before_anything_is_written(pendulum, tmp_path, options, message):
    with pytest.raises(UsageError, match=message):
        safeloop.offline(pendulum, **{"out": tmp_path / "out", "quiet": True, **options})
    assert not (tmp_path / "out").exists()


def test_what_a_dataset_lacks_is_told_before_anything_is_written(pendulum, point):
    with pytest.raises(UsageError, match="nowhere are return_horizon=500 decisions in a row recorded"):
        cut = replace(read(point), terminated=np.zeros(len(read(point)), bool))
        specify.specify(Request(["mbop"], steps=10, settings={"return_horizon": 500}), "PointGoal1", dataset=cut)
    bare = replace(read(pendulum), complete=np.zeros(len(read(pendulum)), bool))
    with pytest.raises(UsageError, match="next_observations is missing"):
        specify.specify(Request(["loop-crr"], steps=10), "InvertedPendulum", dataset=bare)
