"""Trained policies in their run's environment with other options, such as another friction (docs/robustness.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from safeloop.cmdp import Known
from safeloop.errors import UsageError
from safeloop.experiments.changed import changed_env, shown
from safeloop.experiments.specify import Pairs
from safeloop.experiments.trained import Evaluation, evaluate
from safeloop.recording import reader
from safeloop.report.tables import aligned, without_empty
from safeloop.texts import short

MOST = 100
"""The most environments of a table."""


@dataclass(frozen=True)
class Robustness:
    """Evaluations of one trained policy in several versions of its environment."""

    evaluations: list[Evaluation]
    """The environment that it was trained in first."""

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {"evaluations": [{"env_options": each.env_options, **each.as_dict()} for each in self.evaluations]}

    @property
    def cells(self) -> list[dict[str, str]]:
        """The table: a row for each environment."""
        names = [shown(each.env_options) or "as trained" for each in self.evaluations]
        return [{"environment": name, **each.cells} for name, each in zip(names, self.evaluations, strict=True)]

    @property
    def text(self) -> str:
        """The table for a terminal."""
        return "\n".join(aligned(without_empty(self.cells)))


def robustness(
    path: str | Path,
    options: Pairs,
    *,
    episodes: int = 10,
    threshold: float | None = None,
    shield: str | Path | None = None,
    cost_models: Sequence[str | Known] = (),
    watch: Sequence[str | Known] = (),
) -> Robustness:
    """Evaluate the run at `path` in its environment as it is, and with each combination of changed options.

    `options` are a dict of one or several values of each, `{"friction": [0.5, 2.0]}`, or texts, `"friction=0.5,2"`.
    The episodes have the same seeds in each. The policy is told nothing of the change (`evaluate`); all else is as
    there. Raises `UsageError` for options that the environment does not have or that the policy can't act with, before
    anything is evaluated.
    """
    run = reader.open_run(path)
    changes = combinations(options)
    for each in changes:
        changed_env(run.settings, each)
    return Robustness([
        evaluate(
            path, episodes=episodes, env_options=each, threshold=threshold, shield=shield, cost_models=cost_models,
            watch=watch,
        )
        for each in ({}, *changes)
    ])  # fmt: skip


def combinations(options: Pairs) -> list[dict[str, Any]]:
    """Return every combination of the values of options. Raises `UsageError` for an option without a value."""
    values: dict[str, list[Any]] = {}
    for name, given in _named(options):
        several = given.split(",") if isinstance(given, str) else given
        several = list(several) if isinstance(several, Sequence) else [several]
        several = [each.strip() if isinstance(each, str) else each for each in several]
        if not name or not several or "" in several:
            raise UsageError(f"--env-set {short(f'{name}={given}')}: expected KEY=VALUE or KEY=VALUE,VALUE")
        values[name] = [*values.get(name, []), *several]
    count = 1
    for several in values.values():
        count *= len(several)
    if count > MOST:
        raise UsageError(f"--env-set: {count:,} combinations of values: expected at most {MOST}")
    return [dict(zip(values, chosen, strict=True)) for chosen in product(*values.values())]


def _named(options: Pairs) -> list[tuple[str, Any]]:
    """Return options and their values; a name may stand there several times."""
    if isinstance(options, Mapping):
        return list(options.items())
    return [(name.strip(), value) for name, _, value in (text.partition("=") for text in options)]
