import json
import os
import sys
from dataclasses import asdict, replace

import gymnasium
import numpy as np
import pytest
import torch
from line_env import LOW, SMALL, Line, line_spec

import safeloop_baselines
from safeloop.errors import UsageError
from safeloop.rng import AGENT, EVALUATION, derived_seed
from safeloop.training.evaluation import evaluate
from safeloop_baselines import omnisafe_bridge, session

BOTH = pytest.mark.parametrize("name", ["cpo", "ppo-lag"])


def rows(run):
    return [replace(row, wall_seconds=0.0) for row in run.episodes.read()]


@BOTH
def test_every_simulator_step_is_in_a_recorded_episode(train, name):
    run, env = train(name, steps=150)  # whole epochs: 200
    episodes = run.episodes.read()
    assert [row.simulator_steps for row in episodes] == list(range(20, 201, 20))
    assert sum(row.length for row in episodes) == env.simulator_steps == 200
    assert env.decisions == len(env.unwrapped.actions) == 100


@BOTH
def test_same_seed_gives_the_same_episodes_and_evaluations(train, name):
    first, second, other = (train(name, seed=seed)[0] for seed in (3, 3, 4))
    assert rows(first) == rows(second)
    assert first.evaluations.read() == second.evaluations.read()
    assert rows(first) != rows(other)


@BOTH
def test_evaluating_does_not_change_training(train, name):
    often = train(name, steps=300, eval_every=20, eval_episodes=3)[0]
    never = train(name, steps=300, eval_every=0, eval_episodes=0)[0]
    assert len(often.evaluations.read()) == 15 * 3
    assert never.evaluations.read() == []
    assert rows(often) == rows(never)


@BOTH
def test_final_evaluation_is_of_the_saved_policy(train, name):
    run, _ = train(name, steps=130)
    assert [row.simulator_steps for row in run.evaluations.read()] == [100, 100, 200, 200]
    policy = getattr(safeloop_baselines, name.replace("-", "_")).load(run, seed=0)
    assert run.evaluations.read()[2:] == [
        replace(row, return_=round(row.return_, 6)) for row in evaluate(policy, line_spec(), 2, run.settings.seed, 200)
    ]


def test_an_evaluation_after_an_epoch_has_that_epochs_update(train, monkeypatch):
    policies = []

    def evaluate_and_keep(env, run, before, make_policy):
        policies.append((env.simulator_steps, make_policy()._layers if env.decisions else None))

    one_epoch, _ = train("cpo", steps=100)  # CPO's step does not depend on the length of the run
    monkeypatch.setattr(session, "evaluate_when_due", evaluate_and_keep)
    train("cpo", steps=200)
    [layers] = [kept for steps, kept in policies if steps == 100]
    saved = one_epoch.load_checkpoint()
    for (weight, bias), saved_weight, saved_bias in zip(layers, saved["weights"], saved["biases"], strict=True):
        assert torch.equal(weight, saved_weight)
        assert torch.equal(bias, saved_bias)


def test_evaluation_episodes_start_from_the_runs_evaluation_seeds(train):
    seeds = []

    class Watched(Line):
        def reset(self, *, seed=None, options=None):
            seeds.append(seed)
            return super().reset(seed=seed, options=options)

    train("cpo", replace(line_spec(), make=lambda render_mode=None: Watched()), steps=100, seed=5)
    assert seeds[-2:] == [derived_seed(5, EVALUATION, i) for i in range(2)]


@BOTH
def test_terminated_episodes_are_recorded_and_an_abandoned_ones_steps_count(train, name):
    run, env = train(name, line_spec(wall=0.6), steps=300)
    episodes = run.episodes.read()
    assert any(row.length < 20 for row in episodes)
    assert env.decisions == 150
    assert sum(row.length for row in episodes) <= env.simulator_steps <= 300
    assert run.evaluations.read()[-1].simulator_steps == env.simulator_steps


def test_the_budget_is_the_cost_limit(train):
    loose, _ = train("ppo-lag", steps=400, budget=1000.0, eval_episodes=0)
    tight, _ = train("ppo-lag", steps=400, budget=0.0, eval_episodes=0)
    assert multipliers(loose)[-1] == 0.0
    assert multipliers(tight)[-1] > 0.05


def multipliers(run):
    [path] = run.path.glob("omnisafe/*/*/progress.csv")
    table = np.genfromtxt(path, delimiter=",", names=True, deletechars="")
    return table["Metrics/LagrangeMultiplier"]


@BOTH
def test_omnisafe_gets_the_runs_budget_seed_threads_and_epoch(train, name):
    run, _ = train(name, budget=7.0, seed=5, threads=1)
    [path] = run.path.glob("omnisafe/*/*/config.json")
    config = json.loads(path.read_text())
    part = {"cpo": "algo_cfgs", "ppo-lag": "lagrange_cfgs"}[name]
    assert config[part]["cost_limit"] == 7.0
    assert config["seed"] == derived_seed(5, AGENT)
    assert config["train_cfgs"]["torch_threads"] == 1
    assert config["algo_cfgs"]["steps_per_epoch"] == 50
    assert config["train_cfgs"]["epochs"] == 2


@BOTH
def test_omnisafes_episode_cost_is_the_cost_return(train, name):
    run, _ = train(name, steps=100)
    [path] = run.path.glob("omnisafe/*/*/progress.csv")
    cost = np.genfromtxt(path, delimiter=",", names=True, deletechars="")["Metrics/EpCost"]
    assert cost == pytest.approx(np.mean([row.cost_return for row in run.episodes.read()]))


def test_actions_outside_the_action_space_are_clipped(train):
    _, env = train("cpo")
    actions = np.array(env.unwrapped.actions)
    assert (actions >= LOW).all()
    assert (actions[:, 1] == LOW[1]).any()


def test_training_prints_nothing_and_leaves_process_settings_alone(train, capfd):
    import omnisafe.envs

    def settings():
        return (
            dict(os.environ),
            torch.are_deterministic_algorithms_enabled(),
            torch.backends.cudnn.enabled,
            sorted(omnisafe.envs.support_envs()),
        )

    before = settings()
    run, _ = train("ppo-lag", threads=1)
    assert settings() == before
    assert torch.get_num_threads() == 1
    assert capfd.readouterr() == ("", "")
    written = {path.name for path in (run.path / "omnisafe").rglob("*") if path.is_file()}
    assert written == {"config.json", "progress.csv", "epoch-0.pt", "epoch-2.pt"}


def test_a_failing_environment_fails_the_run_with_its_reason(train):
    spec = line_spec(fails_after=60)
    with pytest.raises(RuntimeError, match=r"CPO failed after 120 .* steps: ValueError: the motor"):
        train("cpo", spec)
    train("cpo")  # and the next run works


def test_a_policy_that_diverges_fails_the_run(train):
    with pytest.raises(RuntimeError, match="PPOLag failed after 100 simulator steps"):
        train("ppo-lag", changes=SMALL | {"actor_lr": 1e38})


def test_unbounded_actions_are_refused(train):
    class Unbounded(Line):
        action_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float32)

    with pytest.raises(UsageError, match=r"Line: .* bounded actions"):
        train("cpo", replace(line_spec(), make=lambda render_mode=None: Unbounded()))


def test_without_omnisafe_the_error_names_the_remedy(train, monkeypatch):
    monkeypatch.setitem(sys.modules, "omnisafe", None)
    monkeypatch.delitem(sys.modules, "safeloop_baselines.omnisafe_bridge")
    monkeypatch.delattr(safeloop_baselines, "omnisafe_bridge")
    with pytest.raises(UsageError, match=r"ppo-lag needs OmniSafe.*`safeloop doctor`"):
        train("ppo-lag")


def test_the_second_environment_cannot_be_stepped(train):
    _, env = train("cpo", steps=100)
    environment = omnisafe_bridge._environment_class(env, "line", lambda: None)
    first, second = (environment("line", num_envs=1, device=torch.device("cpu")) for _ in range(2))
    first.reset()
    with pytest.raises(RuntimeError, match="not recorded"):
        second.reset()


def test_learning_improves_the_return(train):
    changes = asdict(safeloop_baselines.ppo_lag.info.settings()) | {"episodes_per_epoch": 10, "actor_lr": 1e-2}
    run, _ = train("ppo-lag", changes=changes, steps=2000, budget=1000.0, eval_every=0, eval_episodes=5)
    returns = [row.return_ for row in run.episodes.read()]
    assert np.mean([row.return_ for row in run.evaluations.read()]) > np.mean(returns[:10]) + 4
