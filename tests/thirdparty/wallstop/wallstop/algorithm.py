"""cem-linear: a linear policy, improved by the cross-entropy method; a simple algorithm, whole."""

import math
from dataclasses import dataclass

import numpy as np
import torch

from safeloop.protocols import AlgorithmInfo, Resolved
from safeloop.rng import AGENT, derived_seed
from safeloop.training.evaluation import evaluate_when_due


@dataclass(frozen=True)
class Settings:
    """Every setting and its default."""

    population: int = 10
    """Policies tried in each generation, one episode each."""
    elites: int = 3
    """The best of them, which the next generation starts from."""
    penalty: float = 10.0
    """Return that one unit of cost above the budget takes away."""

    def __post_init__(self):
        if not 0 < self.elites <= self.population:
            raise ValueError(f"elites={self.elites}: expected 1 to population={self.population}")
        if not 0 <= self.penalty < math.inf:
            raise ValueError(f"penalty={self.penalty}: expected a number of at least 0")


class LinearPolicy:
    """`action = clip(W [observation, 1])`."""

    def __init__(self, weights, low, high):
        self.weights, self.low, self.high = weights, low, high

    def reset(self, episodes=1):
        """A linear policy keeps nothing between decisions."""

    def act(self, obs):
        return np.clip(obs @ self.weights[:-1] + self.weights[-1], self.low, self.high).astype(np.float32)


class CemLinear:
    """The object that the entry point loads to."""

    info = AlgorithmInfo(
        name="cem-linear",
        summary="cross-entropy search for a linear policy, with a penalty on cost above the budget",
        settings=Settings,
        default_steps=20_000,
        presets={"default": {}, "wide": {"population": 30, "elites": 6}},
        epoch=lambda settings, spec: settings.population * spec.episode_steps,  # simulator steps of a generation
    )

    def resolve(self, settings, spec):
        return Resolved(settings)  # it learns from samples alone: no privileged information

    def train(self, env, run):
        settings = Settings(**run.settings.algo_settings)
        budget = math.inf if run.settings.budget is None else run.settings.budget  # None: an environment without a cost
        shape = (env.observation_space.shape[0] + 1, env.action_space.shape[0])
        low, high = env.action_space.low, env.action_space.high
        mean, std, generation = np.zeros(shape), np.ones(shape), 0
        if run.has_checkpoint:
            state = run.load_checkpoint()
            mean, std = state["mean"].numpy(), state["std"].numpy()
            generation = state["generation"]
            env.load_state_dict(state["recorder"])
        run.drop_rows_after(env.simulator_steps)  # what a killed run did after its checkpoint
        while env.simulator_steps < run.settings.steps:
            before = env.simulator_steps
            random = np.random.default_rng(derived_seed(run.settings.seed, AGENT, generation))
            tries = mean + std * random.standard_normal((settings.population, *shape))
            policies = [LinearPolicy(weights, low, high) for weights in tries]
            scores = [self._score(env, policy, budget, settings.penalty) for policy in policies]
            elites = tries[np.argsort(scores)[-settings.elites :]]
            mean, std, generation = elites.mean(0), elites.std(0) + 0.01, generation + 1
            evaluate_when_due(env, run, before, lambda best=mean: LinearPolicy(best, low, high))
            run.save_checkpoint(
                {
                    "mean": torch.from_numpy(mean),
                    "std": torch.from_numpy(std),
                    "generation": generation,
                    "low": torch.from_numpy(low),
                    "high": torch.from_numpy(high),
                    "recorder": env.state_dict(),
                }
            )

    def _score(self, env, policy, budget, penalty):
        total, cost, done = 0.0, 0.0, False
        obs, _ = env.reset()
        while not done:
            obs, reward, terminated, truncated, info = env.step(policy.act(obs))
            total, cost = total + reward, cost + info["cost"]
            done = terminated or truncated
        return total - penalty * max(0.0, cost - budget)

    def load(self, run, seed):
        state = run.load_checkpoint()
        return LinearPolicy(state["mean"].numpy(), state["low"].numpy(), state["high"].numpy())


cem_linear = CemLinear()
