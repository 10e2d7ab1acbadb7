"""One row an algorithm and task: estimates with 95% intervals over its seeds, the same online and offline."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from safeloop.recording.reader import Recorded
from safeloop.report.rows import Row, rows
from safeloop.report.safety import Safety, safety
from safeloop.report.statistics import Aggregate, aggregate

ESTIMATED = (
    "training_return", "training_cost_return", "violations", "violations_per_1000", "steps_to_budget",
    "violations_to_budget", "evaluation_return", "evaluation_cost_return", "score",
)  # fmt: skip
"""Columns that have an estimate with an interval."""
SIGNED = ("training_return", "evaluation_return", "score")
"""Those of them that can be negative; the intervals of the others begin at 0 at the lowest."""
MEDIANS = ("steps", "episodes", "training_minutes", "evaluation_minutes")
"""Columns that have a median alone."""


@dataclass(frozen=True)
class Group:
    """The seeds of one algorithm that finished; a seed that crashed early has few violations for that reason alone."""

    rows: list[Row]
    """Those of all its runs."""
    finished: list[Row]
    estimates: dict[str, Aggregate]
    """Estimates of the columns that every finished seed has."""
    evaluation: Safety | None
    """Safety of the last evaluations' episodes of all finished seeds together."""
    training: Safety | None
    """Safety of the training episodes of all finished seeds together."""

    @property
    def first(self) -> Row:
        """The row of its first seed, for everything that is equal in all of them."""
        return self.rows[0]

    @property
    def within(self) -> int | None:
        """The number of finished seeds whose evaluation is within the budget; None in environments without a cost."""
        judged = [r.within_budget for r in self.finished if r.within_budget is not None]
        return sum(judged) if judged else None

    @property
    def tried(self) -> int | None:
        """The settings that were tried before those of its rows were chosen; None where none were."""
        return max((r.settings_tried for r in self.rows if r.settings_tried is not None), default=None)

    def text(self, name: str) -> str:
        """Return the texts that its rows have in a column, for example their settings."""
        return " | ".join(sorted({getattr(r, name) for r in self.rows}))

    def median(self, name: str) -> float | None:
        """Return the median of a column over the finished seeds; None where one of them lacks it."""
        return median([getattr(r, name) for r in self.finished])


def aggregates(records: Sequence[Recorded]) -> list[Group]:
    """Return a group for each algorithm and variant, in the order of `rows`."""
    groups: dict[str, list[Row]] = {}
    for row in rows(records):
        groups.setdefault(row.algo, []).append(row)
    budget = records[0].run.settings.budget if records else None
    found = []
    for algo, group in groups.items():
        done = [row for row in group if row.state == "finished"]
        seeds = {row.seed for row in done}
        runs = [r for r in records if r.run.settings.name == algo and r.run.settings.seed in seeds]
        evaluated = [e for r in runs for e in r.last_evaluation]
        trained = [e for r in runs for e in r.episodes]
        found.append(
            Group(
                group,
                done,
                estimates(done),
                None if budget is None else safety(evaluated, budget),
                None if budget is None else safety(trained, budget),
            )
        )
    return found


def estimates(finished: Sequence[Row]) -> dict[str, Aggregate]:
    """Return the estimates over seeds of the columns that every one of these rows has."""
    values = {name: [getattr(row, name) for row in finished] for name in ESTIMATED}
    found = {name: aggregate(seeds) for name, seeds in values.items() if seeds and None not in seeds}
    return {name: of if name in SIGNED else _from_zero(of) for name, of in found.items()}


def _from_zero(of: Aggregate) -> Aggregate:
    return of if of.low is None else of._replace(low=max(0.0, of.low))


def columns(group: Group) -> dict[str, Any]:
    """Return a group's values by column of `aggregates.csv`.

    A column of `ESTIMATED` holds the interquartile mean over the finished seeds, `_low` and `_high` its 95% interval,
    `_median` the median. The other columns of safety are of all episodes of these seeds together.
    """
    found: dict[str, Any] = {
        "env": group.first.env, "dataset": group.first.dataset, "algo": group.first.algo,
        "privileged": group.text("privileged"), "settings": group.text("settings"),
        **({} if group.tried is None else {"settings_tried": group.tried}),
        "runs": len(group.rows), "n": len(group.finished), "within_budget": group.within,
    }  # fmt: skip
    for name in ESTIMATED:
        of = group.estimates.get(name)
        found[name] = of and of.iqm
        found |= {f"{name}_low": of and of.low, f"{name}_high": of and of.high, f"{name}_median": of and of.median}
    found |= {name: group.median(name) for name in MEDIANS}
    for stage, of_all in (("training", group.training), ("evaluation", group.evaluation)):
        found |= {
            f"{stage}_{name}": of_all and getattr(of_all, name) for name in ("cvar", "over_budget", "longest_run")
        }
    found["evaluation_episodes"] = sum(r.evaluation_episodes for r in group.finished)
    return found


def median(values: Sequence[float | None]) -> float | None:
    """Return the median, or None where there are no values or one of them is missing."""
    known = [value for value in values if value is not None]
    return statistics.median(known) if known and len(known) == len(values) else None
