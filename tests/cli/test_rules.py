"""Rules that are added after training: `safeloop eval RUN --cost-model`, `--watch`; and in Python."""

import numpy as np
import pytest
import torch

import safeloop
from safeloop.errors import UsageError
from safeloop.experiments.rules import Counting, Rule, find_rule
from safeloop_envs import rules

SMALL = {
    "population": 12, "horizon": 3, "iterations": 2, "ensemble_size": 2, "layers": 1, "width": 16, "dynamics": "full",
    "batch_size": 32, "warmup": 200, "first_fit_steps": 300, "fit_steps": 2, "min_feasible": 1,
}  # fmt: skip
OWN = """
def fast(obs, act, next_obs, margin=0.0):
    return (next_obs[..., 3:5].norm(dim=-1) - 1.0 + margin).clamp(min=0)

def everywhere(obs, act, next_obs, margin=0.0):
    return 1 + 0 * next_obs[..., 0]

def never(obs, act, next_obs, margin=0.0):
    return 0 * next_obs[..., 0]

def of_another_shape(obs, act, next_obs, margin=0.0):
    return next_obs

def of_other_numbers(obs, act, next_obs, margin=0.0):
    return next_obs[..., 40]

number = 3
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Short runs under the environment's own constraint, without one, and of an actor."""
    out = tmp_path_factory.mktemp("rules")
    (out / "own_rules.py").write_text(OWN)
    safeloop.run(
        "RCCarDrift", ["safeloop", "loop", "sac"], steps=200, eval_episodes=1, settings=SMALL, out=out, quiet=True
    )
    return out


@pytest.fixture(autouse=True)
def here(runs, monkeypatch):
    monkeypatch.chdir(runs)


def test_a_rule_joins_the_learned_and_the_known_costs(runs):
    policy = safeloop.load(runs / "RCCarDrift/safeloop/seed-0", cost_models=["own_rules:fast", rules.rc_car_strip])
    policy.reset()
    search = policy.policy.planner.search
    assert search.constraint.threshold.tolist() == pytest.approx([0.02, 0.02, 0.02])
    obs, act = torch.randn(2, 5, 6), torch.rand(2, 5, 2)
    outcome = search.objective.model.step(obs, act, [torch.Generator().manual_seed(0)])
    costs, following = outcome[2].cost, outcome[1]
    assert costs.shape == (2, 5, 3)
    assert torch.allclose(costs[..., 2], rules.rc_car_strip(obs, act, following, margin=0.05))
    policy.act(np.zeros(6, np.float32))


@pytest.mark.parametrize("algo", ["safeloop", "loop"])
def test_a_rule_that_is_always_or_never_broken(runs, algo):
    run = runs / f"RCCarDrift/{algo}/seed-0"
    plain = safeloop.evaluate(run, episodes=2, watch=["own_rules:never", "own_rules:everywhere"])
    assert plain.broken == {"own_rules:never": 0, "own_rules:everywhere": 1}
    kept = safeloop.evaluate(run, episodes=2, cost_models=["own_rules:never"])
    assert kept.broken == {"own_rules:never": 0}
    if algo == "loop":  # whose constraint is then the rule alone
        assert [e.return_ for e in kept.episodes] == pytest.approx([e.return_ for e in plain.episodes], abs=1e-3)


def test_it_is_told_how_often_a_rule_was_broken(runs, main):
    code, out, _ = main("eval", runs / "RCCarDrift/loop/seed-0", "--episodes", "1", "--watch", "own_rules:everywhere")
    assert code == 0 and "Rule own_rules:everywhere: broken in 100.0% of the decisions." in out


def test_decisions_are_counted_by_what_followed():
    class Still:
        """A policy that does nothing."""

        needs_states = False

        def reset(self, episodes):
            """Nothing is kept."""

        def keep(self, rows):
            """Nothing is kept."""

        def act(self, obs):
            return np.zeros((len(obs), 1))

    counting = Counting(Still(), [Rule("fell", lambda obs, act, following: (obs - following)[..., 0].clamp(min=0))])
    counting.reset(2)
    counting.act(np.array([[1.0], [5.0]]))
    counting.act(np.array([[2.0], [4.0]]))  # the second fell
    counting.keep([1])
    counting.act(np.array([[3.0]]))  # again
    counting.reset(1)
    counting.act(np.array([[0.0]]))
    assert (counting.decisions, counting.broken) == (3, [2]) and counting.shares == {"fell": 2 / 3}


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("own_rules", "rule own_rules: expected package.module:function"),
        ("own_rules:number", "rule own_rules:number: expected a function, found int"),
        ("own_rules:nothing", "rule own_rules:nothing: AttributeError"),
        ("no_such_module:f", "rule no_such_module:f: ModuleNotFoundError"),
        ("own_rules:of_another_shape", "expected finite costs of the shape [2, 3] for [2, 3, 6], got [2, 3, 6]"),
        ("own_rules:of_other_numbers", "with 6 numbers fails: IndexError"),
    ],
)
def test_what_is_no_rule_is_refused_in_one_line(runs, main, rule, message):
    code, _, errors = main("eval", runs / "RCCarDrift/safeloop/seed-0", "--cost-model", rule)
    assert code == 2 and message in errors and errors.count("\n") == 1


def test_a_policy_that_does_not_plan_keeps_to_no_rule(runs):
    with pytest.raises(UsageError, match="does not plan, so it can keep to no rule"):
        safeloop.load(runs / "RCCarDrift/sac/seed-0", cost_models=["own_rules:fast"])


def test_the_examples_are_depths_that_a_margin_widens():
    obs = torch.zeros(4, 6)
    obs[:, 0] = torch.tensor([1.0, 1.1, 1.2, 1.4])
    assert torch.allclose(rules.rc_car_strip(obs, obs, obs), torch.tensor([0.0, 0.05, 0.15, 0.0]), atol=1e-6)
    wider = rules.rc_car_strip(obs, obs, obs, margin=0.1)
    assert torch.allclose(wider, torch.tensor([0.05, 0.15, 0.25, 0.05]), atol=1e-6)
    obs[:, 3] = torch.tensor([2.0, 3.0, 4.0, 5.0])
    assert rules.rc_car_speed(obs, obs, obs).tolist() == [0.0, 0.0, 1.0, 2.0]
    assert rules.rc_car_speed(obs, obs, obs, margin=0.5).tolist() == [0.0, 0.5, 1.5, 2.5]
    obs[:, 1] = 0.8
    obs[:, 0] = 0.6
    assert torch.allclose(rules.point_speed(obs, obs, obs), torch.full((4,), 0.4))
    assert find_rule("safeloop_envs.rules:point_speed").cost is rules.point_speed
