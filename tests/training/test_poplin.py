"""POPLIN's agent: plans around a policy that is distilled when an episode ends."""

from copy import deepcopy

import numpy as np
import pytest
import torch

from safeloop.algorithms import poplin
from safeloop.errors import UsageError
from safeloop.protocols import Transition
from safeloop.registry import find_env
from safeloop.settings import build

SMALL = {
    "ensemble_size": 2, "layers": 1, "width": 16, "population": 8, "elites": 3, "iterations": 2, "horizon": 4,
    "warmup": 10, "fit_steps": 5, "first_fit_steps": 10, "batch_size": 16, "policy_width": 6, "distilled_steps": 5,
}  # fmt: skip
NAMES = {"poplin-a": poplin.poplin_a, "poplin-p": poplin.poplin_p, "safepoplin-p": poplin.safepoplin_p}
NAMES["safepoplin-a"] = poplin.safepoplin_a


def make(name="poplin-p", env="InvertedPendulum", seed=0, **changes):
    algorithm, spec = NAMES[name], find_env(env, {})
    asked = {**algorithm.info.presets["default"], **SMALL, **changes}
    settings = algorithm.resolve(build(algorithm.info.settings, asked, owner=name), spec).settings
    env = spec.make()
    sizes = env.observation_space.shape[0], env.action_space.shape[0]
    return algorithm.build(settings, spec, *sizes, seed, "cpu"), env


def decide(agent, env, obs, t0):
    act = agent.act(obs, t0)
    next_obs, reward, terminated, truncated, info = env.step(act)
    agent.observe(Transition(obs, act, reward, terminated, truncated, {"cost": 0.0, **info}, np.array(next_obs)))
    agent.update()
    return act, np.array(next_obs), terminated or truncated


def drive(agent, env, decisions, seed=0):
    """The actions of so many decisions, episode after episode."""
    acts, done, episode = [], True, 0
    for _ in range(decisions):
        if done:
            obs, t0, episode = np.array(env.reset(seed=seed + episode)[0]), True, episode + 1
        act, obs, done = decide(agent, env, obs, t0)
        t0 = False
        acts.append(act)
    return np.stack(acts)


@pytest.mark.parametrize(
    ("name", "space"),
    [("poplin-a", "init"), ("poplin-a", "replan"), ("poplin-p", "sep"), ("poplin-p", "uni")],
)
@pytest.mark.parametrize("hallucination", [False, True])
def test_the_policy_changes_when_an_episode_with_plans_ends(name, space, hallucination):
    agent, env = make(name, search_space=space, hallucination=hallucination)
    drive(agent, env, 10)
    weights = agent.distillation.policy.weights.detach().clone()
    assert len(agent.replay) == 10 and not agent.planned
    obs, done, planned = np.array(env.reset(seed=5)[0]), False, 0
    while not done:
        assert torch.equal(agent.distillation.policy.weights, weights)
        kept = sum(len(each.obs) for each in agent.planned)
        _, obs, done = decide(agent, env, obs, planned == 0)
        planned += 1
        if not done:
            assert sum(len(each.obs) for each in agent.planned) - kept == (4 if hallucination else 1)
    assert planned > 1 and not agent.planned and not torch.equal(agent.distillation.policy.weights, weights)


def test_a_plan_is_an_action_of_the_policy_with_its_noise():
    agent, env = make("poplin-p")
    drive(agent, env, 20)
    obs = np.array(env.reset(seed=1)[0])
    plan = agent.plan(obs[None], True)
    seen = torch.as_tensor(obs, dtype=torch.float32)
    expected = agent.distillation.policy.changed(seen[None, None], plan.mean[:, 0])[0, 0]
    torch.testing.assert_close(plan.action[0], expected.detach())
    assert plan.candidates.shape == (1, 8, 4, agent.distillation.policy.size) and (plan.weights > 0).sum() == 3


@pytest.mark.parametrize("name", ["poplin-a", "poplin-p"])
def test_a_restored_agent_goes_on_as_it_would_have(name):
    agent, env = make(name)
    done, obs, t0 = False, np.array(env.reset(seed=0)[0]), True
    for _ in range(12):  # checkpoints are written between episodes
        done, t0, obs = False, True, np.array(env.reset(seed=len(agent.replay))[0])
        while not done:
            _, obs, done = decide(agent, env, obs, t0)
            t0 = False
    other, again = make(name, seed=7)
    other.restore(deepcopy(agent.checkpoint()))
    assert np.array_equal(drive(agent, env, 15, seed=3), drive(other, again, 15, seed=3))


@pytest.mark.parametrize("name", ["safepoplin-a", "safepoplin-p"])
@pytest.mark.parametrize("options", [{}, {"dynamics": "factored"}])
def test_plans_under_a_constraint_count_feasible_candidates(name, options):
    agent, env = make(name, "PointGoal1", **options)
    drive(agent, env, 25)
    assert len(agent.plans) == 15 and all(0 <= plan.feasible.item() <= 8 for plan in agent.plans)
    assert agent.diagnostics()["lowest_cost"] >= 0


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("poplin-a", {"distillation": "avg"}, "distillation=avg: it needs noise on weights"),
        ("poplin-p", {"search": "mppi", "elites": None}, "search=mppi, actor_fraction=0: POPLIN's search is cem"),
        ("poplin-p", {"actor_fraction": 0.5}, "search=cem, actor_fraction=0.5: POPLIN's search is cem"),
        ("poplin-p", {"value": "behaviour"}, "value=behaviour: POPLIN has no value at the horizon"),
        ("safepoplin-p", {}, "safepoplin-p"),
    ],
)
def test_settings_that_can_not_be_are_refused(name, changes, message):
    with pytest.raises(UsageError, match=message):
        make(name, "InvertedPendulum", **changes)


def test_the_policy_alone_acts_without_a_plan():
    agent, env = make(horizon=3)
    drive(agent, env, 30)
    alone, obs = agent.alone(), np.array(env.reset(seed=1)[0])
    found = alone.act(obs)
    policy = agent.distillation.policy
    seen = agent.ensemble.features(agent.ensemble.first(torch.as_tensor(obs[None])))
    assert np.array_equal(found, policy(seen)[0].detach().numpy())
    assert len(alone.act(np.stack([obs, 2 * obs]))) == 2 and np.abs(found).max() <= 1


def test_a_policy_of_zeros_stays_one():
    agent, env = make(distillation="zero")
    acts = drive(agent, env, 60)
    assert not agent.distillation.policy.weights.any() and agent.distillation.policy.mean.any()
    assert len(np.unique(acts[20:])) > 20  # the planner acts, around it
    assert not agent.alone().act(np.ones(4)).any()
