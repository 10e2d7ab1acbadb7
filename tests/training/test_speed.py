"""What `safeloop speed` measures, in short. Its times are not tested: they are the machine's."""

import pytest
import torch

from safeloop import benchmarking, measurements
from safeloop.networks import EnsembleMLP


def test_the_products_of_a_network_are_counted():
    net = EnsembleMLP(3, [5, 7, 20, 17], torch.relu, torch.Generator().manual_seed(0))
    with measurements.Products() as products, torch.no_grad():
        net(torch.randn(3, 11, 5))
        net(torch.randn(3, 11, 5))
    assert products.operations() == 2 * 2 * 3 * 11 * (5 * 7 + 7 * 20 + 20 * 17)
    assert sum(products.found.values()) == 6
    products.alone()()


def test_all_candidates_are_timed_in_turns_after_a_round_that_does_not_count():
    calls = []
    seconds = measurements.in_turns({name: lambda name=name: calls.append(name) for name in "ab"}, rounds=3)
    assert calls == list("ab") * 4 and [len(s) for s in seconds.values()] == [3, 3]


@pytest.fixture
def short(monkeypatch):
    for name, value in {"DECISIONS": 2, "WARMUP": 198, "TRAINED": 2, "PRESETS": ("default",)}.items():
        monkeypatch.setattr(measurements, name, value)
    monkeypatch.setattr(measurements, "in_turns", lambda candidates, of=measurements.in_turns: of(candidates, rounds=1))


def test_everything_is_measured_and_told(short):
    found = {
        "machine": measurements.machine("cpu"),
        "planner": measurements.planner(),
        "env": measurements.environment(),
    }
    found["train"] = measurements.training(first_fit_steps=2, fit_steps=2)
    numbers = found["planner"]["default"]
    assert numbers["ratio_to_floor"] > 0.9 and numbers["products_gflop"] > 0.1
    assert set(found["env"]["steps_per_second"]) == {"safeloop", "stock", "mj_step"}
    parts = found["train"]["milliseconds_per_decision"]
    assert sum(v for k, v in parts.items() if k != "all") <= parts["all"]
    told = benchmarking.text(found)
    for word in ("times the floor", "simulator steps a second", "decisions a second", "MB at most"):
        assert word in told
