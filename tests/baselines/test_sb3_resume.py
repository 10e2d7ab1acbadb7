"""A stopped run of every algorithm of the family goes on to the end of an uninterrupted one, and loads no pickle."""

from dataclasses import replace

import pytest
import torch
from line_env import line_spec
from sb3_small import EVERY, SMALL

from safeloop.recording.recorder import Recorder
from safeloop.recording.run import Run
from safeloop.registry import find_algorithm
from safeloop_baselines import sb3_session, session


def rows(run):
    return [replace(row, wall_seconds=0.0) for row in (*run.episodes.read(), *run.evaluations.read())]


@pytest.fixture(autouse=True)
def saving_at_every_episode(monkeypatch):
    monkeypatch.setattr(session, "SAVE_EVERY", 0.0)


@pytest.fixture
def stopped(train, tmp_path):
    """`stopped(name, changes, fails_after, **options)`: a run that fails after so many decisions, and its rest."""

    def _stopped(name, changes, fails_after, **options):
        with pytest.raises(RuntimeError, match="the motor burnt out"):
            train(name, line_spec(fails_after=fails_after, **options), changes, steps=200, eval_every=40)
        run = Run.open(next(max(tmp_path.iterdir(), key=lambda path: int(path.name)).glob("*/*/seed-*")))
        before = run.load_checkpoint()["recorder"] if run.has_checkpoint else {"simulator_steps": 0, "decisions": 0}
        spec = line_spec(**options)
        env = Recorder(spec.make(), spec, run)
        find_algorithm(name).train(env, run)
        assert len(env.unwrapped.actions) == env.decisions - before["decisions"]  # it did not begin anew
        return run, before["simulator_steps"]

    return _stopped


def same(one, other):
    """Compare two checkpoints, all but the seconds."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one if k != "wall_seconds")
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


@EVERY
def test_a_stopped_run_ends_as_an_uninterrupted_one(train, stopped, name):
    """PPO is stopped 13 decisions into a rollout, whose first 6 go on; the others with a buffer that is full."""
    changes = SMALL[name] | ({"ent_coef_init": 0.3} if name == "SAC" else {})
    whole, _ = train(f"sb3:{name}", changes=changes, steps=200, eval_every=40)
    found, begun = stopped(f"sb3:{name}", changes, fails_after=85)
    assert begun == 160
    assert rows(found) == rows(whole)
    one, other = whole.load_checkpoint(), found.load_checkpoint()
    assert same(one, other)  # parameters, optimisers, data, counters, random numbers


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("PPO", {"normalize_obs": True, "normalize_reward": True, "n_steps": 33, "batch_size": 11}),
        ("PPO", {"normalize_obs": True, "n_steps": 20, "batch_size": 5}),
        ("TD3", {"action_noise": 0.2, "train_freq": 1}),
        ("SAC", {"ent_coef": 0.1, "buffer_size": 1000, "train_freq": 3}),
    ],
)
def test_normalisers_noise_and_unfinished_rollouts_go_on_too(train, stopped, name, changes):
    whole, _ = train(f"sb3:{name}", line_spec(wall=0.6), SMALL[name] | changes, steps=200, eval_every=40)
    assert min(row.length for row in whole.episodes.read()) < 20
    found, begun = stopped(f"sb3:{name}", SMALL[name] | changes, fails_after=85, wall=0.6)
    assert 0 < begun < 170
    assert rows(found) == rows(whole) and same(whole.load_checkpoint(), found.load_checkpoint())


def test_a_run_stopped_before_its_first_checkpoint_begins_anew(train, stopped):
    whole, _ = train("sb3:TD3", changes=SMALL["TD3"], steps=200, eval_every=40)
    found, begun = stopped("sb3:TD3", SMALL["TD3"], fails_after=7)
    assert begun == 0 and rows(found) == rows(whole)


@pytest.mark.parametrize("name", ["PPO", "SAC"])
def test_a_run_stopped_in_its_last_evaluation_goes_on_with_that(train, monkeypatch, tmp_path, name):
    whole, _ = train(f"sb3:{name}", changes=SMALL[name], steps=100)

    def fail(session):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(sb3_session.Session, "evaluate_at_end", fail)
        train(f"sb3:{name}", changes=SMALL[name], steps=100)
    run = Run.open(next((tmp_path / "2").glob("*/*/seed-*")))
    env = Recorder(line_spec().make(), line_spec(), run)
    find_algorithm(f"sb3:{name}").train(env, run)
    assert env.unwrapped.actions == [] and rows(run) == rows(whole)


def test_a_checkpoint_holds_the_filled_part_of_the_data_alone(train):
    small, _ = train("sb3:SAC", changes=SMALL["SAC"] | {"buffer_size": 60}, steps=40)
    large, _ = train("sb3:SAC", changes=SMALL["SAC"] | {"buffer_size": 100_000}, steps=40)
    sizes = [run.checkpoint.stat().st_size for run in (small, large)]
    assert sizes[1] < sizes[0] + 1000
    assert large.load_checkpoint()["learner"]["data"]["arrays"]["observations"].shape == (20, 1, 2)
