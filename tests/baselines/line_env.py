"""A point on a line: small enough to train on in a second, with uneven action bounds and an action repeat."""

import gymnasium
import numpy as np

from safeloop.cmdp import EnvSpec

LOW, HIGH = np.array([-2.0, -1.0], np.float32), np.array([3.0, 1.0], np.float32)
REPEAT, EPISODE_STEPS = 2, 20

SMALL = {"episodes_per_epoch": 5, "batch_size": 25, "update_iters": 2, "hidden_units": 8}
"""Settings for a fast epoch: 5 episodes are 50 decisions, 100 simulator steps."""

SMALL_OFF_POLICY = {"batch_size": 25, "hidden_units": 8, "start_learning_steps": 61, "size": 1000}
"""Settings for fast learning; an epoch is 2 episodes, 20 decisions, 40 simulator steps."""


class Line(gymnasium.Env):
    """Position [1] and its target [1]; a cost beyond 0.5; may end where |position| passes `wall`."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float64)
    action_space = gymnasium.spaces.Box(LOW, HIGH, dtype=np.float32)

    def __init__(self, wall: float = np.inf, fails_after: float = np.inf):
        self.wall, self.fails_after = wall, fails_after
        self.actions: list[np.ndarray] = []

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.position, self.steps = self.np_random.uniform(-0.2, 0.2), 0
        return np.array([self.position, 1.0]), {}

    def step(self, action):
        self.actions.append(np.array(action))
        if len(self.actions) > self.fails_after:
            raise ValueError("the motor burnt out")
        reward, cost, taken, terminated = 0.0, 0.0, 0, False
        while taken < REPEAT and self.steps < EPISODE_STEPS and not terminated:
            self.position += 0.1 * float(action[0]) + 0.01 * self.np_random.normal()
            reward -= abs(self.position - 1.0)
            cost += float(self.position > 0.5)
            taken, self.steps = taken + 1, self.steps + 1
            terminated = abs(self.position) > self.wall
        info = {"cost": cost, "violations": int(cost), "simulator_steps": taken}
        return np.array([self.position, 1.0]), reward, terminated, self.steps >= EPISODE_STEPS, info


def line_spec(**options) -> EnvSpec:
    return EnvSpec(
        "Line", "tests", lambda render_mode=None: Line(**options), REPEAT, EPISODE_STEPS, "beyond 0.5",
        budget=2.0, terminates="wall" in options,
    )  # fmt: skip


def flat(values, prefix=""):
    """`{"a": {"b": 1}}` as pairs `("a.b", 1)`."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value
