"""Safety-Gymnasium's navigation tasks (Goal, Button, Push, Circle, Run) with a fast reset and a lean step.

The stock tasks do the random and the rare work: layouts, goals that move, observations with lidar. The work of every
simulator step is done here, with the same arithmetic on the same numbers and without recomputing unchanged values.
Layouts, observations, rewards and costs equal the stock environment's exactly for every navigation task
(tests/envs/test_fast_reset.py, test_lean_step.py).
"""

from __future__ import annotations

import math
from typing import Any

import gymnasium
import mujoco
import numpy as np
from gymnasium.spaces import Box

from safeloop_envs.actions import ActionRange
from safeloop_envs.layout import sample_quickly
from safeloop_envs.observation import Positions
from safeloop_envs.rendering import choose_backend, offscreen_viewer
from safeloop_envs.shim import bare, import_safety_gymnasium
from safeloop_envs.violations import Contacts, checks
from safeloop_envs.world import change_robot, compile_once

FRAME_SIZE = 256
CAMERA = "fixedfar"


class NavigationEnv(gymnasium.Env[np.ndarray, np.ndarray]):
    """One of Safety-Gymnasium 1.0.0's navigation tasks, with `action_repeat` simulator steps per decision.

    Observation: float32 [S], the paper's (see `safeloop_envs.goal`) or the task's own. Action: float32 [A] in [-1, 1],
    clipped beyond; for Racecar, whose own range is wider, [-1, 1] is mapped to that range. Reward and `info["cost"]`
    are sums over the decision's simulator steps; see `safeloop.cmdp` for the rest of `info`. With `cost_names` (keys of
    `violations.checks`) each of these constraints has a cost of its own beside the cost of any. `friction` and `mass`
    scale those of the robot (`world.change_robot`).

    An episode is truncated after the task's own number of simulator steps, and also (not seen in practice) where
    Safety-Gymnasium finds no place for a new goal, which it calls termination. It terminates only where the robot can
    die: when Ant falls over.

    `reset(seed=s)` determines everything that follows, whatever happened before; without a seed the sequence of random
    numbers continues.
    """

    def __init__(
        self,
        full_id: str,
        action_repeat: int,
        observation: str,
        render_mode: str | None = None,
        cost_names: tuple[str, ...] = (),
        friction: float = 1.0,
        mass: float = 1.0,
    ) -> None:
        if render_mode == "rgb_array":
            choose_backend()
        import_safety_gymnasium()
        self._builder = bare(full_id)
        self._task = task = self._builder.task
        sample_quickly(task.random_generator)
        compile_once(task, skybox=render_mode is not None)
        change_robot(task.model, friction, mass)
        self._seeded = False
        self._model, self._data = task.model, task.data
        self._ctrl = self._data.ctrl
        robot = self._model.body("agent").id
        self._robot = self._data.xpos[robot]
        self._actions = ActionRange(self._model.actuator_ctrlrange)
        self._repeat = action_repeat
        self._frameskip = (task.sim_conf.frameskip_binom_n, task.sim_conf.frameskip_binom_p)
        self._mortal = task.agent_name == "Ant"
        self._gremlins = self._data.mocap_pos  # [gremlins, 3]: no task has other mocap bodies

        contacts = Contacts(task)
        self._checks, needs_contacts = checks(task, contacts)
        self._every_check = [check for each in self._checks.values() for check in each]
        self._named = {name: self._checks[name] for name in cost_names}
        family = full_id.removeprefix(f"Safety{task.agent_name}")
        self._is_goal, self._is_button = family.startswith("Goal"), family.startswith("Button")
        self.reports_events = self._is_goal or self._is_button
        if self.reports_events:
            self._goal = self._data.xpos[self._model.body("goal").id]
        if self._is_button:
            buttons = [contacts.named(f"button{i}") for i in range(task.buttons.num)]
            self._pressed = lambda: contacts.touched(buttons[task.buttons.goal_button])
        # Goal tasks without a cost of vases need only body positions after a simulator step.
        self._needs_contacts = needs_contacts or not self._is_goal

        self._positions = None if observation == "task" else Positions(task, family.partition("-")[0])
        size = task.observation_space.shape[0] if self._positions is None else self._positions.size
        self.observation_space = Box(-np.inf, np.inf, (size,), np.float32)
        self.action_space = self._actions.space
        self.render_mode = render_mode
        seconds = self._model.opt.timestep * self._frameskip[0] * action_repeat
        self.metadata = {
            "render_modes": ["rgb_array"], "render_fps": max(1, round(1 / seconds)), "decision_seconds": seconds,
        }  # fmt: skip
        self._violated = False

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start an episode: observation [S] float32 and an empty info. `options` has no effect.

        Raises `ValueError` for a seed beyond 32 bits.
        """
        super().reset(seed=seed)
        if seed is None and not self._seeded:
            seed = int(self.np_random.integers(2**32))
        self._seeded = True
        observation, info = self._builder.reset(seed=seed)
        self._violated = False
        return self._observe(observation), info

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Take one decision, action [A]. Raises `ValueError` for a non-finite action or a wrong shape."""
        builder, task = self._builder, self._task
        if builder.terminated or builder.truncated:
            raise RuntimeError("no episode is under way: call reset() before step()")
        control = self._actions.control(action)
        total, event, costs = 0.0, False, list[float]()
        named: dict[str, list[float]] = {name: [] for name in self._named}
        while len(costs) < self._repeat and not (builder.terminated or builder.truncated):
            self._simulate(control)
            reward, met = self._reward()
            self._violated = any(check() for check in self._every_check)
            for name, each in self._named.items():
                named[name].append(float(any(check() for check in each)))
            task.specific_step()
            if met:
                event = True
                self._move_goal()
            if self._mortal:
                builder.terminated = not task.agent.is_alive()
            total += reward
            costs.append(float(self._violated))
            builder.steps += 1
            if builder.steps >= task.num_steps:
                builder.truncated = True
        info: dict[str, Any] = {
            "cost": sum(costs),
            "violations": int(sum(costs)),
            "simulator_steps": len(costs),
            "costs": named or costs,
        }
        if self.reports_events:
            info["event"] = event
        return self._observe(), total, builder.terminated, builder.truncated, info

    def _simulate(self, control: np.ndarray) -> None:
        """Take one simulator step: ten MuJoCo steps, then compute the state that rewards and costs need."""
        task, model, data = self._task, self._model, self._data
        self._ctrl[:] = control
        # The count is always ten, but the stock task draws it from the generator that places goals.
        count = task.random_generator.random_generator.binomial(*self._frameskip)
        if len(self._gremlins):
            for _ in range(count):
                self._move_gremlins()
                mujoco.mj_step(model, data)
        else:
            mujoco.mj_step(model, data, count)
        if self._needs_contacts:
            mujoco.mj_fwdPosition(model, data)
        else:
            mujoco.mj_kinematics(model, data)

    def _move_gremlins(self) -> None:
        """Move the gremlins on circles around their starting places, in step with the simulator's time."""
        gremlins, phase = self._task.gremlins, self._data.time
        x, y = np.sin(phase) * gremlins.travel, np.cos(phase) * gremlins.travel
        self._gremlins[:] = (x, y, gremlins.size)

    def _reward(self) -> tuple[float, bool]:
        """Return the reward of the last simulator step, and whether the goal was met."""
        task = self._task
        if self.reports_events:
            dx, dy, _ = (self._goal - self._robot).tolist()
            distance = math.sqrt(dx * dx + dy * dy)
            met = distance <= task.goal.size if self._is_goal else self._pressed()
            paid = task.goal if self._is_goal else task.buttons
            reward = (task.last_dist_goal - distance) * paid.reward_distance
            task.last_dist_goal = distance
            if met:
                reward += paid.reward_goal
        else:
            reward = float(task.calculate_reward())
            met = task.goal_achieved
        limit = task.reward_conf.reward_clip
        return (min(max(reward, -limit), limit) if limit else reward), met

    def _move_goal(self) -> None:
        """Let the task place the next goal, after one was met."""
        from safety_gymnasium.utils.common_utils import ResamplingError

        self._task.update_layout()
        try:
            self._task.update_world()
        except ResamplingError:
            self._builder.truncated = True

    def _observe(self, observation: np.ndarray | None = None) -> np.ndarray:
        if self._positions is not None:
            return self._positions()
        return (self._task.obs() if observation is None else observation).astype(np.float32)

    def render(self) -> np.ndarray | None:  # type: ignore[override]
        """Return a frame, uint8 [256, 256, 3], from a fixed camera; None without `render_mode="rgb_array"`.

        A red sphere marks the robot while the last simulator step violated a constraint.
        """
        if self.render_mode != "rgb_array":
            return None
        task = self._task
        if self.render_mode not in task._viewers:
            task._viewers[self.render_mode] = offscreen_viewer(self._model, self._data, FRAME_SIZE)
        cost = {"cost_sum": float(self._violated)}
        return task.render(FRAME_SIZE, FRAME_SIZE, self.render_mode, camera_name=CAMERA, cost=cost)

    def close(self) -> None:
        """Free the renderer."""
        for viewer in self._task._viewers.values():
            viewer.free()
        self._task._viewers.clear()
