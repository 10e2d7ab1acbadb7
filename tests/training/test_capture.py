"""Planning as one CUDA graph: what the host must not do on any device, and what the graph must give on a CUDA one."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from safeloop.algorithms.loop import safeloop
from safeloop.registry import find_env
from safeloop.settings import build

POINT = find_env("PointGoal1")
SMALL = {"population": 20, "iterations": 2, "horizon": 3}


def agent(device="cpu", **changes):
    settings = build(safeloop.info.settings, SMALL, changes, owner="safeloop")
    return safeloop.build(settings, POINT, 26, 2, 0, device)


class Waits(TorchDispatchMode):
    """Notes the operations whose result the host must wait for: numbers read, and shapes that depend on numbers."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = str(func.overloadpacket).removeprefix("aten.")
        by_mask = name in ("index", "index_put", "index_put_") and any(
            i is not None and i.dtype == torch.bool for i in args[1]
        )
        if by_mask or name in ("_local_scalar_dense", "nonzero", "masked_select", "lift_fresh"):
            self.found.append(name)
        return func(*args, **(kwargs or {}))


def test_waits_are_noticed():
    with Waits() as waits:
        x = torch.ones(3)
        bool(x.all()), x[x > 0], x.nonzero(), torch.tensor([1.0])
    assert waits.found == ["_local_scalar_dense", "index", "nonzero", "lift_fresh"]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"cost": "learned", "value": "actor"},
        {"dynamics": "factored"},
        {"dynamics": "full", "search": "cem", "elites": 5},
    ],
)
def test_the_host_waits_for_nothing_while_a_plan_is_made(changes):
    a = agent(**changes)
    a.ensemble.net.asks = False  # as on a CUDA device
    with Waits() as waits, torch.no_grad():
        a.planner._plan(a.ensemble.first(torch.randn(1, 26)), a.planner.mean, torch.zeros(()))
    assert waits.found == []


def test_a_plan_is_the_same_where_all_objects_have_products():
    plans = []
    for asks in (True, False):
        a = agent(cost="learned", threshold=5.0)
        a.ensemble.net.asks = asks
        a.ensemble.contact.fill_(0.7)
        with torch.no_grad():
            a.ensemble.reach.fill_(1.5)
            plans.append(a.planner.plan(torch.randn(1, 26, generator=torch.Generator().manual_seed(0)), t0=True))
    assert 0 < plans[0].lowest_cost < 5
    for name in ("mean", "lowest_cost", "best_return"):
        assert torch.allclose(getattr(plans[0], name), getattr(plans[1], name), atol=1e-5), name


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_replayed_plan_is_the_plan_and_follows_the_weights():
    replayed, called = agent("cuda"), agent("cuda")
    for step in range(3):
        obs = torch.randn(1, 26, generator=torch.Generator().manual_seed(step)).cuda()
        plan = replayed.planner.plan(obs, t0=step == 0)
        with torch.no_grad():
            start = torch.zeros_like(called.planner.mean)
            start[:, :-1] = called.planner.mean[:, 1:]
            expected = called.planner._plan(obs, start, torch.zeros((), device="cuda"))
            called.planner.mean = expected.mean
            assert torch.allclose(plan.mean, expected.mean, atol=1e-4)
            for each in (replayed, called):
                for parameter in each.ensemble.parameters():
                    parameter.mul_(1.1)
