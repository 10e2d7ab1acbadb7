"""Imports run one way: `safeloop` imports none of the packages that plug into it, nor what they need."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import safeloop

FORBIDDEN = {
    "safeloop_envs", "safeloop_baselines", "omnisafe", "stable_baselines3", "sb3_contrib", "d3rlpy", "gym",
    "safety_gymnasium", "gymnasium_robotics",
}  # fmt: skip
SOURCES = sorted(Path(safeloop.__file__).parent.rglob("*.py"))


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_safeloop_imports_no_plugin(source):
    imported = set()
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            imported.add(node.module.split(".")[0])
    assert not imported & FORBIDDEN


HEAVY = [
    "torch", "gymnasium", "mujoco", "numba", "matplotlib", "scipy",
    "safety_gymnasium", "gymnasium_robotics", "omnisafe", "stable_baselines3", "sb3_contrib", "d3rlpy", "gym",
]  # fmt: skip
"""What takes its time to import. A mistake in arguments should be told at once, and so should names."""


def heavy_after(code):
    """Run `code` in a Python of its own; what of `HEAVY` it has imported then, and what it wrote to stderr."""
    ends = f"; import sys; print(); print(*(name for name in {HEAVY} if name in sys.modules))"
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}  # packages of other tests
    done = subprocess.run([sys.executable, "-c", code + ends], capture_output=True, text=True, check=True, env=env)
    return done.stdout.splitlines()[-1].split(), done.stderr


GROUND = [
    "errors", "texts", "rng", "cmdp", "protocols", "registry", "files", "settings", "agents.settings",
    "learners.settings", "models.settings", "planning.settings", "algorithms.base", "algorithms.loop",
    "algorithms.pets", "algorithms.model_free", "algorithms.imagination", "algorithms.offline", "algorithms.presets",
    "algorithms.table_4", "recording.run", "recording.first_schema", "experiments.specify", "experiments.prepare",
    "api",
]  # fmt: skip


def test_the_ground_needs_neither_torch_nor_gymnasium():
    names = ", ".join(f"safeloop.{name}" for name in GROUND)
    assert heavy_after(f"import {names}") == ([], "")


@pytest.mark.parametrize("family", ["safety_gymnasium", "rc_car_tasks", "locomotion"])
def test_describing_an_environment_needs_nothing_heavy(family):
    code = f"from safeloop_envs import {family} as family; [family.spec(family.canonical(n)) for n in family.names()]"
    assert heavy_after(code) == ([], "")


def test_describing_an_algorithm_needs_nothing_heavy():
    code = "from safeloop.registry import algorithm_names, find_algorithm; "
    code += "[find_algorithm(name).info.settings() for name in algorithm_names()]"
    assert heavy_after(code) == ([], "")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--help", ""),
        ("list envs", ""),
        ("list algos --json", ""),
        ("run PointGaol1", "unknown environment 'PointGaol1'; nearest: "),
        ("run PointGoal1 --algo nope", "unknown algorithm 'nope'; nearest: "),
        ("run PointGoal1 --set horizon=x", "safeloop: horizon=x: expected a whole number"),
        ("run AntVelocity --set cpo.gama=1", "no setting 'gama'; nearest: gamma"),
        ("run CarButton1 --env-set observation=paper", "observation=paper: expected task or positions"),
        ("run RCCarDrift --algo lbpo --set gamma=2", "lbpo: gamma=2.0: expected at least 0 and below 1"),
        ("run RCCarDrift --env-set tyres=soft", "expected one of brush, linear"),
        ("run HalfCheetah --algo sb3:PPO --set n_steps=1", "sb3:PPO: n_steps=1: expected at least 2"),
        ("run HalfCheetah --algo d3rlpy:IQ", "unknown algorithm 'd3rlpy:IQ'; nearest: d3rlpy:IQL"),
        ("run HalfCheetah --algo omnisafe:PPO --set lam=2", "omnisafe:PPO: lam=2.0: expected at least 0 and at most 1"),
        ("run HalfCheetah --budget 5", "--budget 5: HalfCheetah has no cost"),
        ("run Hopper --steps 0", "--steps 0: expected at least 1"),
        ("offline nowhere --algo crr", "nowhere does not exist"),
        ("eval nowhere", "nowhere is not a run"),
        ("tune Hopper --algo sac --set tau=log(0,1)", "tau=log(0,1): expected log(a,b), two numbers above 0"),
        ("check results nowhere", "nowhere is not a folder"),
    ],
)
def test_lists_and_mistakes_in_arguments_are_told_without_anything_heavy(arguments, said):
    code = f"import sys; sys.argv[1:] = {arguments.split()}; from safeloop.cli import main\n"
    code += "try: main()\nexcept SystemExit: pass\n0"
    found, errors = heavy_after(code)
    assert found == [] and said in errors and bool(said) == bool(errors)
