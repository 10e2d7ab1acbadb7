"""Choosing a planner's settings from the paper's grid."""

import pytest

import safeloop
from safeloop.errors import UsageError
from safeloop.experiments import sweep
from safeloop.recording.reader import open_run, runs_under
from safeloop.recording.reader import read as recorded
from safeloop.recording.rows import EvaluationEpisode
from safeloop.report import offline as report
from tests.offline.conftest import small


@pytest.mark.parametrize(("best", "chosen"), [(0.1, [4, 0.5, 0.1, 0.1]), (1.0, [4, 0.5, 1.0, 0.01])])
def test_a_sweep_tries_its_own_settings_and_some_of_the_papers_on_another_seed(
    pendulum, tmp_path, monkeypatch, best, chosen
):
    points, seeds = sweep.candidates(216), []
    assert len({tuple(p.values()) for p in points}) == 216 and points[:3] == sweep.candidates(3)

    def evaluated(policy, spec, episodes, seed):
        seeds.append(seed)
        return [EvaluationEpisode(0, i, float(policy.agent.settings.planner.inverse_temperature == best), 0.0, 0, 1)
                for i in range(episodes)]  # fmt: skip

    monkeypatch.setattr(sweep, "evaluate", evaluated)
    own = {k: v for k, v in small("loop-crr").items() if k != "horizon"}
    found = safeloop.offline(pendulum, ["crr", "loop-crr"], steps=10, settings=own, out=tmp_path,
                           eval_episodes=1, sweep=2, quiet=True)  # fmt: skip
    folder = tmp_path / "pendulum-random"
    table = (folder / "loop-crr-sweep" / "seed-10000" / "sweep.csv").read_text().splitlines()
    assert len(table) == 4 and table[0].startswith("horizon,pessimism,inverse_temperature,actor_noise")
    assert table[1].startswith("4,0.5,1.0,0.01") and table[2].startswith("4,0.5,0.1,0.1") and seeds == [10_000] * 3
    settings = open_run(folder / "loop-crr-tuned" / "seed-0").settings.algo_settings
    assert [settings[name] for name in ("horizon", "pessimism", "inverse_temperature", "actor_noise")] == chosen
    tried = {r.algo: r.settings_tried for r in found.rows}
    assert tried == {"crr": None, "loop-crr tuned": 3}  # the trial is no result
    gain = report.improvements([recorded(run) for run in runs_under(folder)])
    assert [(g.base, g.algo) for g in gain] == [("crr", "loop-crr tuned")]


def test_what_a_sweep_chooses_can_not_be_given_and_its_steps_are_those_of_the_run(pendulum, tmp_path):
    for name in ("horizon", "loop-crr.pessimism"):
        with pytest.raises(UsageError, match=f"--set {name}: --sweep chooses it"):
            safeloop.offline(pendulum, ["loop-crr"], settings={name: 3}, sweep=2, out=tmp_path, quiet=True)
    assert not list(tmp_path.iterdir())
    steps = {"loop-crr": 10, "crr": 12}
    own = {k: v for k, v in small("loop-crr").items() if k != "horizon"}
    safeloop.offline(pendulum, ["loop-crr", "crr"], steps=steps, settings=own, out=tmp_path, eval_episodes=1, sweep=1,
                   quiet=True)  # fmt: skip
    folder = tmp_path / "pendulum-random"
    for name, expected in (("crr/seed-0", 12), ("loop-crr-tuned/seed-0", 10), ("loop-crr-sweep/seed-10000", 10)):
        assert open_run(folder / name).settings.steps == expected


def test_jobs_are_checked_before_a_sweep_trains_anything(pendulum, tmp_path):
    with pytest.raises(UsageError, match="--jobs 0: expected at least 1"):
        safeloop.offline(pendulum, ["loop-crr"], sweep=2, jobs=0, out=tmp_path / "out", quiet=True)
    assert not (tmp_path / "out").exists()
