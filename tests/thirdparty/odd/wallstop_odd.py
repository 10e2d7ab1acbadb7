"""What most algorithms are not: one that can't be resumed, one that fails, one that is slow, and a family of them."""

import time
from dataclasses import replace

import torch
from wallstop.algorithm import CemLinear, LinearPolicy

from safeloop.errors import UsageError
from safeloop.protocols import Resolved
from safeloop.training.evaluation import record_evaluation


class RandomWalk(CemLinear):
    """Random actions, drawn from an unrecorded state: it can't continue where it was."""

    info = replace(
        CemLinear.info,
        name="random-walk",
        summary="uniformly random actions",
        resumable=False,
        presets={"default": {}},
        epoch=lambda settings, spec: spec.episode_steps,
    )

    def resolve(self, settings, spec):
        return Resolved(settings, "nothing at all")

    def train(self, env, run):
        while env.simulator_steps < run.settings.steps:
            env.reset()
            done = False
            while not done:
                _, _, terminated, truncated, _ = env.step(env.action_space.sample())
                done = terminated or truncated
        shape = (env.observation_space.shape[0] + 1, env.action_space.shape[0])
        low, high = torch.from_numpy(env.action_space.low), torch.from_numpy(env.action_space.high)
        run.save_checkpoint({"mean": torch.zeros(shape), "low": low, "high": high})


class Broken(RandomWalk):
    """Fails after its first episode."""

    info = replace(RandomWalk.info, name="broken", summary="fails after one episode")

    def train(self, env, run):
        def fail(episode):
            raise ArithmeticError(f"episode {episode.episode} went\nwrong")

        env.after_episode = fail
        super().train(env, run)


class SlowPolicy(LinearPolicy):
    """Takes 0.02 s for each decision, however many episodes it is for."""

    def act(self, obs):
        time.sleep(0.02)
        return super().act(obs)


class Slow(RandomWalk):
    """Trains at once, then does nothing for 1.5 s, and takes its time when it is evaluated."""

    info = replace(RandomWalk.info, name="slow", summary="takes its time")

    def train(self, env, run):
        super().train(env, run)
        time.sleep(1.5)
        record_evaluation(env, run, self.load(run, 0))

    def load(self, run, seed):
        state = run.load_checkpoint()
        return SlowPolicy(state["mean"].numpy(), state["low"].numpy(), state["high"].numpy())


class Stroll(RandomWalk):
    """The member of a family."""

    info = replace(RandomWalk.info, name="odd:stroll")


class Family:
    """Algorithms named `odd:NAME`."""

    def names(self):
        return ["stroll"]

    def algorithm(self, name):
        if name != "stroll":
            raise UsageError(f"unknown algorithm 'odd:{name}'; nearest: odd:stroll")
        return Stroll()


random_walk, broken, slow, family = RandomWalk(), Broken(), Slow(), Family()
