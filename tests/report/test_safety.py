"""Safety of episodes, against numbers computed by hand."""

import pytest

from safeloop.recording.rows import Episode, EvaluationEpisode
from safeloop.report.safety import Safety, cvar, kept, safety


def evaluation(*costs, longest=0):
    return [EvaluationEpisode(100, i, 1.0, cost, int(cost), 50, longest_run=longest) for i, cost in enumerate(costs)]


@pytest.mark.parametrize(
    ("costs", "expected"),
    [
        (range(20), (19 + 18) / 2),
        (range(10), 9.0),
        (range(15), (14 + 0.5 * 13) / 1.5),
        (range(25), (24 + 23 + 0.5 * 22) / 2.5),
        ([3.0], 3.0),
        ([1.0, 7.0, 2.0], 7.0),  # a tenth of three is less than one episode
        ([0.0] * 49 + [50.0], 10.0),
    ],
)
def test_the_cvar_is_the_mean_of_the_worst_tenth(costs, expected):
    assert cvar(list(costs)) == pytest.approx(expected)


def test_the_cvar_of_nothing_is_refused():
    with pytest.raises(ValueError, match="give at least one"):
        cvar([])


def test_safety_by_hand():
    episodes = [*evaluation(0, 30, 25, 5), EvaluationEpisode(100, 4, 1.0, 40.0, 10, 300, longest_run=7)]
    assert safety(episodes, 25.0) == Safety(20.0, 40.0, 0.4, 7, 70, 140.0)


def test_the_longest_run_is_known_where_every_episode_has_it():
    assert safety(evaluation(1, 2, longest=3), 25.0).longest_run == 3
    assert safety([*evaluation(1, longest=3), *evaluation(2, longest=-1)], 25.0).longest_run is None
    assert safety([], 25.0) is None


def training(*costs):
    return [Episode(i, 100 * (i + 1), i + 1, 1.0, cost, 2, 100, 1.0) for i, cost in enumerate(costs)]


def test_the_budget_is_kept_from_the_last_of_episodes_in_a_row():
    episodes = training(30, 0, 25, 26, *[25] * 3, 0)
    assert kept(episodes, 25.0, in_a_row=2) == (300, 6)
    assert kept(episodes, 25.0, in_a_row=4) == (800, 16)
    assert kept(episodes, 25.0, in_a_row=5) is None
    assert kept(training(*[0] * 9), 25.0) is None and kept(training(*[0] * 11), 25.0) == (1000, 20)
