"""Files of suites: which algorithms are compared on which tasks, on which terms. A schema checks them line by line."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from safeloop.errors import UsageError
from safeloop.files import check_path
from safeloop.settings import MOST_SEEDS, nearest

Count = Annotated[int, Field(ge=1)]
Options = dict[str, str | bool | int | float | list[int] | None]
NAME = r"^[a-z][a-z0-9-]*$"
END = ".yaml"


class Entry(BaseModel):
    """A part of a suite's file; it has no keys but these."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Source(Entry):
    """The run whose data offline algorithms learn from, which the suite makes first."""

    algo: str
    steps: Count
    seed: int = Field(default=0, ge=0)
    preset: str = "default"
    settings: Options = {}


class Task(Entry):
    """An environment with its options."""

    env: str
    options: Options = {}
    budget: float | dict[str, float] | None = None
    """Cost limit per episode, or of each named cost; None: the environment's."""
    data: Source | None = None
    """The run that algorithms learn from, from all that it stored in training; None: they learn while acting."""


class Contender(Entry):
    """An algorithm with its settings."""

    algo: str
    preset: str = "default"
    settings: Options = {}
    variant: str = ""
    steps: Count | None = None
    """Its own steps, in place of the suite's."""


class Evaluation(Entry):
    """The evaluations of every run."""

    episodes: Count = 10
    every: int = Field(default=0, ge=0)
    """Steps between evaluations; 0: one, at the end."""


class Resources(Entry):
    """The needs of each run. None of them changes results but the threads and the device."""

    threads: Count = 1
    device: str = "cpu"
    cores: float | None = None
    gpus: float = 0
    more: dict[str, str | int | float] = {}
    """Further resources, by the names that the cluster has for them."""

    @property
    def by_name(self) -> dict[str, Any]:
        """All resources by the names that an executor knows."""
        return {"cores": self.cores or self.threads, "gpus": self.gpus, **self.more}


class Suite(Entry):
    """A benchmark: tasks, algorithms, seeds, and the terms that are the same for all."""

    name: str = Field(pattern=NAME)
    version: Count
    about: str = ""
    tasks: list[Task] = Field(min_length=1)
    algorithms: list[Contender] = Field(min_length=1)
    seeds: Annotated[int, Field(ge=1, le=MOST_SEEDS)] = 3
    """Seeds 0, 1, 2, ... of each algorithm on each task."""
    steps: Count
    """Simulator steps of each run (gradient steps of a dataset)."""
    evaluation: Evaluation = Evaluation()
    resources: Resources = Resources()

    @property
    def id(self) -> str:
        """Its name with its version, `rc-car@1`: results of two versions never share a table."""
        return f"{self.name}@{self.version}"

    @property
    def terms(self) -> dict[str, Any]:
        """The tasks, steps and evaluation that a version stands for. Seeds and algorithms may be added to it."""
        return self.model_dump(mode="json", include={"name", "version", "tasks", "steps", "evaluation"})


def shipped() -> list[str]:
    """Return the names of the suites that come with safeloop."""
    return sorted(f.name.removesuffix(END) for f in resources.files("safeloop.suites").iterdir() if END in f.name)


def find(given: str | Path) -> Suite:
    """Return the suite of a file, or a shipped one by its name, `rc-car` or `rc-car@1`.

    Raises `UsageError` for an unknown name or version, and for the first mistake in a file: line, key and remedy.
    """
    text = str(given)
    if text.endswith((END, ".yml")) or "/" in text:
        return read(check_path(text, "SUITE"))
    name, _, version = text.partition("@")
    if name not in shipped():
        raise UsageError(f"no suite {name!r}; nearest: {nearest(name, shipped())}; or give a file, {name}{END}")
    found = parse(resources.files("safeloop.suites").joinpath(name + END).read_text(), name + END)
    if version and version != str(found.version):
        raise UsageError(f"{text}: this version of safeloop has {found.id}; give {name} or its file")
    return found


def read(path: Path) -> Suite:
    """Return the suite of a file. Raises `UsageError` for a mistake in it."""
    try:
        return parse(path.read_text(), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: {getattr(error, 'strerror', None) or 'not a text'}; give a suite's file") from None


def parse(text: str, where: str) -> Suite:
    """Return the suite that a text describes. Raises `UsageError` naming line and key of its first mistake."""
    try:
        tree = yaml.compose(text, Loader=yaml.SafeLoader)
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}:" if mark else ""
        raise UsageError(f"{where}:{line} {getattr(error, 'problem', None) or 'not YAML'}; correct the file") from None
    except RecursionError:
        raise UsageError(f"{where}: nested too deeply; correct the file") from None
    if not isinstance(values, dict):
        raise UsageError(f"{where}: expected keys and values, such as `name: my-suite`; correct the file")
    try:
        found = Suite.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(f"{where}: line {line_of(tree, first['loc'])}: {_mistake(first)}") from None
    _check_distinct(found, where)
    return found


def line_of(tree: Any, place: Sequence[Any]) -> int:
    """Return the line, from 1 on, of a place in a tree of YAML nodes; of its nearest parent where it is missing."""
    line = 1
    for step in place:
        if isinstance(tree, yaml.MappingNode):
            pair = next(((k, v) for k, v in tree.value if k.value == str(step)), None)
            if pair is None:
                break
            line, tree = pair[0].start_mark.line + 1, pair[1]
        elif isinstance(tree, yaml.SequenceNode) and isinstance(step, int) and step < len(tree.value):
            tree = tree.value[step]
            line = tree.start_mark.line + 1
    return line


def _mistake(error: Any) -> str:
    """Return what is wrong with a key, and the remedy."""
    place = [str(step) for step in error["loc"]]
    key = next((step for step in reversed(place) if step.isidentifier() and step in KEYS), place[-1])
    if error["type"] == "extra_forbidden":
        return f"unknown key {place[-1]!r}; nearest: {nearest(place[-1], KEYS)}"
    if error["type"] == "missing":
        return f"key {place[-1]!r} is missing; add it"
    wanted = error["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    return f"{key}: {error['input']!r}: expected {wanted[0].lower()}{wanted[1:]}"


KEYS = list(
    dict.fromkeys(
        name for entry in (Suite, Task, Contender, Evaluation, Resources, Source) for name in entry.model_fields
    )
)


def _check_distinct(suite: Suite, where: str) -> None:
    """Raise `UsageError` where two runs of the suite would share a folder."""
    envs = [task.env for task in suite.tasks]
    names = [(each.algo, each.variant) for each in suite.algorithms]
    if twice := next((env for env in envs if envs.count(env) > 1), None):
        raise UsageError(f"{where}: tasks: {twice} is there twice; make a suite of each, or leave one out")
    if both := next((name for name in names if names.count(name) > 1), None):
        raise UsageError(f"{where}: algorithms: {both[0]} is there twice; give each a variant of its own")
