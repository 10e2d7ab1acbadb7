"""Settings of d3rlpy's algorithms: their names and the defaults of version 2.6.1.

Networks are `hidden_layers` layers of `hidden_units` (the actor) and `critic_units` (critics and values). What is no
setting here keeps the library's default: Adam, no scaling of rewards and actions, one mean for each critic's value.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal

from safeloop.settings import MANY, check_range

NOT_KEYWORDS = ("hidden_units", "hidden_layers", "critic_units", "layer_norm", "normalize_obs")
"""Settings that are no keywords of the library's configurations."""


@dataclass(frozen=True)
class D3rlpySettings:
    """Settings that all five algorithms have. Raises `ValueError` for a value out of range."""

    batch_size: int = 256
    """Transitions per gradient step."""
    hidden_units: int = 256
    """Units of each hidden layer of the actor."""
    hidden_layers: int = 2
    """Hidden layers of the actor and of each critic."""
    normalize_obs: bool = False
    """Standardise observations by the dataset's mean and deviation."""

    def __post_init__(self) -> None:
        check_range(self, "batch_size", "hidden_units", least=1, most=MANY)
        check_range(self, "hidden_layers", least=1, most=100)

    def keywords(self) -> dict[str, Any]:
        """Return the keywords of the library's configuration, but for the networks."""
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name not in NOT_KEYWORDS}


@dataclass(frozen=True)
class BCSettings(D3rlpySettings):
    """Settings of d3rlpy's behaviour cloning."""

    batch_size: int = 100
    learning_rate: float = 1e-3
    """Adam's learning rate."""
    policy_type: Literal["deterministic", "stochastic"] = "deterministic"
    """An action for each state, or a Gaussian, of which the mean acts in evaluation."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, "learning_rate", more_than=0)


@dataclass(frozen=True)
class CriticsSettings(D3rlpySettings):
    """Settings of the algorithms that have critics."""

    gamma: float = 0.99
    """Discount per decision."""
    actor_learning_rate: float = 3e-4
    """Adam's learning rate of the actor."""
    critic_learning_rate: float = 3e-4
    """Adam's learning rate of critics and values."""
    critic_units: int = 256
    """Units of each hidden layer of critics and values."""
    layer_norm: bool = False
    """Layer normalisation in critics and values, after each hidden layer's ReLU."""
    n_critics: int = 2
    """Critics."""
    tau: float = 0.005
    """Step of the target networks towards the others."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, "actor_learning_rate", "critic_learning_rate", more_than=0)
        check_range(self, "critic_units", least=1, most=MANY)
        check_range(self, "n_critics", least=1, most=1000)
        check_range(self, "gamma", least=0, most=1)
        check_range(self, "tau", more_than=0, most=1)


@dataclass(frozen=True)
class TD3PlusBCSettings(CriticsSettings):
    """Settings of d3rlpy's TD3+BC."""

    target_smoothing_sigma: float = 0.2
    """Standard deviation of the noise on the target actor's actions."""
    target_smoothing_clip: float = 0.5
    """Largest noise on the target actor's actions."""
    alpha: float = 2.5
    """Weight of the value, divided by its mean size, beside the squared error of the dataset's actions."""
    update_actor_interval: int = 2
    """Gradient steps of the critics for each of the actor."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, "target_smoothing_sigma", "target_smoothing_clip", "alpha", least=0)
        check_range(self, "update_actor_interval", least=1, most=MANY)


@dataclass(frozen=True)
class IQLSettings(CriticsSettings):
    """Settings of d3rlpy's IQL."""

    expectile: float = 0.7
    """Expectile of the critics' values that a state's value is."""
    weight_temp: float = 3.0
    """Inverse temperature of the weights of the dataset's actions."""
    max_weight: float = 100.0
    """Largest weight."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, "expectile", least=0, most=1)
        check_range(self, "weight_temp", least=0)
        check_range(self, "max_weight", more_than=0)


@dataclass(frozen=True)
class CQLSettings(CriticsSettings):
    """Settings of d3rlpy's CQL."""

    actor_learning_rate: float = 1e-4
    temp_learning_rate: float = 1e-4
    """Adam's learning rate of the entropy's weight; 0: it stays as it is."""
    alpha_learning_rate: float = 1e-4
    """Adam's learning rate of alpha; 0: it stays as it is."""
    initial_temperature: float = 1.0
    """Weight of the entropy at the start."""
    initial_alpha: float = 1.0
    """Lagrange multiplier of the conservative term at the start."""
    alpha_threshold: float = 10.0
    """Difference of values at which alpha stays."""
    conservative_weight: float = 5.0
    """Weight of the conservative term."""
    n_action_samples: int = 10
    """Actions drawn for the conservative term, of each of its three kinds."""
    soft_q_backup: bool = False
    """The entropy counts in the targets."""
    max_q_backup: bool = False
    """Targets are the best of the drawn actions."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, "temp_learning_rate", "alpha_learning_rate", "conservative_weight", least=0)
        check_range(self, "initial_temperature", "initial_alpha", more_than=0)
        check_range(self, "alpha_threshold", least=-MANY, most=MANY)
        check_range(self, "n_action_samples", least=1, most=1000)
        if self.soft_q_backup and self.max_q_backup:
            raise ValueError("max_q_backup=true: soft_q_backup is true too, which excludes it; leave one of them out")


@dataclass(frozen=True)
class CRRSettings(CriticsSettings):
    """Settings of d3rlpy's CRR."""

    batch_size: int = 100
    n_critics: int = 1
    beta: float = 1.0
    """Temperature of the weights `exp(A / beta)`."""
    n_action_samples: int = 4
    """The actor's actions whose value is the advantage's baseline."""
    advantage_type: Literal["mean", "max"] = "mean"
    """The baseline: the mean of their values, or the largest."""
    weight_type: Literal["exp", "binary"] = "exp"
    """Weight of a dataset's action of advantage A: `exp(A / beta)`, or 1 where A is above 0."""
    max_weight: float = 20.0
    """Largest weight."""
    target_update_type: Literal["hard", "soft"] = "hard"
    """Targets are copied, or follow by `tau` at each gradient step."""
    target_update_interval: int = 100
    """Gradient steps between copies."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, "beta", "max_weight", more_than=0)
        check_range(self, "n_action_samples", least=1, most=1000)
        check_range(self, "target_update_interval", least=1, most=MANY)
