"""Which learner a planner stands on, and who acts in its training."""

from pathlib import Path

import numpy as np
import pytest
import torch

from safeloop.algorithms.loop import safeloop
from safeloop.errors import UsageError
from safeloop.learners.crossq import CrossQ
from safeloop.learners.crr import CRR
from safeloop.learners.sac import SAC
from safeloop.learners.td3 import TD3
from safeloop.protocols import Transition
from safeloop.recording.run import Run
from safeloop.registry import find_algorithm, find_env
from safeloop.settings import build, flat
from tests.training.test_online import PENDULUM, agent, fill, settings

POINT = find_env("PointGoal1")
RESULTS = Path(__file__).parents[2] / "results"
OBS = np.zeros(4, np.float32)


@pytest.mark.parametrize(("name", "learner"), [("sac", SAC), ("td3", TD3), ("crr", CRR), ("crossq", CrossQ)])
def test_a_planner_stands_on_the_learner_that_is_chosen(name, learner):
    for algorithm in ("loop-sac", "loop-td3", "sac-evalloop"):
        a = agent(algorithm, learner=name)
        assert type(a.learner) is learner and a.value.__self__ is a.learner
    asked = build(safeloop.info.settings, {"learner": name, "dynamics": "full", "hidden": 16}, owner="safeloop")
    a = safeloop.build(asked, POINT, 26, 2, 0, "cpu")
    assert type(a.learner) is learner and a.behaviour is not None
    assert a.planner.actor is not None


def test_a_learner_that_is_none_is_refused():
    with pytest.raises(UsageError, match="learner=dqn: expected one of sac, td3, crr, crossq"):
        settings("loop-sac", learner="dqn")
    with pytest.raises(UsageError, match="pets has no setting 'learner'"):
        settings("pets", learner="sac")


@pytest.mark.parametrize(
    ("name", "changes", "rate"),
    [
        ("crossq", {}, 1e-3), ("loop-crossq", {}, 1e-3), ("loop-sac", {"learner": "crossq"}, 1e-3),
        ("loop-crossq", {"learning_rate": 2e-4}, 2e-4), ("loop-sac", {}, 3e-4), ("td3", {}, 3e-4), ("pets", {}, 3e-4),
    ],
)  # fmt: skip
def test_the_learning_rate_is_the_learners(name, changes, rate):
    found = find_algorithm(name).resolve(settings(name, **changes), PENDULUM).settings
    assert flat(found)["learning_rate"] == rate
    a = agent(name, **changes)
    assert a.learner is None or all(g["lr"] == rate for o in a.learner.optimizers for g in o.param_groups)


def test_names_of_crossq_have_its_settings_in_every_preset():
    for name in ("crossq", "loop-crossq"):
        info = find_algorithm(name).info
        for preset in info.presets:
            c = build(info.settings, info.presets[preset], owner=name)
            assert (c.learner.hidden, c.online.updates_per_decision, c.sac.initial_temperature) == (256, 1, 1.0)
            assert c.crossq.critic_width == (2048 if "paper" in preset else 256) and c.learner_name == "crossq"


@pytest.mark.parametrize(("name", "learner"), [("loop-td3", TD3), ("sac-evalloop", SAC), ("loop-crr-online", CRR)])
def test_settings_recorded_before_there_was_a_choice_are_of_the_same_agents(name, learner):
    recorded = flat(settings(name))
    for later in ("learner", "actor_episodes", "critic_width"):
        del recorded[later]
    info = find_algorithm(name).info
    a = find_algorithm(name).build(build(info.settings, recorded, owner=name), PENDULUM, 4, 1, 0, "cpu")
    assert type(a.learner) is learner and a.settings.training.actor_episodes == (name == "sac-evalloop")


def test_recorded_results_are_read():
    recorded = Run.open(RESULTS / "online/InvertedPendulum/loop-td3/seed-0").settings.algo_settings
    assert "learner" not in recorded
    found = flat(build(find_algorithm("loop-td3").info.settings, recorded, owner="loop-td3"))
    assert found["learner"] == "td3" and found["learning_rate"] == 3e-4


def test_no_share_of_episodes_draws_nothing():
    for share in (0.0, 1.0):
        a = agent("loop-sac", actor_episodes=share)
        fill(a)
        before = a.generator.get_state()
        assert a._drawn() == (share == 1) and torch.equal(a.generator.get_state(), before)


def test_the_actor_acts_in_a_share_of_the_episodes_and_in_all_of_each():
    a, planned = agent("loop-sac", actor_episodes=0.25, population=4, iterations=1), []
    fill(a)
    for _ in range(60):
        for step in range(3):
            a.act(OBS, step == 0)
        planned.append(len(a.plans))
        numbers = a.diagnostics()
        assert (numbers is None) == (planned[-1] == 0)
    assert set(planned) == {0, 3} and 8 <= planned.count(0) <= 24


def test_the_actors_episodes_are_of_its_exploration():
    a, same = agent("loop-sac", actor_episodes=0.999), torch.Generator()
    fill(a)
    same.set_state(a.generator.get_state())
    torch.rand((), generator=same)  # who acts
    expected = a.learner.explore(torch.zeros(1, 4), [same])
    assert np.allclose(a.act(OBS, True), expected[0].numpy())


def test_all_episodes_of_the_actor_is_planning_in_evaluation_alone():
    one, other = agent("loop-sac", actor_episodes=1), agent("sac-evalloop")
    for a in (one, other):
        fill(a)
    assert np.array_equal(one.act(OBS, True), other.act(OBS, True)) and one.plans == other.plans == []
    assert flat(one.settings) == flat(other.settings)
    assert type(one.explorer(0)).__name__ == "Exploring"
    assert type(agent("loop-sac", actor_episodes=0.5).explorer(0)).__name__ == "PlannerPolicy"


@pytest.mark.parametrize("name", ["loop-sarsa", "pets", "polo-model", "poplin-a"])
def test_episodes_of_an_actor_need_one(name):
    algorithm = find_algorithm(name)
    asked = build(algorithm.info.settings, algorithm.info.presets["default"], {"actor_episodes": 0.5}, owner=name)
    with pytest.raises(UsageError, match=f"actor_episodes=0.5: {name} has no actor; leave it out"):
        algorithm.resolve(asked, PENDULUM)


def test_a_threshold_follows_the_costs_of_planned_episodes_alone():
    changes = {"actor_episodes": 0.5, "constraint": "adaptive", "warmup": 1, "dynamics": "full", "hidden": 16}
    asked = build(safeloop.info.settings, changes, owner="safeloop")
    a = safeloop.build(asked, POINT, 26, 2, 0, "cpu", budgets=[25.0])
    a.replay.added = 1
    before = a.threshold.levels
    for acts in (True, False):
        a.actor_acts = acts
        a.observe(Transition(np.zeros(26), np.zeros(2), 0.0, False, True, {"cost": 90.0}, np.zeros(26)))
        assert (a.threshold.levels == before) == acts
