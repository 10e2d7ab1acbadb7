"""How fast planning, environments and training are, each beside what bounds it and beside its peers.

All that is compared is measured in one process, in turns: round by round each candidate once, so that a slow hour
of the machine slows all alike. Ratios travel between machines, milliseconds do not.

Peers come from the entry points `safeloop.speed.envs` and `safeloop.speed.training`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from typing import Any

from safeloop.errors import UsageError
from safeloop.experiments.local import ALLOCATOR
from safeloop.experiments.progress import heartbeat
from safeloop.experiments.specify import check_device
from safeloop.registry import find_env, speed_peers
from safeloop.settings import MOST_THREADS, check_whole

PARTS = ("planner", "env", "train")


def check(what: str, env: str, peer: str | None, device: str, threads: int) -> None:
    """Raise `UsageError` for a measurement that `measure` can't take."""
    if what not in (*PARTS, "all"):
        raise UsageError(f"{what!r}: expected one of {', '.join(PARTS)}, all")
    check_whole("--threads", threads, 1, MOST_THREADS)
    check_device(device)
    find_env(env)
    known = speed_peers("training")
    if peer is not None and peer not in known:
        raise UsageError(f"--against {peer}: expected one of {', '.join(known) or '(none is installed)'}")


def measure(what: str, env: str, peer: str | None, device: str, threads: int) -> dict[str, Any]:
    """Measure `what` (of `PARTS`, or `all`) in a process of its own, which has the allocator of a training run.

    Raises `UsageError` as `check` does, and where the peer can't do it.
    """
    check(what, env, peer, device, threads)
    child = subprocess.run(
        [sys.executable, "-m", "safeloop.benchmarking", json.dumps([what, env, peer, device, threads])],
        stdout=subprocess.PIPE, env={**os.environ, **ALLOCATOR}, check=False,
    )  # fmt: skip
    if child.returncode:
        raise UsageError("the measurement failed, see above")
    found = json.loads(child.stdout)
    if "refused" in found:
        raise UsageError(found["refused"])
    return found


def _measure(what: str, env: str, peer: str | None, device: str, threads: int) -> dict[str, Any]:
    import torch

    from safeloop.measurements import against, environment, machine, planner, training

    torch.set_num_threads(threads)
    theirs = speed_peers("training")[peer].load()(env) if peer else None  # refuses before anything is measured
    parts: dict[str, Callable[[], dict[str, Any]]] = {  # training first, for its memory
        "train": lambda: training(env, device),
        "planner": lambda: planner(env, device),
        "env": lambda: environment(env),
    }
    result: dict[str, Any] = {"machine": machine(device)}
    for name, call in parts.items():
        if what in ("all", name):
            print(f"measuring {name} ...", file=sys.stderr, flush=True)
            with heartbeat(name):
                result[name] = call()
    if peer and theirs:
        with heartbeat(f"training beside {peer}"):
            result["against"] = against(peer, theirs, env)
    return result


def text(found: dict[str, Any]) -> str:
    """Return the findings of `measure`, for a terminal."""
    where = found["machine"]
    lines = [
        f"{where['processor']}, {where['cores']} cores, {where['threads']} threads, {where['device']}, torch "
        f"{where['torch']} ({where['vector_instructions']})"
    ]
    for name, p in found.get("planner", {}).items():
        lines += [
            "",
            f"planner, {name}: {p['setting']}",
            f"  {_range(p['milliseconds'])} ms a decision ({p['gflops']} GFLOP/s)",
            f"  {_range(p['floor_milliseconds'])} ms its matrix products alone ({p['floor_gflops']} GFLOP/s)",
            f"  {p['ratio_to_floor']} times the floor",
            f"  {_range(p['together_milliseconds'])} ms a decision of {p['together']} episodes planned together, "
            f"{p['together_ratio']} times one by one",
        ]
    if e := found.get("env"):
        lines += ["", f"environment, {e['env']}: simulator steps a second, resets included"]
        lines += [f"  {name:<10} {_range(rate)}" for name, rate in e["steps_per_second"].items()]
        lines += [f"  safeloop is {times} times {name}" for name, times in e["safeloop_over"].items()]
    if t := found.get("train"):
        lines += ["", f"training, default settings: {t['decisions_per_second']} decisions a second"]
        lines += [_parts(t["milliseconds_per_decision"]), f"  {t['peak_memory_mb']} MB at most"]
    if a := found.get("against"):
        lines += ["", f"training at equal planner settings: {a['setting']}"]
        for name, rate in a["decisions_per_second"].items():
            lines += [f"  {name}: {_range(rate)} decisions a second", _parts(a["milliseconds_per_decision"][name])]
        lines += [f"  safeloop is {a['ratio']} times as fast"]
    return "\n".join(lines)


def _range(numbers: dict[str, float]) -> str:
    return f"{numbers['median']:,} ({numbers['low']:,} to {numbers['high']:,})"


def _parts(milliseconds: dict[str, float]) -> str:
    return "  milliseconds a decision: " + ", ".join(f"{name} {value}" for name, value in milliseconds.items())


if __name__ == "__main__":
    arguments = json.loads(sys.argv[1])
    try:
        with redirect_stdout(sys.stderr):
            found = _measure(*arguments)
    except UsageError as error:
        found = {"refused": str(error)}
    print(json.dumps(found))
