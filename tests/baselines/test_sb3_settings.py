"""`sb3:NAME`: names, and settings, which are the library's own and reach it."""

import os
import subprocess
import sys
from dataclasses import fields
from types import SimpleNamespace

import pytest
from line_env import line_spec
from sb3_small import EVERY, SMALL

from safeloop.errors import UsageError
from safeloop.recording.recorder import Recorder
from safeloop.registry import algorithm_names, find_algorithm, find_env
from safeloop.settings import build
from safeloop_baselines import sb3_algorithms, sb3_bridge


def info(name):
    return find_algorithm(f"sb3:{name}").info


def environment():
    run = SimpleNamespace(settings=SimpleNamespace(seed=0, device="cpu", steps=100))
    return Recorder(line_spec().make(), line_spec(), run), run


def described(model):
    """All of a model that its settings decide: numbers and texts, its networks' sizes, its normalisations and noise."""
    values = {key: value for key, value in vars(model).items() if isinstance(value, bool | int | float | str | None)}
    del values["start_time"]
    values |= {key: tuple(value.shape) for key, value in model.policy.state_dict().items()}
    values["rate"], values["train_freq"] = model.lr_schedule(1.0), getattr(model, "train_freq", None)
    for name in ("clip_range", "clip_range_vf"):
        values[name] = getattr(model, name, None) and getattr(model, name)(1.0)
    values["norms"] = [(each.momentum, each.warmup_steps) for each in model.policy.modules() if hasattr(each, "ra_var")]
    values["noise"] = getattr(model, "action_noise", None) and tuple(model.action_noise._sigma)
    values["coefficient"] = [getattr(model, name).item() for name in model._get_torch_save_params()[1]]
    normaliser = model.get_vec_normalize_env()
    values["normaliser"] = normaliser and (normaliser.norm_obs, normaliser.norm_reward, normaliser.gamma)
    return values


def new_model(name, settings):
    env, run = environment()
    return sb3_bridge.new_model(name, settings, env, run, lambda: None)


@EVERY
def test_defaults_are_the_librarys(name):
    env, _ = environment()
    theirs = sb3_bridge.CLASSES[name]("MlpPolicy", sb3_bridge.DummyVecEnv([lambda: env]), device="cpu")
    theirs._setup_learn(50)
    found, expected = described(new_model(name, info(name).settings())), described(theirs)
    given = {"seed", "ent_coef"}  # auto_1.0 is auto
    assert {key: each for key, each in found.items() if key not in given} == {
        key: each for key, each in expected.items() if key not in given
    }
    assert expected.get("ent_coef") in (0.0, None, "auto")


@EVERY
@pytest.mark.filterwarnings("ignore:You have specified a mini-batch size")
def test_every_setting_reaches_the_library(name):
    settings, small = info(name).settings, SMALL[name]
    usual = described(new_model(name, settings(**small)))
    others = {"ent_coef": 0.3, "target_entropy": -0.7, "clip_range_vf": 0.3, "target_kl": 0.3, "hidden_layers": 1}
    for field in fields(settings):
        value = getattr(settings(**small), field.name)
        other = others.get(field.name) or {
            "bool": lambda value: not value, "int": lambda value: value + 1, "float": lambda value: 0.8 * value + 0.05,
        }[field.type](value)  # fmt: skip
        changed = build(settings, small, {field.name: str(other)}, owner="test")
        assert described(new_model(name, changed)) != usual, field.name


@pytest.mark.parametrize(
    ("name", "pair", "message"),
    [
        ("SAC", {"gama": "0.9"}, "sb3:SAC has no setting 'gama'; nearest: gamma"),
        ("SAC", {"critic_unit": "9"}, "sb3:SAC has no setting 'critic_unit'; nearest: critic_units"),
        ("TD3", {"critic_units": "9"}, "sb3:TD3 has no setting 'critic_units'"),
        ("CrossQ", {"tau": "0.1"}, "sb3:CrossQ has no setting 'tau'"),
        ("PPO", {"gamma": "1.5"}, "sb3:PPO: gamma=1.5: expected at least 0 and at most 1"),
        ("PPO", {"n_steps": "1"}, "n_steps=1: expected at least 2"),
        ("CrossQ", {"batch_size": "1"}, "batch_size=1: expected at least 2"),
        ("TQC", {"top_quantiles_to_drop_per_net": "25"}, "expected at least 0 and at most 24"),
        ("SAC", {"buffer_size": "100"}, "batch_size=256: expected at most buffer_size=100, all that are kept"),
        ("SAC", {"learning_starts": "2000000"}, "learning_starts=2000000: expected at most buffer_size=1000000"),
        ("SAC", {"ent_coef": "0.1", "ent_coef_init": "0.5"}, "ent_coef_init=0.5: it is of a learned weight, but"),
        ("SAC", {"ent_coef": "0.1", "target_entropy": "-2"}, "target_entropy=-2.0: it is of a learned weight, but"),
        ("SAC", {"learning_rate": "nan"}, "learning_rate=nan: expected more than 0"),
        ("SAC", {"train_freq": "0"}, "train_freq=0: expected at least 1"),
        ("TD3", {"action_noise": "-1"}, "action_noise=-1.0: expected at least 0"),
        ("PPO", {"normalize_obs": "maybe"}, "normalize_obs=maybe: expected true or false"),
    ],
)
def test_unknown_settings_and_values_out_of_range_are_refused(name, pair, message):
    with pytest.raises(UsageError, match=message):
        build(info(name).settings, pair, owner=f"sb3:{name}")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("sb3:sac", "unknown algorithm 'sb3:sac'; nearest: sb3:SAC"),
        ("sb3:CrosQ", "unknown algorithm 'sb3:CrosQ'; nearest: sb3:CrossQ"),
        ("sb3:", "unknown algorithm 'sb3:'; nearest: sb3:"),
        ("TQC", "unknown algorithm 'TQC'; nearest: sb3:TQC"),
        ("sb33:PPO", "unknown algorithm 'sb33:PPO'; nearest: sb3:PPO"),
    ],
)
def test_other_names_are_refused_with_the_nearest(name, message):
    with pytest.raises(UsageError, match=message):
        find_algorithm(name)


@EVERY
def test_they_are_told_nothing_and_run_with_and_without_a_cost(name):
    algorithm = find_algorithm(f"sb3:{name}")
    for env in ("PointGoal1", "Hopper"):
        assert algorithm.resolve(algorithm.info.settings(), find_env(env)).privileged == ""
    assert algorithm.info.resumable and not algorithm.info.constrained and "no constraint" in algorithm.info.summary


def test_without_the_extra_the_error_names_the_remedy(monkeypatch):
    algorithm, real = find_algorithm("sb3:SAC"), sb3_algorithms.importlib.util.find_spec
    monkeypatch.setattr(
        sb3_algorithms.importlib.util, "find_spec", lambda name: None if name == "sb3_contrib" else real(name)
    )
    expected = r"^sb3:SAC needs .* 2\.5\.0 \(sb3-contrib not installed\): pip install 'safeloop\[sb3\]'$"
    with pytest.raises(UsageError, match=expected):
        algorithm.resolve(algorithm.info.settings(), find_env("Hopper"))


def test_listing_names_them_and_imports_no_library():
    code = (
        "import sys; from safeloop import listing; "
        "assert sum(a['name'].startswith('sb3:') and 'error' not in a for a in listing.algorithms()) == 5; "
        "assert not {'stable_baselines3', 'sb3_contrib', 'torch'} & set(sys.modules)"
    )
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}  # packages of other tests
    subprocess.run([sys.executable, "-c", code], check=True, env=env)
    assert [name for name in algorithm_names() if name.startswith("sb3:")] == [f"sb3:{name}" for name in SMALL]
