"""A run's directory: settings, versions, episodes, evaluations, checkpoint, log.

DIR/<env or dataset>/<algo>/seed-<S>/     <algo> may be a name that the algorithm had before (`registry.RENAMED`)
    settings.json     the request, with every setting resolved         written once
    versions.json     versions of software and hardware                written once
    dataset.txt       the path of the dataset, if it learns from one   replaced atomically
    status.json       new, running, interrupted, finished or failed,
                      with a reason                                    replaced atomically
    episodes.csv      training episodes                                append-only
    evaluations.csv   evaluation episodes                              append-only
    fits.csv          fits of the ensemble (planning agents)           append-only
    plans.csv         planned decisions, by episode (planning agents)  append-only
    updates.csv       progress of learning from a dataset              append-only
    diagnostics.csv   the environment's diagnostics, by episode        append-only
    checkpoint/       the state to load the policy, and to resume      replaced atomically
    log.txt           the output of the run
    tensorboard/      what trackers keep, where they were asked for; never read
    wandb/

A checkpoint has a checksum; tables are checked row by row when they are read, against the dataclasses in `rows.py`.
Where a run learns from a dataset, `simulator_steps` in these tables are gradient steps: no simulator is stepped.
"""

from __future__ import annotations

import fcntl
import io
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from safeloop.errors import UsageError
from safeloop.files import SEAL_LENGTH, remove_temporary, sealed, unsealed, write_atomically
from safeloop.recording.added_settings import with_added_settings
from safeloop.recording.first_schema import from_first_schema
from safeloop.recording.rows import Diagnostic, Episode, EvaluationEpisode, Fit, PlanSummary, Update
from safeloop.recording.tables import Table, column
from safeloop.recording.versions import versions
from safeloop.registry import RENAMED

SCHEMA = 2
"""Version of the layout above. The first is read too (`first_schema.py`); a folder of any other is refused."""


FILES = (
    "settings.json", "versions.json", "dataset.txt", "status.json", "episodes.csv", "evaluations.csv", "fits.csv",
    "plans.csv", "updates.csv", "diagnostics.csv", "log.txt", ".lock", "checkpoint/state.pt",
)  # fmt: skip
"""Names in the directory that must be files where they exist."""


def _write_json(path: Path, value: Any) -> None:
    write_atomically(path, (json.dumps(value, indent=2) + "\n").encode())


@dataclass(frozen=True)
class RunSettings:
    """Everything that determines a run, as in `settings.json`."""

    env: str
    algo: str
    steps: int = column(least=1)
    """Simulator steps; training ends with the episode (own agents) or epoch (OmniSafe) that reaches them. With a
    dataset: gradient steps."""
    seed: int = column(least=0)
    budget: float | None = column(least=0)
    """Cost limit per episode (a cost return); None in environments without a cost."""
    budgets: dict[str, float] = field(default_factory=dict)
    """Cost limits by name, where the environment names several costs."""
    preset: str = "default"
    env_options: dict[str, Any] = field(default_factory=dict)
    algo_settings: dict[str, Any] = field(default_factory=dict)
    """Every setting of the algorithm, resolved."""
    privileged: str = ""
    """The privileged information that the algorithm used besides its samples; "" for none."""
    device: str = "cpu"
    threads: int = column(least=1, default=1)
    eval_every: int = column(least=0, default=0)
    """Simulator steps between evaluations; 0: one evaluation, at the end."""
    eval_episodes: int = column(least=0, default=5)
    variant: str = ""
    """A name for these settings, to distinguish several of one algorithm: `H=4` in an ablation."""
    dataset: str = ""
    """The name of the dataset that the run learns from; "" for a run that learns while acting."""
    data: dict[str, Any] = field(default_factory=dict)
    """The description of the dataset (`Dataset.summary`)."""
    keep_every: int = column(least=0, default=0)
    """Simulator steps between checkpoints that are kept permanently; 0: only the last one is kept."""
    reset_free: bool = False
    """True: each episode of training begins where the last one ended, in one life. Evaluations have resets."""
    schema: int = SCHEMA

    @property
    def folder(self) -> str:
        """The folder of the runs that it is compared with: the name of the environment or the dataset."""
        return self.dataset or self.env

    @property
    def name(self) -> str:
        """The run's name in tables and pictures: `"safeloop"`, or with a variant `"safeloop H=4"`."""
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
        """The checkpoint in use; for a run `at` an earlier step, the one kept at that step."""
        self.report: Callable[[dict[str, Any]], None] = lambda message: None
        """The function that is called with progress, a dict of numbers. Code that shows progress sets it."""
        self.notify: Callable[[str], None] = lambda notice: None
        """The function that is called with one line that the user should see. Code that shows notices sets it."""

    @property
    def tables(self) -> tuple[Table, ...]:
        """Every table of the run."""
        return self.episodes, self.evaluations, self.fits, self.plans, self.updates, self.diagnostics

    @staticmethod
    def directory(out: Path, settings: RunSettings) -> Path:
        """Return `OUT/<folder>/<algo>/seed-<S>`, or `OUT/<folder>/<algo>-<variant>/seed-<S>`.

        A run that was made under an earlier name of its algorithm stays where it is.
        """
        names = [settings.name]
        names += [replace(settings, algo=old).name for old, new in RENAMED.items() if new == settings.algo]
        places = [out / settings.folder / re.sub("[: ]", "-", name) / f"seed-{settings.seed}" for name in names]
        return next((place for place in places if (place / "settings.json").exists()), places[0])

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
        """Reopen a run; an algorithm that was renamed has its present name in the settings.

        Raises `UsageError` where the run is missing, damaged or from another version.
        """
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
            if schema == 1:
                values = from_first_schema(values)
            elif schema != SCHEMA:
                raise UsageError(
                    f"{path} was made by another version (layout {schema}, this is {SCHEMA}): "
                    "use that version, or start a new run"
                )
            values["algo"] = RENAMED.get(values["algo"], values["algo"])
            run = cls(path, RunSettings(**with_added_settings(values)))
            run.status  # noqa: B018  (damaged status files should be reported now)
        except (json.JSONDecodeError, KeyError, TypeError, UnicodeDecodeError, RecursionError) as error:
            raise UsageError(f"{path} is damaged ({error}): restore it or start a new run") from None
        return run

    @property
    def status(self) -> dict[str, str]:
        """The status, `{"state": "new" | "running" | "interrupted" | "finished" | "failed", "reason": str}`."""
        value = json.loads((self.path / "status.json").read_text())
        return {"state": value["state"], "reason": value["reason"]}

    @property
    def dataset(self) -> str:
        """The path of the dataset that the run learns from. Raises `UsageError` where it is not known here."""
        again = "run `safeloop offline DATASET` again with the run's options"
        try:
            location = (self.path / "dataset.txt").read_text().removesuffix("\n")
        except OSError:
            raise UsageError(
                f"{self.path}: the path of its dataset {self.settings.dataset} is not known here: {again}"
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
        import torch  # takes a second, so other errors are raised before it

        torch.save(state, buffer)
        write_atomically(self.checkpoint, sealed(buffer))

    def keep_checkpoint(self, at: int) -> None:
        """Keep a copy of the checkpoint as the one at `at` simulator steps."""
        write_atomically(self.checkpoint.with_name(f"at-{at}.pt"), self.checkpoint.read_bytes())

    @property
    def kept(self) -> list[int]:
        """The simulator steps at which checkpoints were kept, in order."""
        found = (re.fullmatch(r"at-([0-9]{1,18})\.pt", path.name) for path in self.checkpoint.parent.glob("at-*.pt"))
        return sorted(int(match[1]) for match in found if match)

    def at(self, step: int) -> Run:
        """Return this run as it was at simulator step `step`. Raises `UsageError` where no checkpoint was kept then."""
        earlier = Run(self.path, self.settings)
        earlier.checkpoint = self.checkpoint.with_name(f"at-{step}.pt")
        if not earlier.checkpoint.is_file():
            there = ", ".join(map(str, self.kept)) or "none; --keep-every N keeps some"
            raise UsageError(f"{self.path} has no checkpoint at {step} steps (there are: {there})")
        return earlier

    def load_checkpoint(self) -> dict[str, Any]:
        """Read the checkpoint, without executing anything in it.

        Raises `UsageError` where it is missing or damaged; the message names an earlier checkpoint that was kept.
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
        """The remedy for a damaged checkpoint: to resume from the last intact one that was kept, where there is one."""
        for step in reversed(self.kept):
            earlier = self.at(step)
            with suppress(Exception):
                earlier._read_checkpoint()
                return f"`safeloop resume {self.path} --from {step}` continues from the checkpoint kept then"
        return "restore it or start a new run"

    def go_back(self, step: int) -> None:
        """Replace the last checkpoint by the one kept at `step` simulator steps, to resume the run from there.

        Raises `UsageError` where there is none or it is damaged, or a process works on the run.
        """
        earlier = self.at(step)
        earlier.load_checkpoint()
        with self.locked():
            self.set_status("interrupted", f"went back to {step} steps")
            write_atomically(self.checkpoint, earlier.checkpoint.read_bytes())

    def repair(self) -> None:
        """Remove what a killed process left half written. Only the process that holds the run may do so."""
        for folder in (self.path, self.checkpoint.parent):
            remove_temporary(folder)
        for table in self.tables:
            table.repair()

    def drop_rows_after(self, simulator_steps: int) -> None:
        """Remove the rows after `simulator_steps`, which a checkpoint at that step does not include."""
        for table in self.tables:
            if table.path.exists():
                table.keep([row for row in table.read() if row.simulator_steps <= simulator_steps])
