"""`sb3:NAME`: the library's algorithms train, record and end as all others, and act as the library's own."""

import sys
from dataclasses import replace

import gymnasium
import numpy as np
import pytest
import stable_baselines3
import torch
from line_env import HIGH, LOW, REPEAT, Line, line_spec
from sb3_small import EVERY, SMALL

from safeloop.errors import UsageError
from safeloop.recording.run import Run
from safeloop.registry import find_algorithm
from safeloop.rng import AGENT, TRAINING, derived_seed
from safeloop.training.evaluation import evaluate
from safeloop_baselines import sb3_bridge, sb3_session
from safeloop_baselines.sb3_algorithms import ALGORITHMS


@pytest.fixture
def models(monkeypatch):
    """The library's models that are made, the latest last."""
    new_model, made = sb3_session.new_model, []

    def watched(*arguments):
        made.append(new_model(*arguments))
        return made[-1]

    monkeypatch.setattr(sb3_session, "new_model", watched)
    return made


def rows(run):
    return [replace(row, wall_seconds=0.0) for row in run.episodes.read()]


@EVERY
def test_every_algorithm_trains_and_records_every_simulator_step(train, name, capfd):
    run, env = train(f"sb3:{name}", changes=SMALL[name], steps=150, eval_every=40)
    assert [row.simulator_steps for row in run.episodes.read()] == list(range(20, 161, 20))
    assert env.simulator_steps == len(env.unwrapped.actions) * REPEAT == 160
    assert [row.simulator_steps for row in run.evaluations.read()] == [40, 40, 80, 80, 120, 120, 160, 160]
    assert capfd.readouterr() == ("", "")
    assert run.path.parent.name == f"sb3-{name}"


@pytest.mark.parametrize(
    ("name", "setting", "more"), [("PPO", "n_steps", {}), ("SAC", "learning_starts", {"buffer_size": 100})]
)
def test_a_run_too_short_for_an_update_says_so(train, monkeypatch, name, setting, more):
    notices = []
    monkeypatch.setattr(Run, "notify", property(lambda run: notices.append, lambda run, _: None), raising=False)
    train(f"sb3:{name}", changes=SMALL[name], steps=150)
    assert notices == []
    train(f"sb3:{name}", changes=SMALL[name] | {setting: 88} | more, steps=150)
    assert notices == [
        f"sb3:{name} learned nothing: its first update is after {setting}=88 decisions, and this run "
        f"had 80. Train for longer, or --set {setting}=..."
    ]


@EVERY
def test_same_seed_gives_the_same_episodes_and_evaluating_changes_nothing(train, name):
    runs = ((3, 20), (3, 0), (4, 0))
    often, again, other = (
        train(f"sb3:{name}", changes=SMALL[name], steps=120, seed=seed, eval_every=every)[0] for seed, every in runs
    )
    assert rows(often) == rows(again)
    assert rows(often) != rows(other)
    assert len(often.evaluations.read()) > len(again.evaluations.read()) == 2
    assert often.evaluations.read()[-2:] == again.evaluations.read()


@EVERY
def test_training_is_that_of_the_librarys_own_learn(train, models, name):
    """The same parameters, bit for bit, as those of `learn` on the same episodes."""
    changes = SMALL[name] | ({} if name == "PPO" else {"train_freq": 1})
    _, env = train(f"sb3:{name}", changes=changes, steps=150, seed=5, eval_every=20)
    settings = find_algorithm(f"sb3:{name}").info.settings(**changes)

    class Alone(gymnasium.Wrapper):
        episode = 0

        def reset(self, **_):
            self.episode += 1
            return self.env.reset(seed=seeds[self.episode - 1])

        def step(self, action):
            return self.env.step(np.clip(action, LOW, HIGH))

    seeds = [derived_seed(5, TRAINING, i) for i in range(20)]
    model = sb3_bridge.CLASSES[name](
        "MlpPolicy", Alone(Line()), seed=derived_seed(5, AGENT), device="cpu", **settings.keywords()
    )
    model.learn(72 if name == "PPO" else env.decisions)  # 3 whole rollouts
    ours, theirs = models[0].get_parameters()["policy"], model.get_parameters()["policy"]
    assert ours.keys() == theirs.keys() and models[0]._n_updates == model._n_updates > 0
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("SAC", {"hidden_layers": 1}), ("TD3", {}), ("TQC", {}), ("CrossQ", {}), ("PPO", {}),
        ("PPO", {"normalize_obs": True, "normalize_reward": True}),
    ],
)  # fmt: skip
def test_a_loaded_policy_acts_as_the_librarys_own(train, models, name, changes):
    run, _ = train(f"sb3:{name}", changes=SMALL[name] | changes, steps=160, eval_every=0, eval_episodes=3)
    policy = find_algorithm(f"sb3:{name}").load(Run.open(run.path), seed=1)
    obs = np.random.default_rng(0).normal(0, 4, (50, 2))
    normaliser = models[0].get_vec_normalize_env()
    seen = normaliser.normalize_obs(obs) if normaliser else obs
    expected, _ = models[0].predict(seen, deterministic=True)
    assert expected.std(0).min() > 0.001
    np.testing.assert_allclose(policy.act(obs), np.clip(expected, LOW, HIGH), rtol=0, atol=2e-6)
    torch.testing.assert_close(policy.actions(torch.tensor(obs).float()).numpy(), policy.act(obs))
    steps = run.evaluations.read()[-1].simulator_steps
    again = [replace(row, return_=round(row.return_, 6)) for row in evaluate(policy, line_spec(), 3, 0, steps)]
    assert run.evaluations.read()[-3:] == again


def test_terminated_episodes_are_recorded_and_the_last_one_is_whole(train):
    run, env = train("sb3:SAC", line_spec(wall=0.6), SMALL["SAC"] | {"train_freq": 3}, steps=200)
    episodes = run.episodes.read()
    assert any(row.length < 20 for row in episodes)
    assert episodes[-1].simulator_steps >= 200 > episodes[-2].simulator_steps
    assert env.simulator_steps - episodes[-1].simulator_steps < 3 * REPEAT


@pytest.mark.parametrize(("steps", "updates"), [(190, 4), (240, 5)])
def test_ppo_learns_from_whole_rollouts_and_ends_with_an_episode(train, models, steps, updates):
    """100 decisions are 4 rollouts of 24 and a rest; 120 are 5 rollouts, the last of which ends with the run."""
    _, env = train("sb3:PPO", changes=SMALL["PPO"] | {"n_epochs": 1}, steps=steps)
    assert env.simulator_steps == -(-steps // 20) * 20 and models[0]._n_updates == updates


def test_random_decisions_come_first(train, models):
    _, env = train("sb3:TD3", changes=SMALL["TD3"] | {"learning_starts": 40, "train_freq": 1}, steps=100)
    assert models[0]._n_updates == 50 - 40
    space = gymnasium.spaces.Box(LOW, HIGH, dtype=np.float32)
    space.seed(derived_seed(0, AGENT))
    drawn = np.array([space.sample() for _ in range(41)])
    acted = np.array(env.unwrapped.actions)
    np.testing.assert_allclose(acted[:40], drawn[:40], rtol=0, atol=1e-6)
    assert abs(acted[40] - drawn[40]).max() > 0.01


def test_noise_on_actions_is_that_of_the_setting(train):
    """TD3 without noise repeats itself where it does not learn; with noise it is spread around that."""
    still = SMALL["TD3"] | {"learning_starts": 2, "learning_rate": 1e-12, "train_freq": 50}
    _, calm = train("sb3:TD3", changes=still, steps=400)
    _, noisy = train("sb3:TD3", changes=still | {"action_noise": 0.3}, steps=400)
    spread = (np.array(noisy.unwrapped.actions)[2:] - np.array(calm.unwrapped.actions)[2:]).std(0)
    np.testing.assert_allclose(spread, 0.3 * (HIGH - LOW) / 2, rtol=0.2)


def test_the_run_has_its_threads_and_device(train, models):
    train("sb3:SAC", changes=SMALL["SAC"], threads=1, steps=40)
    assert torch.get_num_threads() == 1 and models[0].device == torch.device("cpu")


def test_a_failing_environment_fails_the_run_with_its_reason(train):
    with pytest.raises(RuntimeError, match=r"stable-baselines3's SAC failed after 60 .* steps: ValueError: the motor"):
        train("sb3:SAC", line_spec(fails_after=30), SMALL["SAC"])


@pytest.mark.parametrize("name", ["TD3", "PPO"])
def test_a_policy_that_diverges_fails_the_run(train, name):
    with pytest.raises(RuntimeError, match=f"stable-baselines3's {name} failed after"):
        train(f"sb3:{name}", changes=SMALL[name] | {"learning_rate": 1e38}, steps=400)


def test_unbounded_actions_are_refused(train):
    class Unbounded(Line):
        action_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float32)

    with pytest.raises(UsageError, match=r"Line: .* bounded actions"):
        train("sb3:PPO", replace(line_spec(), make=lambda render_mode=None: Unbounded()), SMALL["PPO"])


def test_another_algorithms_checkpoint_is_refused(train):
    run, _ = train("sb3:SAC", changes=SMALL["SAC"], steps=40)
    with pytest.raises(UsageError, match="holds a policy of sb3:SAC, not of sb3:TD3"):
        find_algorithm("sb3:TD3").load(run, seed=0)


def test_without_the_packages_training_names_the_remedy(train, monkeypatch):
    monkeypatch.delitem(sys.modules, "safeloop_baselines.sb3_session")
    monkeypatch.delitem(sys.modules, "safeloop_baselines.sb3_bridge")
    monkeypatch.setitem(sys.modules, "sb3_contrib", None)
    with pytest.raises(UsageError, match=r"sb3:SAC needs stable-baselines3 .*pip install 'safeloop\[sb3\]'"):
        train("sb3:SAC", changes=SMALL["SAC"])


def test_a_trained_policy_needs_no_library(train, monkeypatch):
    run, _ = train("sb3:CrossQ", changes=SMALL["CrossQ"], steps=40)
    for module in ("stable_baselines3", "sb3_contrib"):
        monkeypatch.setitem(sys.modules, module, None)
    assert find_algorithm("sb3:CrossQ").load(run, seed=0).act(np.zeros((3, 2))).shape == (3, 2)


def test_the_names_are_those_of_classes_of_the_pinned_version():
    assert stable_baselines3.__version__ == sb3_bridge.sb3_contrib.__version__ == "2.5.0"
    assert ALGORITHMS.keys() == sb3_bridge.CLASSES.keys()
