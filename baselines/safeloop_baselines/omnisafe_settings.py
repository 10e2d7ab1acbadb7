"""Settings of OmniSafe's algorithms: the defaults of OmniSafe 0.5.0's `CPO.yaml` and `PPOLag.yaml`, except one.

The exception is `episodes_per_epoch`; `omnisafe_algorithms` gives the reason. Options that are not settings here keep
OmniSafe's defaults (advantages by GAE, tanh networks, observations normalised and clipped at 5, gradient norms at most
40, critic weight decay 0.001, linear decay of the actor's learning rate over the run).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from safeloop.settings import check_range


@dataclass(frozen=True)
class OnPolicySettings:
    """Settings that both algorithms have. Raises `ValueError` for a value out of range."""

    batch_size: int
    """Decisions per minibatch."""
    update_iters: int
    """Passes over an epoch's decisions in each update."""
    critic_lr: float
    """Adam's learning rate of both critics."""
    target_kl: float
    """Largest KL divergence of an update, in nats."""
    episodes_per_epoch: int = 10
    """Full-length episodes between updates (OmniSafe: 20,000 decisions)."""
    hidden_layers: int = 2
    """Hidden layers of the actor and of each critic."""
    hidden_units: int = 64
    """Units of each hidden layer."""
    gamma: float = 0.99
    """Discount per decision. OmniSafe 0.5.0 uses it for costs too: its `cost_gamma` is never read here."""
    lam: float = 0.95
    """GAE's lambda for rewards."""
    lam_c: float = 0.95
    """GAE's lambda for costs."""

    def __post_init__(self) -> None:
        check_range(self, "critic_lr", "target_kl", more_than=0)
        check_range(self, "batch_size", "update_iters", "episodes_per_epoch", "hidden_units", least=1, most=100_000)
        check_range(self, "hidden_layers", least=1, most=100)
        check_range(self, "gamma", "lam", "lam_c", least=0, most=1)

    def omnisafe(self, budget: float) -> dict[str, Any]:
        """Return these settings by OmniSafe's names, with `budget` (cost return per episode) as the cost limit."""
        sizes = [self.hidden_units] * self.hidden_layers
        return {
            "algo_cfgs": {
                "batch_size": self.batch_size,
                "update_iters": self.update_iters,
                "target_kl": float(self.target_kl),
                "gamma": float(self.gamma),
                "lam": float(self.lam),
                "lam_c": float(self.lam_c),
            },
            "model_cfgs": {
                "actor": {"hidden_sizes": sizes},
                "critic": {"hidden_sizes": sizes, "lr": self.critic_lr},
            },
        }


@dataclass(frozen=True)
class CPOSettings(OnPolicySettings):
    """Settings of OmniSafe's CPO."""

    batch_size: int = 128
    """Decisions per minibatch of the critics; the actor's step uses the whole epoch."""
    update_iters: int = 10
    """Passes of the critics over an epoch's decisions in each update."""
    critic_lr: float = 1e-3
    target_kl: float = 0.01
    """Trust region: largest KL divergence of an update, in nats."""
    cg_iters: int = 15
    """Iterations of conjugate gradients."""
    cg_damping: float = 0.1
    """Number added to the diagonal of the Fisher matrix."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, "cg_iters", least=1, most=100_000)
        check_range(self, "cg_damping", more_than=0)

    def omnisafe(self, budget: float) -> dict[str, Any]:
        """Return these settings, see `OnPolicySettings.omnisafe`."""
        values = super().omnisafe(budget)
        values["algo_cfgs"] |= {
            "cost_limit": budget,
            "cg_iters": self.cg_iters,
            "cg_damping": float(self.cg_damping),
        }
        return values


@dataclass(frozen=True)
class PPOLagSettings(OnPolicySettings):
    """Settings of OmniSafe's PPO-Lagrangian."""

    batch_size: int = 64
    update_iters: int = 40
    """Largest number of passes over an epoch's decisions in each update; fewer where `target_kl` is exceeded."""
    critic_lr: float = 3e-4
    target_kl: float = 0.02
    """An update stops after the pass that exceeds this KL divergence, in nats."""
    actor_lr: float = 3e-4
    """Adam's learning rate of the actor at the start; it decays linearly to 0 at the end of the run."""
    clip: float = 0.2
    """PPO's clipping of the probability ratio."""
    entropy_coef: float = 0.0
    """Weight of the entropy bonus."""
    multiplier_init: float = 0.001
    """The Lagrange multiplier at the start."""
    multiplier_lr: float = 0.035
    """Adam's learning rate of the Lagrange multiplier, with one step per epoch."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, "actor_lr", "clip", "multiplier_lr", more_than=0)
        check_range(self, "entropy_coef", "multiplier_init", least=0)

    def omnisafe(self, budget: float) -> dict[str, Any]:
        """Return these settings, see `OnPolicySettings.omnisafe`."""
        values = super().omnisafe(budget)
        values["algo_cfgs"] |= {"clip": float(self.clip), "entropy_coef": float(self.entropy_coef)}
        values["model_cfgs"]["actor"]["lr"] = self.actor_lr
        values["lagrange_cfgs"] = {
            "cost_limit": budget,
            "lagrangian_multiplier_init": float(self.multiplier_init),
            "lambda_lr": float(self.multiplier_lr),
        }
        return values
