"""Any environment of gymnasium's as one of safeloop's: here a pendulum that should turn no faster than 4 rad/s."""

import gymnasium

from safeloop.cmdp import EnvSpec
from safeloop.errors import UsageError


class SpeedLimit(gymnasium.Wrapper):
    """Each step in which the pendulum turns faster than the limit costs 1."""

    def step(self, action):
        obs, reward, terminated, truncated, info = self.env.step(action)
        return obs, reward, terminated, truncated, {**info, "cost": float(abs(obs[2]) > 4.0)}


def make(render_mode=None):
    env = gymnasium.make("Pendulum-v1", render_mode=render_mode, disable_env_checker=True)
    return SpeedLimit(gymnasium.wrappers.RescaleAction(env, -1.0, 1.0))


class Pendulum:
    """The family that the entry point names."""

    def names(self):
        return ["Pendulum"]

    def canonical(self, name):
        return "Pendulum" if name in ("Pendulum", "Pendulum-v1") else None

    def spec(self, name, **options):
        if options:
            raise UsageError(f"Pendulum has no option {sorted(options)[0]!r}")
        return EnvSpec(
            id="Pendulum",
            suite=f"gymnasium {gymnasium.__version__}",
            make=make,
            action_repeat=1,
            episode_steps=200,
            cost_meaning="a step in which the pendulum turns faster than 4 rad/s",
        )


family = Pendulum()
