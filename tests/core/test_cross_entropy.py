"""RCE and CCE: the cost that each plans under, and the preset with OmniSafe's settings."""

from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
import yaml

from safeloop.algorithms.pets import cce, pets, rce, rs
from safeloop.algorithms.presets import OMNISAFE, PRESETS
from safeloop.errors import UsageError
from safeloop.experiments.specify import Request, specify
from safeloop.planning.planners import Parts, planner
from safeloop.registry import algorithm_names, find_algorithm, find_env
from safeloop.settings import build
from tests.core.toy import A, B, H, K, LinearModel, N, P, S, closed_form

DRIFT = torch.tensor([0.0, 0.3, -0.2])
TASKS = ("PointGoal1", "HalfCheetahVelocity")
"""One where the cost is known, one where it is learned."""


def resolved(algorithm, preset="default", env="PointGoal1", **changes):
    settings = build(algorithm.info.settings, algorithm.info.presets[preset], changes, owner=algorithm.info.name)
    return algorithm.resolve(settings, find_env(env)).settings


@pytest.mark.parametrize("preset", [*PRESETS, "omnisafe"])
@pytest.mark.parametrize("algorithm", [rce, cce], ids=["rce", "cce"])
def test_rce_plans_under_the_largest_cost_over_the_models_and_cce_under_their_mean(algorithm, preset):
    settings = resolved(algorithm, preset, horizon=H, particles=P, precision="float32")
    parts = Parts(LinearModel(DRIFT), A, settings.learner.discount)
    search = planner(settings.planner, parts, [torch.Generator()] * B).search
    g = torch.Generator().manual_seed(0)
    obs, actions = torch.randn(B, S, generator=g), torch.randn(B, N, H, A, generator=g)
    found = search.objective(obs, search.space, actions, [torch.Generator()] * B)
    by_model = [
        [closed_form(o, a, drift.item(), settings.learner.discount)[:2] for o, a in zip(obs, actions, strict=True)]
        for drift in DRIFT
    ]
    returns, costs = torch.tensor(by_model).movedim(2, 0)  # [K, B, N] each
    assert costs.shape == (K, B, N) and not torch.allclose(costs.amax(0), costs.mean(0), atol=0.1)
    assert torch.allclose(found.returns, returns.mean(0), atol=1e-4)
    assert torch.allclose(found.costs, costs.amax(0) if algorithm is rce else costs.mean(0), atol=1e-4)


def test_all_else_is_the_same():
    for preset in rce.info.presets:
        one, other = (a.info.presets[preset] for a in (rce, cce))
        assert {key for key in one if one[key] != other[key]} == {"cost_over"}
    assert rce.info.constrained and cce.info.constrained and not pets.info.constrained


def test_the_preset_of_omnisafes_settings_is_theirs_alone():
    names = [name for name in algorithm_names() if not name.endswith(":")]  # a package may be torn
    assert sorted(n for n in names if "omnisafe" in find_algorithm(n).info.presets) == ["cce", "rce"]
    found = specify(Request(algos=["rce", "safeloop"], preset="omnisafe"), "PointGoal1")
    assert [run.preset for run in found] == ["omnisafe", "default"]
    with pytest.raises(UsageError, match="no selected algorithm has the preset 'omnisafe'"):
        specify(Request(algos=["pets"], preset="omnisafe"), "PointGoal1")


@pytest.mark.parametrize("env", TASKS)
def test_the_preset_of_omnisafes_settings_can_be_where_the_cost_is_known_and_where_it_is_learned(env):
    settings = resolved(rce, "omnisafe", env)
    assert settings.planner.threshold == 0.007 and settings.models.knows_cost(find_env(env)) == (env == TASKS[0])


@pytest.mark.parametrize("name", ["RCEPETS", "CCEPETS"])
def test_the_preset_has_omnisafes_numbers_where_they_have_a_counterpart(name):
    folder = Path(find_spec("omnisafe").origin).parent / "configs/model-based"
    there = yaml.safe_load((folder / f"{name}.yaml").read_text())["defaults"]
    models, planning, algo = there["dynamics_cfgs"], there["planner_cfgs"], there["algo_cfgs"]
    repeat = algo["action_repeat"]
    assert repeat == find_env("PointGoal1").action_repeat
    assert models["elite_size"] == models["num_ensemble"] and not models["predict_cost"] and models["predict_reward"]
    counterparts = {
        "horizon": planning["plan_horizon"],
        "iterations": planning["num_iterations"],
        "particles": planning["num_particles"] / models["num_ensemble"],
        "population": planning["num_samples"],
        "elites": planning["num_elites"],
        "min_feasible": planning["num_elites"],
        "momentum": planning["momentum"],
        "initial_variance": planning["init_var"],
        "ensemble_size": models["num_ensemble"],
        "width": models["hidden_size"],
        "batch_size": models["batch_size"],
        "fit_patience": models["max_epoch"],
        "fit_every": algo["update_dynamics_cycle"] / repeat,
        "warmup": algo["start_learning_steps"] / repeat,
        "threshold": algo["cost_limit"] * planning["plan_horizon"] / 1000,
    }
    assert {key: OMNISAFE[key] for key in counterparts} == counterparts
    in_its_code = {
        "layers", "model_learning_rate", "noise_correlation", "noise_narrowed", "model_noise", "dynamics",
        "warmup_hold",
    }  # fmt: skip
    ours = {"fit_steps", "first_fit_steps", "discount", "cost_margin"}
    assert OMNISAFE.keys() == {*counterparts, *in_its_code, *ours}


def test_random_shooting_executes_the_best_of_uniform_sequences():
    settings = resolved(rs, env="InvertedPendulum", horizon=H, population=2000)
    seen = []

    class Looking(LinearModel):
        def step(self, carry, act, generators):
            seen.append(act)
            return super().step(carry, act, generators)

    p = planner(settings.planner, Parts(Looking(DRIFT), A, settings.learner.discount), [torch.Generator()] * B)
    plan = p.plan(torch.zeros(B, S), t0=True)
    acts = torch.stack(seen)[:, 0].view(H, B, -1, A)
    assert acts.shape[2] == 2000 and len(seen) == H  # one iteration, one particle
    assert acts.abs().max() <= 1 and acts.mean().abs() < 0.01 and acts.std() == pytest.approx(3**-0.5, abs=0.01)
    worth = torch.arange(H - 1, -1, -1).float()  # the sum of an action counts in every later step
    best = (acts.sum(-1) * worth[:, None, None]).sum(0).argmax(1)
    torch.testing.assert_close(plan.action, acts[0, torch.arange(B), best])
    spread = p.plan(torch.zeros(B, S), t0=False).mean.std().item()  # without a warm start
    assert spread == pytest.approx(plan.mean.std().item(), rel=0.3)


def test_random_shooting_draws_as_many_sequences_as_pets_in_all_iterations():
    for preset in ("poplin", "paper"):
        one, other = resolved(rs, preset, "PetsCheetah").planner, resolved(pets, preset, "PetsCheetah").planner
        assert one.population == other.population * other.iterations and one.horizon == other.horizon


def test_the_mean_of_all_predictions_needs_full_dynamics():
    assert resolved(pets, env="InvertedPendulum", propagation="expectation").planner.propagation == "expectation"
    with pytest.raises(UsageError, match="propagation=expectation: it needs dynamics=full, in PointGoal1 they are"):
        resolved(pets, propagation="expectation")
