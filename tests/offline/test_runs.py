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
from safeloop.offline import sweep, training
from safeloop.recording.reader import open_run, runs_under
from safeloop.recording.reader import read as recorded
from safeloop.recording.rows import EvaluationEpisode
from safeloop.recording.run import Run
from safeloop.registry import find_algorithm, find_env
from safeloop.report import offline as report
from safeloop.settings import build

NAMES = ("crr", "plas", "loop-crr", "loop-plas", "mbop")
SMALL = {
    "hidden": 16, "batch_size": 16, "members": 2, "layers": 1, "width": 16, "fit_steps": 20, "population": 8,
    "horizon": 2, "pretraining": 0.25, "return_horizon": 20,
}  # fmt: skip


@pytest.fixture(scope="session")
def pendulum(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "pendulum-random"
    collect("InvertedPendulum", ["random"], path, episodes=40, quiet=True)
    return path


@pytest.fixture(scope="session")
def point(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "point-random"
    collect("PointGoal1", ["random"], path, episodes=2, quiet=True)
    return path


def small(name, **changes):
    known = find_algorithm(name).settings.__dataclass_fields__
    return {**{k: v for k, v in SMALL.items() if k in known}, **changes}


def plan(dataset, name, steps=30, seed=0, eval_episodes=2, **changes):
    data = read(dataset)
    env, options = specify.fitting_env(data, None, ())
    return specify.plan(
        env, [name], steps, [seed], "default", None, "cpu", small(name, **changes), options, 0, eval_episodes, 1, "",
        dataset=data,
    )[0]  # fmt: skip


def trained(out, dataset, name, **asked):
    run = Run.create(out, plan(dataset, name, **asked))
    find_algorithm(name).learn_from(read(dataset), run)
    return run


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
    options = {"hidden": 16, "batch_size": 16, "warmup": 50, "members": 2, "width": 16, "first_fit_steps": 10}
    safeloop.run("InvertedPendulum", ["sac-evalloop"], steps=60, settings=options, out=tmp_path, eval_episodes=0,
                 quiet=True)  # fmt: skip
    (run,) = runs_under(tmp_path / "InvertedPendulum")
    algorithm = find_algorithm("sac-evalloop")
    assert type(algorithm.explorer(run, 0)).__name__ == "Exploring"
    assert type(algorithm.load(run, 0)).__name__ == "PlannerPolicy"


@pytest.mark.parametrize("exploration", ["mean", "draw"])
def test_a_planner_explores_as_in_training(tmp_path, exploration):
    options = {"hidden": 16, "batch_size": 16, "warmup": 50, "members": 2, "width": 16, "first_fit_steps": 10}
    safeloop.run("InvertedPendulum", ["loop-sac"], steps=60, settings={**options, "exploration": exploration},
                 out=tmp_path, eval_episodes=0, quiet=True)  # fmt: skip
    (run,) = runs_under(tmp_path / "InvertedPendulum")
    explorer, policy = find_algorithm("loop-sac").explorer(run, 0), find_algorithm("loop-sac").load(run, 0)
    for each in (explorer, policy):
        each.reset()
    assert (explorer.planner.settings.draws, policy.planner.settings.draws) == (exploration == "draw", False)


@pytest.mark.parametrize("name", NAMES)
def test_each_learns_from_the_dataset_and_acts(name, pendulum, tmp_path):
    run = trained(tmp_path, pendulum, name)
    assert [u.simulator_steps for u in run.updates.read()] == [30]
    assert len(run.evaluations.read()) == 2 and len(run.fits.read()) == (0 if name in ("crr", "plas") else 1)
    policy, obs = safeloop.load(run.path), np.zeros((3, 4), np.float32)
    policy.reset(3)
    act = policy.act(obs)
    assert act.shape == (3, 1) and (abs(act) <= 1).all()


@pytest.mark.parametrize("name", ["loop-crr", "plas"])
def test_a_killed_run_ends_as_an_uninterrupted_one(name, pendulum, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "CHECKPOINT_EVERY", 10)
    whole = trained(tmp_path / "whole", pendulum, name)
    run = Run.create(tmp_path / "killed", plan(pendulum, name))
    algorithm, data = find_algorithm(name), read(pendulum)

    def killed(agent, count=[0]):  # noqa: B006
        count[0] += 1
        if count[0] == 25:
            raise KeyboardInterrupt
        return update(agent)

    kind = algorithm.agent
    update = kind.update
    with monkeypatch.context() as patch:
        patch.setattr(kind, "update", killed)
        with pytest.raises(KeyboardInterrupt):
            algorithm.learn_from(data, run)
    assert run.load_checkpoint()["steps"] == 20
    algorithm.learn_from(data, run)
    assert [e.return_ for e in run.evaluations.read()] == [e.return_ for e in whole.evaluations.read()]
    for table in ("fits", "evaluations"):
        assert getattr(run, table).read() == getattr(whole, table).read()
    one, other = (r.load_checkpoint()["agent"]["learner"] for r in (run, whole))
    assert all(torch.equal(one["critic"][key], other["critic"][key]) for key in one["critic"])


def test_loop_plans_over_the_very_learner_that_its_base_is(pendulum, tmp_path):
    base, loop = (trained(tmp_path, pendulum, name, eval_episodes=0) for name in ("crr", "loop-crr"))
    one, other = (r.load_checkpoint()["agent"]["learner"]["critic"] for r in (base, loop))
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_the_planner_is_one_iteration_over_the_actors_sequences_with_pessimism(pendulum):
    algorithm, spec = find_algorithm("loop-crr"), find_env("InvertedPendulum")
    settings = build(algorithm.settings, algorithm.presets["hopper-medium-replay"], owner="loop-crr")
    agent = algorithm.agent(algorithm, spec, 4, 1, settings, read(pendulum), 10, 0, "cpu")
    p = agent.new_planner([torch.Generator()]).settings
    assert (p.horizon, p.inverse_temperature, p.pessimism, p.actor_noise) == (4, 0.03, 0.5, 0.01)
    assert (p.iterations, p.actor_fraction, p.momentum, p.population) == (1, 1.0, 0.0, 100)


def test_models_are_fitted_on_what_was_recorded_only_and_a_value_on_all(pendulum):
    data = read(pendulum)
    complete = np.ones(len(data), bool)
    complete[data.terminated] = False
    data = type(data)(**{**vars(data), "complete": complete})
    algorithm = find_algorithm("loop-crr")
    settings = build(algorithm.settings, small("loop-crr"), owner="loop-crr")
    agent = algorithm.agent(algorithm, find_env("InvertedPendulum"), 4, 1, settings, data, 10, 0, "cpu")
    seen = []
    agent.dynamics.fit = lambda replay, *rest: seen.append(len(replay)) or (0, 0.0, 0.0)
    agent.fit()
    assert seen == [complete.sum()] and len(agent.replay) == len(data) == len(buffer(data, agent.spec, "cpu"))


def test_mbops_value_is_taught_truncated_returns(pendulum):
    algorithm, data = find_algorithm("mbop"), read(pendulum)
    settings = build(algorithm.settings, small("mbop", return_horizon=2, discount=0.5), owner="mbop")
    agent = algorithm.agent(algorithm, find_env("InvertedPendulum"), 4, 1, settings, data, 10, 0, "cpu")
    last = torch.as_tensor(data.ends)
    assert torch.equal(agent.replay.data.reward, torch.where(last, 1.0, 1.5))  # a reward of 1 a decision
    cut = replace(data, terminated=np.zeros(len(data), bool), truncated=data.ends)
    make = partial(algorithm.agent, algorithm, find_env("InvertedPendulum"), 4, 1)
    agent = make(settings, cut, 10, 0, "cpu")
    assert torch.equal(agent.replay.data.reward.isnan(), last)
    with pytest.raises(UsageError, match="nowhere are return_horizon=500 decisions in a row recorded"):
        make(replace(settings, return_horizon=500), cut, 10, 0, "cpu")


def test_the_value_reported_is_of_observations_from_all_over_the_dataset(pendulum):
    algorithm, data = find_algorithm("crr"), read(pendulum)
    many = replace(data, **{
        name: np.tile(value, (60, 1)) if value.ndim == 2 else np.tile(value, 60)
        for name, value in vars(data).items() if isinstance(value, np.ndarray)
    })  # fmt: skip
    assert len(many) > 3000
    make = partial(algorithm.agent, algorithm, find_env("InvertedPendulum"), 4, 1, algorithm.settings(), many, 10, 0)
    agent, twin = make("cpu"), make("cpu")
    places = torch.arange(float(len(many))).unsqueeze(1)
    agent.replay.data.obs[:] = places
    agent.learner.value = lambda obs: obs[:, 0]
    assert agent.value() == pytest.approx(len(many) / 2, rel=0.1)
    twin.update()
    agent.value()
    agent.update()
    assert torch.equal(agent.generators[0].get_state(), twin.generators[0].get_state())  # a stream of its own


def test_a_dataset_that_moved_is_the_same(pendulum, tmp_path):
    shutil.copytree(pendulum, tmp_path / "there" / pendulum.name)
    learn = partial(safeloop.learn, algos=["crr"], settings=small("crr"), out=tmp_path / "out", eval_episodes=0,
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


def test_planning_is_compared_with_its_base_after_as_many_steps(pendulum, tmp_path):
    runs = [trained(tmp_path, pendulum, name, eval_episodes=1) for name in ("crr", "loop-crr")]
    assert report.improvements([recorded(run) for run in runs]) == []  # neither says that it has finished
    for run in runs:
        run.set_status("finished")
    assert len(report.improvements([recorded(run) for run in runs])) == 1
    table = runs[1].evaluations
    table.keep([replace(row, simulator_steps=20) for row in table.read()])
    assert report.improvements([recorded(run) for run in runs]) == []


def test_a_base_stands_before_what_plans_on_it(pendulum, tmp_path):
    runs = [Run.create(tmp_path, plan(pendulum, name)) for name in ("loop-plas", "mbop", "loop-crr", "plas", "crr")]
    names = [r.algo for r in report.rows([recorded(run) for run in runs])]
    assert names == ["crr", "loop-crr", "mbop", "plas", "loop-plas"]


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
    algorithm = find_algorithm("plas")
    agent = algorithm.agent(algorithm, find_env("InvertedPendulum"), 4, 1, algorithm.settings(), None, 60, 0, "cpu")
    assert agent.learner.pretraining == 12


def test_a_safe_planner_needs_costs(point, pendulum, tmp_path):
    run = trained(tmp_path, point, "safeloop-crr", eval_episodes=1, horizon=4)
    assert run.settings.told == "known cost, entities"
    with pytest.raises(UsageError, match="costs is missing, and safeloop-crr keeps a cost within a limit"):
        plan(pendulum, "safeloop-crr")


def test_learn_compares_and_shows_what_planning_adds(pendulum, tmp_path):
    learn = partial(safeloop.learn, pendulum, ["crr", "loop-crr"], steps=20, seeds=[0, 1], out=tmp_path,
                    settings=small("loop-crr"), eval_episodes=2, quiet=True)  # fmt: skip
    found = learn()
    folder = tmp_path / "pendulum-random"
    assert found.folder == folder and not found.failures
    assert [(r.algo, r.seed) for r in found.rows] == [
        ("crr", "0"), ("crr", "1"), ("crr", "median"), ("loop-crr", "0"), ("loop-crr", "1"), ("loop-crr", "median")
    ]  # fmt: skip
    gain = report.improvements([recorded(run) for run in runs_under(folder)])[0]
    middle = {r.algo: r.evaluation_return for r in found.rows if r.seed == "median"}
    assert (gain.base_return, gain.return_, gain.seeds) == (middle["crr"], middle["loop-crr"], 2)
    assert gain.improvement == pytest.approx(100 * (middle["loop-crr"] / middle["crr"] - 1))
    for name in ("summary.csv", "summary.md", "improvement.csv", "returns.png"):
        assert (folder / name).stat().st_size > 80
    assert "score" not in found.text  # D4RL has no references for this task
    before = (folder / "crr" / "seed-0" / "updates.csv").stat().st_mtime_ns
    assert learn().text == found.text and (folder / "crr" / "seed-0" / "updates.csv").stat().st_mtime_ns == before
    assert safeloop.plot(tmp_path)[0].text == found.text


def test_a_changed_dataset_is_refused(pendulum, point, tmp_path):
    run = Run.create(tmp_path, plan(pendulum, "crr"))
    with pytest.raises(UsageError, match="where its dataset pendulum-random lies is not known here"):
        safeloop.resume(run.path, quiet=True)
    run.dataset = str(pendulum)
    settings = json.loads((run.path / "settings.json").read_text())
    settings["data"]["fingerprint"] = "other"
    (run.path / "settings.json").write_text(json.dumps(settings))
    found = safeloop.resume(run.path, quiet=True)
    assert len(found.failures) == 1 and "has changed since this run began" in found.failures[0].reason


def test_a_score_is_d4rls(tmp_path):
    for env, random, expert in (
        ("Hopper", -20.272305, 3234.3), ("HalfCheetah", -280.178953, 12135.0), ("Walker2d", 1.629008, 4592.3),
    ):  # fmt: skip
        settings = type("S", (), {"env": env, "env_options": find_env(env).options})
        assert report.score(settings, expert) == pytest.approx(100)
        assert report.score(settings, random) == pytest.approx(0)


@pytest.mark.parametrize(("best", "chosen"), [(0.1, [4, 0.5, 0.1, 0.1]), (1.0, [4, 0.5, 1.0, 0.01])])
def test_a_sweep_tries_its_own_settings_and_some_of_the_papers_on_another_seed(
    pendulum, tmp_path, monkeypatch, best, chosen
):
    points, seeds = sweep.candidates(216), []
    assert len({tuple(p.values()) for p in points}) == 216 and points[:3] == sweep.candidates(3)

    def evaluated(policy, spec, episodes, seed):
        seeds.append(seed)
        return [EvaluationEpisode(0, i, float(policy.agent.settings.inverse_temperature == best), 0.0, 0, 1)
                for i in range(episodes)]  # fmt: skip

    monkeypatch.setattr(sweep, "evaluate", evaluated)
    own = {k: v for k, v in small("loop-crr").items() if k != "horizon"}
    found = safeloop.learn(pendulum, ["crr", "loop-crr"], steps=10, settings=own, out=tmp_path,
                           eval_episodes=1, sweep=2, quiet=True)  # fmt: skip
    folder = tmp_path / "pendulum-random"
    tried = (folder / "loop-crr-sweep" / "seed-10000" / "sweep.csv").read_text().splitlines()
    assert len(tried) == 4 and tried[0].startswith("horizon,pessimism,inverse_temperature,actor_noise")
    assert tried[1].startswith("4,0.5,1.0,0.01") and tried[2].startswith("4,0.5,0.1,0.1") and seeds == [10_000] * 3
    settings = open_run(folder / "loop-crr-tuned" / "seed-0").settings.algo_settings
    assert [settings[name] for name in ("horizon", "pessimism", "inverse_temperature", "actor_noise")] == chosen
    assert {r.algo for r in found.rows} == {"crr", "loop-crr tuned"}  # the trial is no result
    gain = report.improvements([recorded(run) for run in runs_under(folder)])
    assert [(g.base, g.algo) for g in gain] == [("crr", "loop-crr tuned")]


def test_what_a_sweep_chooses_can_not_be_given_and_its_steps_are_those_of_the_run(pendulum, tmp_path):
    for name in ("horizon", "loop-crr.pessimism"):
        with pytest.raises(UsageError, match=f"--set {name}: --sweep chooses it"):
            safeloop.learn(pendulum, ["loop-crr"], settings={name: 3}, sweep=2, out=tmp_path, quiet=True)
    assert not list(tmp_path.iterdir())
    steps = {"loop-crr": 10, "crr": 12}
    own = {k: v for k, v in small("loop-crr").items() if k != "horizon"}
    safeloop.learn(pendulum, ["loop-crr", "crr"], steps=steps, settings=own, out=tmp_path, eval_episodes=1, sweep=1,
                   quiet=True)  # fmt: skip
    folder = tmp_path / "pendulum-random"
    for name, expected in (("crr/seed-0", 12), ("loop-crr-tuned/seed-0", 10), ("loop-crr-sweep/seed-10000", 10)):
        assert open_run(folder / name).settings.steps == expected


def test_a_gain_is_the_median_of_the_seeds_own_gains():
    def rows(*returns):
        return [
            report.Row("a", str(seed), "finished", "", "", 9, 9, value, None, None, 1, 0.1, None)
            for seed, value in enumerate(returns)
        ]

    found = report._improvement("a", "b", list(zip(rows(100.0, 800.0, 90.0), rows(500.0, 830.0, 121.0), strict=True)))
    assert (found.base_return, found.return_, found.gain, found.seeds) == (100.0, 500.0, 31.0, 3)
    assert found.improvement == pytest.approx(31.0)


def test_planning_is_compared_with_a_base_that_learned_alike(pendulum, tmp_path):
    def learn(algos, variant="", **settings):
        given = small(algos[0], **settings)
        safeloop.learn(pendulum, algos, steps=10, settings=given, out=tmp_path, variant=variant, eval_episodes=1,
                       quiet=True)  # fmt: skip
        found = [recorded(run) for run in runs_under(tmp_path / "pendulum-random")]
        return [(g.base, g.algo) for g in report.improvements(found)]

    learn(["crr"])
    assert learn(["loop-crr"], "big", hidden=24) == []
    assert learn(["crr"], "big", hidden=24) == [("crr big", "loop-crr big")]
    assert learn(["loop-crr"], "far", horizon=5) == [("crr big", "loop-crr big"), ("crr", "loop-crr far")]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"algos": ["sac"]}, "sac learns while acting: of a dataset learn crr, loop-crr, loop-plas, mbop"),
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
        safeloop.learn(pendulum, **{"out": tmp_path / "out", "quiet": True, **options})
    assert not (tmp_path / "out").exists()


def test_what_a_dataset_lacks_is_told_before_anything_is_written(pendulum, point):
    with pytest.raises(UsageError, match="nowhere are return_horizon=500 decisions in a row recorded"):
        cut = replace(read(point), terminated=np.zeros(len(read(point)), bool))
        specify.plan(
            "PointGoal1", ["mbop"], 10, [0], "default", None, "cpu", {"return_horizon": 500}, (), 0, 0, 1, "",
            dataset=cut,
        )  # fmt: skip
    bare = replace(read(pendulum), complete=np.zeros(len(read(pendulum)), bool))
    with pytest.raises(UsageError, match="next_observations is missing"):
        specify.plan(
            "InvertedPendulum", ["loop-crr"], 10, [0], "default", None, "cpu", {}, (), 0, 0, 1, "", dataset=bare
        )


def test_jobs_are_checked_before_a_sweep_trains_anything(pendulum, tmp_path):
    with pytest.raises(UsageError, match="--jobs 0: expected at least 1"):
        safeloop.learn(pendulum, ["loop-crr"], sweep=2, jobs=0, out=tmp_path / "out", quiet=True)
    assert not (tmp_path / "out").exists()
