"""POLO's contraction (2018, section 2.3): the H-step Bellman operator brings values gamma^H closer."""

import numpy as np
import pytest

from tests.theory.adversaries import two_doors
from tests.theory.tabular import SLACK, S, lookahead, optimal_values, random_mdp, sequence_returns


def reacting(mdp, values, horizon):
    """Return the values of the best plan that reacts to states: the Bellman operator applied H times."""
    return lookahead(mdp, values, horizon)[0].max(-1)


def blind(mdp, values, horizon):
    """Return the values of the best sequence of actions."""
    return sequence_returns(mdp, values, horizon)[1].max(0)


def apart(one, other):
    return np.abs(one - other).max()


@pytest.mark.parametrize("operator", [reacting, blind])
@pytest.mark.parametrize("horizon", [1, 2, 4])
@pytest.mark.parametrize("seed", range(6))
def test_the_h_step_operator_brings_values_closer_by_gamma_to_the_h(seed, horizon, operator):
    rng = np.random.default_rng(seed)
    mdp = random_mdp(rng, (0.5, 0.95)[seed % 2], deterministic=seed % 3 == 0)
    one, other = rng.normal(size=(2, S)) * 10
    before, after = apart(one, other), apart(operator(mdp, one, horizon), operator(mdp, other, horizon))
    assert after <= mdp.discount**horizon * before + SLACK
    # Values that differ by a constant come no closer than that.
    moved = operator(mdp, one + 3, horizon)
    assert moved == pytest.approx(operator(mdp, one, horizon) + 3 * mdp.discount**horizon)


@pytest.mark.parametrize("horizon", [1, 2, 4])
def test_in_a_deterministic_mdp_sequences_and_plans_that_react_are_worth_the_same(horizon):
    rng = np.random.default_rng(1)
    mdp, values = random_mdp(rng, deterministic=True), rng.normal(size=S)
    assert blind(mdp, values, horizon) == pytest.approx(reacting(mdp, values, horizon))
    assert reacting(mdp, optimal_values(mdp), horizon) == pytest.approx(optimal_values(mdp))


def test_where_chance_decides_sequences_settle_below_the_optimal_values():
    mdp = two_doors(0.9)
    optimal = optimal_values(mdp)
    settled = optimal
    for _ in range(200):
        settled = blind(mdp, settled, 2)
    assert reacting(mdp, optimal, 2) == pytest.approx(optimal)
    assert (optimal - settled)[0] == pytest.approx(0.3 * 0.9 / (1 - 0.9**2))
