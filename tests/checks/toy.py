"""A robot on a line with a goal that jumps, a hazard and edges: every check of `safeloop check env` applies to it."""

from dataclasses import replace

import gymnasium
import numpy as np
from gymnasium.spaces import Box

from safeloop.cmdp import Entities, EnvSpec
from safeloop.protocols import Simulated

REPEAT, EPISODE, EDGE, HAZARD, GOAL = 2, 41, 2.5, 0.3, 0.1


class Slider(gymnasium.Env):
    """Observation: position, velocity, and how far goal and hazard are from the robot."""

    observation_space = Box(-10.0, 10.0, (4,), np.float32)
    action_space = Box(-1.0, 1.0, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.position, self.hazard, self.goal = self.np_random.uniform(-0.5, 0.5, 3)
        self.velocity, self.steps = 0.0, 0
        return self.observe(), {}

    def step(self, action):
        reward, violations, taken, event, terminated = 0.0, 0, 0, False, False
        while taken < REPEAT and self.steps < EPISODE and not terminated:
            before = abs(self.goal - self.position)
            self.velocity = 0.8 * self.velocity + 0.1 * float(action[0])
            self.position += self.velocity
            after = abs(self.goal - self.position)
            reward += before - after
            if after < GOAL:
                reward, event = reward + 1.0, True
                self.goal = self.np_random.uniform(-0.5, 0.5)
            violations += int(abs(self.hazard - self.position) < HAZARD)
            terminated = bool(abs(self.position) > EDGE)
            taken, self.steps = taken + 1, self.steps + 1
        info = {
            "cost": float(violations), "violations": violations, "simulator_steps": taken, "event": event,
            "diagnostics": {"speed": abs(self.velocity)},
        }  # fmt: skip
        return self.observe(), float(reward), terminated, self.steps >= EPISODE, info

    def get_state(self):
        return np.array([self.position, self.velocity, self.hazard, self.goal])

    def set_state(self, state):
        self.position, self.velocity, self.hazard, self.goal = state

    def observe(self):
        numbers = [self.position, self.velocity, self.goal - self.position, self.hazard - self.position]
        return np.array(numbers, np.float32)


class SliderSimulator:
    """The slider's physics: the environment itself, put into each state in turn."""

    def rollout(self, state, act):
        rows = [self._row(*pair) for pair in zip(state, act, strict=True)]
        states, reward, cost, terminated, event = (np.stack(column) for column in zip(*rows, strict=True))
        return Simulated(states, reward, cost, terminated, event, np.ones(len(state), bool))

    def _row(self, state, act):
        env = Slider()
        env.reset(seed=0)
        env.set_state(state)
        states, results = [state], []
        for action in act:
            env.steps = 0
            _, reward, terminated, _, info = env.step(action)
            states.append(env.get_state())
            results.append((reward, info["cost"], terminated, info["event"]))
        reward, cost, terminated, event = zip(*results, strict=True)
        return states, reward, cost, terminated, event

    def observe(self, state):
        return np.stack([[p, v, goal - p, hazard - p] for p, v, hazard, goal in state]).astype(np.float32)


def depth(obs, act, next_obs, margin=0.0):
    return (HAZARD + margin - next_obs[..., 3].abs()).clamp(min=0.0)


def progress(obs, act, next_obs):
    return obs[..., 2].abs() - next_obs[..., 2].abs()


def met(obs, act, next_obs):
    return next_obs[..., 2].abs() < GOAL


def beyond(obs, act, next_obs):
    return next_obs[..., 0].abs() > EDGE


SPEC = EnvSpec(
    id="Slider", suite="tests", make=lambda render_mode=None: Slider(), action_repeat=REPEAT, episode_steps=EPISODE,
    cost_meaning="a simulator step near the hazard", budget=5.0, cost=depth, reward=progress, terminated=beyond,
    terminates=True, event=met, event_bonus=1.0, has_events=True,
    entities=Entities((0, 1), ((2,), (3,)), ("goal", "hazard"), 0), simulator=lambda threads: SliderSimulator(),
    clipped={1: 0.6},
)  # fmt: skip


def with_env(env, **changes):
    """The spec with environments of another class."""
    return replace(SPEC, make=lambda render_mode=None: env(), **changes)


class Fragile(Slider):
    """Fails in its third decision."""

    def step(self, action):
        if self.steps >= 4:
            raise ArithmeticError("the motor\nburnt out")
        return super().step(action)


class Family:
    """`Slider`, and `Fragile` of the option `wear`."""

    def names(self):
        return ["Slider"]

    def canonical(self, name):
        return "Slider" if name == "Slider" else None

    def spec(self, name, wear="no"):
        return replace(with_env(Fragile if wear == "yes" else Slider), options={"wear": wear})


family = Family()
