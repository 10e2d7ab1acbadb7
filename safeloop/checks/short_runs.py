"""Short runs of an algorithm, which the checks judge."""

from __future__ import annotations

import json
import math
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from copy import deepcopy
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np

from safeloop.activity import TRAINING, doing
from safeloop.checks.findings import Fault, NotApplicable, told
from safeloop.checks.small_task import TASK, family
from safeloop.cmdp import EnvSpec, complete
from safeloop.data.datasets import Dataset, read
from safeloop.experiments.collect import RANDOM, collect
from safeloop.experiments.specify import preset_for
from safeloop.protocols import AlgorithmInfo, Resolved
from safeloop.recording.recorder import Recorder
from safeloop.recording.rows import EvaluationEpisode
from safeloop.recording.run import Run, RunSettings
from safeloop.recording.tables import Table
from safeloop.settings import build, flat
from safeloop.training import offline, online

if TYPE_CHECKING:
    pass

UNITS, EVALUATED = 2, 2
"""Episodes or epochs of a short run, and episodes of its evaluations."""
GRADIENT_STEPS, COLLECTED = 60, 16
"""Gradient steps of a short run on a dataset, and the dataset's episodes."""
EDGE = 1e-6
"""Actions may lie so far outside the action space, by rounding."""

SMALL: dict[str, int] = {
    "warmup": 10, "start_learning_steps": 10, "updates_per_decision": 2, "batch_size": 8,
    "hidden": 8, "hidden_units": 8, "hidden_layers": 1, "behaviour_hidden": 8,
    "ensemble_size": 2, "layers": 1, "width": 8, "entity_width": 8,
    "fit_every": 10, "first_fit_steps": 10, "fit_steps": 5, "rollouts": 5,
    "elites": 2, "population": 6, "particles": 1, "iterations": 2, "horizon": 3, "return_horizon": 5,
    "episodes_per_epoch": 2, "critic_iters": 2, "cg_iters": 2, "update_iters": 2,
}  # fmt: skip
"""Settings that make a run short, for the algorithms that have them."""


class Stopped(BaseException):
    """The end of training in its midst, as a kill makes it: nothing should catch it."""


class Evaluations(Table):
    """The table of evaluations, which counts what is added and stops where `left` rows were."""

    added, steps, left = 0, 0, math.inf

    def append(self, row: Any) -> None:
        """Add one row, or raise `Stopped`."""
        if self.added >= self.left:
            raise Stopped
        super().append(row)
        self.added, self.steps = self.added + 1, self.steps + row.length


class ShortRun(Run):
    """A run that counts its checkpoints and the simulator's steps, and stops where `left` checkpoints were written."""

    def __init__(self, path: Path, settings: RunSettings):
        super().__init__(path, settings)
        self.asked = settings  # those of the run itself are within the algorithm's reach
        self.evaluations: Evaluations = Evaluations(path / "evaluations.csv", EvaluationEpisode)
        self.left, self.saves, self.taken, self.recorded, self.seconds = math.inf, 0, 0, 0, 0.0

    def save_checkpoint(self, state: dict[str, Any]) -> None:
        """Write the checkpoint, or raise `Stopped`."""
        if self.saves >= self.left:
            raise Stopped
        super().save_checkpoint(state)
        self.saves += 1


class Counting(gymnasium.Wrapper):
    """Count the simulator steps that an environment takes, whoever asks for them."""

    def __init__(self, env: gymnasium.Env, spec: EnvSpec, run: ShortRun):
        super().__init__(env)
        self.spec_of_task, self.run = spec, run

    def step(self, action: Any) -> Any:
        """Step and count."""
        found = self.env.step(action)
        self.run.taken += int(complete(found[4], self.spec_of_task)["simulator_steps"])
        return found


@contextmanager
def _saving_often() -> Iterator[None]:
    """Have the suite's own loops write a checkpoint at every occasion, so that short runs have one in their midst."""
    before = online.CHECKPOINT_EVERY, offline.CHECKPOINT_EVERY, offline.REPORT_EVERY
    online.CHECKPOINT_EVERY, offline.CHECKPOINT_EVERY, offline.REPORT_EVERY = (1, *[GRADIENT_STEPS // 4] * 2)
    try:
        yield
    finally:
        online.CHECKPOINT_EVERY, offline.CHECKPOINT_EVERY, offline.REPORT_EVERY = before


@contextmanager
def calling(what: str) -> Iterator[None]:
    """Tell an exception of the algorithm's as a `Fault`, with the line that raised it."""
    try:
        yield
    except (Fault, NotApplicable):
        raise
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        frame = next((f for f in reversed(frames) if not {"torch", "numpy"} & {*Path(f.filename).parts}), frames[-1])
        place = f"{Path(frame.filename).name}, line {frame.lineno}"
        raise Fault(f"{what} raised {told(error)} ({place})") from error


def small(info: AlgorithmInfo, preset: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of `SMALL` that the algorithm has, and that are smaller than its own and accepted beside `given`."""
    usual: dict[str, Any] = flat(build(info.settings, preset, owner=info.name))
    found: dict[str, Any] = {}
    for key, value in SMALL.items():
        own = usual.get(key)
        larger = own is None or (isinstance(own, int | float) and own > value)
        if key in usual and key not in given and larger:
            with suppress(ValueError):
                build(info.settings, preset, found, {key: value}, given, owner=info.name)
                found[key] = value
    return found


@dataclass
class Trial:
    """An algorithm under examination, and its short runs."""

    name: str
    """The algorithm's, as on the command line."""
    algorithm: Any
    spec: EnvSpec
    folder: Path
    """Where runs and dataset are written."""
    given: Mapping[str, Any] = field(default_factory=dict)
    """Settings that the user asked for."""
    runs: dict[str, ShortRun] = field(default_factory=dict)
    """Finished runs by name."""

    @property
    def info(self) -> AlgorithmInfo:
        """The algorithm's record."""
        found: AlgorithmInfo = self.algorithm.info
        return found

    def fresh(self) -> Any:
        """Return the algorithm without what it may keep of earlier runs, as a new process has it."""
        with suppress(Exception):
            return deepcopy(self.algorithm)
        return self.algorithm

    def loaded(self, run: Run, how: str = "load") -> Any:
        """Return the policy of a run's checkpoint, or its `explorer`."""
        with calling(how):
            return getattr(self.fresh(), how)(run, 0)

    @property
    def costless(self) -> EnvSpec:
        """The small task without a cost."""
        return family.spec(TASK, cost="no")

    def asked(self, spec: EnvSpec) -> Any:
        """Return the settings of a short run, before they are resolved."""
        preset = self.info.presets[preset_for(self.algorithm, "default", spec)]
        layers = preset, small(self.info, preset, self.given), self.given
        return build(self.info.settings, *layers, owner=self.name)

    @cached_property
    def resolved(self) -> Resolved:
        """The settings of the short runs, resolved."""
        with calling("resolve"):
            found: Resolved = self.algorithm.resolve(self.asked(self.spec), self.spec)
        return found

    @cached_property
    def unit(self) -> int:
        """Return the steps that a run takes as a whole: of an episode or epoch, or half of the gradient steps."""
        if self.info.offline:
            return GRADIENT_STEPS // UNITS
        if self.info.epoch is None:
            return self.spec.episode_steps
        with calling("info.epoch"):
            found = self.info.epoch(self.resolved.settings, self.spec)
        if not isinstance(found, int) or found < 1:
            raise Fault(f"info.epoch gave {found!r}, expected a whole number of simulator steps, at least 1")
        return found

    @cached_property
    def collected(self) -> Path:
        """A dataset of the environment that the untrained actor of SAC has made."""
        path = self.folder / "dataset"
        collect(self.spec.id, [RANDOM], path, episodes=COLLECTED, env_options=self.spec.options, quiet=True)
        return path

    @property
    def dataset(self) -> Dataset:
        """The dataset, read anew as each process does."""
        return read(self.collected)

    @cached_property
    def observations(self) -> np.ndarray:
        """Observations of so many decisions of three episodes, `[decisions, 3, S]`, the actions being random."""
        env, random, found = self.spec.make(), np.random.default_rng(0), []
        for seed in range(3):
            found.append([np.array(env.reset(seed=seed)[0])])
            for _ in range(2):
                found[-1].append(np.array(env.step(random.uniform(-1, 1, self._actions.shape).astype(np.float32))[0]))
        env.close()
        return np.stack(found, 1)

    @cached_property
    def _actions(self) -> Any:
        env = self.spec.make()
        env.close()
        return env.action_space

    def acted(self, policy: Any, obs: np.ndarray) -> np.ndarray:
        """Return a policy's actions at the start of episodes. Raises `Fault` where these can't be executed."""
        shape, space = [*obs.shape[:-1], *self._actions.shape], self._actions
        with calling("reset and act"):
            policy.reset(1 if obs.ndim == 1 else len(obs))
            found = policy.act(obs.copy())
        if not isinstance(found, np.ndarray) or list(found.shape) != shape:
            what = f"an array {list(found.shape)}" if isinstance(found, np.ndarray) else f"a {type(found).__name__}"
            raise Fault(f"act gave {what} for observations {list(obs.shape)}, expected an array {shape}")
        if not np.isfinite(found).all():
            raise Fault(f"act gave {found.tolist()}, expected finite numbers")
        if (found < space.low - EDGE).any() or (found > space.high + EDGE).any():
            raise Fault(f"act gave {found.tolist()}, expected actions within the action space, {space}")
        return found

    def begin(self, name: str, seed: int) -> ShortRun:
        """Return a new run. The steps asked for end in the midst of an episode or epoch, which has to be finished."""
        settings = RunSettings(
            env=self.spec.id, algo=self.name, steps=UNITS * self.unit - self.unit // 2, seed=seed,
            budget=self.spec.budget, preset=preset_for(self.algorithm, "default", self.spec),
            env_options=self.spec.options, algo_settings=flat(self.resolved.settings),
            privileged=self.resolved.privileged, eval_every=self.unit, eval_episodes=EVALUATED,
            keep_every=self.unit if self.info.keeps_checkpoints and not self.info.offline else 0,
        )  # fmt: skip
        if self.info.offline:
            data = self.dataset
            settings = replace(settings, steps=GRADIENT_STEPS, dataset=data.name, data=data.summary)
        settings = RunSettings(**json.loads(json.dumps(asdict(settings))))
        run = ShortRun(Run.create(self.folder / name, settings).path, settings)
        if self.info.offline:
            run.dataset = str(self.collected)
        return run

    def train(self, run: ShortRun) -> None:
        """Train a run to its end or go on with it, as a process of its own would."""
        run.repair()
        with calling("train_on" if self.info.offline else "train"), _saving_often():
            if self.info.offline:
                with doing(TRAINING):
                    self.fresh().train_on(self.dataset, run)
                return
            spec = replace(self.spec, make=lambda *a, **b: Counting(self.spec.make(*a, **b), self.spec, run))
            env = Recorder(spec.make(), spec, run)
            try:
                with doing(TRAINING, run.asked.steps, "steps", lambda: env.simulator_steps):
                    self.fresh().train(env, run)
            finally:
                run.recorded = env.simulator_steps
                env.close()

    def trained(self, name: str, seed: int = 0) -> ShortRun:
        """Return the finished run of this name, which is trained where there is none."""
        if name not in self.runs:
            run, begun = self.begin(name, seed), time.perf_counter()
            self.train(run)
            run.seconds = time.perf_counter() - begun
            self.runs[name] = run
        return self.runs[name]

    def due(self, run: ShortRun) -> list[int]:
        """Return after how many steps something is due that is due every `unit`, and at the end."""
        end, ends = run.asked.steps, [row.simulator_steps for row in run.episodes.read()]
        if self.info.offline or self.info.epoch:
            ends = list(range(self.unit, (ends[-1] if ends else end) + 1, self.unit))
        pairs = zip([0, *ends], ends, strict=False)
        return [now for before, now in pairs if now >= end or now // self.unit > before // self.unit]

    def killed_twice(self, whole: ShortRun) -> ShortRun:
        """Return a run like `whole` that was killed in its last evaluation and, resumed, before its next checkpoint."""
        run = self.begin("resumed", whole.asked.seed)
        run.evaluations.left = whole.evaluations.added - 1
        with suppress(Stopped):
            self.train(run)
        run = ShortRun(run.path, run.asked)
        run.left = 0
        with suppress(Stopped):
            self.train(run)
        run = ShortRun(run.path, run.asked)
        self.train(run)
        return run

    @staticmethod
    def difference(one: Run, two: Run) -> str:
        """Return where the tables of two runs differ but for seconds; "" where they do not."""
        for a, b in zip(one.tables, two.tables, strict=True):
            rows, others = ([_timeless(row) for row in table.read()] for table in (a, b))
            for index, (row, other) in enumerate(zip(rows, others, strict=False)):
                for key, value in row.items():
                    if str(value) != str(other[key]):  # NaN is NaN
                        return f"{a.path.name}, row {index + 1}: {key.rstrip('_')} is {value} and {other[key]}"
            if len(rows) != len(others):
                return f"{a.path.name} has {len(rows)} and {len(others)} rows"
        return ""


def _timeless(row: Any) -> dict[str, Any]:
    return {key: value for key, value in asdict(row).items() if key != "wall_seconds"}
