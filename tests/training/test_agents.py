import numpy as np
import pytest
import torch

from safeloop.algorithms.imagination import mbpo, sac_ve
from safeloop.algorithms.loop import CEM, loop, loop_sarsa, sac_evalloop, safeloop
from safeloop.algorithms.pets import cce, pets, rce
from safeloop.algorithms.presets import PAPER
from safeloop.errors import UsageError
from safeloop.protocols import Transition
from safeloop.recording.recorder import Recorder
from safeloop.recording.run import Run, RunSettings
from safeloop.registry import find_env
from safeloop.settings import build, flat

POINT = find_env("PointGoal1")
BUTTON = find_env("PointButton1")


def settings(algorithm=safeloop, preset=None, **changes):
    """Settings of an algorithm: the dataclasses' defaults, or those of a preset, with changes."""
    group = algorithm.info.presets[preset] if preset else {}
    return build(algorithm.info.settings, group, changes, owner=algorithm.info.name)


def told(algorithm=safeloop, spec=POINT, preset=None, **changes):
    """The privileged information that an algorithm uses."""
    return algorithm.resolve(settings(algorithm, preset, **changes), spec).privileged


def agent(spec=POINT, algorithm=safeloop, obs_dim=26, preset=None, **changes):
    return algorithm.build(settings(algorithm, preset, **changes), spec, obs_dim, 2, 0, "cpu")


def test_defaults_are_dynamics_over_points_learned_reward_known_cost():
    a = agent()
    assert type(a.ensemble.net).__name__ == "PointNet"
    assert a.model.cost is not None and a.model.reward is None
    assert a.parts.constraint.threshold == 0.02
    assert told() == "known cost, entities"


def test_what_is_left_open_depends_on_the_dynamics_and_is_the_papers_without_entities():
    factored, full = agent(dynamics="factored", width=64), agent(dynamics="full", horizon=5)
    for a, width, horizon, correlation, narrowed in (
        (agent(), 64, 12, 0.85, False), (factored, 64, 16, 0.85, True), (full, 200, 5, 0.0, True)
    ):  # fmt: skip
        space = a.planner.search.space
        assert (a.settings.models.width, space.horizon, space.correlation) == (width, horizon, correlation)
        assert space.narrowed == narrowed
    assert type(factored.behaviour.net).__name__ == "EntityValue"
    assert type(agent(BUTTON, obs_dim=76).behaviour.net).__name__ == "EntityValue"
    assert type(agent(BUTTON, obs_dim=76, dynamics="factored").behaviour.net).__name__ == "EnsembleMLP"
    assert type(agent(value_sees="observation").behaviour.net).__name__ == "EnsembleMLP"


def test_windows_of_a_fit_depend_on_the_dynamics_unless_they_are_set():
    for spec, obs_dim, dynamics, window in (
        (POINT, 26, None, 4), (POINT, 26, "factored", 1), (POINT, 26, "full", 1),
        (BUTTON, 76, "factored", 1), (BUTTON, 76, None, 4),
    ):  # fmt: skip
        usual, other = (agent(spec, obs_dim=obs_dim, dynamics=dynamics, **x) for x in ({}, {"fit_window": 3}))
        assert (usual.settings.models.fit_window, usual.ensemble.window) == (window, window)
        assert other.ensemble.window == 3


def test_the_paper_preset_is_full_dynamics_with_the_papers_numbers():
    a = agent(**PAPER)
    assert a.ensemble.net.net.weights[1].shape == (5, 200, 200) and len(a.ensemble.net.net.weights) == 5
    s = a.planner.search
    assert (s.space.horizon, s.population, s.objective.particles, s.iterations) == (8, 100, 4, 8)
    assert s.weighting.inverse_temperature == 1.0
    assert a.parts.constraint.threshold == 0 and told(**PAPER) == "known cost"


def test_a_learned_cost_can_not_be_held_below_a_probability_of_zero():
    with pytest.raises(UsageError, match="threshold=0: the cost in PointButton1 is learned"):
        told(spec=BUTTON, **PAPER)
    assert told(spec=BUTTON, **{**PAPER, "threshold": 0.5}) == ""
    assert told(loop, BUTTON, **PAPER) == ""


def test_what_follows_an_event_is_not_learned_from_imagination():
    for algorithm in (mbpo, sac_ve):
        with pytest.raises(UsageError, match=f"{algorithm.info.name} learns from imagined .* as in PointGoal1"):
            told(algorithm)
    assert told(mbpo, find_env("HalfCheetah")) == ""
    with pytest.raises(UsageError, match=r"loop with augmentation learns from imagined .* use it without"):
        told(loop, augmentation=0.3)
    for algorithm, why in ((loop_sarsa, "has no actor"), (sac_evalloop, "does not plan in training")):
        with pytest.raises(UsageError, match=f"{algorithm.info.name} {why}"):
            told(algorithm, preset="default", augmentation=0.3)


def test_the_rc_car_preset_keeps_what_makes_pets_pets():
    for algorithm, elites in ((safeloop, None), (loop, None), (rce, 20), (cce, 20), (pets, 20)):
        found = algorithm.resolve(settings(algorithm, "rc-car"), POINT).settings
        assert (found.models.layers, found.models.width, found.planner.penalty) == (2, 128, 30.0)
        assert found.planner.elites == elites


def test_loop_has_no_constraint_and_needs_no_cost_model():
    a = agent(algorithm=loop)
    assert a.parts.constraint is None and not a.ensemble.heads.violated
    assert told(loop) == "entities"


def test_the_value_at_the_horizon_is_the_behaviours_under_a_constraint_and_the_actors_without():
    assert agent().behaviour is not None and agent(algorithm=loop).behaviour is None
    assert agent(value="actor").behaviour is None and agent(**PAPER).behaviour is None
    a, obs = agent(dynamics="factored"), torch.randn(3, 7, 26)
    assert torch.equal(a.planner.search.objective.value(obs), a.behaviour.value(obs))
    b = agent(algorithm=loop, dynamics="factored")
    assert torch.equal(b.planner.search.objective.value(obs), b.learner.value(obs))


def test_a_planner_may_go_without_a_value_or_take_the_mean_cost():
    plain, other = agent(population=12), agent(population=12, value="none", cost_over="mean")
    one, without = plain.planner.search, other.planner.search
    assert one.objective.worst_case and not without.objective.worst_case
    assert without.objective.value is None and other.behaviour is None
    assert other.planner.actor is not None and without.proposals is not None
    other.replay.add(np.zeros(26), np.zeros(2), 0.0, False, False, True, np.ones(26))
    other.refresh()
    assert other.value_after_event == 0


def test_pets_has_no_learner_and_plans_with_elites():
    assert pets.info.presets["paper"]["horizon"] == 30 and pets.info.presets["paper"]["search"] == "cem"
    for algorithm, known in ((pets, "known reward"), (rce, "known cost"), (cce, "known cost")):
        assert told(algorithm, preset="paper") == known
    for algorithm, constrained in ((pets, False), (rce, True), (cce, True)):
        found = algorithm.resolve(settings(algorithm, "default"), POINT).settings.planner
        assert (found.elites, found.actor_fraction) == (20, 0.0)
        a = agent(algorithm=algorithm, population=20, warmup=9, **CEM)
        search, before = a.planner.search, a.generator.get_state()
        assert a.learner is None and search.objective.value is None and a.planner.actor is None
        assert search.proposals is None and search.weighting.count == 20
        assert (a.parts.constraint is not None) == constrained
        for _ in range(5):
            a.replay.add(np.zeros(26), np.zeros(2), 0.0, False, False, False, np.zeros(26))
        assert a.update() is None and torch.equal(a.generator.get_state(), before)  # nothing is drawn for nobody
        plan = a.plan(np.zeros((1, 26)), True)
        assert plan.action.abs().max() <= 1 and plan.divergence.isnan()
        other = agent(algorithm=algorithm, population=20, warmup=9, **CEM)
        other.restore(a.checkpoint())
    with pytest.raises(UsageError, match="has no actor"):
        told(pets, search="cem")


def test_where_no_cost_is_known_a_violation_head_is_learned_with_a_threshold_of_its_own():
    a = agent(BUTTON, obs_dim=76)
    assert a.ensemble.heads.violated and a.model.cost is None and a.parts.constraint.threshold == 0.5
    assert told(spec=BUTTON) == "lidars, lidar model" and told(spec=BUTTON, dynamics="factored") == "lidars"


def test_over_lidars_imagined_states_are_the_models_means():
    for spec, size, alike in ((BUTTON, 76, True), (POINT, 26, False)):
        model = agent(spec, obs_dim=size, dynamics="factored").model
        obs, act = torch.rand(5, 11, size), torch.zeros(5, 11, 2)
        assert torch.equal(*(model.step(obs, act, [torch.Generator().manual_seed(i)])[1] for i in (1, 2))) == alike


def test_known_models_that_an_environment_lacks_are_refused():
    for setting in ("cost", "reward"):
        with pytest.raises(UsageError, match=f"{setting}=known: PointButton1"):
            told(spec=BUTTON, **{setting: "known"})
    with pytest.raises(UsageError, match="factored: HalfCheetahVelocity names no entities or lidars"):
        told(spec=find_env("HalfCheetahVelocity", {}), dynamics="factored")
    with pytest.raises(UsageError, match="value_sees=entities"):
        told(spec=BUTTON, value_sees="entities", dynamics="factored")
    with pytest.raises(UsageError, match="points: HalfCheetahVelocity names no entities, and no lidars of which it"):
        told(spec=find_env("HalfCheetahVelocity", {}), dynamics="points")
    assert told(dynamics="full", cost="learned") == "entities"
    assert told(dynamics="full", cost="learned", value_sees="observation") == ""
    assert told(spec=BUTTON, dynamics="full") == ""


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
        settings(**setting)


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


@pytest.mark.parametrize("warmup", [2, 1000])
def test_the_value_after_an_event_is_the_critics_mean_over_states_that_followed_events(warmup):
    """As each episode begins, in the warm-up too: it may end within an episode."""
    a = agent(warmup=warmup, population=12, iterations=1)
    obs = torch.randn(6, 26).numpy()
    for i in range(6):
        info = {"cost": 0.0, "event": i % 2 == 0}
        a.observe(Transition(obs[i], np.zeros(2), 0.0, False, False, info, obs[i] + 1))
    expected = a.value_of(torch.as_tensor(obs[::2] + 1)).mean()
    a.act(obs[0], False)
    assert a.value_after_event == 0 != expected
    a.act(obs[0], True)
    assert torch.allclose(a.value_after_event, expected)


def test_the_value_error_is_the_value_less_what_followed():
    assert np.isnan(agent(value="none").value_error(3)) and agent().diagnostics() is None
    a = agent(discount=0.5)
    a.value = lambda obs: obs[..., 0]
    for i, reward in enumerate((100.0, 1.0, 2.0, 4.0)):
        a.replay.add(np.full(26, i), np.zeros(2), reward, False, False, False, np.full(26, i + 1))
    # After steps 1, 2, 3: 1 + (2 + (4 + 4 / 2) / 2) / 2 = 3.5, 5 and 6, where the values are 1, 2, 3.
    assert a.value_error(3) == pytest.approx((1 + 2 + 3 - 3.5 - 5 - 6) / 3)
    a.replay.data.terminated[3] = 1
    assert a.value_error(3) == pytest.approx((1 + 2 + 3 - 3 - 4 - 4) / 3)


@pytest.mark.parametrize(("spec", "size"), [(POINT, 26), (BUTTON, 76)], ids=["positions", "lidars"])
def test_a_policy_acts_in_episodes_together_as_in_each_alone(spec, size):
    a = agent(spec, obs_dim=size, population=12, iterations=2)
    obs = np.random.default_rng(0).random(size=(4, 3, size)).astype(np.float32)
    together = a.policy(seed=4)
    together.reset(3)
    acts = [together.act(obs[0]), together.act(obs[1])]
    together.keep([0, 2])  # the second episode has ended
    acts += [together.act(o[[0, 2]]) for o in obs[2:]]
    one = a.policy(seed=4)
    for i in range(3):
        one.reset()
        for step in range(2 if i == 1 else 4):
            action = one.act(obs[step, i])
            assert action.shape == (2,)
            np.testing.assert_allclose(action, acts[step][i if step < 2 else i // 2], atol=1e-5)
    assert len(np.unique(acts[0], axis=0)) == 3


def test_a_loaded_policy_acts_as_the_evaluated_one(tmp_path):
    small = settings(
        warmup=250, first_fit_steps=5, fit_steps=5, population=8, iterations=1, horizon=4, ensemble_size=2, width=16,
        entity_width=8, hidden=32, behaviour_hidden=16,
    )  # fmt: skip
    asked = RunSettings("PointGoal1", "safeloop", 2000, seed=0, budget=25.0, eval_episodes=0, algo_settings=flat(small))
    run = Run.create(tmp_path, asked)
    env = Recorder(POINT.make(), POINT, run)
    safeloop.train(env, run)
    obs, _ = POINT.make().reset(seed=1)
    first, second = safeloop.load(run, seed=5), safeloop.load(run, seed=5)
    with pytest.raises(RuntimeError, match="call reset"):
        first.act(obs)
    first.reset()
    second.reset()
    for _ in range(3):
        assert np.array_equal(first.act(obs), second.act(obs))
    assert run.plans.read()[-1].planned == 150 and [f.simulator_steps for f in run.fits.read()] == [1250, 1560, 1950]
