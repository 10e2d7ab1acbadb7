"""Adaptation of gymnasium's MuJoCo tasks to the suite's contract, and of model files that MuJoCo 3 refuses."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import gymnasium
import mujoco
import numpy as np
from gymnasium.spaces import Box

from safeloop.errors import UsageError
from safeloop_envs import physics
from safeloop_envs.actions import ActionRange
from safeloop_envs.rendering import add_marker
from safeloop_envs.running import Running

INCLUDE = re.compile(r"""<include file=["']([^"']+)["']\s*/>""")
OUTDATED = re.compile(r"""\s(collision="predefined"|apirate="\d+")|</?mujocoinclude\s*>""")
"""Markup that MuJoCo 3 no longer reads: the Swimmer's file asks for collisions between listed pairs alone, and lists
none; Adroit's has the rate of a viewer."""

CAMERA = "track"
"""The camera that follows the robot, the default of Gymnasium before 1.0 but not of 1.x."""


def folder_of(package: str, missing: str) -> Path:
    """Return the folder of an installed package, without importing it. Raises `UsageError` with the text `missing`."""
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise UsageError(missing)
    return Path(found.submodule_search_locations[0])


def sources(path: Path) -> tuple[str, str, dict[str, bytes]]:
    """Return a model file with the files that it includes: as it is, as MuJoCo 3 reads it, and the assets by name."""
    xml = INCLUDE.sub(lambda found: (path.parent / found[1]).read_text("utf-8"), path.read_text("utf-8"))
    files = (file for file in path.parent.glob("resources/**/*") if file.is_file())
    return xml, OUTDATED.sub("", xml), {str(file.relative_to(path.parent)): file.read_bytes() for file in files}


def simulation(env: Any) -> tuple[mujoco.MjModel, mujoco.MjData]:
    """Return the model and data of gymnasium's `MujocoEnv`, from a model file that MuJoCo 3 refuses."""
    xml, readable, assets = sources(Path(env.fullpath))
    model = mujoco.MjModel.from_xml_string(readable, assets)
    if 'collision="predefined"' in xml:
        model.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_CONTACT
    model.vis.global_.offwidth, model.vis.global_.offheight = env.width, env.height
    return model, mujoco.MjData(model)


class MujocoTask(gymnasium.Env[np.ndarray, np.ndarray]):
    """A wrapper of gymnasium's stock environment, with `action_repeat` simulator steps per decision.

    The stock environment does the work, because its reset and step are fast already. Observation: the first `observed`
    numbers (None: all) of the task's own, float32 [S]. Action: float32 [A] in [-1, 1], clipped beyond, mapped linearly
    to the task's own bounds (Humanoid's are 0.4). Cost is the stock environment's, where its step returns one.
    Reward and cost are sums over the decision. An episode is truncated after `episode_steps` simulator steps and
    terminates where the stock environment does. `reset(options={"state": state})` starts from a full state, as
    `get_state` returns it; the goal of the pen's task is no part of that.
    """

    def __init__(
        self, stock: Any, action_repeat: int, episode_steps: int, render_mode: str | None, observed: int | None = None
    ) -> None:
        self._stock, self._observed = stock, slice(observed)
        bounds = stock.action_space
        self._actions = ActionRange(np.stack([bounds.low, bounds.high], axis=1))
        self._repeat, self._episode_steps = action_repeat, episode_steps
        self._steps, self._ended = 0, True
        self.action_space = self._actions.space
        size = observed or stock.observation_space.shape[0]
        self.observation_space = Box(-np.inf, np.inf, (size,), np.float32)
        self.render_mode = render_mode
        seconds = stock.dt * action_repeat
        self.metadata = {
            "render_modes": ["rgb_array"], "render_fps": max(1, round(1 / seconds)), "decision_seconds": seconds,
        }  # fmt: skip

    def _seen(self, observation: np.ndarray) -> np.ndarray:
        return observation[self._observed].astype(np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start an episode at random, or at `options={"state": state}`: observation [S] float32 and an empty info."""
        super().reset(seed=seed)
        observation, _ = self._stock.reset(seed=seed)
        self._steps, self._ended = 0, False
        if options is not None and "state" in options:
            self.set_state(options["state"])
            observation = self._stock._get_obs()
        return self._seen(observation), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Take one decision, action [A]. Raises `ValueError` for a non-finite action or a wrong shape."""
        if self._ended:
            raise RuntimeError("no episode is under way: call reset() before step()")
        control = self._actions.control(action)
        total, costs = 0.0, list[float]()
        terminated = truncated = False
        while len(costs) < self._repeat and not (terminated or truncated):
            observation, reward, *cost, terminated, _, _ = self._stock.step(control)
            total += float(reward)
            costs.append(float(sum(cost)))
            self._steps += 1
            truncated = self._steps >= self._episode_steps
        self._ended = terminated or truncated
        info = {
            "cost": sum(costs), "violations": sum(cost > 0 for cost in costs), "simulator_steps": len(costs),
            "costs": costs,
        }  # fmt: skip
        return self._seen(observation), total, bool(terminated), truncated, info

    def get_state(self) -> np.ndarray:
        """Return the full state `[F]`, float64."""
        return physics.get_state(self._stock.model, self._stock.data)

    def set_state(self, state: np.ndarray) -> None:
        """Continue from a full state `[F]`. Raises `ValueError` for another size or a number that is not finite."""
        physics.set_state(self._stock.model, self._stock.data, physics.checked(state, len(self.get_state())))

    def simulator(self, robot: str, threads: int) -> physics.TaskSimulator:
        """Return the simulator of a robot's task, which makes its decisions as this environment does."""
        return physics.TaskSimulator(Running(robot, self._stock, self._actions, self._repeat, self._observed), threads)

    def render(self) -> np.ndarray | None:  # type: ignore[override]
        """Return a frame, uint8 [480, 480, 3]; None without `render_mode="rgb_array"`."""
        if self.render_mode != "rgb_array":
            return None
        viewer = self._stock.mujoco_renderer._get_viewer(self.render_mode)
        viewer._add_marker_to_scene = lambda marker: add_marker(viewer.scn, marker)
        return self._stock.render()

    def close(self) -> None:
        """Free the renderer."""
        self._stock.close()
