"""Layers: each module imports only from those above it in the list, type-checking imports included; no circles."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = {"safeloop": ROOT / "safeloop", "safeloop_envs": ROOT / "envs/safeloop_envs",
           "safeloop_baselines": ROOT / "baselines/safeloop_baselines"}  # fmt: skip

LAYERS = [
    ["texts", "rng", "activity"],
    ["errors"],
    ["settings", "files"],
    ["cmdp", "suites"],
    ["protocols"],
    ["delayed"],
    ["delay"],
    ["registry"],
    ["networks"],
    ["data"],
    ["models"],
    ["planning"],
    ["learners"],
    ["agents"],
    ["recording"],
    ["training"],
    ["algorithms"],
    ["report"],
    ["experiments"],
    ["exported"],
    ["checks"],
    ["measurements", "doctor", "listing"],
    ["benchmarking"],
    ["api"],
    ["cli_options", "cli_output", "__init__"],
    ["cli_lists", "cli_speed", "cli_suite", "cli_tune"],
    ["cli"],
    ["__main__"],
]
"""The layers of `safeloop`, the ground first: modules, and packages with all that is in them."""
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
ALLOWED = {(p, p) for p in FOLDERS} | {("safeloop_envs", "safeloop"), ("safeloop_baselines", "safeloop"),
                                      ("safeloop_baselines", "safeloop_envs")}  # fmt: skip
"""Packages of ours that may import each other: nothing in `safeloop` imports packages that plug into it."""


def modules():
    """Every module's full name and file."""
    for package, folder in FOLDERS.items():
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            yield ".".join((package, *(part for part in parts if part != "__init__"))), path


FILES = dict(modules())


def imports(path):
    """The modules of ours that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {
                f"{node.module}.{a.name}" if f"{node.module}.{a.name}" in FILES else node.module for a in node.names
            }
    return {name for name in found if name in FILES}


def layer(name):
    """The part of a module's name that stands in the list."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def upward(name, imported):
    """Whether a module's import runs against the layers."""
    package, other = name.split(".")[0], imported.split(".")[0]
    if "safeloop" not in (package, other) or package != other:
        return (package, other) not in ALLOWED
    if package != "safeloop":
        return False
    inside = layer(name) == layer(imported)
    return not inside and RANK[layer(imported)] >= RANK[layer(name)]


@pytest.mark.parametrize("name", FILES)
def test_imports_run_one_way(name):
    assert {i for i in imports(FILES[name]) if upward(name, i)} == set()


def test_every_module_has_a_layer():
    assert {layer(name) for name in FILES if name.split(".")[0] == "safeloop"} == RANK.keys()


def test_no_circles_inside_a_layer_either():
    graph = {name: imports(path) for name, path in FILES.items()}
    done = set()

    def visit(name, on_the_way):
        assert name not in on_the_way, f"circle: {' -> '.join([*on_the_way[on_the_way.index(name) :], name])}"
        if name not in done:
            for following in sorted(graph[name]):
                visit(following, [*on_the_way, name])
            done.add(name)

    for name in graph:
        visit(name, [])


@pytest.mark.parametrize("made", [("safeloop.models.world", "safeloop.agents.parts"), ("safeloop.cli", "safeloop_envs"),
                                  ("safeloop.errors", "safeloop.settings")])  # fmt: skip
def test_an_import_against_the_layers_is_noticed(made):
    assert upward(*made)


LONGEST = 400


def test_no_file_is_much_longer_than_400_lines():
    tests = ((str(path.relative_to(ROOT)), path) for path in (ROOT / "tests").rglob("*.py"))
    lengths = {name: len(path.read_text().splitlines()) for name, path in [*FILES.items(), *tests]}
    assert {name: n for name, n in lengths.items() if n > 1.1 * LONGEST} == {}
