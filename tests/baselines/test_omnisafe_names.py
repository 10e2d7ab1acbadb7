"""`omnisafe:NAME`: every algorithm of OmniSafe runs here, or is refused with a reason."""

import json
import sys
from contextlib import contextmanager
from dataclasses import fields, replace
from unittest import mock

import numpy as np
import pytest
import torch
from line_env import HIGH, LOW, REPEAT, SMALL, SMALL_OFF_POLICY, flat, line_spec

from safeloop.errors import UsageError
from safeloop.recording.run import Run
from safeloop.registry import algorithm_names, find_algorithm
from safeloop.settings import build
from safeloop.training.evaluation import evaluate
from safeloop_baselines import omnisafe_bridge, omnisafe_names

NAMES = [*omnisafe_names.ON_POLICY, *omnisafe_names.OFF_POLICY]
UNCONSTRAINED = {"NaturalPG", "PolicyGradient", "PPO", "TRPO", "DDPG", "SAC", "TD3"}
EVERY = pytest.mark.parametrize("name", NAMES)
OFF_POLICY = pytest.mark.parametrize("name", ["omnisafe:SACLag", "omnisafe:TD3PID"])


def kind(name):
    return "on-policy" if name in omnisafe_names.ON_POLICY else "off-policy"


def rows(run):
    return [replace(row, wall_seconds=0.0) for row in run.episodes.read()]


def test_every_algorithm_of_omnisafe_is_here_or_refused():
    from omnisafe.algorithms import ALGORITHMS

    for group, names in (("on-policy", omnisafe_names.ON_POLICY), ("off-policy", omnisafe_names.OFF_POLICY)):
        assert set(names) == set(ALGORITHMS[group]) - set(omnisafe_names.REFUSED)
    assert {*NAMES, *omnisafe_names.REFUSED} == set(ALGORITHMS["all"])
    known = [name for name in algorithm_names() if name.startswith("omnisafe:")]
    assert known == [f"omnisafe:{name}" for name in NAMES]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("omnisafe:TRPOlag", "unknown algorithm 'omnisafe:TRPOlag'; nearest: omnisafe:TRPOLag"),
        ("omnisafe:", "unknown algorithm 'omnisafe:'; nearest: "),
        ("FOCOPS", "unknown algorithm 'FOCOPS'; nearest: omnisafe:FOCOPS"),
        ("omnisave:PPO", "unknown algorithm 'omnisave:PPO'; nearest: omnisafe:PPO"),
        ("omnisafe:PPOSaute", "omnisafe:PPOSaute can't run here: .*remaining budget.*; nearest: omnisafe:PPO"),
        ("omnisafe:PPOEarlyTerminated", "omnisafe:PPOEarlyTerminated can't run here: it breaks off episodes"),
        ("omnisafe:SafeLOOP", "omnisafe:SafeLOOP can't run here: its models need environments of OmniSafe's own"),
        ("omnisafe:BCQ", "omnisafe:BCQ can't run here: it learns from a data set"),
    ],
)
def test_other_names_are_refused_with_the_reason_and_the_nearest(name, message):
    with pytest.raises(UsageError, match=message):
        find_algorithm(name)


def test_without_omnisafe_the_error_names_the_remedy(monkeypatch):
    omnisafe_names.settings_of.cache_clear()
    monkeypatch.setattr(omnisafe_names.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"omnisafe:PPO needs OmniSafe 0\.5\.0: `safeloop doctor`"):
        find_algorithm("omnisafe:PPO")


@EVERY
def test_defaults_are_omnisafes_and_the_budget_is_every_cost_limit(name, capsys):
    from omnisafe.utils.config import get_default_kwargs_yaml

    theirs = dict(flat(get_default_kwargs_yaml(name, "", kind(name))))
    ours = dict(flat(find_algorithm(f"omnisafe:{name}").info.settings().omnisafe(25.0)))
    different = {key: value for key, value in ours.items() if theirs[key] != value}
    assert different == ({} if kind(name) == "on-policy" else {"train_cfgs.eval_episodes": 0})
    limits = [key for key in theirs if key.endswith("cost_limit")]
    assert [key for key in ours if key.endswith("cost_limit")] == limits
    assert bool(limits) == (name not in UNCONSTRAINED)


@EVERY
def test_every_setting_but_the_epoch_reaches_omnisafe(name):
    settings = find_algorithm(f"omnisafe:{name}").info.settings
    default = settings()
    for field in fields(settings):
        if field.name != "episodes_per_epoch":
            value = getattr(default, field.name)
            other = {"bool": not value, "int": value + 1, "float": 0.8 * value + 0.05}[field.type]
            changed = build(settings, {field.name: str(other)}, owner="test")
            assert changed.omnisafe(25.0) != default.omnisafe(25.0), field.name


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        ({"gama": "0.9"}, "omnisafe:SACLag has no setting 'gama'; nearest: gamma"),
        ({"cost_limit": "3"}, "has no setting 'cost_limit'"),
        ({"gamma": "1.5"}, "omnisafe:SACLag: gamma=1.5: expected at least 0 and at most 1"),
        ({"batch_size": "0"}, "batch_size=0: expected at least 1"),
        ({"batch_size": 1.5}, "batch_size=1.5: expected a whole number$"),
        ({"warmup_epochs": "-1"}, "warmup_epochs=-1: expected at least 0"),
        ({"actor_lr": None}, "actor_lr=None: expected a number$"),
        ({"actor_lr": "nan"}, "actor_lr=nan: expected at least 0"),
        ({"lambda_lr": "inf"}, "lambda_lr=inf: expected at least 0"),
        ({"cost_normalize": "maybe"}, "cost_normalize=maybe: expected true or false"),
        ({"cost_normalize": 2}, "cost_normalize=2: expected true or false"),
    ],
)
def test_unknown_settings_and_values_out_of_range_are_refused(pair, message):
    with pytest.raises(UsageError, match=message):
        build(find_algorithm("omnisafe:SACLag").info.settings, pair, owner="omnisafe:SACLag")


def test_whole_numbers_reach_omnisafe_as_the_decimals_that_it_checks_for():
    settings = build(find_algorithm("omnisafe:PPO").info.settings, {"gamma": 1}, owner="test")
    assert isinstance(settings.omnisafe(25.0)["algo_cfgs"]["gamma"], float)


@pytest.fixture
def agents(monkeypatch):
    """The agents that OmniSafe makes, the latest last."""
    learner, made = omnisafe_bridge.learner, []

    @contextmanager
    def watched(*arguments):
        with learner(*arguments) as agent:
            made.append(agent)
            yield agent

    monkeypatch.setattr(omnisafe_bridge, "learner", watched)
    return made


@EVERY
def test_every_algorithm_trains_and_records_every_simulator_step(train, name, capfd):
    run, env = train(f"omnisafe:{name}", steps=150, eval_every=0)
    expected = 200 if kind(name) == "on-policy" else 160
    assert [row.simulator_steps for row in run.episodes.read()] == list(range(20, expected + 1, 20))
    assert env.simulator_steps == len(env.unwrapped.actions) * REPEAT == expected
    assert [row.simulator_steps for row in run.evaluations.read()] == [expected] * 2
    assert capfd.readouterr() == ("", "")
    assert run.path.parent.name == f"omnisafe-{name}"


@EVERY
def test_omnisafe_reads_every_setting(train, agents, monkeypatch, name):
    from omnisafe.utils.config import Config

    get, read = Config.__getattr__, set()

    def watched(self, key):
        if not sys._getframe(1).f_code.co_filename.endswith(("utils/config.py", "algo_wrapper.py")):
            read.add(key)
        return get(self, key)

    monkeypatch.setattr(Config, "__getattr__", watched)
    settings = find_algorithm(f"omnisafe:{name}").info.settings
    switches = {"use_critic_norm": True} if "use_critic_norm" in settings.places else {}
    small = SMALL if kind(name) == "on-policy" else SMALL_OFF_POLICY
    train(f"omnisafe:{name}", changes=small | switches, steps=100, eval_episodes=0)
    if hasattr(agents[0], "_lagrange"):  # which is given all of its settings at once
        read |= {key for key, place in settings.places.items() if place[0] == "lagrange_cfgs"}
    assert {place[-1] for place in settings.places.values()} <= read


def test_the_algorithms_with_a_name_of_their_own_are_the_same(train):
    own, _ = train("ppo-lag", steps=300)
    named, _ = train("omnisafe:PPOLag", steps=300)
    assert rows(own) == rows(named)
    assert own.evaluations.read() == named.evaluations.read()


@OFF_POLICY
def test_same_seed_gives_the_same_episodes_and_evaluating_changes_nothing(train, name):
    runs = ((3, 20), (3, 0), (4, 0))
    often, again, other = (train(name, steps=120, seed=seed, eval_every=every)[0] for seed, every in runs)
    assert rows(often) == rows(again)
    assert rows(often) != rows(other)
    assert len(often.evaluations.read()) == 6 * 2
    assert often.evaluations.read()[-2:] == again.evaluations.read()


def test_terminated_episodes_are_recorded_off_policy_and_none_is_lost(train):
    run, env = train("omnisafe:DDPGLag", line_spec(wall=0.6), steps=200)
    episodes = run.episodes.read()
    assert any(row.length < 20 for row in episodes)
    assert env.simulator_steps - sum(row.length for row in episodes) < 20  # but for the one under way
    assert run.evaluations.read()[-1].simulator_steps == env.simulator_steps


def test_random_actions_are_counted_in_simulator_steps(train):
    run, _ = train("omnisafe:SAC")
    [path] = run.path.glob("omnisafe/*/*/config.json")
    assert json.loads(path.read_text())["algo_cfgs"]["start_learning_steps"] == 31  # 61 steps, two a decision
    actor = omnisafe_bridge.omnisafe.models.actor.GaussianSACActor
    with (
        mock.patch.object(actor, "predict", side_effect=ValueError),
        pytest.raises(RuntimeError, match=f"SAC failed after {32 * REPEAT} simulator steps"),
    ):
        train("omnisafe:SAC")


def test_a_run_of_random_actions_alone_is_refused(train):
    with pytest.raises(UsageError, match="start_learning_steps=61 random steps leave none of 40"):
        train("omnisafe:TD3", steps=40)


def test_the_budget_moves_the_multiplier_off_policy(train):
    changes = SMALL_OFF_POLICY | {"warmup_epochs": 0, "lambda_lr": 0.1}
    for budget, expected in ((1000.0, 0.0), (0.0, 1.0)):
        run, _ = train("omnisafe:SACLag", line_spec(), changes, budget=budget, eval_episodes=0)
        [path] = run.path.glob("omnisafe/*/*/progress.csv")
        multipliers = np.genfromtxt(path, delimiter=",", names=True, deletechars="")["Metrics/LagrangeMultiplier"]
        assert multipliers[-1] == 0 if expected == 0 else multipliers[-1] > expected


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("SACLag", {}), ("DDPGLag", {}), ("TD3", {}), ("SAC", {"obs_normalize": True}),
        ("TRPOLag", {}), ("FOCOPS", {"obs_normalize": False}),
    ],
)  # fmt: skip
def test_a_loaded_policy_acts_as_omnisafes_own(train, agents, name, changes):
    small = SMALL if kind(name) == "on-policy" else SMALL_OFF_POLICY
    run, _ = train(f"omnisafe:{name}", changes=small | changes, steps=160, eval_every=0, eval_episodes=3)
    policy = find_algorithm(f"omnisafe:{name}").load(Run.open(run.path), seed=1)
    obs = np.random.default_rng(0).normal(0, 4, (50, 2))
    seen = torch.as_tensor(obs, dtype=torch.float32)
    if normaliser := agents[0]._env.save().get("obs_normalizer"):
        with mock.patch.object(normaliser, "_push"):  # normalise without updating
            seen = torch.stack([normaliser.normalize(each) for each in seen])
    with torch.no_grad():
        action = agents[0]._actor_critic.actor.predict(seen, deterministic=True).numpy()
    expected = np.clip(LOW + (HIGH - LOW) * (action + 1) / 2, LOW, HIGH)
    assert action.std(0).min() > 0.001
    np.testing.assert_allclose(policy.act(obs), expected, rtol=0, atol=1e-6)
    steps = run.evaluations.read()[-1].simulator_steps
    again = [replace(row, return_=round(row.return_, 6)) for row in evaluate(policy, line_spec(), 3, 0, steps)]
    assert run.evaluations.read()[-3:] == again
