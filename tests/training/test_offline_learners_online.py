"""CoRL 2021, D.7: learners made for datasets, trained while acting, under LOOP's planner."""

import numpy as np
import pytest
import torch

from safeloop.errors import UsageError
from safeloop.learners.crr import CRR
from safeloop.recording.run import Run
from safeloop.registry import find_algorithm, find_env
from safeloop.settings import build
from tests.training.test_online import agent, learn, run

NAMES = ["loop-crr-online", "loop-mopo"]


@pytest.mark.parametrize("name", NAMES)
def test_it_learns_while_it_plans_and_a_resumed_run_ends_as_an_uninterrupted_one(name, tmp_path):
    whole = learn(run(tmp_path / "whole", name, steps=220))
    assert len(whole[1]) >= 1 and len(whole[2]) >= 2 and whole[3]
    short = run(tmp_path / "short", name, steps=120)
    learn(short)
    settings = (short.path / "settings.json").read_text().replace('"steps": 120', '"steps": 220')
    (short.path / "settings.json").write_text(settings)
    again = learn(Run.open(short.path))
    assert again[0] == whole[0] and again[2] == whole[2] and again[3] == whole[3]


def test_their_learners():
    crr, mopo = agent("loop-crr-online"), agent("loop-mopo", doubt_weight=0.5, real_fraction=0.25)
    assert isinstance(crr.learner, CRR) and crr.planner.actor is not None
    obs = torch.zeros(3, 4)
    drawn = [crr.learner.explore(obs, [torch.Generator().manual_seed(i)]) for i in range(2)]
    assert drawn[0].shape == (3, 1) and not torch.equal(*drawn)
    for i in range(120):
        mopo.replay.add(np.full(4, i / 100), np.zeros(1), 1.0, 0.0, False, False, np.full(4, (i + 1) / 100))
    mopo.fit()
    assert len(mopo.imagined) > 0 and mopo.imagined.data.reward[: len(mopo.imagined)].max() < 1e3
    before = [p.clone() for p in mopo.learner.actor.parameters()]
    mopo.learn(mopo.replay.sample(16, mopo.generator))
    assert any(not torch.equal(x, y) for x, y in zip(before, mopo.learner.actor.parameters(), strict=True))


def test_goals_that_jump_are_refused_where_transitions_are_imagined():
    name, spec = "loop-mopo", find_env("PointGoal1")
    algorithm = find_algorithm(name)
    with pytest.raises(UsageError, match="can't be imagined"):
        algorithm.resolve(build(algorithm.info.settings, {}, owner=name), spec)
