"""WallStop: a cart on a rail that is rewarded for nearing a point just behind a wall."""

import gymnasium
import numpy as np
from gymnasium.spaces import Box

from safeloop.cmdp import EnvSpec
from safeloop.errors import UsageError

REPEAT, EPISODE, TIME_STEP = 2, 100, 0.05


class WallStop(gymnasium.Env):
    """Observation: distance to the wall (m, negative behind it) and velocity (m/s). Action: force."""

    observation_space = Box(-np.inf, np.inf, (2,), np.float32)
    action_space = Box(-1.0, 1.0, (1,), np.float32)
    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012

    def __init__(self, wall, render_mode=None):
        self.wall, self.render_mode = wall, render_mode

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.position, self.velocity, self.steps = self.np_random.uniform(-0.2, 0.2), 0.0, 0
        return self._observation(), {}

    def step(self, action):
        reward, costs = 0.0, []
        for _ in range(REPEAT):  # one decision is REPEAT simulator steps
            self.velocity += TIME_STEP * (4.0 * float(np.clip(action[0], -1, 1)) - 0.5 * self.velocity)
            self.position += TIME_STEP * self.velocity
            self.steps += 1
            reward -= abs(self.wall + 0.2 - self.position)
            costs.append(float(self.position > self.wall))
        return self._observation(), reward, False, self.steps >= EPISODE, {"costs": costs}

    def render(self):
        frame = np.full((64, 256, 3), 255, np.uint8)
        frame[:, int(128 + 64 * self.wall) :] = (230, 159, 0)
        column = int(np.clip(128 + 64 * self.position, 4, 251))
        frame[24:40, column - 4 : column + 4] = (0, 114, 178)
        return frame

    def _observation(self):
        return np.array([self.wall - self.position, self.velocity], np.float32)


def depth_behind_wall(obs, act, next_obs, margin=0.0):
    """How deep (m) the cart is behind the wall moved forward by `margin`: `[..., 2] -> [...]`."""
    return (margin - next_obs[..., 0]).clamp(min=0.0)


class Family:
    """What the entry point loads to."""

    def names(self):
        return ["WallStop"]

    def canonical(self, name):
        return "WallStop" if name.lower() == "wallstop" else None

    def spec(self, name, wall="1.0", **unknown):
        if unknown:
            raise UsageError(f"WallStop has no option {sorted(unknown)[0]!r}; it has: wall")
        try:
            position = float(wall)
        except (TypeError, ValueError):
            raise UsageError(f"WallStop: wall={wall}: expected a number of metres") from None
        return EnvSpec(
            id="WallStop",
            suite="wallstop 1.0.0",
            make=lambda render_mode=None: WallStop(position, render_mode),
            action_repeat=REPEAT,
            episode_steps=EPISODE,
            cost_meaning="a simulator step behind the wall",
            budget=5.0,
            cost=depth_behind_wall,
            options={"wall": position},
        )


family = Family()
