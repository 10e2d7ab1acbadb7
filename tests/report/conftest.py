"""Recorded runs for the tests of the page, and the page of these."""

import json
import random
from pathlib import Path

import pytest

from safeloop import api
from safeloop.recording import reader
from safeloop.report import summary
from tests.report.test_report import make

EVIL = "<script>window.evil = 1</script><img src=x onerror='window.evil = 1'>"
TOLD = {"safeloop": "known cost, entities", "cpo": "", "ppo-lag": ""}


def episodes(seed, cost, number=30):
    draw = random.Random(seed)
    return [
        f"{i},{100 * (i + 1)},{20 * (i + 1)},{i / 3 + draw.random():.4f},{cost(i)},{cost(i)},100,{1.5 * (i + 1)}"
        for i in range(number)
    ]


def evaluation(seed, cost, steps=3000, number=10):
    draw = random.Random(100 + seed)
    return [f"{steps},{i},{20 * draw.random():.4f},{c},{c},100" for i, c in enumerate(map(cost, range(number)))]


@pytest.fixture(scope="session")
def recorded(tmp_path_factory) -> Path:
    """An out folder with a task with a cost, with unfinished runs, and two without, with scores."""
    out = tmp_path_factory.mktemp("recorded")
    options = {"steps": 3000, "env_options": {"observation": "paper", "action_repeat": 5}, "budget": 25.0}
    for algo, costs in (("safeloop", 2), ("cpo", 9), ("ppo-lag", 20)):
        for seed in range(3):

            def cost(i, costs=costs, seed=seed):
                return max(0, costs * (3 + seed) - 4 * i)

            made = {**options, "env": "PointGoal1", "privileged": TOLD[algo]}
            make(out, algo, seed, episodes=episodes(seed, cost), evaluations=evaluation(seed, cost), **made)
    make(out, "cpo", 3, episodes=episodes(3, lambda i: 50, 4), state="failed", env="PointGoal1", **options)
    for env in ("HalfCheetah", "Walker2d"):
        for algo in ("sac", "td3", "loop-sac", "loop-td3"):
            for seed in range(3):
                lines = {"episodes": episodes(seed, lambda i: 0), "evaluations": evaluation(seed, lambda i: 0)}
                make(out, algo, seed, steps=3000, env=env, budget=None, preset="online", **lines)
    for folder in reader.folders_under(out):
        summary.write(folder, [reader.read(run) for run in reader.runs_under(folder)])
    return out


@pytest.fixture(scope="session")
def page(recorded) -> Path:
    """The page of these runs."""
    return api.report(recorded)


@pytest.fixture(scope="session")
def evil(tmp_path_factory) -> Path:
    """A page of runs whose names, settings, versions and reasons are HTML."""
    out = tmp_path_factory.mktemp("evil")
    for seed in range(2):
        state = "failed" if seed else "finished"
        run = make(
            out, "x", seed, episodes=episodes(seed, lambda i: i), evaluations=["3000,0,1.0,9.0,9,100"], state=state
        )
        values = json.loads((run.path / "settings.json").read_text())
        texts = ("env", "algo", "variant", "preset", "privileged")
        changes = {**dict.fromkeys(texts, EVIL), "env_options": {"observation": EVIL}, "algo_settings": {EVIL: EVIL}}
        (run.path / "settings.json").write_text(json.dumps({**values, **changes}))
        (run.path / "versions.json").write_text(json.dumps({EVIL: EVIL}))
        if seed:
            run.set_status("failed", EVIL)
    return api.report(out, title=f"$$ {EVIL}")
