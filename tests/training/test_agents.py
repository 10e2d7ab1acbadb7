import numpy as np
import pytest
import torch

from safeloop.agents.online import PlanningAgent
from safeloop.agents.settings import PAPER, Settings
from safeloop.algorithms.online import CEM, loop, loop_sarsa, mbpo, pets, sac_evalloop, sac_ve, safeloop, safepets
from safeloop.errors import UsageError
from safeloop.recording.recorder import Recorder
from safeloop.recording.run import Run, RunSettings
from safeloop.registry import find_env
from safeloop.settings import build

POINT = find_env("PointGoal1")
BUTTON = find_env("PointButton1")


def agent(spec=POINT, algorithm=safeloop, obs_dim=26, **settings):
    return PlanningAgent(algorithm, spec, obs_dim, 2, Settings(**settings), seed=0, device="cpu")


def test_defaults_are_factored_dynamics_learned_reward_known_cost():
    a = agent()
    assert type(a.dynamics.net).__name__ == "FactoredNet"
    assert a.model.cost is not None and a.model.reward is None
    assert a.constraint.threshold == 0.02
    assert safeloop.told(Settings(), POINT) == "known cost, entities"


def test_what_is_left_open_depends_on_the_dynamics_and_is_the_papers_without_entities():
    factored, full = agent(width=64), agent(dynamics="full", horizon=5)
    assert (factored.settings.width, factored.settings.horizon, factored.settings.noise_correlation) == (64, 16, 0.85)
    assert (full.settings.width, full.settings.horizon, full.settings.noise_correlation) == (200, 5, 0.0)
    assert type(factored.behaviour.net).__name__ == "EntityValue"
    assert type(agent(BUTTON, obs_dim=76).behaviour.net).__name__ == "EnsembleMLP"
    assert type(agent(value_sees="observation").behaviour.net).__name__ == "EnsembleMLP"


def test_the_paper_preset_is_full_dynamics_with_the_papers_numbers():
    settings = build(Settings, PAPER, owner="safeloop")
    a = agent(**PAPER)
    assert a.dynamics.net.net.weights[1].shape == (5, 200, 200) and len(a.dynamics.net.net.weights) == 5
    p = a.planner.settings
    assert (p.horizon, p.population, p.particles, p.iterations, p.inverse_temperature) == (8, 100, 4, 8, 1.0)
    assert a.constraint.threshold == 0 and safeloop.told(settings, POINT) == "known cost"


def test_a_learned_cost_can_not_be_held_below_a_probability_of_zero():
    with pytest.raises(UsageError, match="threshold=0: what costs in PointButton1 is learned"):
        safeloop.told(build(Settings, PAPER, owner="safeloop"), BUTTON)
    assert safeloop.told(Settings(**{**PAPER, "threshold": 0.5}), BUTTON) == ""
    assert loop.told(Settings(**PAPER), BUTTON) == ""


def test_what_follows_an_event_is_not_learned_from_imagination():
    for algorithm in (mbpo, sac_ve):
        with pytest.raises(UsageError, match=f"{algorithm.name} learns from imagined .* as in PointGoal1"):
            algorithm.told(algorithm.settings(), POINT)
    assert mbpo.told(mbpo.settings(), find_env("HalfCheetah")) == ""
    augmented = Settings(augmentation=0.3)
    with pytest.raises(UsageError, match=r"loop with augmentation learns from imagined .* use it without"):
        loop.told(augmented, POINT)
    for algorithm, why in ((loop_sarsa, "has no actor"), (sac_evalloop, "does not plan in training")):
        with pytest.raises(UsageError, match=f"{algorithm.name} {why}"):
            algorithm.told(build(Settings, algorithm.own, augmented.__dict__ | algorithm.own, owner=""), POINT)


def test_the_rc_car_preset_keeps_what_makes_pets_pets():
    for algorithm in (safeloop, loop, safepets, pets):
        settings = build(Settings, algorithm.presets["rc-car"], owner=algorithm.name)
        assert (settings.layers, settings.width, settings.penalty) == (2, 128, 30.0)
        assert settings.elites == (0 if algorithm.learner else 20)


def test_loop_has_no_constraint_and_needs_no_cost_model():
    a = agent(algorithm=loop)
    assert a.constraint is None and not a.dynamics.heads.violated
    assert loop.told(Settings(), POINT) == "entities"


def test_the_value_at_the_horizon_is_the_behaviours_under_a_constraint_and_the_actors_without():
    assert agent().behaviour is not None and agent(algorithm=loop).behaviour is None
    assert agent(value="actor").behaviour is None and agent(**PAPER).behaviour is None
    a, obs = agent(), torch.randn(3, 7, 26)
    assert torch.equal(a.planner.value(obs), a.behaviour.value(obs))
    b = agent(algorithm=loop)
    assert torch.equal(b.planner.value(obs), b.learner.value(obs))


def test_a_planner_may_go_without_a_value_or_take_the_mean_cost():
    plain, other = agent(population=12), agent(population=12, value="none", cost_over="mean")
    assert plain.planner.settings.worst_case and not other.planner.settings.worst_case
    assert other.planner.value is None and other.behaviour is None and other.planner.actor is not None
    other.after_episode()
    assert other.value_after_event == 0


def test_pets_has_no_learner_and_plans_with_elites():
    assert pets.presets["paper"]["particles"] == 4 and pets.presets["paper"]["elites"] == 20
    for algorithm, told in ((pets, ""), (safepets, "known cost")):
        assert algorithm.told(build(Settings, algorithm.presets["paper"], owner=algorithm.name), POINT) == told
    for algorithm, constrained in ((pets, False), (safepets, True)):
        settings = build(Settings, algorithm.presets["default"], owner=algorithm.name)
        assert (settings.elites, settings.actor_fraction) == (20, 0.0)
        a = agent(algorithm=algorithm, population=20, **CEM)
        assert a.learner is None and a.planner.value is None and a.planner.actor is None
        assert (a.constraint is not None) == constrained
        a.update()
        plan = a.plan(np.zeros((1, 26)), True)
        assert plan.action.abs().max() <= 1 and plan.divergence.isnan()
        other = agent(algorithm=algorithm, population=20, **CEM)
        other.restore(a.checkpoint())
    with pytest.raises(UsageError, match="has no actor"):
        pets.told(Settings(elites=20), POINT)


def test_where_no_cost_is_known_a_violation_head_is_learned_with_a_threshold_of_its_own():
    a = agent(BUTTON, obs_dim=76)
    assert a.dynamics.heads.violated and a.model.cost is None and a.constraint.threshold == 0.5
    assert safeloop.told(Settings(), BUTTON) == "lidars"


def test_over_lidars_imagined_states_are_the_models_means():
    for spec, size, alike in ((BUTTON, 76, True), (POINT, 26, False)):
        model, obs, act = agent(spec, obs_dim=size).model, torch.rand(5, 11, size), torch.zeros(5, 11, 2)
        assert torch.equal(*(model.step(obs, act, [torch.Generator().manual_seed(i)])[1] for i in (1, 2))) == alike


def test_known_models_that_an_environment_lacks_are_refused():
    for setting in ("cost", "reward"):
        with pytest.raises(UsageError, match=f"{setting}=known: PointButton1"):
            safeloop.told(Settings(**{setting: "known"}), BUTTON)
    with pytest.raises(UsageError, match="factored: HalfCheetahVelocity names no entities or lidars"):
        safeloop.told(Settings(dynamics="factored"), find_env("HalfCheetahVelocity", {}))
    with pytest.raises(UsageError, match="value_sees=entities"):
        safeloop.told(Settings(value_sees="entities"), BUTTON)
    assert safeloop.told(Settings(dynamics="full", cost="learned"), POINT) == "entities"
    assert safeloop.told(Settings(dynamics="full", cost="learned", value_sees="observation"), POINT) == ""
    assert safeloop.told(Settings(dynamics="full"), BUTTON) == ""


@pytest.mark.parametrize(
    "setting",
    [
        {"horizon": 0},
        {"discount": 1.5},
        {"inverse_temperature": 0.0},
        {"threshold": -1.0},
        {"cost_margin": float("nan")},
    ],
)
def test_impossible_settings_are_refused_with_their_value(setting):
    ((key, value),) = setting.items()
    with pytest.raises(UsageError, match=f"{key}={value}"):
        build(Settings, setting, owner="safeloop")


@pytest.mark.parametrize(
    ("reward", "cost", "dynamics"),
    [
        ("known", "known", "factored"),
        ("learned", "learned", "factored"),
        ("learned", "learned", "full"),
        ("known", "known", "full"),
    ],
)
def test_known_and_learned_models_all_plan(reward, cost, dynamics):
    a = agent(reward=reward, cost=cost, dynamics=dynamics, first_fit_steps=5, population=12, iterations=2)
    env = POINT.make()
    obs, _ = env.reset(seed=0)
    for _ in range(60):
        act = a.random_action()
        next_obs, r, _, _, info = env.step(act)
        a.replay.add(obs, act, r, info["violations"] > 0, False, info["event"], next_obs)
        obs = next_obs
    a.fit()
    action = a.plan(obs[None], True).action
    assert action.shape == (1, 2) and action.abs().max() <= 1


def test_random_actions_are_held_for_about_the_given_time():
    a = agent(warmup_hold=10)
    actions = []
    for _ in range(3000):
        actions.append(a.random_action().copy())
        a.replay.added += 1
    changes = sum(bool((x != y).any()) for x, y in zip(actions[1:], actions[:-1], strict=True))
    assert 230 < changes < 370 and np.abs(actions).max() > 0.95


def test_the_value_after_an_event_is_the_critics_mean_over_states_that_followed_events():
    a = agent()
    obs = torch.randn(6, 26).numpy()
    for i in range(6):
        a.replay.add(obs[i], np.zeros(2), 0.0, False, False, i % 2 == 0, obs[i] + 1)
    a.after_episode()
    expected = a.value(torch.as_tensor(obs[::2] + 1)).mean()
    assert torch.allclose(a.value_after_event, expected)


def test_the_value_error_is_the_value_less_what_followed(monkeypatch):
    assert np.isnan(agent(value="none").value_error(3)) and agent().model_errors(0) == []
    a = agent(discount=0.5)
    monkeypatch.setattr(type(a), "value", property(lambda self: lambda obs: obs[..., 0]))
    for i, reward in enumerate((100.0, 1.0, 2.0, 4.0)):
        a.replay.add(np.full(26, i), np.zeros(2), reward, False, False, False, np.full(26, i + 1))
    # After steps 1, 2, 3: 1 + (2 + (4 + 4 / 2) / 2) / 2 = 3.5, 5 and 6, where the values are 1, 2, 3.
    assert a.value_error(3) == pytest.approx((1 + 2 + 3 - 3.5 - 5 - 6) / 3)
    a.replay.data.terminated[3] = 1
    assert a.value_error(3) == pytest.approx((1 + 2 + 3 - 3 - 4 - 4) / 3)


def test_a_policy_acts_in_episodes_together_as_in_each_alone():
    a = agent(population=12, iterations=2)
    obs = np.random.default_rng(0).normal(size=(2, 3, 26)).astype(np.float32)
    together = a.policy(seed=4)
    together.reset(3)
    acts = [together.act(o) for o in obs]
    one = a.policy(seed=4)
    for i in range(3):
        one.reset()
        for step in range(2):
            action = one.act(obs[step, i])
            assert action.shape == (2,)
            np.testing.assert_allclose(action, acts[step][i], atol=1e-5)
    assert len(np.unique(acts[0], axis=0)) == 3


def test_a_loaded_policy_acts_as_the_evaluated_one(tmp_path):
    asked = RunSettings(
        "PointGoal1", "safeloop", 2000, seed=0, budget=25.0, eval_episodes=0,
        algo_settings=dict(vars(Settings(warmup=250, first_fit_steps=5, fit_steps=5, population=8, iterations=1))),
    )  # fmt: skip
    run = Run.create(tmp_path, asked)
    env = Recorder(POINT.make(), POINT, run)
    safeloop.learn(env, 25.0, run)
    obs, _ = POINT.make().reset(seed=1)
    first, second = safeloop.load(run, seed=5), safeloop.load(run, seed=5)
    with pytest.raises(RuntimeError, match="call reset"):
        first.act(obs)
    first.reset()
    second.reset()
    for _ in range(3):
        assert np.array_equal(first.act(obs), second.act(obs))
    assert run.plans.read()[-1].planned == 150 and [f.simulator_steps for f in run.fits.read()] == [1250]
