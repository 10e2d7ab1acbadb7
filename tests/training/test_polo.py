"""POLO on the point mass: targets by hand, full states on every path, and settings that can't be."""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch

from safeloop.agents.polo import until_horizon
from safeloop.errors import UsageError
from safeloop.models.trajectories import Outcome, Trajectories
from safeloop.protocols import Transition, needs_states
from safeloop.registry import find_algorithm, find_env
from safeloop.settings import build, kinds
from safeloop.training.evaluation import evaluate

K, C, H, A, S, N = 3, 7, 5, 2, 4, 4
SMALL = {
    "value_ensemble_size": K, "value_width": 8, "population": C, "horizon": H, "update_every": 4, "value_steps": 5,
    "value_batch": 6, "target_states": 8, "target_steps": 3, "target_horizon": N, "target_candidates": 3, "kept": C,
    "capacity": 1000, "batch_size": 8,
}  # fmt: skip


def resolved(name="polo", env="PointBox", **changes):
    algorithm, spec = find_algorithm(name), find_env(env, {})
    known = {key: value for key, value in SMALL.items() if key in kinds(algorithm.info.settings)}
    asked = {**algorithm.info.presets["default"], **known, **changes}
    return algorithm, algorithm.resolve(build(algorithm.info.settings, asked, owner=name), spec), spec


def make(name="polo", env="PointBox", seed=0, **changes):
    algorithm, found, spec = resolved(name, env, **changes)
    return algorithm.build(found.settings, spec, S, A, seed, "cpu"), spec


def drive(agent, spec, decisions, seed=0):
    """The observations of so many decisions in one episode."""
    env, t0 = spec.make(), True
    obs = np.array(env.reset(seed=seed)[0])
    path = [obs]
    for _ in range(decisions):
        if needs_states(agent):
            agent.see(env.get_state()[None])
        act = agent.act(obs, t0)
        next_obs, reward, terminated, truncated, info = env.step(act)
        agent.observe(Transition(obs, act, reward, terminated, truncated, {"cost": 0.0, **info}, next_obs))
        agent.update()
        obs, t0 = np.array(next_obs), False
        path.append(obs)
    return np.stack(path)


def test_returns_until_the_horizon_by_hand():
    reward = torch.tensor([1.0, 2.0, 4.0]).view(1, 3, 1).repeat(1, 1, 4)
    reward[0, 1, 3] = torch.nan
    ends, jumps = torch.zeros(1, 3, 4), torch.zeros(1, 3, 4)
    ends[0, 0, 1], jumps[0, 1, 2] = 0.5, 1.0
    imagined = Trajectories(torch.zeros(1, 4, 4, 2), torch.zeros(1, 3, 4, 1), Outcome(reward, reward, ends, jumps))
    returns, going = until_horizon(imagined, 0.5)
    assert returns.tolist() == [[1 + 1 + 1, 1 + 0.5 * 2, 1 + 1, -torch.inf]]
    assert going.tolist() == [[0.125, 0.0625, 0.0, 0.0]]


def test_a_kept_target_is_the_best_of_the_plan_made_there_by_the_present_network():
    agent, spec = make()
    drive(agent, spec, 3)
    visits = agent.visits.sample(5, torch.Generator().manual_seed(0))
    assert visits.final.shape == (5, 1, C, S) and visits.plan.shape == (5, H, A)
    expected = 0.99**H * agent.values.each(visits.final.flatten(0, 2)).view(K, 5, C).amax(2)  # there is no reward
    torch.testing.assert_close(agent.targets(visits), expected)
    before = agent.targets(visits)
    agent.values.update(torch.rand(K, 6, S), torch.ones(K, 6))
    assert not torch.equal(before, agent.targets(visits))


def test_kept_final_observations_are_where_the_simulator_leads():
    agent, spec = make(kept=2)
    drive(agent, spec, 1)
    visit = agent.visits.sample(1, torch.Generator())
    env = spec.make()
    env.reset(seed=0)
    assert np.array_equal(visit.state[0].numpy(), env.get_state())
    best = agent.plans[-1]  # its candidates are not kept, so plan once more from the same state and generator
    again, _ = make(kept=2)
    again.see(env.get_state()[None])
    plan = again.plan(again.full, t0=True)
    torch.testing.assert_close(best.mean, plan.mean)
    for row, which in enumerate(plan.weights[0].topk(2).indices):
        env.set_state(visit.state[0].numpy())
        for act in plan.candidates[0, which]:
            obs = env.step(act.numpy())[0]
        np.testing.assert_allclose(visit.final[0, 0, row], obs, atol=1e-6)


def test_a_planned_target_is_a_new_optimisation_from_the_stored_state():
    agent, spec = make(targets="plan")
    drive(agent, spec, 9)
    visits = agent.visits.sample(5, torch.Generator().manual_seed(0))
    found = agent.targets(visits)
    assert found.shape == (K, 5)
    env = spec.make()
    env.reset(seed=0)
    for i in range(5):  # one of the candidates is the old solution, so the target is at least its value
        env.set_state(visits.state[i].numpy())
        for act in visits.plan[i, :N]:
            obs = env.step(act.numpy())[0]
        assert (found[:, i] >= 0.99**N * agent.values.each(torch.as_tensor(obs)[None])[:, 0] - 1e-5).all()
    longer, spec = make(targets="plan", target_horizon=H + 4)
    drive(longer, spec, 9)
    assert longer.targets(longer.visits.sample(5, torch.Generator())).isfinite().all()


def test_a_restored_agent_goes_on_as_it_would_have():
    one, spec = make(target_noise=0.1)
    drive(one, spec, 10)
    other, _ = make(seed=9)
    other.restore(deepcopy(one.checkpoint()))
    other.values.settings = one.values.settings
    assert np.array_equal(drive(one, spec, 10), drive(other, spec, 10))
    torch.testing.assert_close(one.values.each(torch.eye(S)), other.values.each(torch.eye(S)), rtol=0, atol=0)


def test_the_same_seed_gives_the_same_decisions():
    paths = [drive(*make(seed=seed), 12) for seed in (1, 1, 2)]
    assert np.array_equal(paths[0], paths[1]) and not np.array_equal(paths[0], paths[2])


def test_evaluation_gives_policies_full_states_and_plans_alike_together_and_alone():
    agent, spec = make()
    drive(agent, spec, 8)
    spec = replace(spec, episode_steps=1000)
    rows = list(evaluate(agent.policy(3), spec, 2, 3))
    assert len(rows) == 2 and all(row.length == 1000 for row in rows)
    policy = agent.policy(3)
    policy.reset(1)
    with pytest.raises(UsageError, match="plans with a simulator: call see"):
        policy.act(np.zeros((1, S)))


def test_evaluation_may_plan_with_the_mean_value():
    agents = [make(evaluation=kind)[0] for kind in ("optimistic", "mean")]
    states = torch.randn(1, 6, 9, dtype=torch.float64)
    values = [a.new_planner([torch.Generator()]).search.objective.value(states) for a in agents]
    seen = agents[0].ensemble.features(states)
    torch.testing.assert_close(values[0], agents[0].values.value(seen))
    torch.testing.assert_close(values[1], agents[1].values.each(seen[0]).mean(0)[None])


def test_mpc_has_no_value_and_no_random_decision():
    agent, spec = make("mpc")
    drive(agent, spec, 3)
    assert agent.value is None and len(agent.plans) == 3
    assert agent.diagnostics()["effective_size"] > 1


def test_polo_runs_on_learned_models_too():
    models = {"warmup": 20, "fit_every": 50, "fit_steps": 3, "first_fit_steps": 5, "layers": 1, "width": 8}
    algorithm, found, spec = resolved("polo-model", "HalfCheetah", ensemble_size=2, **models)
    for targets in ("kept", "plan"):
        settings = replace(found.settings, polo=replace(found.settings.polo, targets=targets))
        agent = algorithm.build(settings, spec, 17, 6, 0, "cpu")
        drive(agent, spec, 30)
        visits = agent.visits.sample(4, torch.Generator())
        assert len(agent.visits) == 10 and visits.final.shape == (4, 2, C, 17)
        assert agent.targets(visits).isfinite().all() and found.privileged == ""


def test_the_simulator_is_privileged_information():
    assert resolved()[1].privileged == "simulator" and resolved("mpc")[1].privileged == "simulator"


@pytest.mark.parametrize(
    ("name", "env", "changes", "message"),
    [
        ("polo", "RCCarDrift", {}, "dynamics=simulator: RCCarDrift can't be rolled out from full states; use"),
        ("loop-sac", "RCCarDrift", {"dynamics": "simulator"}, "RCCarDrift can't be rolled out"),
        ("mpc", "PointBox", {"reward": "known"}, "reward=known: with dynamics=simulator the reward is the simulator's"),
        ("mbpo", "PointBox", {"dynamics": "simulator"}, "need models of observations; use dynamics=auto"),
    ],
)  # fmt: skip
def test_what_can_not_be_simulated_is_refused(name, env, changes, message):
    with pytest.raises(UsageError, match=message):
        resolved(name, env, **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"value": "actor"}, "POLO's value is its ensemble"),
        ({"kept": 0}, "kept=0"),
        ({"simulator_threads": 0}, "simulator_threads=0"),
    ],
)
def test_settings_that_can_not_be_are_refused(changes, message):
    with pytest.raises((UsageError, ValueError), match=message):
        resolved(**changes)


def test_random_decisions_are_needed_where_models_are_learned():
    with pytest.raises((UsageError, ValueError), match="warmup=0: expected at least 1"):
        resolved("polo-model", "HalfCheetah", warmup=0)


def test_presets_change_the_planner_and_leave_an_algorithm_what_it_is():
    def values(name, preset):
        algorithm = find_algorithm(name)
        return build(algorithm.info.settings, algorithm.info.presets[preset], owner=name)

    explored, greedy = values("polo", "exploration"), values("polo-greedy", "exploration")
    assert explored.value_ensemble.value_inputs == greedy.value_ensemble.value_inputs == 2
    assert (explored.planner.horizon, greedy.planner.horizon) == (32, 1)
    assert values("polo", "hand").polo.update_every == 25 and values("mpc", "hand").planner.population == 80
    assert values("mpc", "humanoid").planner.initial_variance == 0.04
    assert values("polo", "default").planner.inverse_temperature == 5.0
