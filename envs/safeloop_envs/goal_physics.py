"""Safety-Gymnasium's Goal tasks with full states, and their simulator.

A full state is the physics' (see `safeloop_envs.physics`) and the layout: first position and orientation of the robot,
the goal and all objects. Where a goal will be after it is met is in no state, so a rollout never sees it.

Letters: M rollouts, H decisions, N simulator steps, T steps of the physics, F full state, L numbers of a layout.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from typing import Any

import mujoco
import numpy as np

from safeloop.protocols import Simulated
from safeloop_envs import physics
from safeloop_envs.navigation import NavigationEnv
from safeloop_envs.world import move_body, settle

KEPT = 16
"""Number of layouts whose models are kept."""
NEAR = 0.6
"""Distance of the robot's centre to a vase's, m, beyond which they cannot touch."""


class GoalEnv(NavigationEnv):
    """A Goal task that can be put into a full state: `reset(options={"state": state})` starts from one."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        names = [self._model.body(i).name for i in range(self._model.nbody)]
        self.layout = Layout([name for name in names if re.fullmatch(r"agent|goal|(hazard|vase)\d+", name)])

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start an episode at random, or at `options={"state": state}`: observation [S] float32 and an empty info."""
        observation, info = super().reset(seed=seed)
        if options is not None and "state" in options:
            self.set_state(options["state"])
            mujoco.mj_kinematics(self._model, self._data)
            observation = self._observe()
        return observation, info

    def get_state(self) -> np.ndarray:
        """Return the full state `[F]`, float64."""
        return np.concatenate((physics.get_state(self._model, self._data), self.layout.read(self._model)))

    def set_state(self, state: np.ndarray) -> None:
        """Continue from a full state `[F]`. Raises `ValueError` for another size or a number that is not finite."""
        given = physics.checked(state, len(self.get_state()))
        moving, layout = np.split(given, [-self.layout.size])
        self.layout.write(self._model, self._data, layout)
        physics.set_state(self._model, self._data, moving)
        self._task.last_dist_goal = self._task.dist_goal()


class Layout:
    """First poses of bodies, as `L = 7 * bodies` numbers: place and orientation of each."""

    def __init__(self, names: list[str]):
        self.names, self.size = names, 7 * len(names)

    def read(self, model: mujoco.MjModel) -> np.ndarray:
        """Return the layout `[L]` of a model."""
        return np.concatenate([np.r_[model.body(name).pos, model.body(name).quat] for name in self.names])

    def write(self, model: mujoco.MjModel, data: mujoco.MjData, layout: np.ndarray) -> None:
        """Move a model's bodies to their places in a layout `[L]`; `data` is used up."""
        for name, pose in zip(self.names, layout.reshape(-1, 7), strict=True):
            move_body(model, name, pose[:3], pose[3:])
        settle(model, data)

    def places(self, layout: np.ndarray, kind: str) -> np.ndarray:
        """Return the places `[M, bodies, 2]` of the bodies of a kind in layouts `[M, L]`."""
        chosen = [i for i, name in enumerate(self.names) if name.rstrip("0123456789") == kind]
        return layout.reshape(len(layout), -1, 7)[:, chosen, :2]


class GoalSimulator:
    """A Goal task's physics, reward, cost and observation (`protocols.Simulator`).

    The rest of a decision after its goal is met has no reward: where the next goal is, nobody knows then.
    """

    def __init__(self, env: GoalEnv, threads: int = 1):
        env.reset(seed=0)
        self._env, self.layout = env, env.layout
        self.physics = physics.Physics(env._model, threads)
        self.task, self.repeat = env._task, env._repeat
        self.own = self.physics.full
        """The place of the layout in a full state."""
        self._each = env._frameskip[0]
        self.substeps = self.repeat * self._each
        self._models = OrderedDict[bytes, mujoco.MjModel]()
        agent = env._model.body("agent")
        self._free = env._model.jnt_type[agent.jntadr[0]] == mujoco.mjtJoint.mjJNT_FREE
        vases = [env._model.body(name) for name in self.layout.names if name.startswith("vase")]
        self._vase_qpos = np.array([env._model.jnt_qposadr[v.jntadr[0]] for v in vases], int)
        self._vase_qvel = np.array([env._model.jnt_dofadr[v.jntadr[0]] for v in vases], int)
        self._vases_cost = any(x.name == "vases" and x.is_constrained for x in self.task._obstacles)
        self._hazards_cost = any(x.name == "hazards" for x in self.task._obstacles)

    def rollout(self, state: np.ndarray, act: np.ndarray) -> Simulated:
        """Return the rollouts of actions `[M, H, A]` from full states `[M, F]`."""
        controls = self._env._actions.scaled(act)
        layout = state[:, self.own :]
        models = [self._model(row) for row in layout]
        path = self.physics.path(state[:, : self.own], controls.repeat(self.substeps, 1), sensors=False, models=models)
        with np.errstate(all="ignore"):
            reward, cost, event = self._judge(path, layout, act.shape[1])
        stays = np.broadcast_to(layout[:, None], (len(act), act.shape[1] + 1, self.layout.size))
        states = np.concatenate((path.state[:, :: self.substeps], stays), 2)
        return Simulated(states, reward, cost, None, event, path.valid)

    def _judge(self, path: physics.Path, layout: np.ndarray, horizon: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return reward, cost and event `[M, H]`."""
        at = slice(None, None, self._each)
        robot = self._robot(path.qpos[:, at], layout)  # [M, N+1, 2]
        goal = np.linalg.norm(self.layout.places(layout, "goal") - robot, axis=-1)
        met = goal[:, 1:] <= self.task.goal.size
        reward = -np.diff(goal, axis=1) * self.task.goal.reward_distance + met * self.task.goal.reward_goal
        if self.task.reward_conf.reward_clip:
            reward = reward.clip(-self.task.reward_conf.reward_clip, self.task.reward_conf.reward_clip)
        violated = np.zeros(met.shape, bool)
        if self._hazards_cost:
            apart = self.layout.places(layout, "hazard")[:, None] - robot[:, 1:, None]
            violated = (np.linalg.norm(apart, axis=-1) < self.task.hazards.size).any(-1)
        if self._vases_cost:
            violated |= self._vases(path, layout, robot)
        by_decision = len(met), horizon, self.repeat
        met = met.reshape(by_decision)
        return physics.summed_until(met, reward), violated.reshape(by_decision).sum(-1).astype(float), met.any(-1)

    def _robot(self, qpos: np.ndarray, layout: np.ndarray) -> np.ndarray:
        """Return the robot's centre `[M, N+1, 2]`: of its free joint, or of two slides in its first frame."""
        if self._free:
            return qpos[..., :2]
        first = layout.reshape(len(layout), -1, 7)[:, self.layout.names.index("agent")]
        half = np.arctan2(first[:, 6], first[:, 3])
        sin, cos = np.sin(2 * half)[:, None], np.cos(2 * half)[:, None]
        x, y = qpos[..., 0], qpos[..., 1]
        return first[:, None, :2] + np.stack((cos * x - sin * y, sin * x + cos * y), -1)

    def _vases(self, path: physics.Path, layout: np.ndarray, robot: np.ndarray) -> np.ndarray:
        """Return whether a vase is touched or moves, `[M, N]`, asking the physics where it is near or not at rest."""
        at = slice(self._each, None, self._each)
        qpos, qvel = path.qpos[:, at], path.qvel[:, at]
        places = np.stack((qpos[..., self._vase_qpos], qpos[..., self._vase_qpos + 1]), -1)  # [M, N, vases, 2]
        near = (np.linalg.norm(places - robot[:, 1:, None], axis=-1) < NEAR).any(-1)
        speeds = np.sqrt(sum(np.square(qvel[..., self._vase_qvel + i]) for i in range(3)))
        doubtful = near | (speeds > 0.999 * self.task.vases.velocity_threshold).any(-1)
        doubtful &= path.valid[:, None]
        found, model, data = np.zeros(doubtful.shape, bool), self._env._model, self._env._data
        for row in np.flatnonzero(doubtful.any(1)):
            self.layout.write(model, data, layout[row])
            for step in np.flatnonzero(doubtful[row]):
                data.qpos[:], data.qvel[:] = qpos[row, step], qvel[row, step]
                mujoco.mj_fwdPosition(model, data)
                found[row, step] = any(check() for check in self._env._every_check)
        return found

    def _model(self, layout: np.ndarray) -> mujoco.MjModel:
        """Return the model of a layout `[L]`. The goal is no part of the physics, so its place makes no difference."""
        goal = 7 * self.layout.names.index("goal")
        key = np.delete(layout, slice(goal, goal + 7)).tobytes()
        if key not in self._models:
            model = physics.own_copy(self._env._model)
            self.layout.write(model, mujoco.MjData(model), layout)
            self._models[key] = model
            while len(self._models) > KEPT:
                self._models.popitem(last=False)
        self._models.move_to_end(key)
        return self._models[key]

    def observe(self, state: np.ndarray) -> np.ndarray:
        """Return the observations `[M, S]` of full states `[M, F]`, as the environment makes them: one by one."""
        env, found = self._env, []
        for row in state:
            env.set_state(row)
            found.append(env._observe())
        return np.stack(found)
