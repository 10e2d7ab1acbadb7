"""Imports run one way: `safeloop` imports none of the packages that plug into it, nor what they need."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import safeloop

FORBIDDEN = {"safeloop_envs", "safeloop_baselines", "omnisafe", "safety_gymnasium", "gymnasium_robotics"}
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


GROUND = [
    "errors",
    "texts",
    "rng",
    "settings",
    "agents.settings",
    "cmdp",
    "registry",
    "files",
    "algorithms.online",
    "api",
]


def test_the_ground_needs_neither_torch_nor_gymnasium():
    names = [*(f"safeloop.{name}" for name in GROUND), "safeloop.recording.run", "safeloop.algorithms.offline"]
    code = f"import sys, {', '.join(names)}; print(sorted({{'torch', 'gymnasium', 'matplotlib'}} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"  # each takes a second, and a mistake in arguments should be told at once
