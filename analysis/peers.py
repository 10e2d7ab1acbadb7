"""The SAC and TD3 of stable-baselines3 beside ours: python analysis/peers.py OUT ENV ALGO STEPS SEED [SEED ...]

ALGO is sb3-sac or sb3-td3. Needs `pip install --no-deps stable-baselines3==2.3.2 cloudpickle` beside safeloop. The
settings are those of safeloop's `sac` and `td3` as published (`--preset online-paper`); the environment, its episodes,
the recorder and the evaluation are safeloop's, so `safeloop plot OUT` draws them beside `safeloop run ENV --algo sac
--preset online-paper --out OUT`.
"""

import json
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import stable_baselines3
import torch
from stable_baselines3.common.noise import NormalActionNoise

from safeloop.learners.settings import TD3Settings
from safeloop.recording.recorder import Recorder
from safeloop.recording.run import Run, RunSettings
from safeloop.registry import find_algorithm, find_env
from safeloop.rng import AGENT, derived_seed
from safeloop.settings import build, flat
from safeloop.training.evaluation import record_evaluation

EVALUATION_EPISODES = 10


class Deterministic:
    """A trained model as safeloop's evaluation wants it."""

    def __init__(self, model):
        self.model = model

    def reset(self, episodes=1):
        """Nothing is kept between decisions."""

    def act(self, obs):
        """Observations `[..., S]` to actions `[..., A]`."""
        return self.model.predict(obs, deterministic=True)[0]


def made(algo, env, settings, seed):
    """The model with safeloop's settings by stable-baselines3's names."""
    learner, online = settings.learner, settings.online
    common = {
        "learning_rate": learner.learning_rate, "buffer_size": online.capacity, "learning_starts": online.warmup,
        "batch_size": learner.batch_size, "tau": learner.tau, "gamma": learner.discount, "train_freq": 1,
        "gradient_steps": online.updates_per_decision, "seed": derived_seed(seed, AGENT), "device": "cpu",
    }  # fmt: skip
    layers = [learner.hidden, learner.hidden]
    if algo == "sb3-sac":
        temperature = f"auto_{settings.sac.initial_temperature}"
        return stable_baselines3.SAC(
            "MlpPolicy", env, ent_coef=temperature, policy_kwargs={"net_arch": layers}, **common
        )
    noise, size = TD3Settings(), env.action_space.shape[0]
    return stable_baselines3.TD3(
        "MlpPolicy", env, policy_delay=noise.actor_every, target_policy_noise=noise.target_noise,
        target_noise_clip=noise.target_noise_clip, policy_kwargs={"net_arch": layers},
        action_noise=NormalActionNoise(np.zeros(size), np.full(size, noise.exploration_noise)), **common,
    )  # fmt: skip


def main():
    """Train and evaluate each seed."""
    torch.set_num_threads(1)
    if len(sys.argv) < 6:
        sys.exit(__doc__)
    out, env, algo, steps, *seeds = sys.argv[1:]
    spec, sac = find_env(env), find_algorithm("sac").info
    settings = build(sac.settings, sac.presets["online-paper"], owner="sac").filled(spec)
    for seed in map(int, seeds):
        asked = RunSettings(
            spec.id, algo, int(steps), seed, spec.budget, "online-paper", spec.options,
            algo_settings={**flat(settings), "stable-baselines3": stable_baselines3.__version__},
            eval_episodes=EVALUATION_EPISODES,
        )  # fmt: skip
        run = Run.create(Path(out), RunSettings(**json.loads(json.dumps(asdict(asked)))))
        run.set_status("running")
        recorder = Recorder(spec.make(), spec, run)
        model = made(algo, recorder, settings, seed)
        model.learn(int(steps))
        record_evaluation(recorder, run, Deterministic(model))
        run.set_status("finished")


if __name__ == "__main__":
    main()
