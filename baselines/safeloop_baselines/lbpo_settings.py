"""Settings of LBPO. This module imports no torch."""

from __future__ import annotations

from dataclasses import dataclass

from safeloop.settings import check_range


@dataclass(frozen=True)
class Settings:
    """Settings of LBPO. Raises `ValueError` for a value out of range."""

    episodes_per_epoch: int = 10
    """Episodes between updates."""
    exploration_noise: float = 0.5
    """Standard deviation of the exploration noise, for actions in [-1, 1]."""
    target_kl: float = 0.012
    """Trust region: largest KL divergence of an update between the policies with their exploration, in nats."""
    beta: float = 0.01
    """Weight of the barrier."""
    barrier_threshold: float = 0.05
    """The barrier has no gradient while `beta / epsilon` is at most this."""
    gamma: float = 0.99
    """Discount per decision, of rewards and costs."""
    lam: float = 0.95
    """Lambda of the returns that values are fitted to; 1: Monte Carlo."""
    critic_iters: int = 200
    """Gradient steps of the values in each update, on all of the epoch's decisions."""
    critic_lr: float = 1e-3
    """Adam's learning rate of the values."""
    hidden_layers: int = 2
    """Hidden layers of the policy (ReLU) and of the values (tanh)."""
    hidden_units: int = 64
    """Units of each hidden layer."""
    cg_iters: int = 10
    """Iterations of conjugate gradients."""
    cg_damping: float = 0.1
    """Number added to the diagonal of the Fisher matrix."""

    def __post_init__(self) -> None:
        check_range(self, "episodes_per_epoch", "critic_iters", "hidden_units", "cg_iters", least=1, most=100_000)
        check_range(self, "hidden_layers", least=1, most=100)
        check_range(self, "exploration_noise", "target_kl", "critic_lr", "cg_damping", more_than=0)
        check_range(self, "beta", "barrier_threshold", least=0)
        check_range(self, "lam", least=0, most=1)
        check_range(self, "gamma", least=0, below=1)


PAPER = {
    "episodes_per_epoch": 30, "exploration_noise": 0.05, "lam": 1.0, "critic_iters": 80,
    "hidden_units": 256,
}  # fmt: skip
"""The numbers of the authors' program, where they differ from the defaults."""
