"""LOOP's Lemma 1 (CoRL 2021, Eq. 4; Singh and Yee 1994): acting greedily on approximate values."""

import numpy as np
import pytest

from tests.theory.adversaries import wait_or_go
from tests.theory.tabular import SLACK, S, backup, evaluate, greedy, optimal_values, random_mdp


def bound(mdp, error):
    return 2 * mdp.discount * error / (1 - mdp.discount)


def loss_and_error(mdp, values):
    optimal = optimal_values(mdp)
    return (optimal - evaluate(mdp, greedy(backup(mdp, values)))).max(), np.abs(values - optimal).max()


@pytest.mark.parametrize("discount", [0.5, 0.9, 0.99])
@pytest.mark.parametrize("error", [0.05, 0.5, 5.0])
@pytest.mark.parametrize("seed", range(5))
def test_the_greedy_policy_loses_at_most_the_bound(seed, error, discount):
    rng = np.random.default_rng(seed)
    mdp = random_mdp(rng, discount)
    loss, found = loss_and_error(mdp, optimal_values(mdp) + error * rng.choice([-1, 1], S))
    assert found == pytest.approx(error) and loss <= bound(mdp, error) + SLACK


@pytest.mark.parametrize("discount", [0.5, 0.9, 0.99])
def test_some_greedy_policy_loses_the_whole_bound(discount):
    case = wait_or_go(1, discount)
    loss, error = loss_and_error(case.mdp, case.values)
    assert 0.999 * bound(case.mdp, error) < loss <= bound(case.mdp, error) + SLACK
