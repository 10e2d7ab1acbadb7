"""bfloat16 plans as float32 does, on models trained on a real environment."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from safeloop.algorithms.loop import safeloop
from safeloop.planning.weighting import feasible
from safeloop.registry import find_env
from safeloop.settings import build
from tests.core.toy import score

POINT = find_env("PointGoal1")


@pytest.fixture(scope="module", params=["factored", "full"])
def trained(request):
    """An agent whose models and values are fitted to random drives, and observations of other drives."""
    # Without the instructions bfloat16 is emulated, which is slow: few rows, and narrower layers than the paper's.
    full = {"dynamics": "full", "width": 64, "layers": 4, "value": "actor", "inverse_temperature": 1.0}
    changes = {"factored": {}, "full": full}[request.param]
    shared = {
        "first_fit_steps": 200, "iterations": 3, "precision": "float32", "warmup": 1, "dynamics": "factored",
    }  # fmt: skip
    a = safeloop.build(build(safeloop.info.settings, shared, changes, owner="safeloop"), POINT, 26, 2, 0, "cpu")
    env, seen = POINT.make(), []
    for episode in range(4):
        obs, _ = env.reset(seed=episode)
        for _ in range(200):
            act = a.random_action()
            next_obs, reward, _, _, info = env.step(act)
            a.replay.add(obs, act, reward, info["violations"] > 0, False, info["event"], next_obs)
            obs = next_obs
            seen.append(obs)
    a.fit()
    a.fit_at = 10_000
    for _ in range(100):
        assert a.update() is None  # no fit: the learner's step alone
    a.refresh()
    return a, torch.from_numpy(np.array(seen[::97]))


def test_returns_rank_alike_and_safety_is_judged_alike(trained):
    a, observations = trained
    actions = (0.5 * torch.randn(1, 105, 8, 2, generator=torch.Generator().manual_seed(1))).clamp(-1, 1)
    flips, ranks = [], []
    for obs in observations:
        scores = []
        for bf16 in (False, True):
            options = {
                "particles": a.settings.planner.particles, "discount": a.settings.learner.discount, "value": a.value,
                "value_after_event": a.value_after_event, "generators": [torch.Generator().manual_seed(2)],
            }  # fmt: skip
            with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                scores.append(score(a.model, obs[None], actions, **options))
        judged = [feasible(each, a.parts.constraint) for each in scores]
        ranks.append(spearmanr(scores[0].returns[0], scores[1].returns[0]).statistic)
        flips.append((judged[0] != judged[1]).float().mean().item())
    assert np.median(ranks) >= 0.999 and np.mean(flips) <= 0.005


def test_the_planned_action_moves_less_than_between_two_seeds(trained):
    a, observations = trained

    def plans(bf16, seed):
        a.planner.search = replace(a.planner.search, bf16=bf16)
        a.planner.generators[0].manual_seed(seed)
        return torch.cat([a.plan(obs[None], True).action for obs in observations])

    usual = plans(False, 0)
    by_precision = (plans(True, 0) - usual).norm(dim=1).mean()
    by_seed = (plans(False, 1) - usual).norm(dim=1).mean()
    assert by_precision < by_seed
