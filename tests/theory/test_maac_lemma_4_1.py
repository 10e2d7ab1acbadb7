"""MAAC's Lemma 4.1 (2020): the error of the policy gradient through a model, and where the printed bound fails."""

import sys
from pathlib import Path

import pytest
import torch
from torch.func import jacrev

sys.path.append(str(Path(__file__).parents[2] / "analysis"))

import gradient_bound
from gradient_bound import Derivatives

S, A = 3, 2
EXACT = {"dtype": torch.float64}


class Problem:
    """Smooth dynamics, rewards, a critic and a policy `tanh(theta s)` or `theta s`; models are off by `error`."""

    def __init__(self, seed, error, linear):
        g = torch.Generator().manual_seed(seed)
        draw = lambda *shape: torch.randn(*shape, generator=g, **EXACT)  # noqa: E731
        self.f, self.q, self.r = draw(S, S + A) * 0.4, draw(S + A), draw(S + A)
        self.off, self.shift, self.q_off = error * draw(S, S + A), error * draw(S), error * draw(S + A)
        self.theta, self.start, self.linear = 0.5 * draw(A, S), draw(S), linear

    def policy(self, theta, s):
        return theta @ s if self.linear else torch.tanh(theta @ s)

    def step(self, x, learned):
        matrix = self.f + self.off if learned else self.f
        return torch.tanh(matrix @ x) + (self.shift if learned else 0)

    def reward(self, x):
        return torch.sin(self.r @ x)

    def critic(self, x, learned):
        return torch.cos((self.q + self.q_off if learned else self.q) @ x)

    def path(self, theta, horizon, learned):
        """States with actions, x_0 to x_H."""
        s, found = self.start, []
        for _ in range(horizon + 1):
            found.append(torch.cat((s, self.policy(theta, s))))
            s = self.step(found[-1], learned)
        return found

    def gradient(self, horizon, gamma, learned):
        theta = self.theta.clone().requires_grad_()
        xs = self.path(theta, horizon, learned)
        worth = sum(gamma**t * self.reward(x) for t, x in enumerate(xs[:-1]))
        worth = worth + gamma**horizon * self.critic(xs[-1], learned)
        return torch.autograd.grad(worth, theta)[0].flatten()


def derivatives(p, horizon, learned):
    """Derivatives along the one path of a problem."""
    xs = p.path(p.theta, horizon, learned)
    stacked = lambda each, *shape: torch.stack(each) if each else torch.zeros(0, *shape, **EXACT)  # noqa: E731
    parts = (
        stacked([jacrev(lambda x: p.step(x, learned))(x) for x in xs[:-1]], S, S + A).unsqueeze(1),
        stacked([jacrev(p.reward)(x) for x in xs[:-1]], S + A).unsqueeze(1),
        jacrev(lambda x: p.critic(x, learned))(xs[-1]).unsqueeze(0),
        torch.stack([jacrev(p.policy)(p.theta, x[:S]).flatten(1) for x in xs]).unsqueeze(1),
        torch.stack([jacrev(p.policy, 1)(p.theta, x[:S]) for x in xs]).unsqueeze(1),
    )
    return Derivatives(*parts)


def bound(p, horizon, gamma):
    return gradient_bound.bound(*(derivatives(p, horizon, which) for which in (False, True)), gamma)[0]


@pytest.mark.parametrize("linear", [False, True])
@pytest.mark.parametrize("horizon", [0, 1, 2, 5])
@pytest.mark.parametrize("seed", range(8))
def test_the_gradients_error_is_within_the_corrected_bound(seed, horizon, linear):
    p, gamma = Problem(seed, (0.02, 0.3)[seed % 2], linear), 0.9
    error = (p.gradient(horizon, gamma, False) - p.gradient(horizon, gamma, True)).norm()
    assert 0 < error <= bound(p, horizon, gamma) + 1e-9


def test_without_a_horizon_the_corrected_bound_is_reached_and_the_printed_one_is_refuted():
    p = Problem(0, 0.3, linear=True)
    p.start, p.theta = 5 * torch.eye(S, **EXACT)[0], torch.zeros(A, S, **EXACT)
    p.q, p.q_off = torch.zeros(S + A, **EXACT), torch.zeros(S + A, **EXACT)
    p.critic = lambda x, learned: 0.1 * x[S] * learned  # the gradients differ by 0.1, in an action alone
    error = (p.gradient(0, 0.9, False) - p.gradient(0, 0.9, True)).norm().item()
    assert error == pytest.approx(bound(p, 0, 0.9).item()) == pytest.approx(0.5)
    printed = 0.1  # c_2(0) = (gamma K)^0 = 1, whatever K, and c_1(0) = 0
    assert error > 4 * printed


def test_a_model_whose_derivatives_are_right_may_have_a_wrong_gradient():
    """s' = a, in the model a + 1; rewards and critic are s, the policy is theta s: printed 0, true gamma^2."""
    gamma, theta = 0.9, torch.tensor(0.5, **EXACT, requires_grad=True)
    gradients = []
    for shift in (0, 1):
        s, worth = torch.tensor(1.0, **EXACT), 0
        for t in range(3):
            worth, s = worth + gamma**t * s, theta * s + shift
        gradients.append(torch.autograd.grad(worth, theta)[0].item())
    eps_f = eps_q = 0.0
    assert eps_f + eps_q == 0 and gradients[1] - gradients[0] == pytest.approx(gamma**2)


def test_gradients_of_many_starts_are_means_so_that_the_bound_holds_of_them():
    p = Problem(3, 0.1, linear=True)
    starts = torch.randn(6, S, generator=torch.Generator().manual_seed(1), **EXACT)
    errors, bounds = [], []
    for start in starts:
        p.start = start
        errors.append(p.gradient(3, 0.9, False) - p.gradient(3, 0.9, True))
        bounds.append(bound(p, 3, 0.9))
    assert torch.stack(errors).mean(0).norm() <= torch.stack(bounds).mean()
