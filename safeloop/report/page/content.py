"""Collect the content of the page about one task: its tables, figures, runs, settings, versions and commands."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from bokeh.models import LogScale

from safeloop.errors import UsageError
from safeloop.recording.reader import Recorded
from safeloop.recording.run import RunSettings
from safeloop.registry import find_env
from safeloop.report import named, published, style, summary
from safeloop.report.aggregates import Group
from safeloop.report.commands import command
from safeloop.report.page import figures
from safeloop.report.page.figures import Algorithm, Curve, Drawn, Look
from safeloop.report.published import Published
from safeloop.report.rows import Row
from safeloop.report.tables import MISSING, number

MEASURES = {"return_": "return of an episode", "cost_return": "cost return of an episode", "violations": "violations"}
SMOOTHED = (
    f"Each point is the mean of the latest {style.WINDOW} episodes; in a run of more than "
    f"{style.WINDOW * style.SHARE} episodes, of the latest {1 / style.SHARE:.0%}. Thick: median. Thin: single seeds."
)
COSTS = (
    "eval cost", "CVaR", "over budget", "longest run", "seeds in budget", "violations per 1,000", "steps to budget",
    "cost", "violations", "per 1,000", "in budget",
)  # fmt: skip
"""Headings that are left out in tasks without a cost."""
LONG = {
    "eval return": "evaluation return", "eval cost": "evaluation cost", "eval minutes": "evaluation minutes",
    "per 1,000": "violations per 1,000 steps", "violations per 1,000": "violations per 1,000 steps",
    "return": "training return", "cost": "training cost", "minutes": "training minutes",
    "episodes": "evaluation episodes",
}  # fmt: skip
"""The headings of the page, where they are longer than those of `summary.md`."""


@dataclass(frozen=True)
class Line:
    """A line of a table."""

    head: str
    cells: list[str]
    look: Look | None = None
    """That of its algorithm; None for results that were not run by us."""
    note: str = ""
    """The text in place of the last, empty cells."""

    @property
    def filled(self) -> list[str]:
        """The cells without the empty ones at the end."""
        last = max((place for place, text in enumerate(self.cells) if text), default=-1)
        return self.cells[: last + 1]


@dataclass(frozen=True)
class Table:
    """A table: lines under headings, and below them results of others."""

    caption: str
    heads: list[str]
    lines: list[Line]
    others: list[Line] = field(default_factory=list)


@dataclass(frozen=True)
class Task:
    """The runs of one folder: one environment or dataset, on the same terms."""

    folder: Path
    records: list[Recorded]
    label: str = ""

    @property
    def settings(self) -> RunSettings:
        """The settings of its first run, for everything that is equal in all of them."""
        return self.records[0].run.settings

    @property
    def names(self) -> list[str]:
        """The names of its algorithms, each once."""
        return list(dict.fromkeys(r.run.settings.name for r in self.records))

    def runs_of(self, name: str) -> list[Recorded]:
        """Return the runs of an algorithm."""
        return [r for r in self.records if r.run.settings.name == name]


@dataclass(frozen=True)
class TaskPage:
    """All that stands on the page about a task."""

    label: str
    terms: list[str]
    legend: list[tuple[Look, str]]
    tables: list[Table]
    drawn: list[Drawn]
    failures: Table | None
    """Runs that did not finish, with the reason."""
    runs: Table
    settings: Table
    versions: list[tuple[str, dict[str, str]]]
    """Texts that name runs, and the versions that these were made with."""
    commands: list[tuple[Look, str]]

    @property
    def size(self) -> int:
        """The number of its runs."""
        return len(self.runs.lines)


def labelled(tasks: Sequence[Task]) -> list[Task]:
    """Return the tasks with labels that tell them apart: name, where needed the observation, then the folder."""
    found = [replace(task, label=task.settings.folder) for task in tasks]
    for more in (
        lambda task: f"{task.label}, observation {task.settings.env_options.get('observation', 'default')}",
        lambda task: f"{task.settings.folder} ({task.folder})",
    ):
        labels = [task.label for task in found]
        found = [replace(t, label=more(t)) if labels.count(t.label) > 1 else t for t in found]
    return found


def published_beside(tasks: Sequence[Task]) -> list[list[Published]]:
    """Return for each task the published results to show there.

    A result stands in the tasks that have runs with its observation and privileged information, or else in the first
    task with its environment.
    """
    found: list[list[Published]] = [[] for _ in tasks]
    seen, told = (
        [_seen(task.settings) for task in tasks],
        [{_told(r.run.settings.privileged) for r in task.records} for task in tasks],
    )
    same: dict[str, list[int]] = {}
    for place, task in enumerate(tasks):
        if not task.settings.dataset:
            same.setdefault(task.settings.env, []).append(place)
    for env, places in same.items():
        for each in published.of(env):
            alike = [p for p in places if each.observation == seen[p] and _told(each.privileged) in told[p]]
            for place in alike or places[:1]:
                found[place].append(each)
    return found


def _seen(settings: RunSettings) -> str:
    """Return the kind of observation of a task, in the words of `Published`; "" where it is not known here."""
    try:
        spec = find_env(settings.env, settings.env_options)
    except UsageError:
        return ""
    return "lidar" if spec.lidars else "positions" if spec.entities else "state"


def _told(privileged: str) -> frozenset[str]:
    """Return what an algorithm knew beforehand; which numbers are positions does not count, as all can see these."""
    return frozenset(word for word in privileged.split(", ") if word.startswith("known"))


def page(task: Task, found: Sequence[Group], looks: Mapping[str, Look], others: Sequence[Published]) -> TaskPage:
    """Return what stands on the page about a task; each algorithm has the same look in all tasks.

    `found` are the task's algorithms (`aggregates.aggregates`), `others` the published results to show there.
    """
    groups, label = {group.first.algo: group for group in found}, task.label
    algorithms = [
        Algorithm(name, looks[name], task.runs_of(name), getattr(groups[name].evaluation, "cvar", None))
        for name in sorted(groups, key=list(looks).index)
    ]
    return TaskPage(
        label=task.label,
        terms=summary.terms(task.records),
        legend=[(a.look, style.median_label(a.name, a.records)) for a in algorithms],
        tables=[*_tables(task, list(groups.values()), looks, others), *_named(label, list(groups.values()), looks)],
        drawn=_drawn(task, algorithms),
        failures=_failures(task.label, [r for group in groups.values() for r in group.rows], looks),
        runs=_runs(task, list(groups.values()), looks),
        settings=_settings(task.label, list(groups.values()), looks),
        versions=_versions([r for a in algorithms for r in a.records]),
        commands=[(a.look, command(r.run.settings)) for a in algorithms for r in a.records],
    )


def _tables(task: Task, groups: Sequence[Group], looks: Mapping[str, Look], others: Sequence[Published]) -> list[Table]:
    """Return a table for each privileged information, and for results of others that are beside none of these."""
    sections: dict[str, list[Group]] = {}
    for group in groups:
        sections.setdefault(group.text("privileged"), []).append(group)
    observation = task.settings.env_options.get("observation")
    about = f"{task.label}{f', observation: {observation}' if observation and 'observation' not in task.label else ''}"
    cells = {group.first.algo: _over_seeds(group) for group in groups}
    heads, found, seen, left = _heads(list(cells.values()), task.settings), [], _seen(task.settings), list(others)
    for privileged, members in sections.items():
        beside = [each for each in left if each.observation == seen and _told(each.privileged) == _told(privileged)]
        left = [each for each in left if each not in beside]
        lines = [_line(cells[g.first.algo], heads, looks[g.first.algo]) for g in members]
        caption = f"{about}; privileged information: {privileged}"
        found.append(Table(caption, heads, lines, [_other(each, heads) for each in beside]))
    heads = ["steps", "eval return", "eval cost", "terms and source"]
    kinds = dict.fromkeys((each.observation, each.privileged) for each in left)
    for observation, privileged in kinds:
        mine = [_other(e, heads) for e in left if (e.observation, e.privileged) == (observation, privileged)]
        caption = f"{task.settings.env}, observation: {observation}; privileged information: {privileged}"
        found.append(Table(caption, heads, [], mine))
    return found


def _over_seeds(group: Group) -> dict[str, str]:
    """Return an algorithm's line, with the steps that its seeds trained for."""
    cells = summary.over_seeds(group)
    steps = "gradient steps" if group.first.dataset else "steps"
    return {"algorithm": cells["algorithm"], "seeds": cells["seeds"], steps: number(group.median("steps"), 0), **cells}


def _heads(table: Sequence[Mapping[str, str]], settings: RunSettings) -> list[str]:
    """Return the headings of numbers that there can be in a task; columns of what was not recorded stay, blank."""
    found = [head for head in dict.fromkeys(head for line in table for head in line) if head != "algorithm"]
    costs = settings.budget is not None
    scored = any(line.get("score", MISSING) != MISSING for line in table)
    return [head for head in found if (costs or head not in COSTS) and (scored or head != "score")]


def _line(cells: Mapping[str, str], heads: Sequence[str], look: Look | None) -> Line:
    """Return a line with a blank in place of each number that is not there."""
    return Line(cells["algorithm"], ["" if (text := cells.get(h, "")) == MISSING else text for h in heads], look)


def _other(each: Published, heads: Sequence[str]) -> Line:
    """Return the line of a published result."""
    cells = {
        "steps": number(each.steps, 0), "eval return": number(each.return_), "eval cost": number(each.cost_return),
    }  # fmt: skip
    cut = "episodes cut at a violation" if each.episodes_cut else "episodes not cut"
    note = f"Budget {each.budget:g}; privileged information: {each.privileged}; {cut}; {each.note and each.note + '; '}"
    return Line(each.algo, [cells.get(head, "") for head in heads], note=f"{note}source: {each.source}")


def _named(label: str, groups: Sequence[Group], looks: Mapping[str, Look]) -> list[Table]:
    """Return the table of costs by name, where there are any."""
    costs = [(r.algo, summary.each_cost(r)) for group in groups for r in group.rows]
    lines = [
        replace(_line(cells, list(cells)[2:], looks[algo]), head=f"{algo} seed {cells['seed']}")
        for algo, each in costs
        for cells in each
    ]
    heads = list(costs[0][1][0])[2:] if lines else []
    return [Table(f"{label}: costs by name", heads, lines)] if lines else []


def _runs(task: Task, groups: Sequence[Group], looks: Mapping[str, Look]) -> Table:
    """Return the table of all runs, as in `summary.csv`."""
    found = [r for group in groups for r in group.rows]
    cells = [summary.each_run(r) for r in found]
    heads = [head for head in _heads(cells, task.settings) if head != "seed"]
    lines = [
        replace(_line(each, heads, looks[r.algo]), head=f"{r.algo} seed {r.seed}")
        for each, r in zip(cells, found, strict=True)
    ]
    return Table(f"{task.label}: every run", heads, lines)


def _failures(label: str, found: Sequence[Row], looks: Mapping[str, Look]) -> Table | None:
    """Return the table of runs that did not finish; None where all did."""
    lines = [
        Line(f"{r.algo} seed {r.seed}", [r.state, number(r.steps, 0), r.reason], looks[r.algo])
        for r in found
        if r.state != "finished"
    ]
    return Table(f"{label}: runs that did not finish", ["state", "steps", "reason"], lines) if lines else None


def _settings(label: str, groups: Sequence[Group], looks: Mapping[str, Look]) -> Table:
    """Return the table of privileged information and settings."""

    def texts(found: Sequence[Row], name: str) -> str:
        return "; or: ".join(dict.fromkeys(getattr(r, name) for r in found))

    lines = [
        Line(g.first.algo, [texts(g.rows, "privileged"), texts(g.rows, "settings")], looks[g.first.algo])
        for g in groups
    ]
    caption = f"{label}: privileged information, and settings (the preset, then what differs from it)"
    return Table(caption, ["privileged information", "settings"], lines)


def _versions(records: Sequence[Recorded]) -> list[tuple[str, dict[str, str]]]:
    """Return the versions that runs were made with, those with the same ones together."""
    found: dict[str, tuple[dict[str, str], dict[str, list[str]]]] = {}
    for r in records:
        made = _made_with(r.run.path)
        _, runs = found.setdefault(json.dumps(made, sort_keys=True), (made, {}))
        runs.setdefault(r.run.settings.name, []).append(str(r.run.settings.seed))
    return [
        ("; ".join(f"{name} seed{'s' * (len(seeds) > 1)} {', '.join(seeds)}" for name, seeds in runs.items()), made)
        for made, runs in found.values()
    ]


def _made_with(folder: Path) -> dict[str, str]:
    """Return the content of a run's `versions.json`. Raises `UsageError` where it is damaged."""
    path = folder / "versions.json"
    if not path.exists():
        return {}
    try:
        return {str(name): str(text) for name, text in json.loads(path.read_text()).items()}
    except (OSError, ValueError, AttributeError, RecursionError):
        raise UsageError(f"{folder} is damaged (versions.json): restore it or start a new run") from None


def _drawn(task: Task, algorithms: Sequence[Algorithm]) -> list[Drawn]:
    """Return the figures of a task."""
    budget, offline = task.settings.budget, bool(task.settings.dataset)
    options: dict[str, Any] = {
        "logarithmic": style.needs_log_axis(task.records), "steps": "gradient steps" if offline else "simulator steps",
    }  # fmt: skip
    smooth = "Each point is the mean of an evaluation's episodes." if offline else SMOOTHED
    found = []
    panels: list[tuple[str, str, float | None]] = [("return_", "Return", None)]
    if budget is not None:
        panels.append(("cost_return", "Cost return", budget))
    panels += [(f"cost_return {n}", f"Cost return of {n}", limit) for n, limit in task.settings.budgets.items()]
    for column, title, limit in panels:
        curves = [[_smooth(r, column) for r in a.records] for a in algorithms]
        if any(len(steps) > 1 for seeds in curves for steps, _ in seeds):
            plot = figures.over_steps(algorithms, curves, f"{title.lower()} of an episode", budget=limit, **options)
            caption = smooth + (" The dashed line is the budget." if limit is not None else "")
            found.append(Drawn(plot, f"{title} in {'evaluation' if offline else 'training'}", caption))
    if budget is None:
        return [*found, *_there(figures.returns(algorithms))]
    if any(r.episodes for a in algorithms for r in a.records):
        curves = [[_violations(r) for r in a.records] for a in algorithms]
        plot = figures.over_steps(algorithms, curves, "violations so far", counts=True, **options)
        caption = "Simulator steps with a cost, since training began."
        if isinstance(plot.y_scale, LogScale):
            caption += f" On the logarithmic axis 0 is drawn at {figures.NONE_YET:g}."
        found.append(Drawn(plot, "Violations in training", caption))
    return [*found, *_there(figures.trade(algorithms, budget)), *_there(figures.tails(algorithms, budget))]


def _there(drawn: Drawn | None) -> list[Drawn]:
    return [] if drawn is None else [drawn]


def _smooth(recorded: Recorded, column: str) -> Curve:
    """Return the curve of a run: the moving average of its episodes, offline the means of its evaluations."""
    if not recorded.run.settings.dataset:
        values = [named.value(e, column) for e in recorded.episodes]
        return np.array([e.simulator_steps for e in recorded.episodes]), style.running_mean(values)
    found: dict[int, list[float]] = {}
    for e in recorded.evaluations:
        found.setdefault(e.simulator_steps, []).append(named.value(e, column))
    return np.array(list(found)), np.array([np.mean(values) for values in found.values()])


def _violations(recorded: Recorded) -> Curve:
    steps, counts = ([getattr(e, name) for e in recorded.episodes] for name in ("simulator_steps", "violations"))
    return np.array(steps), np.cumsum(counts)
