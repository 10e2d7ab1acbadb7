"""One life: episodes of training that begin where the last one ended."""

import numpy as np
import pytest

from safeloop.api import run as train
from safeloop.errors import UsageError
from safeloop.recording.reader import open_run
from safeloop.recording.recorder import Recorder
from safeloop.recording.run import Run, RunSettings
from safeloop.registry import find_env

SMALL = {"horizon": 3, "population": 4}


def recorder(path, reset_free=True):
    spec = find_env("PointBox", {})
    settings = RunSettings("PointBox", "mpc", 3000, seed=0, reset_free=reset_free, budget=None)
    return Recorder(spec.make(), spec, Run.create(path, settings))


def episode(env, action=(1.0, 0.5)):
    path = [env.reset()[0]]
    for _ in range(1000):
        path.append(env.step(np.array(action))[0])
    return np.stack(path)


@pytest.mark.parametrize("reset_free", [True, False])
def test_an_episode_begins_where_the_last_one_ended(tmp_path, reset_free):
    env = recorder(tmp_path, reset_free)
    first, second = episode(env), episode(env, (-1.0, 0.0))
    assert np.array_equal(second[0], first[-1]) == reset_free
    assert not np.array_equal(second[0], first[0]) or not reset_free
    assert [row.episode for row in env.run.episodes.read()] == [0, 1]


def test_a_resumed_life_goes_on(tmp_path):
    whole = recorder(tmp_path / "whole")
    paths = [episode(whole) for _ in range(2)]
    first = recorder(tmp_path / "first")
    assert np.array_equal(episode(first), paths[0])
    second = recorder(tmp_path / "second")
    second.load_state_dict(first.state_dict())
    assert np.array_equal(episode(second), paths[1])


def test_a_run_of_one_life_is_repeatable_and_evaluated_from_resets(tmp_path):
    asked = {"algos": ["mpc"], "steps": 2000, "settings": SMALL, "eval_episodes": 1, "reset_free": True, "quiet": True}
    rows = []
    for name in ("one", "two"):
        train("PointBox", out=tmp_path / name, **asked)
        run = open_run(tmp_path / name / "PointBox" / "mpc" / "seed-0")
        rows.append([row.return_ for row in run.episodes.read()])
        assert len(run.evaluations.read()) == 1
    assert rows[0] == rows[1] and len(rows[0]) == 2


@pytest.mark.parametrize(
    ("env", "algo", "message"),
    [
        ("PointButton1", "safeloop", "PointButton1 has no full states to begin an episode with"),
        ("Hopper", "loop-sac", "Hopper ends episodes by termination"),
        ("PointGoal1", "cpo", "cpo resets the environment at will"),
    ],
)
def test_what_has_no_single_life_is_refused(env, algo, message, tmp_path):
    with pytest.raises(UsageError, match=f"--reset-free: {message}"):
        train(env, algos=[algo], reset_free=True, out=tmp_path)
