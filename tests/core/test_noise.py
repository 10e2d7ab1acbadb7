"""The noise of a search: correlated over decisions, and narrower near the action limits or not."""

import torch

from safeloop.cmdp import Constraint
from safeloop.models.trajectories import Outcome
from safeloop.planning.spaces import bounded, correlated
from tests.core.toy import A, H, K, LinearModel, S, make_planner


def test_correlated_noise_keeps_its_variance_and_forgets_at_the_given_rate():
    noise = correlated(torch.randn(3, 20_000, 5, 2, generator=torch.Generator().manual_seed(0)), 0.6)
    assert noise.shape == (3, 20_000, 5, 2)
    for axis in range(2):
        steps = torch.arange(5)
        covariance = torch.cov(noise[..., axis].reshape(-1, 5).T)
        assert torch.allclose(covariance, 0.6 ** (steps.view(-1, 1) - steps).abs().float(), atol=0.02)
    assert torch.cov(noise[:, :, 2].reshape(-1, 2).T)[0, 1].abs() < 0.02  # actions stay independent
    independent = torch.randn(1, 2, 3, 4)
    assert torch.equal(correlated(independent, 0.0), independent)


def test_variance_is_bounded_by_the_distance_to_the_action_limits():
    mean = torch.tensor([0.0, 0.9, -1.0])
    assert torch.allclose(bounded(mean, torch.full((3,), 0.25)), torch.tensor([0.25, 0.0025, 0.0]))


def test_a_plan_at_full_speed_can_stop_where_the_noise_is_not_narrowed():
    # At the limits narrowed noise is nothing, so that all sequences go on as before, though each decision costs.
    class Push(LinearModel):
        def outcome(self, obs, act, next_obs):
            return Outcome(act[..., 0], act[..., 0].clamp(min=0), None, None)

    def planned(narrowed):
        p = make_planner(Push(torch.zeros(K)), Constraint(0.5), A, noise_narrowed=narrowed, noise_correlation=0.85)
        p.mean = torch.ones(1, H, A)
        return p.plan(torch.zeros(1, S), t0=False).mean[0, :-1, 0]

    assert torch.allclose(planned(True), torch.ones(H - 1))
    assert planned(False).max() < 0.5
