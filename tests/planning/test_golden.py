"""Plans from fixed noise and weights are the recorded ones, on every machine: `plans.json` holds them.

They were recorded before the planner was taken apart, so a change of shape that changes a plan fails here. To record
after a change that is meant to: `python -m tests.planning.test_golden`, and say in the commit why plans differ.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from safeloop.cmdp import Constraint, Entities
from safeloop.models.ensemble import Ensemble
from safeloop.models.full import Heads
from safeloop.models.world import World
from safeloop.planning.planners import Parts, planner
from safeloop.planning.settings import PlannerSettings

FILE = Path(__file__).with_name("plans.json")
K, S, A, B, H = 3, 7, 2, 4, 5
ENTITIES = Entities(robot=(4, 0, 6), positions=((1, 2), (3, 5)), kinds=("goal", "hazard"), goal=0)
DEFAULTS = {
    "horizon": H, "population": 20, "iterations": 3, "inverse_temperature": 5.0, "particles": 2,
    "noise_correlation": 0.0, "noise_narrowed": True, "precision": "float32",
}  # fmt: skip

MORE = ("candidates", "weights")
"""Fields of a plan that came after the recording."""

CASES = {
    "safearc": {"constrained": True, "threshold": 2.2},
    "safearc-few-feasible": {"constrained": True, "threshold": 1.5},
    "safearc-penalty": {"constrained": True, "threshold": 1.5, "penalty": 2.0},
    "arc": {},
    "arc-correlated": {"noise_correlation": 0.85, "pessimism": 0.5, "particles": 1},
    "arc-mean-cost": {"constrained": True, "threshold": 1.2, "cost_over": "mean"},
    "cem": {"search": "cem", "elites": 4, "actor_fraction": 0.0, "momentum": 0.25},
    "actor-alone": {"actor_fraction": 1.0, "actor_noise": 0.1, "draws": True},
    "mbop": {"search": "mbop", "actor_fraction": 1.0, "actor_noise": 0.1, "actor_mixture": 0.25, "momentum": 0.0},
    "factored": {"constrained": True, "threshold": 1.6, "factored": True},
    "factored-events": {"factored": True, "event": True},
}


def fixed(shape, seed):
    """Standard normals that numpy draws by integers, the same everywhere."""
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


def planner_of(threshold=0.0, penalty=None, constrained=False, factored=False, event=False, draws=False, **settings):
    heads = Heads(terminated=True, violated=constrained, event=event)
    ensemble = Ensemble(
        S, A, ensemble_size=K, sizes=[12, 12], heads=heads, parts=ENTITIES, factored=factored, entity_width=8,
        generator=torch.Generator(),
    )  # fmt: skip
    with torch.no_grad():
        for seed, (name, parameter) in enumerate(ensemble.named_parameters()):
            if name.startswith("log_var"):
                parameter.fill_(-2.0 if name == "log_var_max" else -6.0)
            else:
                parameter.copy_(fixed(parameter.shape, seed) * parameter.shape[-2] ** -0.5)
    ensemble.delta_std.fill_(0.2)
    weight, gain = fixed((S, A), 101), fixed((S,), 102)
    numbers = PlannerSettings(**{**DEFAULTS, **settings})
    limit, model = Constraint(threshold, 5, penalty) if constrained else None, World(ensemble)
    model.cost = None if constrained else zero
    actor, value = lambda obs, generators: torch.tanh(obs @ weight), lambda obs: torch.tanh(obs @ gain)
    parts = Parts(model, A, 0.95, limit, actor, value)
    return planner(numbers, parts, [torch.Generator().manual_seed(seed) for seed in range(B)], draws)


def zero(obs, act, next_obs):
    return obs.new_zeros(obs.shape[:-1])


def plans(case, monkeypatch):
    """Two decisions after another in B episodes at once, every number of their plans."""
    drawn = {seed: np.random.default_rng(seed) for seed in range(B)}

    def randn(shape, generator, device):
        return torch.from_numpy(drawn[generator.initial_seed()].standard_normal(shape).astype(np.float32))

    made = planner_of(**CASES[case])
    monkeypatch.setattr(torch, "randn", randn)
    found = [made.plan(fixed((B, S), 200 + t), t == 0, 0.3) for t in range(2)]
    return [
        {name: value.float().flatten().tolist() for name, value in plan._asdict().items() if name not in MORE}
        for plan in found
    ]


@pytest.mark.parametrize("case", CASES)
def test_plans_from_fixed_noise_and_weights_are_the_recorded_ones(case, monkeypatch):
    recorded = json.loads(FILE.read_text())[case]
    for t, (plan, before) in enumerate(zip(plans(case, monkeypatch), recorded, strict=True)):
        for name, numbers in before.items():
            old, new = (np.array(x, float) for x in (numbers, plan[name]))
            scale = np.nanmax(np.abs(old)) if np.isfinite(old).any() else 1.0
            assert np.allclose(new, old, rtol=0, atol=1e-5 * scale, equal_nan=True), f"decision {t}, {name}"


def test_the_recorded_plans_differ_from_each_other_and_some_are_infeasible():
    recorded = json.loads(FILE.read_text())
    assert recorded.keys() == CASES.keys()
    assert len({tuple(found[0]["mean"]) for found in recorded.values()}) == len(CASES)
    few, many = (recorded[case][0]["feasible"] for case in ("safearc-few-feasible", "safearc"))
    assert min(few) < 5 <= max(many)


def main():
    """Record the plans of this code."""
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        found = {}
        for case in CASES:
            found[case] = [{k: [round(x, 8) for x in v] for k, v in plan.items()} for plan in plans(case, patch)]
            patch.undo()
    FILE.write_text(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
