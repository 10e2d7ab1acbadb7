"""Run this code beside an earlier commit on one machine and compare every number that they record.

    python analysis/guard.py COMMIT [CASE ...]

The commit gets a git worktree and an environment of its own under `.guard/`. Each case trains an agent in both, at the
same time, with two planned episodes at least (settings small, the first fit early), evaluates it, and compares the
CSV files of the runs cell by cell, but for seconds. Prints a line a case; exits with 1 where anything differs.
"""

from __future__ import annotations

import csv
import shutil
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]
GUARD = HERE / ".guard"
DATA = GUARD / "data"
TIMES = ("wall_seconds",)
EVALUATED_ALONE = ("crr", "plas", "loop-crr", "mbop", "sac-ve", "mbpo", "lbpo")
"""Agents that have no plans in training: the episodes of their evaluation are compared."""

PLANS = ["warmup=200", "first_fit_steps=100", "fit_steps=30", "batch_size=64"]
FALLS = ["warmup=150", "fit_every=40", "first_fit_steps=100", "fit_steps=30", "batch_size=64", "hidden=64"]
SMALL = ["layers=2", "width=48", "ensemble_size=3", "population=20"]
OFFLINE = ["fit_steps=150", "layers=2", "width=48", "ensemble_size=3", "population=20", "batch_size=64"]

CASES: dict[str, list[str]] = {
    "safeloop": ["run", "PointGoal1", "--steps", "3000", *PLANS],
    "safeloop-lidar": ["run", "PointGoal1", "--steps", "3000", "--env-set", "observation=task", *PLANS],
    "safeloop-learned-cost": ["run", "PointGoal1", "--steps", "3000", "cost=learned", "particles=2", *PLANS, *SMALL],
    "loop": ["run", "PointGoal1", "--steps", "3000", *PLANS],
    "safepets": ["run", "PointGoal1", "--steps", "3000", *PLANS],
    "safeloop-rc-car": ["run", "RCCarDrift", "--steps", "400", "--preset", "rc-car", *PLANS, "fit_every=50"],
    "loop-sac": ["run", "Hopper", "--steps", "300", *FALLS, *SMALL],
    "loop-sac-online": ["run", "Hopper", "--steps", "300", "--preset", "online", *FALLS, *SMALL],
    "loop-sac-paper": ["run", "Hopper", "--steps", "300", "--preset", "paper", *FALLS, *SMALL, "fit_patience=2"],
    "loop-td3": ["run", "Hopper", "--steps", "300", "augmentation=0.3", *FALLS, *SMALL],
    "loop-sarsa": ["run", "Hopper", "--steps", "300", *FALLS, *SMALL],
    "sac-ve": ["run", "Hopper", "--steps", "300", *FALLS, "layers=2", "width=48", "ensemble_size=3"],
    "mbpo": ["run", "Hopper", "--steps", "300", "rollouts=20", "rollout_length=3", "updates_per_decision=3", *FALLS,
             "layers=2", "width=48", "ensemble_size=3"],
    "lbpo": ["run", "PointGoal1", "--steps", "2000", "episodes_per_epoch=1", "critic_iters=20"],
    "crr": ["offline", str(DATA), "--steps", "200", "batch_size=64", "hidden=64"],
    "plas": ["offline", str(DATA), "--steps", "200", "batch_size=64", "hidden=64"],
    "loop-crr": ["offline", str(DATA), "--steps", "200", *OFFLINE],
    "mbop": ["offline", str(DATA), "--steps", "200", "return_horizon=5", *OFFLINE],
}  # fmt: skip
"""Arguments of the command line; those with an `=` are settings. A case's name begins with its algorithm's, which
earlier commits must know too: `safepets`, not `rce`."""
ALGORITHMS = ("loop-sac", "loop-td3", "loop-sarsa", "loop-crr", "safeloop", "safepets", "sac-ve", "loop")


EARLIER = {"ensemble_size": "members"}
"""Names of settings in commits before they were changed."""


def algorithm(case: str) -> str:
    """Return the name of a case's algorithm."""
    return next((name for name in ALGORITHMS if case.startswith(name)), case)


def command(root: Path, case: str, out: Path) -> list[str]:
    """Return the command line of a case with the code under `root`."""
    verb, target, *others = CASES[case]
    settings = [x for word in others if "=" in word and not word.startswith("observation") for x in ("--set", word)]
    if (root / "safeloop/agent_settings.py").exists():
        pairs = [word.partition("=") for word in settings]
        settings = ["".join((EARLIER.get(name, name), *rest)) for name, *rest in pairs]
    others = [word for word in others if "=" not in word or word.startswith("observation")]
    return [
        str(root / ".venv/bin/safeloop"), verb, target, "--algo", algorithm(case), "--out", str(out),
        "--eval-episodes", "2", "--quiet", *others, *settings,
    ]  # fmt: skip


def prepare(commit: str) -> Path:
    """Return a worktree of the commit with an environment, and make the dataset where there is none."""
    asked = ["git", "rev-parse", "--short", commit]
    found = subprocess.run(asked, cwd=HERE, capture_output=True, text=True, check=False)
    if found.returncode:
        sys.exit(f"guard: {commit}: expected a commit of this repository")
    root = GUARD / found.stdout.strip()
    if not root.exists():
        subprocess.run(["git", "worktree", "add", "--detach", "-f", root, commit], cwd=HERE, check=True)
    for place in (root, HERE):
        subprocess.run(["make", "setup"], cwd=place, check=True, stdout=subprocess.DEVNULL)
    if not DATA.exists():
        subprocess.run(
            [root / ".venv/bin/safeloop", "collect", "Hopper", "--policy", "random", "--episodes", "40",
             "--out", str(DATA), "--quiet"], cwd=root, check=True,
        )  # fmt: skip
    return root


def tables(out: Path) -> dict[str, list[dict[str, str]]]:
    """Return the rows of every CSV file of the run under a folder, without columns of seconds."""
    found = {}
    for path in sorted(out.rglob("seed-0/*.csv")):
        with path.open(newline="") as file:
            found[path.name] = [{k: v for k, v in row.items() if k not in TIMES} for row in csv.DictReader(file)]
    return found


def difference(before: dict[str, list[dict[str, str]]], after: dict[str, list[dict[str, str]]]) -> str:
    """Return the first difference of two runs' tables, or nothing."""
    if before.keys() != after.keys():
        return f"files {sorted(before)} are now {sorted(after)}"
    for name, rows in before.items():
        if len(rows) != len(after[name]):
            return f"{name}: {len(rows)} rows are now {len(after[name])}"
        for line, (old, new) in enumerate(zip(rows, after[name], strict=True), 2):
            for column in old:  # a column that came later has nothing to be equal to
                if old.get(column) != new.get(column):
                    return f"{name}, line {line}, {column}: {old.get(column)} is now {new.get(column)}"
    return ""


def compare(root: Path, case: str) -> str:
    """Run a case in both, and return a line about it that begins with `equal` where nothing differs."""
    begun, outs = time.monotonic(), [GUARD / "runs" / case / side for side in ("before", "now")]
    processes = []
    for place, out in zip((root, HERE), outs, strict=True):
        shutil.rmtree(out, ignore_errors=True)
        processes.append(subprocess.Popen(command(place, case, out), cwd=GUARD, stderr=subprocess.PIPE, text=True))
    said = [process.communicate()[1] for process in processes]
    for process, words, out in zip(processes, said, outs, strict=True):
        if process.returncode:
            return f"failed in {out.name}: {words.strip().splitlines()[-1]}"
    before, after = map(tables, outs)
    planned = len(before.get("plans.csv", before["evaluations.csv"] if case in EVALUATED_ALONE else []))
    if planned < 2:
        return f"failed: {planned} planned episodes, expected two at least"
    cells = sum(len(row) for rows in before.values() for row in rows)
    result = difference(before, after)
    what = "evaluation" if case in EVALUATED_ALONE else "planned"
    return f"{result or 'equal'}: {planned} {what} episodes, {cells} cells, {time.monotonic() - begun:.0f} s"


def main() -> None:
    """Compare the cases that were asked for, or all."""
    if len(sys.argv) < 2 or set(sys.argv[2:]) - CASES.keys():
        sys.exit(f"{__doc__}\nCases: {', '.join(CASES)}")
    root = prepare(sys.argv[1])
    different = 0
    for case in sys.argv[2:] or CASES:
        line = compare(root, case)
        different += not line.startswith("equal")
        print(f"{case:24}{line}", flush=True)
    sys.exit(different > 0)


if __name__ == "__main__":
    main()
