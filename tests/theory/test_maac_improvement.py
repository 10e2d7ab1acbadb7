"""MAAC's Lemma 4.2 and Theorem 4.1 (2020): from an error of the gradient to policies, and from these to returns."""

import math

import numpy as np
import pytest

from tests.theory.tabular import SLACK, evaluate, random_mdp, total_variation


def of_normals(distance, deviation):
    """The total variation of two normals of one deviation whose means are so far apart."""
    return math.erf(distance / deviation / math.sqrt(8))


@pytest.mark.parametrize("deviation", [0.3, 2.0])
@pytest.mark.parametrize("error", [0.01, 0.4, 5.0])
def test_a_step_along_a_wrong_gradient_moves_a_normal_policy_no_further_than_lemma_4_2_says(error, deviation):
    """The policy is normal around theta . s. Its KL divergence is (theta . s)^2 / (2 deviation^2) for any step."""
    random, alpha = np.random.default_rng(0), 0.1
    states = random.normal(size=(50, 3))
    wrong = random.normal(size=3)
    apart = alpha * error * wrong / np.linalg.norm(wrong)  # between the two steps, alpha times the gradients' error
    c_3 = max(np.linalg.norm(states, axis=1)) / (2 * deviation)  # sqrt(c~ / 2), c~ = |s|^2 / (2 deviation^2)
    furthest = max(of_normals(abs(s @ apart), deviation) for s in states)
    assert furthest <= alpha * c_3 * error + SLACK


def policies(rng, states, actions, distance):
    """Two policies whose largest total variation is at most `distance`."""
    one, other = rng.dirichlet(np.ones(actions), (2, states))
    return one, (1 - distance) * one + distance * other


@pytest.mark.parametrize("seed", range(12))
def test_returns_per_unit_of_time_differ_as_the_theorem_says_with_alpha_once(seed):
    rng = np.random.default_rng(seed)
    mdp = random_mdp(rng, (0.6, 0.95)[seed % 2])
    one, other = policies(rng, *mdp.rewards.shape, (0.05, 0.5)[seed % 3 == 0])
    apart = total_variation(one, other).max()
    largest = np.abs(mdp.rewards).max()
    loss = np.abs(evaluate(mdp, one) - evaluate(mdp, other)).max()
    assert (1 - mdp.discount) * loss <= 2 * largest * apart / (1 - mdp.discount) + SLACK
    assert loss <= 2 * largest * apart / (1 - mdp.discount) ** 2 + SLACK


@pytest.mark.parametrize(("gamma", "times"), [(0.9, 4.0), (0.99, 45.0)])
def test_of_returns_the_theorem_needs_another_factor(gamma, times):
    """One state pays 1, another nothing for ever; a policy leaves the first one with a small chance."""
    chance = 1e-3
    loss = 1 / (1 - gamma) - 1 / (1 - gamma * (1 - chance))
    printed = 2 * chance / (1 - gamma)  # with alpha once already
    assert times * printed < loss <= 2 * chance / (1 - gamma) ** 2


@pytest.mark.parametrize("alpha", [0.3, 0.01])
def test_with_alpha_twice_the_theorem_is_false(alpha):
    """One decision, pays 1 where the action is below the middle of two normal policies, of deviation 1."""
    error = 0.1
    distance = alpha * error
    loss = of_normals(distance, 1.0)
    c_3 = 1 / 2
    once, twice = 2 * distance * c_3, 2 * alpha * distance * c_3
    assert twice < loss <= once
