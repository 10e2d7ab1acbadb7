"""The sums of an episode, and the longest run of costly steps, by hand."""

import pytest

from safeloop.errors import UsageError
from safeloop.recording.rows import Episode
from safeloop.recording.tables import Table
from safeloop.recording.tally import UNKNOWN, Costs, Tally


def decision(violations, steps, costs=None):
    return {"cost": float(violations), "violations": violations, "simulator_steps": steps} | (
        {} if costs is None else {"costs": costs}
    )


def test_sums_are_over_all_decisions():
    tally = Tally()
    tally.add(1.5, decision(2, 3, [0.5, 0.0, 1.5]))
    tally.add(-0.5, decision(1, 2, [0.0, 1.0]))
    assert tally.columns == {
        "return_": 1.0, "cost_return": 3.0, "violations": 3, "length": 5, "longest_run": 1, "costs": (),
    }  # fmt: skip


def test_costs_with_names_are_summed_each():
    tally = Tally()
    for walls, speed in ((1.5, 0.0), (0.25, 2.0)):
        tally.add(0.0, {**decision(1, 2), "named_costs": {"walls": walls, "speed": speed}})
    assert tally.columns["costs"] == (("walls", 1.75), ("speed", 2.0))


@pytest.mark.parametrize(
    "costs", [(), (("walls", 1.75), ("speed_of_it", 0.0)), (("a", 1e7), ("b", 0.000012), ("c", -2.0))]
)
def test_costs_are_read_as_they_were_written(costs, tmp_path):
    table = Table(tmp_path / "episodes.csv", Episode)
    row = Episode(0, 5, 1, 1.0, 2.0, 1, 5, 0.5, costs=Costs(costs))
    table.append(row)
    assert table.read() == [row] and dict(table.read()[0].costs) == dict(costs)


@pytest.mark.parametrize(
    "text", ["walls", "walls=", "walls=one", "=1", "walls=1  speed=2", "walls=1,speed=2", "a=1e", "a=nan"]
)
def test_a_damaged_text_of_costs_is_found(text, tmp_path):
    table = Table(tmp_path / "episodes.csv", Episode)
    table.append(Episode(0, 5, 1, 1.0, 2.0, 1, 5, 0.5, costs=Costs([("walls", 1.0)])))
    written = table.path.read_text()
    table.path.write_text(written.replace("walls=1", f'"{text}"'))
    with pytest.raises(UsageError, match=r"line 2, column costs: .*, expected costs like `hazards=12 vases=0`"):
        table.read()


@pytest.mark.parametrize(
    ("decisions", "longest"),
    [
        ([decision(0, 3), decision(0, 3)], 0),
        ([decision(2, 3, [0, 1, 1]), decision(2, 3, [1, 0, 1]), decision(1, 3, [0, 0, 1])], 3),  # across decisions
        ([decision(3, 3), decision(3, 3), decision(0, 3), decision(3, 3)], 6),  # all steps of a decision, or none
        ([decision(1, 3)], UNKNOWN),  # which of the three had a cost is not told
        ([decision(1, 3), decision(3, 3), decision(3, 3)], UNKNOWN),
        ([decision(1, 1), decision(1, 1), decision(0, 1), decision(1, 1)], 2),
        ([], 0),
    ],
)
def test_the_longest_run_is_of_simulator_steps_in_a_row(decisions, longest):
    tally = Tally()
    for each in decisions:
        tally.add(0.0, each)
    assert tally.longest_run == longest


def test_every_environment_here_tells_the_cost_of_each_step():
    """Longest runs are known where an action is repeated: PointGoal1 repeats it five times."""
    from safeloop.api import make

    env = make("PointGoal1")
    env.reset(seed=0)
    _, _, _, _, info = env.step(env.action_space.sample())
    assert len(info["costs"]) == info["simulator_steps"] == 5 and sum(info["costs"]) == info["cost"]
    env.close()
