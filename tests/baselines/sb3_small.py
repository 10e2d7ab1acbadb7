"""Settings with which stable-baselines3's algorithms learn from a few decisions, each in a second."""

import pytest

OFF_POLICY = {"batch_size": 16, "hidden_units": 8, "learning_starts": 12, "buffer_size": 60, "train_freq": 2}
SMALL = {
    "SAC": OFF_POLICY | {"critic_units": 7},
    "TD3": OFF_POLICY | {"second_units": 7},
    "PPO": {"batch_size": 8, "hidden_units": 8, "critic_units": 7, "n_steps": 24, "n_epochs": 2},
    "TQC": OFF_POLICY | {"critic_units": 7, "n_quantiles": 5},
    "CrossQ": OFF_POLICY | {"critic_units": 7},
}
EVERY = pytest.mark.parametrize("name", SMALL)
