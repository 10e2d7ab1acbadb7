"""Trials of a study: what each is judged by, and the files and the table that they are told in."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, median
from typing import Any, NamedTuple

from safeloop.errors import UsageError
from safeloop.experiments import specify
from safeloop.experiments.specify import Request
from safeloop.files import write_atomically
from safeloop.recording import reader
from safeloop.recording.run import Run, RunSettings
from safeloop.recording.studies import BEST, TRIALS
from safeloop.report.tables import aligned, csv_text, number, without_empty

FINISHED, PRUNED, FAILED = "finished", "pruned", "failed"
BELOW = 1e9
"""More than any return is worth: a trial over the budget has minus this, less the excess, as its objective."""
SHOWN = 10
"""Trials of the table for a terminal, the best of them."""


class Outcome(NamedTuple):
    """Means over the last evaluation of one run."""

    return_: float
    costs: tuple[float, ...]
    """The cost return, then that of each named cost; empty in environments without a cost."""


def outcome(run: Run) -> Outcome:
    """Return the outcome of a finished run. Raises `UsageError` where it recorded no evaluation."""
    final, settings = reader.read(run).last_evaluation, run.settings
    if not final:
        raise UsageError(f"{run.path}: no evaluation was recorded, which settings could be judged by")
    costs = [fmean(e.cost_return for e in final)] * (settings.budget is not None)
    costs += [fmean(dict(e.costs)[name] for e in final) for name in settings.budgets]
    return Outcome(fmean(e.return_ for e in final), tuple(costs))


def limits(settings: RunSettings) -> tuple[float, ...]:
    """Return the limits of an outcome's costs, in their order."""
    return () if settings.budget is None else (settings.budget, *settings.budgets.values())


def objective(outcomes: Sequence[Outcome], within: Sequence[float]) -> float:
    """Return the median return over seeds where each cost's median is within its limit.

    Otherwise -1e9 less the excess, summed over the costs: feasible trials come first, then those nearest to the limits.
    """
    medians = (median(each.costs[i] for each in outcomes) for i in range(len(within)))
    excess = sum(max(0.0, cost - limit) for cost, limit in zip(medians, within, strict=True))
    return -BELOW - excess if excess > 0 else median(each.return_ for each in outcomes)


@dataclass(frozen=True)
class Trial:
    """Settings that were tried."""

    number: int
    state: str
    """`finished`, `pruned` after its first seed, or `failed`."""
    settings: dict[str, Any]
    """Those that were drawn."""
    outcomes: dict[int, Outcome] = field(default_factory=dict)
    """By seed, of the runs that finished."""
    objective: float | None = None
    """The number that is maximised (`objective`); of a pruned trial, that of its first seed; None where it failed."""
    reason: str = ""
    """Why it failed."""

    @property
    def feasible(self) -> bool:
        """True where it is finished, and within the budget."""
        return self.state == FINISHED and self.objective is not None and self.objective > -BELOW

    def middle(self, cost: int | None = None) -> float | None:
        """Return the median over seeds of the return, or of the cost with this index; None without any."""
        each = self.outcomes.values()
        return median(o.return_ if cost is None else o.costs[cost] for o in each) if each else None

    @property
    def line(self) -> str:
        """Its settings and its outcome in one line."""
        drawn = ", ".join(f"{name}={value}" for name, value in self.settings.items())
        if self.state == FAILED:
            return f"trial {self.number}: {drawn}: failed: {self.reason}"
        cost = f", cost {number(self.middle(0))}" if any(o.costs for o in self.outcomes.values()) else ""
        pruned = ", pruned after its first seed" if self.state == PRUNED else ""
        return f"trial {self.number}: {drawn}: return {number(self.middle())}{cost}{pruned}"


def columns(trial: Trial, seeds: Sequence[int], costs: Sequence[str]) -> dict[str, Any]:
    """Return a trial's values by column of `trials.csv`; `costs` are the names of the outcomes' costs.

    Settings are texts as in a run's `settings.json`, so that no digit is lost.
    """
    found: dict[str, Any] = {"trial": trial.number, "state": trial.state, "objective": trial.objective}
    found |= {name: str(value) for name, value in trial.settings.items()}
    found["evaluation_return"] = trial.middle()
    found |= {name: trial.middle(i) for i, name in enumerate(costs)}
    for seed in seeds:
        there = trial.outcomes.get(seed)
        found[f"evaluation_return_{seed}"] = there and there.return_
        found |= {f"{name}_{seed}": there and there.costs[i] for i, name in enumerate(costs)}
    return {**found, "reason": trial.reason}


@dataclass(frozen=True)
class Tuning:
    """The outcome of `safeloop tune`."""

    folder: Path
    """Holds `trials.csv`, `best.json`, `study.json` and the runs of the trials."""
    trials: list[Trial]
    seeds: list[int]
    """The seeds that every trial that is finished was trained with."""
    asked: Request
    """The request, with the fixed settings alone."""
    run: RunSettings
    """One of the runs, for everything that is equal in all of them."""

    @property
    def best(self) -> Trial | None:
        """The finished trial of the largest objective, the first of several; None where none is finished."""
        return next(iter(self.ranked), None)

    @property
    def ranked(self) -> list[Trial]:
        """The finished trials, the best first."""
        done = [trial for trial in self.trials if trial.state == FINISHED and trial.objective is not None]
        return sorted(done, key=lambda trial: -(trial.objective or 0.0))

    @property
    def settings(self) -> dict[str, Any]:
        """All settings to give to `safeloop.run`: the fixed ones, and the best trial's."""
        return {**specify.pairs(self.asked.settings, "--set"), **(self.best.settings if self.best else {})}

    @property
    def command(self) -> str:
        """The command that trains with the best settings, on seeds that are reported."""
        s, asked = self.run, self.asked
        words = ["safeloop", "run", s.env, "--algo", s.algo, "--steps", str(s.steps)]
        words += [] if asked.preset == "default" else ["--preset", asked.preset]
        options = specify.pairs(asked.env_options, "--env-set")
        for option, pairs in (("--env-set", options), ("--set", self.settings)):
            words += [word for key, value in pairs.items() for word in (option, f"{key}={value}")]
        if asked.budget is not None:
            given: Mapping[str, Any] = s.budgets or {"": s.budget}
            words += [w for name, limit in given.items() for w in ("--budget", f"{f'{name}=' * bool(name)}{limit:g}")]
        return shlex.join([*words, "--out", str(asked.out)])

    @property
    def text(self) -> str:
        """The best trials as a table for a terminal, and the command that uses them."""
        counts = Counter(trial.state for trial in self.trials)
        counted = ", ".join(f"{counts[state]} {state}" for state in (FINISHED, PRUNED, FAILED) if counts[state])
        several = f"seeds {self.seeds[0]} to {self.seeds[-1]}"
        seeds = several if len(self.seeds) > 1 else f"seed {self.seeds[0]}"
        lines = [f"{self.run.env}, {self.run.algo}: {len(self.trials)} trials, {seeds}: {counted}"]
        if not self.ranked:
            return "\n".join([*lines, "no trial is finished"])
        lines += ["", *aligned(without_empty([self._cells(trial) for trial in self.ranked[:SHOWN]])), ""]
        if not self.ranked[0].feasible:
            lines += [f"No trial kept the budget; trial {self.ranked[0].number} came nearest to it."]
        return "\n".join([*lines, f"best: {self.command}"])

    def _cells(self, trial: Trial) -> dict[str, str]:
        cost = {"eval cost": number(trial.middle(0))} if limits(self.run) else {}
        kept = {"in budget": "yes" if trial.feasible else "no"} if cost else {}
        shown = {"trial": str(trial.number), "eval return": number(trial.middle()), **cost, **kept}
        return {**shown, **{name: str(value) for name, value in trial.settings.items()}}

    @property
    def cost_names(self) -> list[str]:
        """The columns of the outcomes' costs in `trials.csv`."""
        one = ["evaluation_cost_return"] * (self.run.budget is not None)
        return one + [f"evaluation_cost_return_{name}" for name in self.run.budgets]

    def write(self) -> None:
        """Write `trials.csv` and `best.json`. Raises `OSError` where it can't."""
        rows = [columns(trial, self.seeds, self.cost_names) for trial in self.trials]
        write_atomically(self.folder / TRIALS, csv_text(rows).encode())
        if best := self.best:
            told: Mapping[str, Any] = {
                "trial": best.number, "trials": len(self.trials), "seeds": self.seeds, "objective": best.objective,
                "feasible": best.feasible, "evaluation_return": best.middle(),
                **{name: best.middle(i) for i, name in enumerate(self.cost_names)},
                "settings": best.settings, "command": self.command,
            }  # fmt: skip
            write_atomically(self.folder / BEST, (json.dumps(told, indent=2) + "\n").encode())
