"""Exported agents: `safeloop export`, `safeloop.export`, and the example that needs torch alone."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import safeloop
from safeloop.errors import UsageError
from safeloop.exported import files as module
from safeloop.exported.programs import program
from safeloop.networks import Drawn, normals
from tests.short_runs import SMALL, short_rce

EXAMPLE = Path(__file__).parents[2] / "examples/exported_agent.py"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A short run of `rce`."""
    return short_rce(tmp_path_factory.mktemp("exported"))


@pytest.fixture(scope="module")
def agent(run, tmp_path_factory):
    """Its file, and what was found of it."""
    file = tmp_path_factory.mktemp("file") / "agent.pt2"
    return file, safeloop.export(run, file)


def trained(out, env, algo, steps=200, **options):
    """The folder of a short run."""
    safeloop.run(env, [algo], steps=steps, eval_episodes=1, out=out, quiet=True, **options)
    return next(out.glob("*/*/seed-0"))


def test_drawn_normals_are_handed_out_in_order_and_once():
    given = torch.arange(12.0)
    drawn = Drawn(given)
    first, second = normals((2, 3), [drawn]), normals((1, 2, 2), [drawn], dim=1)
    assert torch.equal(torch.cat((first.flatten(), second.flatten())), given[:10])
    with pytest.raises(ValueError, match=r"13 normals are taken of 12"):
        normals((3,), [drawn])


def test_a_planner_acts_alike_from_its_file(agent):
    file, found = agent
    assert found.difference <= 1e-4 and found.decisions == 100 and found.bytes == file.stat().st_size
    described = {"agent.json": ""}
    acts = torch.export.load(file, extra_files=described).module()
    about = json.loads(described["agent.json"])
    assert about["env"] == "RCCarDrift" and about["decision_seconds"] == 0.035 and about["algo"] == "rce"
    # Candidates [6, 2, A] and the noise of 2 models over 2 steps, [2, 6, S] each; warm start, state and action.
    s, a = about["observation"], about["action"]
    assert about["noise"] == 6 * 2 * a + 2 * 2 * 6 * s and about["memory"] == [[1, 2, a], [1, s], [1, a]]
    record, memory = about["record"], [torch.zeros(each) for each in about["memory"]]
    assert record["first"] == [True] + [False] * 99
    obs, noise = torch.tensor(record["observations"][:2]), [module.noise(i, about["noise"]) for i in range(3)]
    with torch.no_grad():
        act, *after = acts(obs[:1], torch.tensor(True), noise[0], *memory)
        forgot = acts(obs[1:], torch.tensor(True), noise[1], *after)[0]
        kept, other = (acts(obs[1:], torch.tensor(False), noise[i], *after)[0] for i in (1, 2))
    assert torch.allclose(act[0], torch.tensor(record["actions"][0]), atol=1e-4)
    assert torch.allclose(kept[0], torch.tensor(record["actions"][1]), atol=1e-4)
    assert not torch.equal(kept, forgot) and not torch.equal(kept, other)


def test_the_example_needs_torch_alone(agent, tmp_path):
    code = f"""
import runpy, sys
sys.argv = ["exported_agent.py", {str(agent[0])!r}]
runpy.run_path({str(EXAMPLE)!r}, run_name="__main__")
print(sorted({{"safeloop", "mujoco", "gymnasium"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert lines[0] == "RCCarDrift, rce: 100 decisions" and lines[-1] == "[]"
    assert float(lines[1].split(": ")[1]) <= 1e-4 and lines[2].endswith(" ms")


def test_a_file_that_acts_otherwise_is_not_written(run, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_difference", lambda *_: 2e-4)
    with pytest.raises(UsageError, match=r"differ by 0.0002 from ours"):
        safeloop.export(run, tmp_path / "agent.pt2")
    assert list(tmp_path.iterdir()) == []


def test_the_difference_is_of_the_actions(run, tmp_path, monkeypatch):
    recorded = module._recorded

    def moved(*given):
        record, seconds = recorded(*given)
        record.actions[57][0] += 0.5
        return record, seconds

    monkeypatch.setattr(module, "_recorded", moved)
    with pytest.raises(UsageError, match=r"differ by 0.5 from ours"):
        safeloop.export(run, tmp_path / "agent.pt2")


ACTORS = {
    "sac": ("PoplinPendulum", {"settings": {"warmup": 50}}),
    "ppo-lag": ("RCCarDrift", {"settings": {"episodes_per_epoch": 1, "update_iters": 1}}),
}


@pytest.mark.parametrize("algo", ACTORS)
def test_actors_act_alike(algo, tmp_path):
    env, options = ACTORS[algo]
    found = safeloop.export(trained(tmp_path / "runs", env, algo, **options), tmp_path / "agent.pt2")
    assert found.difference <= 1e-4


PLANNERS = {
    "points from lidars": ("PointGoal1", "safeloop", {"env_options": {"observation": "task"}}),
    "points from positions, a delay of actions": ("PointGoal1", "rce", {"env_options": {"action_delay": 2}}),
    "entities": ("PointGoal1", "loop", {"settings": {"dynamics": "factored"}}),
    "mean states": ("PoplinPendulum", "pets", {"settings": {"propagation": "expectation"}}),
    "noise on weights": ("PoplinPendulum", "poplin-p", {}),
    "noise on actions": ("PoplinPendulum", "poplin-a", {}),
    "without a constraint": ("PoplinPendulum", "loop-sac", {}),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", PLANNERS)
def test_planners_act_alike(name, tmp_path):
    env, algo, options = PLANNERS[name]
    own = {k: v for k, v in SMALL.items() if k != "elites" or algo in ("rce", "pets", "poplin-p", "poplin-a")}
    own |= options.get("settings", {})
    given = {**options, "steps": 1_000 if env == "PointGoal1" else 200, "settings": own}
    found = safeloop.export(trained(tmp_path / "runs", env, algo, **given), tmp_path / "agent.pt2")
    assert found.difference <= 1e-4


def test_a_planner_that_knows_late_observations_is_refused(tmp_path, main):
    run = short_rce(tmp_path / "runs", env_options={"observation_delay": 1})
    code, _, err = main("export", run, "--out", tmp_path / "agent.pt2")
    assert code == 2 and err.count("\n") == 1 and "a delay of observations" in err
    assert not (tmp_path / "agent.pt2").exists()


@pytest.mark.parametrize(("needs", "why"), [(True, "plans with the simulator"), (False, "no function of tensors")])
def test_what_is_no_program_is_refused(needs, why):
    with pytest.raises(ValueError, match=why):
        program(SimpleNamespace(needs_states=needs), 3)


def test_names_of_files_are_checked_first(run, tmp_path, main):
    there = tmp_path / "there.pt2"
    there.write_bytes(b"kept")
    for out, why in ((tmp_path / "agent.onnx", "ends with .pt2"), (there, "it exists"),
                     (tmp_path / "none/agent.pt2", "can't write to the folder")):  # fmt: skip
        code, _, err = main("export", run, "--out", out)
        assert code == 2 and err.count("\n") == 1 and why in err
    assert there.read_bytes() == b"kept"


def test_the_command_prints_the_difference(run, tmp_path, main):
    code, out, _ = main("export", run, "--out", tmp_path / "agent.pt2", "--json")
    found = json.loads(out)
    assert code == 0 and found["difference"] <= 1e-4 and found["file"] == str(tmp_path / "agent.pt2")
