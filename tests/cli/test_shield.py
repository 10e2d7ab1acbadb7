"""A shield over any policy: `safeloop eval RUN --shield MODEL_RUN`."""

import json
import shutil

import numpy as np
import pytest
import torch

import safeloop
from safeloop.agents import shield
from safeloop.agents.shield import Shield, begun_with
from safeloop.cmdp import Constraint
from tests.core.toy import A, K, LinearModel, make_planner

SMALL = {
    "population": 6, "horizon": 2, "iterations": 1, "ensemble_size": 2, "layers": 1, "width": 8,
    "batch_size": 8, "warmup": 50, "first_fit_steps": 20, "fit_steps": 2, "dynamics": "full",
}  # fmt: skip
B = 3


class Fixed:
    """A policy of one action, at any time."""

    def __init__(self, action):
        self.action = np.array(action, np.float32)

    def reset(self, episodes=1):
        """Nothing is kept."""

    def act(self, obs):
        return np.tile(self.action, (len(obs), 1))


class Guard:
    """A planner over the toy, s' = s + a with a cost |s_0|, as a policy with an agent."""

    def __init__(self, threshold):
        self.agent, self.t0, self.value_after_event = self, True, 0.0
        constraint = Constraint(threshold, min_feasible=1)
        self.planner = make_planner(LinearModel(torch.zeros(K)), constraint, seeds=range(B), population=40)

    def reset(self, episodes=1):
        self.t0 = True

    def plan(self, obs, t0=True, planner=None):
        return self.planner.plan(torch.as_tensor(obs, dtype=torch.float32), t0)


def test_an_action_passes_where_its_own_costs_leave_a_way_to_go_on():
    """From s_0 of 0, -0.9 and 2: an action of 0.9 leads to 0.9, 0 and 2.9, where the allowed sum is 2.5."""
    guard, obs = Guard(2.5), np.zeros((B, A), np.float32)
    obs[:, 0] = [0.0, -0.9, 2.0]
    shielded = Shield(Fixed([0.9] + [0.0] * (A - 1)), guard)
    shielded.reset(B)
    found = shielded.act(obs)
    assert np.allclose(found[:2], [[0.9] + [0.0] * (A - 1)] * 2)
    assert found[2, 0] < 0.9 and (shielded.asked, shielded.passed) == (3, 2)


@pytest.mark.parametrize("threshold", [0.3, 1.0, 4.0])
def test_no_action_passes_that_the_check_refuses(threshold):
    """The check again, from the closed form: with the action first, some sequence keeps the sum of |s_0|."""
    random = np.random.default_rng(0)
    for _ in range(20):
        guard, obs = Guard(threshold), random.normal(size=(B, A)).astype(np.float32)
        wanted = random.uniform(-1, 1, A).astype(np.float32)
        plan = guard.plan(obs, True, guard.planner)
        checked = begun_with(torch.as_tensor(np.tile(wanted, (B, 1))), guard.planner, plan, guard)
        sequences = checked.candidates.clone()
        sequences[:, :, 0] = torch.as_tensor(wanted)
        places = torch.as_tensor(obs)[:, None, None, 0] + sequences[..., 0].cumsum(2)  # [B, N, H]
        costs = (places.abs() * 0.95 ** torch.arange(places.shape[2])).sum(2)
        assert checked.feasible.tolist() == (costs <= threshold).sum(1).tolist()


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Short runs of `safeloop`, `loop` and `sac` in one environment, and one elsewhere."""
    out = tmp_path_factory.mktemp("shield")
    options = {"eval_episodes": 1, "settings": SMALL, "out": out, "quiet": True}
    safeloop.run("RCCarDrift", ["safeloop", "loop", "sac"], steps=100, **options)
    elsewhere = out / "fast/RCCarDrift/safeloop/seed-0"
    shutil.copytree(out / "RCCarDrift/safeloop/seed-0", elsewhere)
    settings = json.loads((elsewhere / "settings.json").read_text())
    settings["env_options"]["speed"] = 5.0
    (elsewhere / "settings.json").write_text(json.dumps(settings))
    return out


def test_it_is_evaluated_and_the_share_that_passed_is_told(runs, main, monkeypatch):
    asked = ["eval", runs / "RCCarDrift/sac/seed-0", "--shield", runs / "RCCarDrift/safeloop/seed-0", "--episodes", "2"]
    code, out, _ = main(*asked)
    assert code == 0 and "of the actions pass, and took its own for the others." in out
    plain = safeloop.evaluate(runs / "RCCarDrift/sac/seed-0", episodes=2)
    path = runs / "RCCarDrift/safeloop/seed-0"
    open_ = safeloop.evaluate(runs / "RCCarDrift/sac/seed-0", episodes=2, shield=path, threshold=1e9)
    assert open_.passed == 1 and open_.threshold == 1e9
    assert [e.return_ for e in open_.episodes] == [e.return_ for e in plain.episodes]
    refused = lambda wanted, planner, plan, agent: plan._replace(feasible=0 * plan.feasible)  # noqa: E731
    monkeypatch.setattr(shield, "begun_with", refused)
    closed = safeloop.evaluate(runs / "RCCarDrift/sac/seed-0", episodes=2, shield=path)
    own = safeloop.evaluate(path, episodes=2)
    assert closed.passed == 0 and [e.return_ for e in closed.episodes] == [e.return_ for e in own.episodes]


def test_a_policy_of_another_library_acts_under_it(runs, main, tmp_path):
    safeloop.run(
        "RCCarDrift", ["sb3:PPO"], steps=100, eval_episodes=1, out=tmp_path, quiet=True,
        settings={"n_steps": 50, "batch_size": 25, "n_epochs": 1},
    )  # fmt: skip
    run, guard = tmp_path / "RCCarDrift/sb3-PPO/seed-0", runs / "RCCarDrift/safeloop/seed-0"
    code, out, _ = main("eval", run, "--shield", guard, "--episodes", "1")
    assert code == 0 and "of the actions pass, and took its own for the others." in out
    plain, open_ = safeloop.evaluate(run, episodes=1), safeloop.evaluate(run, episodes=1, shield=guard, threshold=1e9)
    assert open_.passed == 1 and [e.return_ for e in open_.episodes] == [e.return_ for e in plain.episodes]


@pytest.mark.parametrize(
    ("guard", "more", "message"),
    [
        ("loop/seed-0", [], "a shield is a planner of action sequences under a constraint"),
        ("sac/seed-0", [], "a shield is a planner of action sequences under a constraint"),
        ("safeloop/seed-0", ["--budget", "3"], "a shield's budget is not looked for; give its planner a --threshold"),
        ("../fast/RCCarDrift/safeloop/seed-0", [], "its env_options is"),
        ("nothing", [], "nothing"),
    ],
)
def test_what_can_be_no_shield_is_refused_in_one_line(runs, main, guard, more, message):
    code, _, errors = main("eval", runs / "RCCarDrift/sac/seed-0", "--shield", runs / "RCCarDrift" / guard, *more)
    assert code == 2 and message in errors and errors.count("\n") == 1
