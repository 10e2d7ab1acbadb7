"""The unconstrained agents by name: what each is made of, and that each trains and resumes, on InvertedPendulum."""

import numpy as np
import pytest
import torch

from safeloop.agents.off_policy import OffPolicyAgent
from safeloop.agents.policies import ActorPolicy
from safeloop.data.replay import Batch
from safeloop.errors import UsageError
from safeloop.experiments.specify import Request, specify
from safeloop.learners.sac import SAC
from safeloop.learners.td3 import TD3
from safeloop.networks import normalised_relu
from safeloop.recording.recorder import Recorder
from safeloop.recording.run import Run, RunSettings
from safeloop.registry import find_algorithm, find_env
from safeloop.settings import build, flat, kinds

PENDULUM = find_env("InvertedPendulum")
NAMES = (
    "loop-sac", "loop-td3", "loop-crossq", "loop-sac-cem", "loop-sarsa", "sac-evalloop", "pets", "sac-ve", "mbpo",
    "sac", "td3", "crossq",
)  # fmt: skip
SMALL = {
    "ensemble_size": 2, "width": 16, "layers": 1, "population": 20, "iterations": 2, "fit_every": 100, "fit_steps": 5,
    "first_fit_steps": 10, "rollouts": 2, "updates_per_decision": 1, "hidden": 16, "behaviour_hidden": 16,
    "critic_width": 24, "batch_size": 16, "warmup": 50,
}  # fmt: skip


def settings(name, preset="online", **changes):
    info = find_algorithm(name).info
    known = kinds(info.settings)
    small = {key: value for key, value in SMALL.items() if key in known}
    return build(info.settings, info.presets[preset], small, changes, owner=name)


def agent(name, spec=PENDULUM, **changes):
    return find_algorithm(name).build(settings(name, **changes), spec, 4, 1, 0, "cpu")


def run(out, name, steps=250, **changes):
    asked = RunSettings(
        "InvertedPendulum", name, steps, seed=1, budget=None, eval_episodes=1,
        algo_settings=flat(settings(name, **changes)),
    )  # fmt: skip
    return Run.create(out, asked)


def learn(run):
    env = Recorder(PENDULUM.make(), PENDULUM, run)
    find_algorithm(run.settings.algo).train(env, run)
    plans = [repr(row) for row in run.plans.read()]  # some numbers are NaN, which equals nothing
    return run.episodes.read(), run.evaluations.read(), run.fits.read(), plans


def test_each_name_stands_for_its_parts():
    parts = {}
    for name in NAMES:
        a = agent(name)
        value = getattr(a, "value", None)
        whose = next((part for part in ("learner", "behaviour") if value and value.__self__ is getattr(a, part)), None)
        search, numbers = a.planner.search if hasattr(a, "planner") else None, None
        if search is not None:
            proposed, fraction = search.proposals.count if search.proposals else 0, a.settings.planner.actor_fraction
            assert (search.population, proposed) == (0 if fraction == 1 else 20, 20 * fraction)
            numbers = getattr(search.weighting, "count", 0), fraction, search.space.horizon
        parts[name] = (type(a.learner).__name__, whose, numbers)
        assert isinstance(a.policy(0), ActorPolicy) == (search is None)
    assert parts == {
        "loop-sac": ("SAC", "learner", (0, 1.0, 3)),
        "loop-td3": ("TD3", "learner", (20, 0.05, 5)),
        "loop-crossq": ("CrossQ", "learner", (0, 1.0, 3)),
        "loop-sac-cem": ("SAC", "learner", (20, 0.0, 3)),
        "loop-sarsa": ("NoneType", "behaviour", (0, 0.0, 3)),
        "sac-evalloop": ("SAC", "learner", (0, 1.0, 3)),
        "pets": ("NoneType", None, (20, 0.0, 3)),
        "sac-ve": ("SAC", None, None),
        "mbpo": ("SAC", None, None),
        "sac": ("SAC", None, None),
        "td3": ("TD3", None, None),
        "crossq": ("CrossQ", None, None),
    }
    assert agent("loop-td3").planner.search.refit.momentum == 0.25
    agents = [a for name, a in zip(NAMES, map(agent, NAMES), strict=True) if a.learner and "crossq" not in name]
    assert len(agents) == 8 and all(a.settings.critics.layer_norm for a in agents)  # the same for all
    assert all(a.learner.critic.activation is normalised_relu for a in agents)
    learners = [a.learner.settings for a in agents]
    assert [getattr(learner, "backup_entropy", None) for learner in learners].count(False) == 6
    draws = {name for name in NAMES if hasattr(a := agent(name), "planner") and a.planner.search.draws}
    assert draws == {"loop-sac", "loop-crossq", "loop-sarsa", "sac-evalloop"}


def test_the_online_presets_stand_in_where_nothing_costs():
    def preset(env, name, preset="default"):
        (asked,) = specify(Request([name], preset=preset, eval_episodes=0), env)
        return asked.preset, asked.algo_settings["discount"], asked.algo_settings.get("particles")

    assert preset("Hopper", "loop-sac") == ("online", 0.99, 1)
    assert preset("Hopper", "pets", "paper") == ("online-paper", 0.99, 4)
    assert preset("Hopper", "sac") == ("online", 0.99, None)
    assert preset("PointGoal1", "pets") == ("default", 0.95, 1)
    (first, second) = specify(Request(eval_episodes=0), "Hopper")
    assert (first.algo, second.algo, first.budget, first.steps) == ("loop-sac", "sac", None, 50_000)


def test_what_is_told_and_what_can_not_be():
    told = {name: find_algorithm(name).resolve(settings(name), PENDULUM).privileged for name in NAMES}
    assert {name for name, text in told.items() if not text} == {"sac", "td3", "crossq"}
    assert {text for text in told.values() if text} == {"known termination"}
    with pytest.raises(UsageError, match="value=actor: loop-sarsa has no actor"):
        find_algorithm("loop-sarsa").resolve(settings("loop-sarsa", value="actor"), PENDULUM)


@pytest.mark.parametrize("name", NAMES)
def test_each_trains_and_a_stopped_run_resumes_to_the_same_end(name, tmp_path, monkeypatch):
    changes = {"loop-td3": {"augmentation": 0.3}, "loop-crossq": {"actor_episodes": 0.5, "renormalise_after": 30}}
    changes = changes.get(name, {})
    whole = learn(run(tmp_path / "whole", name, **changes))
    models = name not in ("sac", "td3", "crossq")
    assert len(whole[0]) > 15 and len(whole[2]) == (8 if models else 0)  # more often at first
    stopped, save, saves = run(tmp_path / "stopped", name, **changes), Run.save_checkpoint, []

    def save_and_stop(self, state):
        save(self, state)
        saves.append(state)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Run, "save_checkpoint", save_and_stop)
        with pytest.raises(KeyboardInterrupt):
            learn(stopped)
    assert learn(stopped) == whole
    policy = find_algorithm(name).load(stopped, seed=1)
    policy.reset()
    assert policy.act(np.zeros(4)).shape == (1,)


def fill(a, n=60):
    g = np.random.default_rng(0)
    for _ in range(n):
        s, following = g.normal(size=(2, 4))
        a.replay.add(s, g.uniform(-1, 1, 1), 1.0, False, False, False, following)


def test_planning_in_evaluation_alone_explores_with_the_actor():
    a, plans, obs = agent("sac-evalloop"), agent("loop-sac"), np.zeros(4, np.float32)
    assert isinstance(a.learner, SAC)
    for each in (a, plans):
        fill(each)
    action = a.act(obs, True)
    expected = a.learner.explore(torch.zeros(1, 4), [torch.Generator().manual_seed(a.generator.initial_seed())])
    assert a.plans == [] and a.diagnostics() is None and np.allclose(action, expected[0].numpy())
    policy = a.policy(0)
    policy.reset()
    assert policy.act(obs).shape == (1,)
    plans.act(obs, True)
    assert len(plans.plans) == 1 and plans.diagnostics()["planned"] == 1


def test_mbpo_learns_from_what_was_imagined_since_the_last_fit(monkeypatch):
    a, seen = agent("mbpo", batch_size=40, real_fraction=0.1, rollouts=3), []
    fill(a)
    a.update()  # before the first fit from real transitions alone
    a.fit()
    assert len(a.imagined) == 300
    assert all(any(torch.equal(s, r) for r in a.replay.data.obs[:60]) for s in a.imagined.data.obs[:20])
    a.fit()
    assert len(a.imagined) == 300  # anew, not beside the last
    monkeypatch.setattr(a.learner, "update", seen.append)
    a.update()
    real = [any(torch.equal(s, r) for r in a.replay.data.next_obs[:60]) for s in seen[0].next_obs]
    assert len(real) == 40 and sum(real) == 4


def test_models_are_fitted_more_often_at_first(monkeypatch):
    a, fits = agent("loop-td3", warmup=8, fit_every=5), []
    monkeypatch.setattr(OffPolicyAgent, "update", lambda self: None)
    monkeypatch.setattr(a, "fit", lambda: fits.append(a.replay.added))
    for made in range(1, 38):
        a.replay.added = made
        a.update()
    assert fits == [8, 10, 12, 15, 18, 22, 27, 32, 37]


def test_value_expansion_begins_with_the_first_fit(monkeypatch):
    a, seen = agent("sac-ve", horizon=2), []
    fill(a)
    monkeypatch.setattr(a.learner, "update", lambda batch, targets: seen.append(targets))
    a.update()
    a.fit()
    a.update()
    assert seen[0] is None and seen[1].obs.shape == (3 * 16, 4)


def test_augmentation_draws_a_share_of_each_batch_from_what_training_planned(monkeypatch):
    a, seen = agent("loop-td3", augmentation=0.25, batch_size=40), []
    assert isinstance(a.learner, TD3)
    fill(a)
    policy = a.policy(0)
    policy.reset()
    policy.act(np.zeros(4, np.float32))
    assert len(a.witness.into) == 0  # evaluation leaves no trace
    a.act(np.zeros(4, np.float32), True)
    assert 0 < len(a.witness.into) <= 2 * 50  # iterations; what lies beyond an imagined fall is left out
    monkeypatch.setattr(a.learner, "update", seen.append)
    a.update()
    real = [any(torch.equal(s, r) for r in a.replay.data.next_obs[:60]) for s in Batch(*seen[0]).next_obs]
    assert len(real) == 40 and sum(real) == 30


@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_augmentation_is_refused_on_every_cuda_device(device):
    algorithm = find_algorithm("loop-td3")
    with pytest.raises(UsageError, match="planning on CUDA is captured"):
        algorithm.build(settings("loop-td3", augmentation=0.25), PENDULUM, 4, 1, 0, device)
