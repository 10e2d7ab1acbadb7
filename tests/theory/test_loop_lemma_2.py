"""LOOP's Lemma 2 (CoRL 2021, Eq. 6 and 66 to 69): trust-region steps on a distribution over action sequences."""

from itertools import product

import numpy as np
import pytest

from tests.theory.tabular import SLACK, total_variation

A, H = 3, 4
SEQUENCES = np.array(list(product(range(A), repeat=H)))  # [A^H, H]


def divergence(p, q):
    """Return KL(p || q) of distributions that have no zeros."""
    return (p * np.log(p / q)).sum()


def weighed(p, scores, temperature):
    """Return the closed form below Eq. 6: p exp(scores / temperature), normalised."""
    weights = p * np.exp((scores - scores.max()) / temperature)
    return weights / weights.sum()


def step(p, scores, size):
    """Solve Eq. 6: find the temperature at which the divergence is the size of the step."""
    low, high = 1e-2, 1e4
    for _ in range(100):
        middle = np.sqrt(low * high)
        low, high = (middle, high) if divergence(weighed(p, scores, middle), p) > size else (low, middle)
    return weighed(p, scores, high)


def independent(marginals):
    """Return the distribution over sequences of actions that are independent, from their marginals `[H, A]`."""
    return np.prod([marginals[t, SEQUENCES[:, t]] for t in range(H)], axis=0)


def marginals_of(p):
    return np.array([[p[SEQUENCES[:, t] == a].sum() for a in range(A)] for t in range(H)])


def random_distribution(rng):
    return 0.999 * rng.dirichlet(np.ones(len(SEQUENCES))) + 0.001 / len(SEQUENCES)


@pytest.mark.parametrize("size", [1e-3, 0.05, 0.5])
@pytest.mark.parametrize("seed", range(4))
def test_m_trust_region_steps_move_at_most_m_times_the_root_of_half_their_size(seed, size):
    rng = np.random.default_rng(seed)
    prior = p = random_distribution(rng)
    for m in range(1, 6):
        new = step(p, rng.normal(size=len(p)), size)
        assert divergence(new, p) == pytest.approx(size)
        p = new
        assert total_variation(prior, p) <= m * np.sqrt(size / 2) + SLACK


@pytest.mark.parametrize("steps", [1, 7, 20])
def test_small_steps_towards_one_half_of_the_sequences_reach_the_bound(steps):
    # The number of steps has to be in the bound: neither one nor the horizon can take its place.
    size, scores = 1e-5, np.repeat([0.0, 1.0], 8)
    prior = p = np.full(16, 1 / 16)
    for _ in range(steps):
        p = step(p, scores, size)
    assert 0.99 * steps * np.sqrt(size / 2) < total_variation(prior, p) <= steps * np.sqrt(size / 2) + SLACK


@pytest.mark.parametrize("size", [0.01, 0.3])
@pytest.mark.parametrize("seed", range(3))
def test_no_distribution_in_the_trust_region_scores_higher_than_the_exponential_weights(seed, size):
    rng = np.random.default_rng(seed)
    prior, scores = random_distribution(rng), rng.normal(size=len(SEQUENCES))
    best = step(prior, scores, size)
    for scale in np.geomspace(1e-4, 3, 200):  # from next to the best to far from it
        other = best * np.exp(scale * rng.normal(size=len(best)))
        other /= other.sum()
        mixtures = (prior + share * (other - prior) for share in np.linspace(1, 0, 2001))
        other = next(p for p in mixtures if divergence(p, prior) <= size)
        assert other @ scores <= best @ scores + SLACK
    closer = step(prior, scores, 0.9 * size)
    assert best @ scores > closer @ scores > prior @ scores


@pytest.mark.parametrize("seed", range(3))
def test_another_distribution_lacks_its_divergence_from_the_exponential_weights(seed):
    rng = np.random.default_rng(seed)
    prior, scores, temperature = random_distribution(rng), rng.normal(size=len(SEQUENCES)), 0.7
    best = weighed(prior, scores, temperature)

    def regularised(p):
        return p @ scores - temperature * divergence(p, prior)

    for _ in range(20):
        other = random_distribution(rng)
        assert regularised(best) - regularised(other) == pytest.approx(temperature * divergence(other, best))


@pytest.mark.parametrize("seed", range(5))
def test_refitting_independent_actions_takes_no_larger_a_step(seed):
    # As with Gaussians (Eq. 7), the fit has the moments of the weighed sequences and is of the old distribution's kind.
    rng = np.random.default_rng(seed)
    p = independent(0.9 * rng.dirichlet(np.ones(A), size=H) + 0.1 / A)
    new = weighed(p, rng.normal(size=len(p)), 0.5)
    fitted = independent(marginals_of(new))
    assert divergence(fitted, p) == pytest.approx(divergence(new, p) - divergence(new, fitted))
    assert 0.01 < divergence(fitted, p) < divergence(new, p)
