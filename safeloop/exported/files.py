"""Export a trained agent to one file, and check there that it acts as ours does."""

from __future__ import annotations

import io
import json
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from safeloop.activity import doing
from safeloop.errors import UsageError
from safeloop.experiments.trained import policy_of, threads
from safeloop.exported.programs import Program, program
from safeloop.files import check_parent, check_path, write_atomically
from safeloop.networks import Drawn
from safeloop.recording import reader
from safeloop.recording.run import Run
from safeloop.registry import find_env
from safeloop.training.evaluation import consecutive

SUFFIX = ".pt2"
DESCRIPTION = "agent.json"
"""Name of the description in the file."""
DECISIONS = 100
"""Recorded decisions that the file holds and is checked with."""
TOLERANCE = 1e-4
"""Largest difference from the recorded actions, which are in [-1, 1]."""


class Record(NamedTuple):
    """Consecutive decisions of our own agent, with normals drawn by `noise`."""

    observations: list[list[float]]  # [D, S]
    first: list[bool]  # [D], whether an episode begins
    actions: list[list[float]]  # [D, A]


@dataclass(frozen=True)
class Exported:
    """A file that was written, after its actions were compared with ours."""

    file: Path
    name: str
    """The run in a few words."""
    bytes: int
    decisions: int
    """Decisions that were compared."""
    difference: float
    """The largest difference between an action and ours."""

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {**asdict(self), "file": str(self.file)}

    @property
    def text(self) -> str:
        """Two lines for a terminal."""
        return (
            f"{self.file}: {self.name}, {self.bytes / 1e6:.1f} MB\n"
            f"Over {self.decisions} recorded decisions the largest difference between its actions and ours is "
            f"{self.difference:.1g}."
        )


def export(path: str | Path, out: str | Path) -> Exported:
    """Write the policy of the run at `path` to the new file `out` (.pt2), which torch runs without safeloop.

    The file is a program of `torch.export`: with a planner its models, values, search and memory, else the actor; with
    all normalisers. It acts in one episode at a time, on a CPU, in float32. `agent.json` in it describes the program's
    inputs, and holds recorded decisions of ours; `examples/exported_agent.py` shows its use. The file is written after
    it was loaded and its actions were compared with these.

    Raises `UsageError` for a run that can't be loaded, a file that exists or can't be written, and a policy that can't
    be exported: one that plans with a simulator, or knows of a delay of observations.
    """
    file = check_path(out, "--out")
    if file.suffix != SUFFIX:
        raise UsageError(f"--out {file}: expected a name that ends with {SUFFIX}")
    if file.exists():
        raise UsageError(f"--out {file}: it exists; choose another name, or remove it")
    check_parent(file, "--out")
    run = reader.open_run(path)
    run.settings = replace(run.settings, device="cpu")
    with threads(1), torch.no_grad():
        policy, ours = _loaded(run)
        record, seconds = _recorded(run, policy, ours)
        described = {
            "safeloop": version("safeloop"),
            **{name: getattr(run.settings, name) for name in ("env", "env_options", "algo", "algo_settings", "seed")},
            "observation": len(record.observations[0]), "action": len(record.actions[0]),
            "noise": ours.noise, "memory": [list(each.shape) for each in ours.memory],
            "decision_seconds": seconds, "record": record._asdict(),
        }  # fmt: skip
        content = _content(ours, record, described)
        difference = _difference(content, record, ours)
    if not difference <= TOLERANCE:
        raise UsageError(
            f"{run.path}: actions of the exported program differ by {difference:.2g} from ours, expected at most "
            f"{TOLERANCE:g}; nothing was written"
        )
    write_atomically(file, content)
    name = f"{run.settings.env}, {run.settings.name} seed {run.settings.seed}"
    return Exported(file, name, len(content), len(record.first), difference)


def _loaded(run: Run) -> tuple[Any, Program]:
    """Return the run's policy, and its program. Raises `UsageError` where it can't be one."""
    policy = policy_of(run)
    try:
        return policy.policy, program(policy.policy, *policy.shape)
    except ValueError as error:
        raise UsageError(f"{run.path} can't be exported: {error}") from None


def noise(index: int, count: int) -> Tensor:
    """Return the normals `[count]` of recorded decision `index`, which the example draws alike."""
    return torch.randn(count, generator=torch.Generator().manual_seed(index))


class Given:
    """A planner's policy in float32, whose draws are those of `noise`; other policies as they are."""

    def __init__(self, policy: Any, ours: Program):
        self.policy, self.count, self.index = policy, ours.noise, 0

    def reset(self, episodes: int = 1) -> None:
        """Start an episode."""
        self.policy.reset(episodes)
        planner = getattr(self.policy, "planner", None)
        if planner is not None:
            planner.search = replace(planner.search, bf16=False)

    def act(self, obs: np.ndarray) -> np.ndarray:
        """Return the policy's actions `[B, A]` for `obs [B, S]`."""
        planner = getattr(self.policy, "planner", None)
        if planner is not None:
            planner.generators = [Drawn(noise(self.index, self.count))]
        self.index += 1
        return self.policy.act(obs)


def _recorded(run: Run, policy: Any, ours: Program) -> tuple[Record, float | None]:
    """Return decisions of a policy in episodes of its run's evaluation, and the seconds of a decision, where known."""
    settings, record = run.settings, Record([], [], [])
    spec, given = find_env(settings.env, settings.env_options), Given(policy, ours)
    env = spec.make()
    try:
        with doing("recording decisions", DECISIONS, "decisions") as activity:
            for decision, first in islice(consecutive(given, spec, env, settings.seed), DECISIONS):
                record.observations.append(np.asarray(decision.obs, np.float32).tolist())
                record.actions.append(np.asarray(decision.action, np.float32).tolist())
                record.first.append(first)
                activity.done += 1
        return record, env.metadata.get("decision_seconds")
    finally:
        env.close()


def _content(ours: Program, record: Record, described: dict[str, Any]) -> bytes:
    """Return the bytes of the file."""
    with doing("writing the program"):
        inputs = (torch.tensor(record.observations[:1]), torch.tensor(True), noise(0, ours.noise), *ours.memory)
        exported, file = torch.export.export(ours, inputs, strict=False), io.BytesIO()
        torch.export.save(exported, file, extra_files={DESCRIPTION: json.dumps(described)})
        return file.getvalue()


def _difference(content: bytes, record: Record, ours: Program) -> float:
    """Return the largest difference between recorded actions and those of a file."""
    with doing("reading the program"):
        acts: Any = torch.export.load(io.BytesIO(content)).module()
    memory, worst = [torch.zeros_like(each) for each in ours.memory], 0.0
    for index, (obs, first, action) in enumerate(zip(*record, strict=True)):
        found, *memory = acts(torch.tensor([obs]), torch.tensor(first), noise(index, ours.noise), *memory)
        worst = max(worst, (found[0] - torch.tensor(action)).abs().max().item())
    return worst
