"""Agents with dynamics over points, decoded from lidars or observed."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from safeloop.algorithms.imagination import mbpo, sac_ve
from safeloop.algorithms.loop import loop
from safeloop.cmdp import Entities
from safeloop.errors import UsageError
from safeloop.models.tracks import PRESENT
from safeloop.registry import find_env
from tests.training.test_agents import BUTTON, POINT, agent, settings, told


def test_over_decoded_lidars_actor_and_value_read_the_features_of_states():
    a = agent(BUTTON, obs_dim=76)
    tracks = a.ensemble.tracks
    assert (a.settings.models.dynamics, a.settings.models.ensemble_size, a.settings.planner.horizon) == (
        "points",
        3,
        12,
    )
    obs = torch.rand(7, 76)
    assert a.reads(obs).shape == (7, tracks.feature_size) and tracks.feature_size == 12 + 3 * 19
    imagined, _ = a.ensemble.step(a.ensemble.first(obs).expand(3, -1, -1), torch.zeros(3, 7, 2), None)
    assert a.parts.value(imagined).shape == (3, 7) and a.parts.actor(imagined[0], None).shape == (7, 2)
    torch.testing.assert_close(a.parts.actor(a.ensemble.first(obs), None), a.learner.act(a.reads(obs), None))
    policy = a.explorer(0)
    policy.reset(2)
    assert policy.act(obs[:2].numpy()).shape == (2, 2)


def test_over_decoded_lidars_a_planner_without_a_constraint_needs_no_observations():
    a = agent(BUTTON, loop, obs_dim=76, population=12, iterations=1)
    assert a.plan(np.random.default_rng(0).random((1, 76)), True).action.shape == (1, 2)


def test_learners_of_imagined_observations_keep_to_models_of_observations():
    circle = find_env("PointCircle1", {})
    for algorithm in (mbpo, sac_ve):
        assert settings(algorithm).filled(circle).models.dynamics == "auto"
        with pytest.raises(
            UsageError, match="dynamics=points: learners of imagined transitions need models of observations"
        ):
            algorithm.resolve(settings(algorithm, dynamics="points"), circle)
    with pytest.raises(UsageError, match="augmentation: imagined states of dynamics=points are no observations"):
        told(spec=circle, augmentation=0.3)


POSITIONS = find_env("PointButton1", {"observation": "positions"})


def test_dynamics_over_observed_positions_are_over_points_and_use_the_entities():
    assert told(dynamics="points") == "known cost, entities" and told() == "known cost, entities"
    assert told(spec=POSITIONS, dynamics="points") == "entities"
    assert type(agent(POSITIONS, obs_dim=32, dynamics="auto").ensemble.net).__name__ == "FactoredNet"
    a = agent(POSITIONS, obs_dim=32)
    assert a.ensemble.tracks.count == 13 and a.ensemble.tracks.singles == [0] and a.ensemble.heads.violated
    assert (a.settings.models.ensemble_size, a.settings.planner.horizon) == (3, 12)
    assert a.reads(torch.rand(7, 32)).shape == (7, 6 + 3 * 13)
    assert type(a.behaviour.net).__name__ == "EntityValue"
    assert (agent(dynamics="points").ensemble.margin, a.ensemble.margin) == (0.03, 0.0)


def test_positions_that_are_not_of_two_numbers_are_no_points():
    solid = replace(POINT, entities=Entities((0, 1), ((2, 3, 4), (5, 6, 7)), ("goal", "box"), 0))
    with pytest.raises(
        UsageError, match="points: PointGoal1 names entities whose positions have 3 numbers, not 2; use"
    ):
        told(spec=solid, dynamics="points")
    assert told(spec=solid) == "known cost, entities" and settings().filled(solid).models.dynamics == "auto"


def test_a_known_model_can_not_read_points_from_lidars():
    known = replace(BUTTON, cost=POINT.cost)
    with pytest.raises(UsageError, match="points: a known cost can't read points from lidars; use dynamics=factored"):
        told(spec=known)
    assert told(spec=known, cost="learned") == "lidars, lidar model" == told(loop, known)


def fitted(**changes):
    """An agent with dynamics over points, fitted to objects that the robot's actions move, and 600 observations."""
    small = {"population": 20, "iterations": 2, "first_fit_steps": 100, "ensemble_size": 2, "width": 64}
    a = agent(dynamics="points", **small, **changes)
    g, robot = torch.Generator().manual_seed(0), torch.zeros(6)
    for _ in range(600):
        place, act = 1.5 * torch.randn(10, 2, generator=g), 2 * torch.rand(2, generator=g) - 1
        after = place - 0.05 * act
        event = bool(after[0].norm() < 0.3)
        reward = (place[0].norm() - after[0].norm()).item() + event
        cost = float(after[2:].norm(dim=1).min() < 0.2)
        obs, next_obs = (torch.cat((robot, x.flatten())).numpy() for x in (place, after))
        a.replay.add(obs, act.numpy(), reward, cost, False, event, next_obs)
    a.fit()
    return a, a.replay.rows(torch.arange(600)).obs


@pytest.mark.parametrize("source", ["known", "learned"])
def test_what_is_beyond_reach_changes_no_score(source):
    a, obs = fitted(value="none", reward=source, cost=source)
    objective, space = a.planner.search.objective, a.planner.search.space
    states = a.ensemble.first(obs[:9])
    near = a.ensemble.near(states)
    assert 0.1 < a.ensemble.tracks.split(near)[1][..., PRESENT].mean() < 0.9
    straight = 2 * torch.rand(9, 30, 1, 2, generator=torch.Generator().manual_seed(1)) - 1
    candidates = straight.expand(9, 30, *space.size)
    with torch.no_grad():
        whole, some = (objective(x, space, candidates, [None] * 9) for x in (states, near))
    torch.testing.assert_close(some.costs, whole.costs, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(some.returns, whole.returns, atol=1e-4, rtol=1e-4)
    assert 0.1 < (whole.costs > 0.01).float().mean() < 0.9


def test_a_known_reward_and_cost_read_imagined_observations():
    a, obs = fitted(reward="known")
    states = a.ensemble.near(a.ensemble.first(obs[:9])).expand(2, -1, -1)
    with torch.no_grad():
        _, following, outcome = a.model.step(states, torch.full((2, 9, 2), 0.5), None)
    seen = (a.ensemble.observed(x)[..., 6:].unflatten(-1, (10, 2)).norm(dim=-1) for x in (states, following))
    before, after = seen
    torch.testing.assert_close(outcome.cost, (0.25 - after[..., 2:]).relu().sum(-1))  # 0.2 m and the margin
    met = (after[..., 0] < 0.3).float()
    torch.testing.assert_close(outcome.reward, before[..., 0] - after[..., 0] + met)
    assert torch.equal(outcome.event, met)


def test_leaving_out_moves_a_plan_less_than_other_noise_does():
    a, obs = fitted(cost="learned")
    nearest = obs[:, 10:].unflatten(-1, (8, 2)).norm(dim=-1).amin(-1)
    close = obs[(nearest > 0.2) & (nearest < 0.45)][:9].numpy()  # a hazard matters

    def action(seed):
        generators = [torch.Generator().manual_seed(9 * seed + i) for i in range(9)]
        return a.plan(close, True, a.new_planner(generators)).action

    one, other = action(0), action(1)
    a.ensemble.reach.fill_(torch.inf)
    assert (action(0) - one).norm(dim=1).mean() < 0.2 * (other - one).norm(dim=1).mean()
