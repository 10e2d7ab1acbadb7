"""LBPO's mathematics on toys with a closed form, and its training on a point on a line."""

import math
from dataclasses import replace

import gymnasium
import numpy as np
import pytest
import torch
from line_env import HIGH, LOW, Line, line_spec

from safeloop.errors import UsageError
from safeloop.recording.recorder import Recorder
from safeloop.recording.run import Run
from safeloop.registry import find_algorithm, find_env
from safeloop.settings import build
from safeloop.training.evaluation import evaluate
from safeloop_baselines import lbpo_learner
from safeloop_baselines.frozen_policy import FrozenPolicy
from safeloop_baselines.lbpo import Settings
from safeloop_baselines.lbpo_learner import Learner, Trajectory

FAST = {"episodes_per_epoch": 2, "hidden_units": 8, "critic_iters": 5}


def rows(run):
    return [replace(row, wall_seconds=0.0) for row in run.episodes.read()]


def learner(seed=0, **changes):
    return Learner(Line.action_space, 2, replace(Settings(**FAST), **changes), seed, device="cpu")


def trajectory(length, seed=0, terminated=False):
    generator = torch.Generator().manual_seed(seed)
    obs, act = torch.randn(length + 1, 2, generator=generator), torch.rand(length, 2, generator=generator) * 2 - 1
    return Trajectory(obs, act, torch.rand(2, length, generator=generator), terminated)


def test_lambda_returns_mix_the_next_value_and_the_next_return():
    rewards = torch.tensor([[1.0, 2.0, 4.0], [0.0, 3.0, 1.0]])
    values = torch.tensor([[10.0, 20.0, 30.0], [1.0, 2.0, 0.0]])
    # from the end: 4 + 0.5*30 = 19; 2 + 0.5*(0.75*20 + 0.25*19) = 11.875; 1 + 0.5*(0.75*10 + 0.25*11.875) = 6.234375
    # and 1; 3 + 0.5*(0.75*2 + 0.25*1) = 3.875; 0.5*(0.75*1 + 0.25*3.875) = 0.859375
    expected = torch.tensor([[6.234375, 11.875, 19.0], [0.859375, 3.875, 1.0]])
    torch.testing.assert_close(lbpo_learner.lambda_returns(rewards, values, gamma=0.5, lam=0.25), expected)
    # lambda 1: Monte Carlo, 1 + 0.5*(2 + 0.5*(4 + 0.5*30)) = 6.75
    assert lbpo_learner.lambda_returns(rewards, values, gamma=0.5, lam=1.0)[0, 0] == pytest.approx(6.75)


def test_values_are_fitted_to_bootstrapped_returns_unless_the_episode_terminated():
    one, gamma = learner(gamma=0.5, lam=1.0), 0.5
    episode = trajectory(3)
    final = one.values(episode.obs[-1:], one.act(episode.obs[-1:]))[:, 0].detach()  # [2]
    r = episode.outcome
    expected = r[:, 0] + gamma * (r[:, 1] + gamma * (r[:, 2] + gamma * final))
    torch.testing.assert_close(one._targets(episode)[:, 0], expected)
    ended = one._targets(episode._replace(terminated=True))[:, 0]
    torch.testing.assert_close(ended, expected - gamma**3 * final)


@pytest.mark.parametrize(
    ("q", "before", "epsilon", "expected"),
    [
        ((3.0, 2.0), 1.5, 0.75, -3.0 - 0.1 * math.log(0.25)),  # inside: a quarter is left
        ((3.0, 2.25), 1.5, 0.75, math.inf),  # at the barrier
        ((3.0, 9.0), 1.5, 0.75, math.inf),  # beyond
        ((3.0, 1.0), 1.5, 0.75, -3.0 - 0.1 * math.log(1.25)),  # safer than before
        ((3.0, 2.0), 1.5, 0.0, 2.0),  # the budget is used up: the cost alone
        ((3.0, 2.0), 1.5, -4.0, 2.0),
        ((3.0, 2.0), 1.5, 5.0, -3.0),  # far from the budget: 0.1 / 5 is not above the threshold
        ((3.0, 6.5), 1.5, 5.0, math.inf),  # where the barrier stands all the same
    ],
)
def test_objective(q, before, epsilon, expected):
    value = lbpo_learner.objective(torch.tensor(q), torch.tensor(before), epsilon, beta=0.1, threshold=0.02)
    assert value.item() == pytest.approx(expected)


def test_the_barriers_gradient_is_beta_over_what_is_left_of_epsilon():
    for before, left in ((1.5, 0.75), (1.0, 0.25)):  # at pi_B, and half a unit of cost from it
        q = torch.tensor([3.0, 1.5], requires_grad=True)
        lbpo_learner.objective(q, torch.tensor(before), epsilon=0.75, beta=0.1, threshold=0.02).backward()
        torch.testing.assert_close(q.grad, torch.tensor([-1.0, 0.1 / left]))


def test_conjugate_gradients_solve_a_system_of_equations():
    matrix = torch.tensor([[4.0, 1.0, 0.0], [1.0, 3.0, -1.0], [0.0, -1.0, 5.0]], dtype=torch.float64)
    b = torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64)
    torch.testing.assert_close(
        lbpo_learner.conjugate_gradients(lambda v: matrix @ v, b, 3), torch.linalg.solve(matrix, b)
    )
    torch.testing.assert_close(lbpo_learner.conjugate_gradients(lambda v: matrix @ v, 0 * b, 3), 0 * b)


METRIC = torch.tensor([[2.0, 0.5, 0.0], [0.5, 1.0, 0.25], [0.0, 0.25, 3.0]], dtype=torch.float64)
SLOPE = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)


def step_on_a_toy(beyond=math.inf, damping=0.5):
    """One step from (1, 2), (3) on a linear loss, with KL `(x - start) METRIC (x - start) / 2`; infinite `beyond`."""
    parameters = [torch.tensor([[1.0, 2.0]], dtype=torch.float64), torch.tensor([3.0], dtype=torch.float64)]
    for each in parameters:
        each.requires_grad_()
    start = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)

    def moved():
        return torch.cat([each.flatten() for each in parameters]) - start

    def loss():
        value = SLOPE @ moved()
        return value if value > -beyond else value + math.inf

    kl = [0.5 * moved() @ METRIC @ moved()]
    part = lbpo_learner.trust_region_step(parameters, loss, lambda: 0.5 * moved() @ METRIC @ moved(), 0.02, 3, damping)
    assert kl[0] == 0
    return part, moved().detach()


def test_a_trust_region_step_is_the_natural_gradient_scaled_to_the_divergence():
    damped = METRIC + 0.5 * torch.eye(3, dtype=torch.float64)
    direction = -torch.linalg.solve(damped, SLOPE)
    expected = math.sqrt(2 * 0.02 / (direction @ damped @ direction)) * direction
    part, moved = step_on_a_toy()
    assert part == 1.0
    torch.testing.assert_close(moved, expected)


def test_a_step_is_halved_until_the_loss_is_finite_and_not_taken_where_it_never_is():
    _, full = step_on_a_toy()
    part, moved = step_on_a_toy(beyond=0.3 * (-SLOPE @ full).item())
    assert part == 0.25
    torch.testing.assert_close(moved, 0.25 * full)
    part, moved = step_on_a_toy(beyond=1e-6)
    assert part == 0.0
    assert (moved == 0).all()


def test_a_step_longer_than_the_divergence_allows_is_halved():
    parameter = torch.zeros(1, dtype=torch.float64, requires_grad=True)

    def kl():
        return (0.5 * parameter**2 + 1e3 * parameter**4)[0]

    part = lbpo_learner.trust_region_step([parameter], lambda: 1 * parameter[0], kl, 0.02, 2, 0.0)
    assert 0 < part < 1 and kl() <= 0.02


def test_the_update_gives_the_barrier_the_budget_that_is_left(monkeypatch):
    seen = []

    def watched(q, before, epsilon, beta, threshold):
        seen.append((epsilon, beta, threshold))
        return -q[0]

    monkeypatch.setattr(lbpo_learner, "objective", watched)
    one = learner(gamma=0.75, beta=0.2, barrier_threshold=0.3)
    first, second = trajectory(3), trajectory(5, seed=1)
    one.update([first, second], budget=4.0)
    cost = (first.outcome[1].sum() + second.outcome[1].sum()).item() / 2
    assert seen[0] == (pytest.approx(0.25 * (4.0 - cost)), 0.2, 0.3)


@pytest.mark.parametrize("budget", [-1000.0, 1000.0])
def test_over_the_budget_a_step_lowers_the_cost_and_within_it_raises_the_return(budget):
    one = learner(hidden_units=32, critic_iters=100)
    episodes = [trajectory(40, seed) for seed in range(3)]
    obs = torch.cat([e.obs[:-1] for e in episodes])
    before = one.act(obs).detach()
    one.update(episodes, budget)
    new, old = one.values(obs, one.act(obs)).mean(-1), one.values(obs, before).mean(-1)
    assert (new[1] < old[1]) if budget < 0 else (new[0] > old[0])
    kl = (one.act(obs) - before).square().sum(-1).mean() / (2 * one.settings.exploration_noise**2)
    assert 0 < kl <= one.settings.target_kl + 1e-6


def test_near_the_budget_the_step_stays_within_the_safe_set():
    one = learner(hidden_units=32, critic_iters=100, beta=1e-6, barrier_threshold=0.0, target_kl=1.0)
    episodes = [trajectory(40, seed) for seed in range(3)]
    episodes = [e._replace(outcome=e.act[:, :1].T.repeat(2, 1)) for e in episodes]
    cost = torch.stack([e.outcome[1].sum() for e in episodes]).mean().item()
    obs = torch.cat([e.obs[:-1] for e in episodes])
    before = one.act(obs).detach()
    one.update(episodes, cost + 20.0)  # return and cost are one: all that raises the return raises the cost
    rise = (one.values(obs, one.act(obs)) - one.values(obs, before)).mean(-1)[1].item()
    epsilon = 0.01 * 20.0
    assert 0 < rise < epsilon


def test_the_frozen_policy_is_the_policy_without_exploration():
    one = learner()
    obs = np.random.default_rng(0).normal(0, 2, (50, 2)).astype(np.float32)
    action = one.act(torch.as_tensor(obs)).detach().numpy()
    expected = LOW + (HIGH - LOW) * (action + 1) / 2
    assert action.std(0).min() > 0.01
    np.testing.assert_allclose(FrozenPolicy(one.policy()).act(obs), expected, rtol=0, atol=1e-6)


def test_an_episode_holds_the_actions_that_reached_the_environment(train):
    run, _ = train("lbpo", changes=FAST, steps=20)
    spec = line_spec()
    env = Recorder(spec.make(), spec, run)
    episode = learner(exploration_noise=2.0).drive(env)
    sent = torch.as_tensor(np.array(env.unwrapped.actions))
    scaled = torch.as_tensor(LOW) + torch.as_tensor(HIGH - LOW) * (episode.act + 1) / 2
    torch.testing.assert_close(sent, scaled)
    assert (episode.act.abs() == 1).any() and not (episode.act.abs() == 1).all()
    assert [tuple(x.shape) for x in episode[:3]] == [(11, 2), (10, 2), (2, 10)] and not episode.terminated


def test_whole_epochs_are_recorded_and_the_saved_policy_is_the_one_evaluated(train):
    run, env = train("lbpo", changes=FAST, steps=130, eval_every=40)  # whole epochs: 160
    assert [row.simulator_steps for row in run.episodes.read()] == list(range(20, 161, 20))
    assert env.simulator_steps == 160
    assert [row.simulator_steps for row in run.evaluations.read()] == [40, 40, 80, 80, 120, 120, 160, 160]
    policy = find_algorithm("lbpo").load(Run.open(run.path), seed=1)
    again = [replace(row, return_=round(row.return_, 6)) for row in evaluate(policy, line_spec(), 2, 0, 160)]
    assert run.evaluations.read()[-2:] == again


def test_same_seed_gives_the_same_episodes_and_evaluating_changes_nothing(train):
    often, again, other = (
        train("lbpo", changes=FAST, seed=seed, eval_every=every)[0] for seed, every in ((3, 20), (3, 0), (4, 0))
    )
    assert rows(often) == rows(again)
    assert rows(often) != rows(other)
    obs = torch.zeros(1, 2)
    assert not torch.equal(learner(seed=3).act(obs), learner(seed=4).act(obs))


def test_a_killed_run_resumes_to_the_same_end(train):
    whole, _ = train("lbpo", changes=FAST, steps=200, eval_every=40)
    run, _ = train("lbpo", changes=FAST, steps=80, eval_every=40)
    run.settings = replace(run.settings, steps=200)
    spec = line_spec(fails_after=35)
    with pytest.raises(ValueError, match="the motor burnt out"):  # in the middle of an epoch, after its first episode
        find_algorithm("lbpo").train(Recorder(spec.make(), spec, run), run)
    assert len(run.episodes.read()) == 7
    spec = line_spec()
    find_algorithm("lbpo").train(Recorder(spec.make(), spec, run), run)
    assert rows(run) == rows(whole)
    assert run.evaluations.read() == whole.evaluations.read()


def test_terminated_episodes_are_learned_from(train):
    run, env = train("lbpo", line_spec(wall=0.6), changes=FAST, steps=300)
    assert any(row.length < 20 for row in run.episodes.read())
    assert sum(row.length for row in run.episodes.read()) == env.simulator_steps >= 300


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("gama", "1", "has no setting 'gama'; nearest: gamma"),
        ("gamma", "1", "gamma=1.0: expected at least 0 and below 1"),
        ("lam", "-0.1", "lam=-0.1: expected at least 0 and at most 1"),
        ("episodes_per_epoch", "0", "episodes_per_epoch=0: expected at least 1"),
        ("exploration_noise", "0", "exploration_noise=0.0: expected more than 0"),
        ("target_kl", "nan", "target_kl=nan: expected more than 0"),
        ("beta", "-1", "beta=-1.0: expected at least 0"),
    ],
)
def test_bad_settings_are_refused(key, value, message):
    with pytest.raises(UsageError, match=message):
        build(Settings, {key: value}, owner="lbpo")


def test_unbounded_actions_are_refused_and_a_simulator_that_diverges_fails(train):
    class Unbounded(Line):
        action_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float32)

    class Broken(Line):
        def step(self, action):
            obs, _, *rest = super().step(action)
            return obs, math.nan, *rest

    with pytest.raises(UsageError, match="Line: lbpo needs bounded actions"):
        train("lbpo", replace(line_spec(), make=lambda render_mode=None: Unbounded()), changes=FAST)
    with pytest.raises(ValueError, match="episode 0 is not finite"):
        train("lbpo", replace(line_spec(), make=lambda render_mode=None: Broken()), changes=FAST)


def test_it_is_told_nothing_and_its_presets_are_settings():
    algorithm = find_algorithm("lbpo")
    assert algorithm.resolve(Settings(), find_env("PointGoal1")).privileged == "" and algorithm.info.resumable
    for preset in algorithm.info.presets.values():
        build(Settings, preset, owner="lbpo")
