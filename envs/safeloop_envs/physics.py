"""MuJoCo as a simulator of many rollouts at once, from full states.

A full state is time, positions, velocities and activations, then the solver's warm start and the last control, which
sensors of forces show: `[F]` float64. With it a rollout repeats the steps of an environment bit for bit.

Letters: M rollouts, H decisions, T steps of the physics, F full state, U control, A action.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, Protocol

import mujoco
import numpy as np
from mujoco.rollout import Rollout

from safeloop.protocols import Simulated

FULL = mujoco.mjtState.mjSTATE_FULLPHYSICS
FASTEST = 1e4
"""Velocity (m/s or rad/s) above which the physics counts as diverged."""


class Path(NamedTuple):
    """The physics of M rollouts at each of T steps, and before the first."""

    state: np.ndarray  # [M, T+1, F]
    qpos: np.ndarray  # [M, T+1, positions]
    qvel: np.ndarray  # [M, T+1, velocities]
    sensors: np.ndarray  # [M, T+1, numbers of the model's sensors]
    valid: np.ndarray  # bool [M]


def get_state(model: mujoco.MjModel, data: mujoco.MjData) -> np.ndarray:
    """Return the full state `[F]` of `data`."""
    physics = np.empty(mujoco.mj_stateSize(model, FULL))
    mujoco.mj_getState(model, data, physics, FULL)
    return np.concatenate((physics, data.qacc_warmstart, data.ctrl))


def set_state(model: mujoco.MjModel, data: mujoco.MjData, state: np.ndarray) -> None:
    """Put a full state `[F]` into `data`, and compute everything that follows from it."""
    size = mujoco.mj_stateSize(model, FULL)
    moving, warm_start, data.ctrl[:] = np.split(np.asarray(state, np.float64), [size, size + model.nv])
    mujoco.mj_setState(model, data, moving, FULL)
    forward(model, data, warm_start)


def checked(state: np.ndarray, size: int) -> np.ndarray:
    """Return a full state as `[size]` float64. Raises `ValueError` for another size or a number that is not finite."""
    given = np.asarray(state, np.float64)
    if given.shape != (size,) or not np.isfinite(given).all():
        raise ValueError(f"a full state of this environment has {size} finite numbers, got {given.tolist()}")
    return given


def forward(model: mujoco.MjModel, data: mujoco.MjData, warm_start: np.ndarray | None = None) -> None:
    """Compute everything that follows from the state in `data`, which keeps its warm start (or is given one)."""
    kept = data.qacc_warmstart.copy() if warm_start is None else np.array(warm_start)
    data.qacc_warmstart[:] = kept
    mujoco.mj_forward(model, data)
    data.qacc_warmstart[:] = kept


def own_copy(model: mujoco.MjModel) -> mujoco.MjModel:
    """Return a copy of a model for imagined rollouts, where a state that diverges stays as it is.

    By default it is replaced by the model's first one: on its feet, say, and a full reward.
    """
    found = copy.copy(model)
    found.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_AUTORESET
    return found


class Physics:
    """Rollouts of a MuJoCo model, in one thread or several; their number changes no digit of the results."""

    def __init__(self, model: mujoco.MjModel, threads: int = 1):
        self.model = own_copy(model)
        self.size = mujoco.mj_stateSize(self.model, FULL)
        self.full = self.size + model.nv + model.nu
        """F, with the solver's warm start and the last control."""
        self._data = [mujoco.MjData(self.model) for _ in range(threads)]
        self._rollout = Rollout(nthread=threads if threads > 1 else 0)

    def path(
        self,
        state: np.ndarray,
        controls: np.ndarray,
        sensors: bool = True,
        models: Sequence[mujoco.MjModel] | None = None,
    ) -> Path:
        """Return the paths of controls `[M, T, U]` from full states `[M, F]`; T may be 0 with sensors.

        `models`: one for each path, with other constants than the model of the class.

        Sensors belong to a step's beginning in MuJoCo. For those of the end one more step is taken, whose state is left
        out; without `sensors` they are NaN there.
        """
        rows, steps = controls.shape[:2]
        physics, warm_start, control = np.split(state, [self.size, self.full - self.model.nu], 1)
        last = np.concatenate((control[:, None], controls), 1)  # before each state
        if sensors:
            controls = np.concatenate((controls, last[:, -1:]), 1)
        with quiet(), np.errstate(all="ignore"):
            states, sensed = self._rollout.rollout(
                self.model if models is None else models,
                self._data,
                np.ascontiguousarray(physics),
                controls,
                initial_warmstart=np.ascontiguousarray(warm_start),
            )
            seen = np.concatenate((physics[:, None], states[:, :steps]), 1)
            positions, velocities = self.model.nq, self.model.nv
            qpos, qvel = seen[..., 1 : 1 + positions], seen[..., 1 + positions : 1 + positions + velocities]
            took = seen[:, :, 0] - seen[:, :1, 0] - self.model.opt.timestep * np.arange(steps + 1)
            valid = np.isfinite(seen).all((1, 2)) & np.isfinite(sensed).all((1, 2))
            valid &= (np.abs(qvel) < FASTEST).all((1, 2)) & (np.abs(took) < self.model.opt.timestep / 2).all(1)
        if not sensors:
            sensed = np.concatenate((sensed, np.full_like(sensed[:, :1], np.nan)), 1)
        blank = np.zeros((rows, steps, warm_start.shape[1]))
        warm = np.concatenate((warm_start[:, None], blank), 1)
        return Path(np.concatenate((seen, warm, last), 2), qpos, qvel, sensed, valid)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep MuJoCo from printing, and writing to a file, that an imagined state diverged."""
    before = mujoco.get_mju_user_warning()
    mujoco.set_mju_user_warning(lambda message: None)
    try:
        yield
    finally:
        mujoco.set_mju_user_warning(before)


class Judged(NamedTuple):
    """The results of decisions: `[M, H]` each."""

    reward: np.ndarray
    cost: np.ndarray | None = None
    terminated: np.ndarray | None = None
    event: np.ndarray | None = None


def summed_until(ended: np.ndarray, each: np.ndarray) -> np.ndarray:
    """Return sums `[M, H]` over the simulator steps of decisions, up to the first that has `ended [M, H, steps]`."""
    late = np.cumsum(ended, -1) - ended > 0
    return np.where(late, 0.0, each.reshape(ended.shape)).sum(-1)


class Task(Protocol):
    """A task as functions of paths. The environment and its simulator use the same ones."""

    model: mujoco.MjModel
    substeps: int
    """Steps of the physics in a decision."""
    senses: bool
    """True where `judge` reads sensors."""

    def control(self, act: np.ndarray) -> np.ndarray:
        """Return the controls `[..., U]` of actions `[..., A]` in [-1, 1]."""
        ...

    def observe(self, path: Path, own: np.ndarray) -> np.ndarray:
        """Return the observations `[M, H+1, S]` of a path with one step for each decision.

        `own [M, .]` are the task's own numbers at its beginning, such as the place of a goal.
        """
        ...

    def judge(self, path: Path, act: np.ndarray, own: np.ndarray) -> Judged:
        """Return the results of actions `[M, H, A]`, from the path with every step of the physics."""
        ...


class TaskSimulator:
    """A task's physics as a `protocols.Simulator`; a full state may end with numbers of the task's own."""

    def __init__(self, task: Task, threads: int = 1):
        self.task, self.physics, self.substeps = task, Physics(task.model, threads), task.substeps
        self.own = self.physics.full
        """The place of the task's own numbers in a full state."""

    def rollout(self, state: np.ndarray, act: np.ndarray) -> Simulated:
        """Return the rollouts of actions `[M, H, A]` from full states `[M, F]`."""
        act, own = np.clip(act, -1.0, 1.0), state[:, self.own :]
        controls = self._controls(state, act).repeat(self.task.substeps, 1)
        path = self.physics.path(state[:, : self.own], controls, self.task.senses)
        with np.errstate(all="ignore"):
            found = self.task.judge(path, act, own)
        cost = np.zeros_like(found.reward) if found.cost is None else found.cost
        decisions = path.state[:, :: self.task.substeps]
        following = np.broadcast_to(own[:, None], (*decisions.shape[:2], own.shape[1]))
        states = np.concatenate((decisions, following), 2)
        return Simulated(states, found.reward, cost, found.terminated, found.event, path.valid)

    def _controls(self, state: np.ndarray, act: np.ndarray) -> np.ndarray:
        """Return the controls `[M, H, U]` of actions `[M, H, A]` from full states `[M, F]`."""
        return self.task.control(act)

    def observe(self, state: np.ndarray) -> np.ndarray:
        """Return the observations `[M, S]` of full states `[M, F]`."""
        path = self.physics.path(state[:, : self.own], np.zeros((len(state), 0, self.task.model.nu)))
        with np.errstate(all="ignore"):
            return self.task.observe(path, state[:, self.own :])[:, 0].astype(np.float32)
