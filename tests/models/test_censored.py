"""Clipped numbers: their likelihood, their predictions, and a fit that sees beyond a limit."""

import math

import pytest
import torch

from safeloop.data.replay import Replay
from safeloop.errors import UsageError
from safeloop.models.censored import clipped_side, deviance, misses
from safeloop.models.ensemble import Ensemble
from safeloop.models.full import Heads
from safeloop.models.settings import ModelSettings
from safeloop.registry import find_env

LIMIT = torch.tensor([2.0, math.inf, 1.0])


def test_the_side_of_a_clipped_number():
    truth = torch.tensor([[2.0, 9.0, -1.0], [-2.0, -9.0, 0.5]])
    assert clipped_side(truth, LIMIT).tolist() == [[1, 0, -1], [-1, 0, 0]]


def test_the_deviance_of_a_clipped_number_is_the_mass_beyond_it():
    mean, variance, target = torch.tensor([0.3, 0.3, 0.3]), torch.tensor([4.0, 4.0, 4.0]), torch.tensor(1.7)
    normal = torch.distributions.Normal(0.3, 2.0)
    above, below = 1 - normal.cdf(target), normal.cdf(target)
    expected = [(1.4**2) / 4 + math.log(4), -2 * above.log().item(), -2 * below.log().item()]
    found = deviance(mean, variance, target, torch.tensor([0.0, 1.0, -1.0]))
    assert found.tolist() == pytest.approx(expected, rel=1e-5)
    assert deviance(mean[:1], variance[:1], target).item() == pytest.approx(expected[0], rel=1e-6)


def test_far_from_a_limit_its_deviance_and_gradient_are_finite():
    mean = torch.tensor([-50.0, 50.0], requires_grad=True)
    found = deviance(mean, torch.full((2,), 1e-3), torch.zeros(2), torch.ones(2))
    found.sum().backward()
    assert found.isfinite().all() and mean.grad.isfinite().all()
    assert mean.grad[0] < 0 and mean.grad[1] == 0  # up to the limit; beyond it nothing is to be learned


def test_a_prediction_beyond_a_limit_is_no_error():
    mean, side = torch.tensor([3.0, 1.0, -3.0, 3.0]), torch.tensor([1.0, 1.0, -1.0, 0.0])
    assert misses(mean, torch.tensor([2.0, 2.0, -2.0, 2.0]), side).tolist() == [0, -1, 0, 1]
    assert misses(mean, torch.tensor(2.0)).tolist() == [1, -1, -5, 1]


def clipped_system(n, limit):
    """s0' = 0.8 s0 + 2 a and s1' = s1 + s0 / 2, of which s0 is shown up to a limit, and resets to a random state."""
    g = torch.Generator().manual_seed(0)
    replay = Replay(n, 3, 1)
    for _ in range(n):
        s, a = 2 * torch.randn(3, generator=g), torch.rand(1, generator=g) * 2 - 1
        s[0] = s[0].clamp(-limit, limit)
        after = torch.stack((0.8 * s[0] + 2 * a[0], s[1] + 0.5 * s[0], s[2]))
        after[0] = after[0].clamp(-limit, limit)
        replay.add(s.numpy(), a.numpy(), 0.0, False, False, False, after.numpy())
    return replay


def fitted(limits, replay, window=1):
    model = Ensemble(
        3, 1, ensemble_size=2, sizes=[48, 48], heads=Heads(), limits=limits, window=window,
        generator=torch.Generator().manual_seed(1),
    )  # fmt: skip
    model.fit(replay, 800)
    return model


def test_a_censored_fit_knows_the_slope_behind_the_limit():
    replay, k = clipped_system(2000, 1.5), 2
    state, act = torch.tensor([[1.4, 0.0, 0.0]]).expand(k, -1, -1), torch.tensor([[0.6]]).expand(k, -1, -1)
    # the number itself goes to 0.8 * 1.4 + 1.2 = 2.32, which is shown as 1.5
    censored, plain = fitted({0: 1.5}, replay), fitted(None, replay)
    shown = censored.step(state, act, None)[0][:, 0, 0]
    assert shown.tolist() == [1.5, 1.5]
    mean, _, _ = censored.net.transition(censored.normalise(state), act, censored.delta_std)
    behind = (state + censored.delta_mean + censored.delta_std * mean)[:, 0, 0]
    assert (behind > 1.9).all()
    noisy = censored.step(state, act, [torch.Generator().manual_seed(0)])[0]
    assert (noisy[..., 0] <= 1.5).all() and plain.limit is None
    held = replay.rows(replay.split()[1])
    assert censored.errors(held).mean() < plain.errors(held).mean()


def test_windows_go_on_from_what_is_shown():
    model = fitted({0: 1.5}, clipped_system(400, 1.5), window=3)
    data = clipped_system(12, 1.5).rows(torch.arange(12).view(4, 3).expand(2, -1, -1))
    path = model._path(data)[0].obs.view(2, 4, 3, 3)
    assert (path[..., 0].abs() <= 1.5).all()


@pytest.mark.parametrize("name", ["HalfCheetah", "PointGoal1"])
def test_an_environment_without_clipped_numbers_is_refused(name):
    with pytest.raises(UsageError, match=f"censored=true: {name} has no numbers known to be clipped; leave it out"):
        ModelSettings(censored=True).privileged(find_env(name), constrained=False)


def test_clipped_numbers_are_privileged_information():
    spec = find_env("Hopper")
    assert "clipped numbers" in ModelSettings(censored=True).privileged(spec, constrained=False)
    assert "clipped numbers" not in ModelSettings().privileged(spec, constrained=False)
