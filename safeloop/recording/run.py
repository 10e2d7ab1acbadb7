"""A run's directory: settings, versions, episodes, evaluations, checkpoint, log.

DIR/<env or dataset>/<algo>/seed-<S>/
    settings.json     what was asked for, every setting resolved       written once
    versions.json     what it ran on                                   written once
    dataset.txt       where the dataset lies that is learned from      replaced atomically
    status.json       new, running, interrupted, finished or failed,
                      with a reason                                    replaced atomically
    episodes.csv      training episodes                                append-only
    evaluations.csv   evaluation episodes                              append-only
    fits.csv          fits of the ensemble (planning agents)           append-only
    plans.csv         what the planner found (planning agents)         append-only
    updates.csv       how far learning from a dataset is               append-only
    diagnostics.csv   what else the environment reports, by episode    append-only
    checkpoint/       enough to load the policy, and to resume         replaced atomically
    log.txt           what the run printed

A checkpoint has a checksum; tables are checked row by row in reading, against the dataclasses in `rows.py`.
Where a run learns from a dataset, `simulator_steps` in these tables are gradient steps: no simulator is stepped.
"""

from __future__ import annotations

import fcntl
import io
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from safeloop.errors import UsageError
from safeloop.files import SEAL_LENGTH, remove_temporary, sealed, unsealed, write_atomically
from safeloop.recording.rows import Diagnostic, Episode, EvaluationEpisode, Fit, PlanSummary, Update
from safeloop.recording.tables import Table, column
from safeloop.recording.versions import versions

SCHEMA = 1
"""Version of the layout above; a run folder of another version is refused."""


FILES = (
    "settings.json", "versions.json", "dataset.txt", "status.json", "episodes.csv", "evaluations.csv", "fits.csv",
    "plans.csv", "updates.csv", "diagnostics.csv", "log.txt", ".lock", "checkpoint/state.pt",
)  # fmt: skip
"""What is a file, where it is there."""


def _write_json(path: Path, value: Any) -> None:
    write_atomically(path, (json.dumps(value, indent=2) + "\n").encode())


@dataclass(frozen=True)
class RunSettings:
    """Everything that determines a run, as in `settings.json`."""

    env: str
    algo: str
    steps: int = column(least=1)
    """Simulator steps; training ends with the episode (own agents) or epoch (OmniSafe) that reaches them. Of a dataset:
    gradient steps."""
    seed: int = column(least=0)
    budget: float | None = column(least=0)
    """Allowed cost return of an episode; None: nothing costs."""
    preset: str = "default"
    env_options: dict[str, Any] = field(default_factory=dict)
    algo_settings: dict[str, Any] = field(default_factory=dict)
    """Every setting of the algorithm, resolved."""
    told: str = ""
    """What the algorithm was told beside samples (privileged knowledge)."""
    device: str = "cpu"
    threads: int = column(least=1, default=1)
    eval_every: int = column(least=0, default=0)
    """Simulator steps between evaluations; 0 evaluates at the end only."""
    eval_episodes: int = column(least=0, default=5)
    variant: str = ""
    """Tells runs of one algorithm with different settings apart: `H=4` in an ablation."""
    dataset: str = ""
    """The name of the dataset that is learned from; "": learns while acting."""
    data: dict[str, Any] = field(default_factory=dict)
    """What it was (`Dataset.summary`)."""
    keep_every: int = column(least=0, default=0)
    """Simulator steps between checkpoints that are kept for good; 0: the last one only."""
    schema: int = SCHEMA

    @property
    def folder(self) -> str:
        """The folder of what it is compared with: the environment's name, or the dataset's."""
        return self.dataset or self.env

    @property
    def name(self) -> str:
        """`"safeloop"`, or with a variant `"safeloop H=4"`: what tables and pictures call it."""
        return f"{self.algo} {self.variant}".strip()


class Run:
    """A run's directory. Make one with `Run.create`, reopen one with `Run.open`."""

    def __init__(self, path: Path, settings: RunSettings):
        self.path, self.settings = path, settings
        self.episodes = Table(path / "episodes.csv", Episode)
        self.evaluations = Table(path / "evaluations.csv", EvaluationEpisode)
        self.fits = Table(path / "fits.csv", Fit)
        self.plans = Table(path / "plans.csv", PlanSummary)
        self.updates = Table(path / "updates.csv", Update)
        self.diagnostics = Table(path / "diagnostics.csv", Diagnostic)
        self.checkpoint = path / "checkpoint" / "state.pt"
        """The checkpoint in use; of a run `at` an earlier step, the one kept then."""
        self.report: Callable[[dict[str, Any]], None] = lambda message: None
        """Where progress goes: called with a dict of numbers. Set by whoever shows it."""

    @property
    def tables(self) -> tuple[Table, ...]:
        """Every table of the run."""
        return self.episodes, self.evaluations, self.fits, self.plans, self.updates, self.diagnostics

    @staticmethod
    def directory(out: Path, settings: RunSettings) -> Path:
        """`OUT/<folder>/<algo>/seed-<S>`, or `OUT/<folder>/<algo>-<variant>/seed-<S>`."""
        return out / settings.folder / re.sub("[: ]", "-", settings.name) / f"seed-{settings.seed}"

    @classmethod
    def create(cls, out: Path, settings: RunSettings) -> Run:
        """Make the directory. Raises `UsageError` where it exists already or can't be written."""
        path = cls.directory(out, settings)
        if (path / "settings.json").exists():
            raise UsageError(
                f"{path} already holds a run: `safeloop resume {path}` continues it, --out DIR starts elsewhere"
            )
        try:
            (path / "checkpoint").mkdir(parents=True, exist_ok=True)
            _write_json(path / "versions.json", versions())
            _write_json(path / "status.json", {"state": "new", "reason": ""})
            _write_json(path / "settings.json", asdict(settings))
        except OSError as error:
            raise UsageError(f"can't write {path}: {error.strerror}; choose another folder with --out") from None
        return cls(path, settings)

    @classmethod
    def open(cls, path: str | Path) -> Run:
        """Reopen a run. Raises `UsageError` where it is missing, damaged or from another version."""
        path = Path(path)
        if not (path / "settings.json").is_file():
            raise UsageError(
                f"{path} is not a run: expected a folder with settings.json, such as runs/PointGoal1/safeloop/seed-0"
            )
        for name in FILES:
            if (path / name).exists() and not (path / name).is_file():
                raise UsageError(f"{path} is damaged: {name} is not a file: move it away, or start a new run")
        try:
            values = json.loads((path / "settings.json").read_text())
            schema = values["schema"]
            if schema != SCHEMA:
                raise UsageError(
                    f"{path} was made by another version (layout {schema}, this is {SCHEMA}): "
                    "use that version, or start a new run"
                )
            run = cls(path, RunSettings(**values))
            run.status  # noqa: B018  (damaged status files should be told now)
        except (json.JSONDecodeError, KeyError, TypeError, UnicodeDecodeError, RecursionError) as error:
            raise UsageError(f"{path} is damaged ({error}): restore it or start a new run") from None
        return run

    @property
    def status(self) -> dict[str, str]:
        """`{"state": "new" | "running" | "interrupted" | "finished" | "failed", "reason": str}`."""
        value = json.loads((self.path / "status.json").read_text())
        return {"state": value["state"], "reason": value["reason"]}

    @property
    def dataset(self) -> str:
        """Where the dataset lies that the run learns from. Raises `UsageError` where that is not known here."""
        again = "give `safeloop offline DATASET` with the run's options again"
        try:
            location = (self.path / "dataset.txt").read_text().removesuffix("\n")
        except OSError:
            raise UsageError(
                f"{self.path}: where its dataset {self.settings.dataset} lies is not known here: {again}"
            ) from None
        except UnicodeDecodeError:
            location = ""
        if not location or not location.isprintable():
            raise UsageError(f"{self.path / 'dataset.txt'} is damaged: expected a path: {again}")
        return location

    @dataset.setter
    def dataset(self, location: str) -> None:
        write_atomically(self.path / "dataset.txt", f"{location}\n".encode())

    def set_status(self, state: str, reason: str = "") -> None:
        """Replace the status."""
        _write_json(self.path / "status.json", {"state": state, "reason": reason})

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run for this process. Raises `UsageError` where another process holds it, `OSError` for a fault."""
        with open(self.path / ".lock", "w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UsageError(f"{self.path} is in use by another process: wait for it or stop it") from None
            yield

    @property
    def has_checkpoint(self) -> bool:
        """Whether a checkpoint was written."""
        return self.checkpoint.is_file()

    def save_checkpoint(self, state: dict[str, Any]) -> None:
        """Write `state` (tensors, numbers, strings and containers of them), atomically."""
        buffer = io.BytesIO(bytes(SEAL_LENGTH))
        buffer.seek(SEAL_LENGTH)
        import torch  # takes a second, which no other mistake should wait for

        torch.save(state, buffer)
        write_atomically(self.checkpoint, sealed(buffer))

    def keep_checkpoint(self, at: int) -> None:
        """Keep a copy of the checkpoint as the one at so many simulator steps."""
        write_atomically(self.checkpoint.with_name(f"at-{at}.pt"), self.checkpoint.read_bytes())

    @property
    def kept(self) -> list[int]:
        """The simulator steps that checkpoints were kept at, in order."""
        found = (re.fullmatch(r"at-([0-9]{1,18})\.pt", path.name) for path in self.checkpoint.parent.glob("at-*.pt"))
        return sorted(int(match[1]) for match in found if match)

    def at(self, step: int) -> Run:
        """This run as it was at so many simulator steps. Raises `UsageError` where no checkpoint of then was kept."""
        earlier = Run(self.path, self.settings)
        earlier.checkpoint = self.checkpoint.with_name(f"at-{step}.pt")
        if not earlier.checkpoint.is_file():
            there = ", ".join(map(str, self.kept)) or "none; --keep-every N keeps some"
            raise UsageError(f"{self.path} has no checkpoint at {step} steps (there are: {there})")
        return earlier

    def load_checkpoint(self) -> dict[str, Any]:
        """Read the checkpoint, without executing anything in it.

        Raises `UsageError` where it is missing or not as it was written; that names an earlier one which was kept.
        """
        if not self.has_checkpoint:
            raise UsageError(f"{self.path} has no checkpoint yet: `safeloop resume {self.path}` trains it")
        try:
            return self._read_checkpoint()
        except Exception as error:
            what = str(error) if type(error) is ValueError else type(error).__name__
            raise UsageError(f"{self.checkpoint} is damaged ({what}): {self.earlier_checkpoint}") from None

    def _read_checkpoint(self) -> dict[str, Any]:
        content = io.BytesIO(unsealed(self.checkpoint.read_bytes()))
        import torch

        state = torch.load(content, map_location="cpu", weights_only=True)
        if not isinstance(state, dict):
            raise ValueError(f"it holds a {type(state).__name__}")
        return state

    @property
    def earlier_checkpoint(self) -> str:
        """How to go on where the checkpoint is of no use: from the last one kept that is whole, where there is any."""
        for step in reversed(self.kept):
            earlier = self.at(step)
            with suppress(Exception):
                earlier._read_checkpoint()
                return f"`safeloop resume {self.path} --from {step}` goes on from the checkpoint kept then"
        return "restore it or start a new run"

    def go_back(self, step: int) -> None:
        """Put the checkpoint kept at so many simulator steps in the place of the last one; the run is to be resumed.

        Raises `UsageError` where there is none or it is damaged, or a process works on the run.
        """
        earlier = self.at(step)
        earlier.load_checkpoint()
        with self.locked():
            self.set_status("interrupted", f"went back to {step} steps")
            write_atomically(self.checkpoint, earlier.checkpoint.read_bytes())

    def repair(self) -> None:
        """Remove whatever a kill left half written. Only who holds the run may do so."""
        for folder in (self.path, self.checkpoint.parent):
            remove_temporary(folder)
        for table in self.tables:
            table.repair()

    def drop_rows_after(self, simulator_steps: int) -> None:
        """Forget rows that a checkpoint at `simulator_steps` has not seen."""
        for table in self.tables:
            if table.path.exists():
                table.keep([row for row in table.read() if row.simulator_steps <= simulator_steps])
