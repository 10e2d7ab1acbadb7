"""POLO's value ensemble: Eq. 5 and 6 against closed forms."""

import math
from copy import deepcopy

import pytest
import torch

from safeloop.errors import UsageError
from safeloop.learners.settings import ValueEnsembleSettings
from safeloop.learners.value_ensemble import ValueEnsemble, optimistic

K, N, S = 3, 7, 4


def ensemble(seed=0, **changes):
    settings = ValueEnsembleSettings(**{"value_ensemble_size": K, "value_width": 16, **changes})
    return ValueEnsemble(S, settings, torch.Generator().manual_seed(seed), "cpu")


def states(*shape, seed=1):
    return torch.randn(*shape, S, generator=torch.Generator().manual_seed(seed))


def test_optimism_by_hand():
    values = torch.tensor([[1.0, 2.0], [3.0, 2.0]])
    expected = torch.tensor([math.log((math.exp(2) + math.exp(6)) / 2) / 2, 2.0])
    torch.testing.assert_close(optimistic(values, 2.0), expected)
    printed = torch.tensor([math.log(math.exp(2) + math.exp(6)), 4 + math.log(2)])
    torch.testing.assert_close(optimistic(values, 2.0, "printed"), printed)
    torch.testing.assert_close(optimistic(values, 2.0, "none"), torch.tensor([2.0, 2.0]))


def test_optimism_goes_from_the_mean_to_the_maximum():
    values = states(5)[..., 0]
    torch.testing.assert_close(optimistic(values, 1e-3), values.mean(0), atol=1e-3, rtol=0)
    torch.testing.assert_close(optimistic(values, 1e3), values.amax(0), atol=2e-3, rtol=0)
    second = values.mean(0) + 0.05 * values.var(0, unbiased=False)  # mean and variance, for small kappa
    torch.testing.assert_close(optimistic(values, 0.1), second, atol=2e-3, rtol=0)


def test_values_have_the_shapes_of_their_states():
    e = ensemble()
    assert e.each(states(N)).shape == (K, N) and e.value(states(2, N)).shape == (2, N)
    torch.testing.assert_close(e.value(states(N)), optimistic(e.each(states(N)), 10.0))
    torch.testing.assert_close(e.value(states(N), "none"), e.each(states(N)).mean(0))


def test_networks_begin_as_their_priors_which_differ_and_stay():
    e, x = ensemble(prior_scale=2.0), states(N)
    prior = 2.0 * e.prior(x.expand(K, -1, -1))[..., 0]
    assert (e.each(x) - prior).abs().max() < 0.3 * prior.std()
    assert prior.std(0).min() > 0.05
    before = [p.clone() for p in e.prior.parameters()]
    for _ in range(20):
        e.update(states(K, N), torch.zeros(K, N))
    assert all(torch.equal(a, b) for a, b in zip(before, e.prior.parameters(), strict=True))


def test_every_network_learns_its_own_targets_and_they_disagree_elsewhere():
    e, x = ensemble(value_learning_rate=1e-2), states(K, 32)
    target = torch.arange(float(K))[:, None] + 0.2 * x[..., 0]
    for _ in range(1500):
        e.update(x, target)
    assert (e.each(x) - target).square().mean().sqrt() < 0.05
    e = ensemble(value_learning_rate=1e-2, input_gain=3.0)
    near = 0.3 * states(64)
    for _ in range(1500):
        e.update(near.expand(K, -1, -1), torch.zeros(K, 64))
    away = 3 + states(64, seed=2)
    assert e.each(away).std(0).mean() > 5 * e.each(near).std(0).mean()


def test_values_of_another_scale_are_learned_alike():
    found = []
    for scale in (1.0, 100.0):
        e = ensemble(value_scale=scale, target_noise=0.1)
        for _ in range(50):
            e.update(states(K, N), scale * states(K, N)[..., 0])
        found.append((e.each(states(N)) / scale, e.value(states(N)) / scale))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


def test_noise_and_decay_are_those_of_equation_5():
    x, y = states(K, N), torch.zeros(K, N)
    quiet, noisy, decayed = ensemble(), ensemble(target_noise=1.0), ensemble(weight_decay=1.0, value_learning_rate=1e-2)
    for e in (quiet, noisy):
        e.update(x, y)
    assert not torch.equal(quiet.each(x), noisy.each(x))
    before = sum(p.square().sum() for p in decayed.net.parameters())
    for _ in range(100):
        decayed.update(x, y)
    assert sum(p.square().sum() for p in decayed.net.parameters()) < 0.3 * before


def test_a_gain_makes_values_differ_over_shorter_distances():
    def change(gain):
        e, x = ensemble(input_gain=gain), states(200)
        return ((e.each(x + 0.05) - e.each(x)).square().mean() / e.each(x).var()).item()

    assert change(6.0) > 4 * change(1.0)


def test_values_can_see_the_first_numbers_of_an_observation_alone():
    values, seen = ensemble(value_inputs=2), states(N)
    changed = seen.clone()
    changed[:, 2:] += 1
    torch.testing.assert_close(values.each(seen), values.each(changed), rtol=0, atol=0)
    changed[:, 1] += 1
    assert not torch.allclose(values.each(seen), values.each(changed))
    each = states(K, N)
    torch.testing.assert_close(values.each(each)[1], values.each(each[1])[1])
    with pytest.raises(UsageError, match="value_inputs=5: an observation has 4 numbers"):
        ensemble(value_inputs=5)


def test_a_restored_ensemble_goes_on_as_it_would_have():
    e, x = ensemble(target_noise=0.5), states(K, N)
    e.update(x, torch.ones(K, N))
    other = ensemble(seed=9)
    other.restore(deepcopy(e.checkpoint()))
    other.settings = e.settings
    for each in (e, other):
        each.update(x, torch.ones(K, N))
    assert torch.equal(e.each(x), other.each(x))


@pytest.mark.parametrize("changes", [{"kappa": 0.0}, {"value_scale": -1.0}, {"prior_scale": -0.1}])
def test_settings_that_can_not_be_are_refused(changes):
    with pytest.raises(ValueError, match=f"{next(iter(changes))}=.*: expected"):
        ValueEnsembleSettings(**changes)
