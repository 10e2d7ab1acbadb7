"""Batch renormalisation against its closed forms; K networks, B rows and n units all differ."""

import pytest
import torch
from torch.nn import functional

from safeloop.learners.renormalised import D_MAX, EPSILON, R_MAX, BatchRenorm, RenormalisedMLP

K, B, N = 2, 7, 3


def rows(seed=0, spread=2.0, centre=1.0):
    return centre + spread * torch.randn(K, B, N, generator=torch.Generator().manual_seed(seed))


def norm(momentum=0.25, mean=0.0, variance=1.0):
    made = BatchRenorm(K, N, momentum)
    made.scale.data.copy_(torch.arange(1.0, 1 + K * N).view(K, 1, N))
    made.shift.data.copy_(torch.arange(-1.0, K * N - 1).view(K, 1, N))
    made.mean.fill_(mean)
    made.variance.fill_(variance)
    return made


def batch_norm(made, x):
    """Batch normalisation of each network's rows, by torch."""
    each = zip(x, made.scale[:, 0], made.shift[:, 0], strict=True)
    return torch.stack([functional.batch_norm(r, None, None, w, b, training=True, eps=EPSILON) for r, w, b in each])


def statistics(x):
    return x.mean(1, keepdim=True), x.var(1, unbiased=False, keepdim=True)


def test_without_corrections_it_is_batch_normalisation():
    x, made = rows(), norm(mean=3.0, variance=0.2)
    assert torch.allclose(made.on_batch(x, corrected=False), batch_norm(made, x), atol=1e-5)


def test_with_r_1_and_d_0_it_is_batch_normalisation_too():
    x, made = rows(), norm()
    mean, variance = statistics(x)
    made.mean.copy_(mean)
    made.variance.copy_(variance)
    assert torch.allclose(made.on_batch(x, corrected=True), batch_norm(made, x), atol=1e-5)


def test_within_the_bounds_a_corrected_batch_is_normalised_by_running_statistics():
    x, made = rows(), norm(mean=0.5, variance=3.0)
    expected = made(x)
    assert torch.allclose(expected, (x - 0.5) / (3.0 + EPSILON) ** 0.5 * made.scale + made.shift, atol=1e-5)
    assert torch.allclose(made.on_batch(x, corrected=True), expected, atol=1e-5)
    assert not torch.allclose(made.on_batch(x, corrected=False), expected, atol=0.1)


@pytest.mark.parametrize(
    ("mean", "variance", "r", "d"),
    [(-100.0, 1e-2, R_MAX, D_MAX), (100.0, 1e4, 1 / R_MAX, "free"), (1e4, 1e4, 1 / R_MAX, -D_MAX)],
)
def test_corrections_are_bounded(mean, variance, r, d):
    x, made = rows(), norm(mean=mean, variance=variance)
    if d == "free":
        d = (statistics(x)[0] - mean) / (variance + EPSILON) ** 0.5
        assert d.abs().max() < 2
    centre, spread = statistics(x)
    normal = (x - centre) / (spread + EPSILON).sqrt()
    expected = (normal * r + d) * made.scale + made.shift
    assert torch.allclose(made.on_batch(x, corrected=True), expected, rtol=1e-4, atol=1e-4)


def test_running_statistics_move_by_the_momentum_with_each_batch():
    first, second, made = rows(1), rows(2, 5.0, -3.0), norm(momentum=0.25)
    made.on_batch(first, corrected=False)
    made.on_batch(second, corrected=True)
    for name, start, i in (("mean", 0.0, 0), ("variance", 1.0, 1)):
        expected = 0.75 * (0.75 * start + 0.25 * statistics(first)[i]) + 0.25 * statistics(second)[i]
        assert torch.allclose(getattr(made, name), expected, atol=1e-5), name
    assert set(made.state_dict()) == {"scale", "shift", "mean", "variance"}


def test_a_row_is_normalised_by_running_statistics_whatever_stands_beside_it():
    x, made = rows(), norm()
    made.on_batch(rows(3), corrected=False)
    before = {name: value.clone() for name, value in made.state_dict().items()}
    assert torch.allclose(made(x)[:, 2:3], made(x[:, 2:3]))
    assert all(torch.equal(value, before[name]) for name, value in made.state_dict().items())


def test_no_gradient_goes_through_the_corrections():
    """With r and d constant, the gradient is r times that of batch normalisation."""
    weights, gradients = torch.randn(K, B, N), []
    for corrected in (False, True):
        x = rows().requires_grad_()
        made = norm(mean=0.3, variance=2.0)
        (made.on_batch(x, corrected) * weights).sum().backward()
        gradients.append(x.grad)
    r = ((statistics(rows())[1] + EPSILON) / (2.0 + EPSILON)).sqrt()
    assert torch.allclose(gradients[1], r * gradients[0], atol=1e-5) and gradients[0].abs().max() > 0.1


def test_a_network_normalises_its_inputs_and_each_activation():
    net, x = RenormalisedMLP(K, [N, 6, 5, 4], torch.Generator().manual_seed(0), 0.01), rows()
    learned = net.on_batch(x, corrected=False)
    assert learned.shape == (K, B, 4) and [n.mean.shape[-1] for n in net.norms] == [N, 6, 5]
    for k in range(K):
        h = x[k]
        for i in range(3):
            h = (h - h.mean(0)) / (h.var(0, unbiased=False) + EPSILON).sqrt() @ net.weights[i][k] + net.biases[i][k]
            h = h.relu() if i < 2 else h
        assert torch.allclose(learned[k], h, atol=1e-4)
    h = x
    for i in range(3):
        usual = net.norms[i]
        h = (h - usual.mean) / (usual.variance + EPSILON).sqrt() @ net.weights[i] + net.biases[i]
        h = h.relu() if i < 2 else h
    assert torch.allclose(net(x), h, atol=1e-4) and not torch.allclose(h, learned, atol=0.1)
