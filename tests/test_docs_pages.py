"""Pages about algorithms: each name has one, each reference to code exists, and each command is one that would run."""

import ast
import re
import shlex
from functools import cache
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest

from safeloop import api, cli
from safeloop.errors import UsageError
from safeloop.experiments import specify
from safeloop.registry import RENAMED, algorithm_names, find_algorithm, find_env
from safeloop.settings import build

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "docs/algorithms"
POINTS = re.findall(
    r"^([\w-]+) = ",
    (ROOT / "pyproject.toml").read_text().partition('safeloop.algorithms"]')[2].partition("[")[0],
    re.MULTILINE,
)
"""Names of our own algorithms: the entry points of this package."""
REFERENCE = re.compile(r"`([\w/]+\.py)`((?:,?\s+`[A-Za-z_][\w.]*`)+)")
"""A reference to code: a path, then one name in that file or several."""
FAMILIES = ("omnisafe", "sb3", "d3rlpy")
"""Families of algorithms of this package, one page each."""
HEADINGS = (
    "The paper beside our code", "Departures", "Presets", "Run it", "Recorded result", "Privileged information",
)  # fmt: skip


def pages():
    return sorted(page for page in PAGES.glob("*.md") if page.stem not in RENAMED)


@cache
def names(path):
    """Names that a file defines: at the top, and of classes there `Class.name`."""

    def defined(body, prefix=""):
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                yield prefix + node.name
            if isinstance(node, ast.ClassDef):
                yield from defined(node.body, f"{prefix}{node.name}.")
            for target in getattr(node, "targets", [getattr(node, "target", None)]):
                for each in getattr(target, "elts", [target]):
                    if isinstance(each, ast.Name):
                        yield prefix + each.id

    return set(defined(ast.parse(path.read_text()).body))


def source(text):
    if text.startswith("omnisafe/"):
        return Path(find_spec("omnisafe").origin).parents[1] / text
    folder = {"safeloop_baselines": "baselines", "safeloop_envs": "envs"}.get(text.partition("/")[0], "safeloop")
    return ROOT / folder / text


def test_every_algorithm_of_ours_has_a_page():
    assert set(POINTS) <= set(algorithm_names())
    families = {point.name for point in entry_points(group="safeloop.algorithm_families") if point.name in FAMILIES}
    assert {page.stem for page in pages()} == {*POINTS, *families, "index"}
    for page in pages():
        text = page.read_text()
        if page.stem != "index":
            assert text.startswith((f"# {page.stem}\n", f"# {page.stem}:NAME\n")), page
            assert all(f"\n## {heading}" in text for heading in HEADINGS), page
            assert re.search(r"^\*\*Papers?\.\*\* ", text, re.MULTILINE), page
    navigation = (ROOT / "docs/.nav.yml").read_text()
    assert all(f"algorithms/{page.name}" in navigation for page in pages())


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
def test_the_page_of_an_earlier_name_leads_to_the_present_one(old, new):
    assert old not in POINTS and new in POINTS
    text = (PAGES / f"{old}.md").read_text()
    assert text.startswith(f"# {old}\n") and f"({new}.md)" in text
    assert f"algorithms/{old}.md" in (ROOT / "docs/.nav.yml").read_text()


@pytest.mark.parametrize("family", FAMILIES)
def test_the_family_page_names_all_members(family):
    text = (PAGES / f"{family}.md").read_text()
    members = [name.partition(":")[2] for name in algorithm_names() if name.startswith(f"{family}:")]
    assert members and all(re.search(rf"\b{member}\b", text) for member in members)


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.stem)
def test_every_reference_to_code_exists(page):
    text = page.read_text()
    found = REFERENCE.findall(text)
    assert len(found) == len(re.findall(r"`[\w/]+\.py`", text)), "a path is followed by a name"
    for path, listed in found:
        assert source(path).is_file(), path
        for name in re.findall(r"`([^`]+)`", listed):
            assert name in names(source(path)), f"{path}: {name}"
    tables = re.findall(r"^\| the paper \| our code \|\n\|---\|---\|\n((?:\|.*\n)+)", text, re.MULTILINE)
    assert len(tables) == (page.stem != "index")
    for table in tables:
        for row in table.splitlines():
            assert REFERENCE.search(row), row


def index():
    """Rows of the table of all algorithms: name, kind of learning, constraint, privileged information."""
    rows = re.findall(r"^\| \[([^]]+)\]\(([\w-]+)\.md\) \|(.*)\|$", (PAGES / "index.md").read_text(), re.MULTILINE)
    return {name: [page, *(cell.strip() for cell in rest.split("|"))] for name, page, rest in rows}


def test_the_table_of_algorithms_is_true():
    table = index()
    assert list(table) == [*sorted(POINTS, key=list(table).index), *(f"{family}:NAME" for family in FAMILIES)]
    for name in POINTS:
        page, _, learns, constraint, _, privileged = table[name]
        info = find_algorithm(name).info
        assert page == name
        assert learns == ("from a dataset" if info.offline else "while acting"), name
        assert (constraint == "within the horizon") == info.constrained, name
        assert privileged == used(name), name


def used(name):
    """The privileged information that an algorithm uses by default where it can have all of it."""
    algorithm = find_algorithm(name)
    settings = build(algorithm.info.settings, algorithm.info.presets["default"], owner=name)
    for env, options in (("PointGoal1", {}), ("PointCircle1", {"observation": "positions"}), ("PointBox", {})):
        try:
            return algorithm.resolve(settings, find_env(env, options)).privileged or "nothing"
        except UsageError:  # goals that jump, no simulator
            continue
    raise AssertionError(name)


def commands():
    for page in (*pages(), ROOT / "docs/coming-from-omnisafe.md"):
        text = page.read_text()
        spans = re.findall(r"`(safeloop (?:run|offline) [^`]*)`", text)
        lines = re.findall(r"^(safeloop (?:run|offline) .*)$", text, re.MULTILINE)
        for line in dict.fromkeys([*spans, *lines]):
            yield pytest.param(line, id=f"{page.stem}: {line}")


@pytest.mark.parametrize("line", commands())
def test_the_commands_would_run(line, monkeypatch, tmp_path):
    """All but the training: the command line takes the options, and each run's settings are what can be."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("safeloop.experiments.specify.check_device", lambda device: None)
    asked_for = []

    def checked(env=None, algos=None, **options):
        asked = specify.Request(algos=algos, **options)
        asked_for.extend(specify.specify(asked, env) if asked.config is None else [asked])
        return SimpleNamespace(text="", notices=[], failures=[], unwritten="")

    def checked_offline(dataset, algos=None, env=None, **options):
        asked = specify.Request(algos=algos, **options)
        for name in algos or []:
            info = find_algorithm(name).info
            assert info.offline and (asked.preset in info.presets), name
            asked_for.append(build(info.settings, info.presets[asked.preset], owner=name))
        asked_for.append(asked)
        return SimpleNamespace(text="", notices=[], failures=[], unwritten="")

    monkeypatch.setattr(api, "run", checked)
    monkeypatch.setattr(api, "offline", checked_offline)
    cli.app(shlex.split(line)[1:], standalone_mode=False)
    assert asked_for
