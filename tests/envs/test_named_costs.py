"""Costs by name in Safety-Gymnasium's navigation tasks equal the stock task's own, step by step."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from stock import make_stock, seek_goal

from safeloop.cmdp import complete
from safeloop.errors import UsageError
from safeloop_envs import safety_gymnasium

STOCK = {
    "hazards": ["cost_hazards"], "vases": ["cost_vases_contact", "cost_vases_velocity"], "gremlins": ["cost_gremlins"],
    "buttons": ["cost_buttons"], "pillars": ["cost_pillars"], "out_of_boundary": ["cost_out_of_boundary"],
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "had"),
    [
        ("PointGoal2", {"hazards"}),
        ("CarGoal2", {"hazards", "vases"}),
        ("PointButton1", {"hazards", "gremlins", "buttons"}),
        ("PointPush2", set()),
        ("PointCircle1", {"out_of_boundary"}),
    ],
)
def test_each_cost_equals_the_stock_tasks(name: str, had: set[str]) -> None:
    spec = safety_gymnasium.spec(name, observation="task", action_repeat=1, costs="separate")
    ours, stock = spec.make(), make_stock(name)
    rng, totals, ended = np.random.default_rng(0), dict.fromkeys(spec.cost_names, 0.0), False
    ours.reset(seed=5)
    stock.reset(seed=5)
    while not ended:
        action = seek_goal(stock.unwrapped.task, rng)
        _, _, terminated, truncated, info = ours.step(action)
        expected = stock.step(action)[-1]
        found = complete(info, spec)
        for cost in spec.cost_names:
            there = any(expected.get(key, 0.0) > 0 for key in STOCK[cost])
            assert found["named_costs"][cost] == float(there)
            totals[cost] += there
        assert found["cost"] == found["violations"] == float(any(found["named_costs"].values()))
        assert {key for key in expected if key.startswith("cost_")} - {"cost_sum"} <= {
            key for cost in spec.cost_names for key in STOCK[cost]
        }
        ended = terminated or truncated
    assert {cost for cost, total in totals.items() if total} == had


@pytest.mark.parametrize(("level", "names"), [(1, ("hazards",)), (2, ("hazards", "vases"))])
def test_known_depths_by_name_are_the_parts_of_the_depth(level: int, names: tuple[str, ...]) -> None:
    one = safety_gymnasium.spec(f"CarGoal{level}")
    several = safety_gymnasium.spec(f"CarGoal{level}", costs="separate")
    env = several.make()
    obs = torch.as_tensor(np.stack([env.reset(seed=seed)[0] for seed in range(7)]))
    assert several.cost_names == names and several.cost is not None and one.cost is not None
    depths = several.cost(obs, obs, obs, margin=0.7)
    assert depths.shape == (7, len(names)) and (depths > 0).any(0).all()
    torch.testing.assert_close(depths.sum(-1), one.cost(obs, obs, obs, margin=0.7))


def test_without_it_options_and_costs_stay_as_they_were() -> None:
    for options in ({}, {"costs": "sum"}):
        spec = safety_gymnasium.spec("PointGoal2", **options)
        assert spec.cost_names == () and "costs" not in spec.options
    assert safety_gymnasium.spec("PointGoal2", costs="separate").options["costs"] == "separate"


@pytest.mark.parametrize(
    ("name", "costs", "message"),
    [
        ("PointGoal0", "separate", "PointGoal0: costs=separate: it has no cost; leave it out"),
        ("PointGoal1", "both", "costs=both: expected"),
        ("HopperVelocity", "separate", "HopperVelocity has no setting 'costs'"),
    ],
)
def test_costs_that_cannot_be_told_apart_are_refused(name: str, costs: str, message: str) -> None:
    with pytest.raises(UsageError) as error:
        safety_gymnasium.spec(name, costs=costs)
    assert message in str(error.value)
