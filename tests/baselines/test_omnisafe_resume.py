"""A stopped run of every algorithm of OmniSafe goes on from an epoch's border to the end of an uninterrupted one."""

from dataclasses import replace

import pytest
import torch
from line_env import line_spec

from safeloop.errors import UsageError
from safeloop.recording.recorder import Recorder
from safeloop.recording.run import Run
from safeloop.registry import find_algorithm
from safeloop_baselines import omnisafe_session, session
from safeloop_baselines.omnisafe_names import OFF_POLICY, ON_POLICY

FAST = ("CPO", "PPOLag", "CPPOPID", "FOCOPS", "SACLag", "TD3PID")
"""One of each kind: a trust region, multipliers of both kinds, two steps, entropy, and delayed policies."""
NAMES = [
    pytest.param(f"omnisafe:{name}", marks=[] if name in FAST else pytest.mark.slow)
    for name in (*ON_POLICY, *OFF_POLICY)
]


def rows(run):
    return [replace(row, wall_seconds=0.0) for row in (*run.episodes.read(), *run.evaluations.read())]


def stopped(train, run_of, name, fails_after, **options):
    """A run that fails after so many decisions, and then goes on."""
    with pytest.raises(RuntimeError, match="the motor burnt out"):
        train(name, line_spec(fails_after=fails_after, **options), steps=400)
    run = run_of()
    env = Recorder(line_spec(**options).make(), line_spec(**options), run)
    find_algorithm(name).train(env, run)
    return run


@pytest.fixture
def run_of(tmp_path):
    """The run that was made last."""
    return lambda: Run.open(next(max(tmp_path.iterdir(), key=lambda path: int(path.name)).glob("*/*/seed-*")))


@pytest.mark.parametrize("name", NAMES)
def test_a_stopped_run_ends_as_an_uninterrupted_one(train, run_of, monkeypatch, name):
    monkeypatch.setattr(session, "SAVE_EVERY", 0.0)
    whole, _ = train(name, steps=400)
    saved, save = [], omnisafe_session.Session.save

    def watched(session, **more):
        saved.append(more.get("epoch"))
        save(session, **more)

    monkeypatch.setattr(omnisafe_session.Session, "save", watched)
    found = stopped(train, run_of, name, fails_after=137)
    assert any(saved)
    assert rows(found) == rows(whole)
    one, other = whole.load_checkpoint(), found.load_checkpoint()
    for a, b in zip(one["weights"], other["weights"], strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("name", ["ppo-lag", "omnisafe:SACLag"])
def test_where_episodes_terminate_a_stopped_run_ends_as_an_uninterrupted_one(train, run_of, monkeypatch, name):
    """Off-policy a border within an episode is passed over: the run goes on from an earlier one."""
    monkeypatch.setattr(session, "SAVE_EVERY", 0.0)
    whole, _ = train(name, line_spec(wall=0.6), steps=400)
    assert min(row.length for row in whole.episodes.read()) < 20
    assert rows(stopped(train, run_of, name, fails_after=137, wall=0.6)) == rows(whole)


def test_a_run_stopped_before_its_first_checkpoint_begins_anew(train, run_of):
    assert rows(stopped(train, run_of, "cpo", fails_after=17)) == rows(train("cpo", steps=400)[0])


def test_a_checkpoint_of_before_there_was_more_than_the_policy_in_it_is_one_line(train):
    run, env = train("cpo")
    with pytest.raises(UsageError, match="has a policy alone, so training can't go on: start a new run"):
        find_algorithm("cpo").train(env, run)
