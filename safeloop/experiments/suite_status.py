"""How far the runs of a suite are, read from as little as says it: states and last rows."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safeloop.errors import UsageError
from safeloop.experiments.suite_file import Suite
from safeloop.recording import reader
from safeloop.recording.run import Run, RunSettings
from safeloop.registry import find_env
from safeloop.report.tables import MISSING, aligned

TAIL = 4096
"""Bytes at the end of a table in which its last row is looked for."""
NOT_BEGUN = "not begun"


@dataclass(frozen=True)
class RunStatus:
    """One run of a suite."""

    env: str
    algo: str
    """The algorithm's name, with the variant where it has one."""
    seed: int
    state: str
    """`not begun`, `new`, `running`, `interrupted`, `finished` or `failed`."""
    reason: str
    """Why it failed."""
    steps: int
    of: int


def status(suite: Suite, path: Path) -> list[RunStatus]:
    """Return the state of every run of a suite in its folder, in the suite's order."""
    found = []
    for task in suite.tasks:
        env = find_env(task.env).id
        for each in suite.algorithms:
            steps = each.steps or suite.steps
            for seed in range(suite.seeds):
                settings = RunSettings(env, each.algo, steps, seed, None, variant=each.variant)
                found.append(_of(Run(Run.directory(path, settings), settings)))
    return found


def _of(run: Run) -> RunStatus:
    s, state, reason = run.settings, NOT_BEGUN, ""
    try:
        told = json.loads((run.path / "status.json").read_text())
        state, reason = str(told["state"]), str(told["reason"])
        if state in ("new", "running", "interrupted"):
            state = "running" if reader.in_use(run) else "interrupted" if state == "running" else state
    except FileNotFoundError:
        pass
    except (OSError, ValueError, KeyError, TypeError):
        raise UsageError(f"{run.path / 'status.json'} is damaged: restore it or start a new run") from None
    return RunStatus(s.env, s.name, s.seed, state, reason, steps_of(run), s.steps)


def steps_of(run: Run) -> int:
    """Return the steps that a run has taken, by the last whole row of its table; 0 without any."""
    for name, column in (("episodes.csv", 1), ("updates.csv", 0)):
        try:
            with open(run.path / name, "rb") as file:
                file.seek(0, 2)
                file.seek(max(0, file.tell() - TAIL))
                rows = file.read().decode(errors="replace").split("\n")[:-1]
            return int(rows[-1].split(",")[column])
        except (OSError, ValueError, IndexError):
            continue
    return 0


def text(suite: Suite, found: list[RunStatus]) -> str:
    """Return the table of a suite's states for a terminal: a line for each task and algorithm."""
    groups: dict[tuple[str, str], list[RunStatus]] = {}
    for each in found:
        groups.setdefault((each.env, each.algo), []).append(each)
    states = Counter(each.state for each in found)
    lines = [
        {
            "task": env, "algorithm": algo,
            "finished": f"{sum(r.state == 'finished' for r in mine)} of {len(mine)}",
            "under way": ", ".join(
                f"seed {r.seed} {min(1.0, r.steps / r.of):.0%}{'' if r.state == 'running' else f' ({r.state})'}"
                for r in mine if r.state in ("running", "interrupted")
            ) or MISSING,
            "failed": ", ".join(f"seed {r.seed}" for r in mine if r.state == "failed") or MISSING,
        }
        for (env, algo), mine in groups.items()
    ]  # fmt: skip
    failed = [f"{r.env} {r.algo} seed {r.seed} failed: {r.reason}" for r in found if r.state == "failed"]
    counted = ", ".join(f"{count:,} {state}" for state, count in states.items())
    return "\n".join(
        [f"{suite.id}: {len(found):,} runs: {counted}", "", *aligned(lines), *[""] * bool(failed), *failed]
    )


def as_dict(suite: Suite, found: list[RunStatus]) -> dict[str, Any]:
    """Return the same for `--json`."""
    return {"suite": suite.id, "runs": [vars(each) for each in found]}
