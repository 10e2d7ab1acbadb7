"""Settings of stable-baselines3's and sb3-contrib's algorithms: their names and the defaults of version 2.5.0.

Widths of networks are numbers here: `hidden_units` of the actor, `critic_units` of the critics, in `hidden_layers`
layers (TD3: two layers, of `hidden_units` and `second_units`). `action_noise` is the width of Gaussian noise. What is
no setting here keeps the library's default: no state-dependent exploration, Adam, one environment, no schedules.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from safeloop.settings import MANY, TRANSITIONS, check_range

NOT_KEYWORDS = ("action_noise", "hidden_layers", "hidden_units", "critic_units", "second_units")
"""Settings that are no keywords of a class of the library, or keywords of another form."""


@dataclass(frozen=True)
class Sb3Settings:
    """Settings that all five algorithms have. Raises `ValueError` for a value out of range."""

    learning_rate: float = 3e-4
    """Adam's learning rate of all networks."""
    batch_size: int = 256
    """Decisions per minibatch."""
    gamma: float = 0.99
    """Discount per decision."""
    hidden_units: int = 256
    """Units of each hidden layer of the actor."""

    def __post_init__(self) -> None:
        check_range(self, "learning_rate", more_than=0)
        check_range(self, "batch_size", least=1, most=MANY)
        check_range(self, "hidden_units", least=1, most=MANY)
        check_range(self, "gamma", least=0, most=1)

    def keywords(self) -> dict[str, Any]:
        """Return the keywords of the library's class, but for the environment, the seed, the device and the noise."""
        found = {field.name: getattr(self, field.name) for field in fields(self) if field.name not in NOT_KEYWORDS}
        return {**found, "policy_kwargs": {"net_arch": self.net_arch()}}

    def net_arch(self) -> Any:
        """Return the widths of hidden layers as the library nests them."""
        raise NotImplementedError


@dataclass(frozen=True)
class OffPolicySettings(Sb3Settings):
    """Settings that the off-policy algorithms have."""

    buffer_size: int = 1_000_000
    """Decisions that the replay buffer keeps."""
    learning_starts: int = 100
    """Random decisions at the start."""
    train_freq: int = 1
    """Decisions between updates."""
    gradient_steps: int = 1
    """Gradient steps of an update."""
    action_noise: float = 0.0
    """Standard deviation of Gaussian noise on actions in training, whose range is [-1, 1]; 0: none."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, "buffer_size", least=1, most=TRANSITIONS)
        check_range(self, "learning_starts", least=0, most=TRANSITIONS)
        check_range(self, "train_freq", "gradient_steps", least=1, most=MANY)
        check_range(self, "action_noise", least=0)
        for name in ("batch_size", "learning_starts"):
            if getattr(self, name) > self.buffer_size:
                raise ValueError(
                    f"{name}={getattr(self, name)}: expected at most buffer_size={self.buffer_size}, all that are kept"
                )


@dataclass(frozen=True)
class EntropySettings(OffPolicySettings):
    """Settings of the off-policy algorithms whose actor is rewarded for its entropy."""

    hidden_layers: int = 2
    """Hidden layers of the actor and of each critic."""
    critic_units: int = 256
    """Units of each hidden layer of the critics."""
    ent_coef: float | None = None
    """Weight of the entropy; none: learned."""
    ent_coef_init: float = 1.0
    """The weight at the start, where it is learned."""
    target_entropy: float | None = None
    """Entropy that the learned weight aims at, in nats; none: minus the number of action dimensions."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, "hidden_layers", least=1, most=100)
        check_range(self, "critic_units", least=1, most=MANY)
        check_range(self, "ent_coef", least=0)
        check_range(self, "ent_coef_init", more_than=0)
        check_range(self, "target_entropy", least=-MANY, most=MANY)
        for name, usual in (("ent_coef_init", 1.0), ("target_entropy", None)):
            value = getattr(self, name)
            if self.ent_coef is not None and value != usual:
                raise ValueError(f"{name}={value}: it is of a learned weight, but ent_coef={self.ent_coef} is fixed")

    def keywords(self) -> dict[str, Any]:
        """Return the keywords, see `Sb3Settings.keywords`."""
        found = super().keywords()
        initial = found.pop("ent_coef_init")
        if self.ent_coef is None:
            found["ent_coef"] = f"auto_{float(initial)!r}"
        if self.target_entropy is None:
            found["target_entropy"] = "auto"
        return found

    def net_arch(self) -> Any:
        """Return the widths of hidden layers."""
        return {"pi": [self.hidden_units] * self.hidden_layers, "qf": [self.critic_units] * self.hidden_layers}


@dataclass(frozen=True)
class SACSettings(EntropySettings):
    """Settings of stable-baselines3's SAC."""

    tau: float = 0.005
    """Step of the target networks towards the critics."""
    target_update_interval: int = 1
    """Gradient steps between updates of the target networks."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, "tau", more_than=0, most=1)
        check_range(self, "target_update_interval", least=1, most=MANY)


@dataclass(frozen=True)
class TQCSettings(SACSettings):
    """Settings of sb3-contrib's TQC."""

    top_quantiles_to_drop_per_net: int = 2
    """Largest quantiles of each critic that the target leaves out."""
    n_quantiles: int = 25
    """Quantiles of each critic."""
    n_critics: int = 2
    """Critics."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, "n_quantiles", "n_critics", least=1, most=1000)
        check_range(self, "top_quantiles_to_drop_per_net", least=0, most=self.n_quantiles - 1)

    def keywords(self) -> dict[str, Any]:
        """Return the keywords, see `Sb3Settings.keywords`."""
        return _of_the_policy(super().keywords(), "n_quantiles", "n_critics")


@dataclass(frozen=True)
class CrossQSettings(EntropySettings):
    """Settings of sb3-contrib's CrossQ."""

    learning_rate: float = 1e-3
    """Adam's learning rate of all networks; its first beta is 0.5."""
    critic_units: int = 1024
    policy_delay: int = 3
    """Gradient steps of the critics for each of the actor."""
    batch_norm_momentum: float = 0.01
    """Step of the running statistics of batch normalisation."""
    renorm_warmup_steps: int = 100_000
    """Gradient steps with plain batch normalisation, before batch renormalisation."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, "policy_delay", least=1, most=MANY)
        check_range(self, "batch_size", least=2)  # one has no variance
        check_range(self, "batch_norm_momentum", more_than=0, most=1)
        check_range(self, "renorm_warmup_steps", least=0)

    def keywords(self) -> dict[str, Any]:
        """Return the keywords, see `Sb3Settings.keywords`."""
        return _of_the_policy(super().keywords(), "batch_norm_momentum", "renorm_warmup_steps")


@dataclass(frozen=True)
class TD3Settings(OffPolicySettings):
    """Settings of stable-baselines3's TD3."""

    learning_rate: float = 1e-3
    hidden_units: int = 400
    """Units of the first hidden layer of the actor and the critics."""
    second_units: int = 300
    """Units of the second hidden layer of the actor and the critics."""
    tau: float = 0.005
    """Step of the target networks towards the others."""
    policy_delay: int = 2
    """Gradient steps of the critics for each of the actor."""
    target_policy_noise: float = 0.2
    """Standard deviation of the noise on the target policy's actions."""
    target_noise_clip: float = 0.5
    """Largest noise on the target policy's actions."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, "second_units", "policy_delay", least=1, most=MANY)
        check_range(self, "tau", more_than=0, most=1)
        check_range(self, "target_policy_noise", "target_noise_clip", least=0)

    def net_arch(self) -> Any:
        """Return the widths of hidden layers."""
        return [self.hidden_units, self.second_units]


@dataclass(frozen=True)
class PPOSettings(Sb3Settings):
    """Settings of stable-baselines3's PPO."""

    batch_size: int = 64
    hidden_units: int = 64
    hidden_layers: int = 2
    """Hidden layers of the actor and of the critic."""
    critic_units: int = 64
    """Units of each hidden layer of the critic."""
    n_steps: int = 2048
    """Decisions between updates."""
    n_epochs: int = 10
    """Passes over these decisions in an update."""
    gae_lambda: float = 0.95
    """GAE's lambda."""
    clip_range: float = 0.2
    """Clipping of the probability ratio."""
    clip_range_vf: float | None = None
    """Clipping of the value's change; none: not clipped."""
    normalize_advantage: bool = True
    """Standardise advantages in each minibatch."""
    ent_coef: float = 0.0
    """Weight of the entropy bonus."""
    vf_coef: float = 0.5
    """Weight of the value's loss."""
    max_grad_norm: float = 0.5
    """Largest norm of a gradient."""
    target_kl: float | None = None
    """An update stops at 1.5 times this KL divergence, in nats; none: it does not."""
    normalize_obs: bool = False
    """Standardise observations by running statistics (`VecNormalize`)."""
    normalize_reward: bool = False
    """Divide rewards by a running deviation of the discounted return (`VecNormalize`)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, "n_steps", "batch_size", least=2, most=MANY)
        check_range(self, "critic_units", "n_epochs", least=1, most=MANY)
        check_range(self, "hidden_layers", least=1, most=100)
        check_range(self, "gae_lambda", least=0, most=1)
        check_range(self, "clip_range", "clip_range_vf", "max_grad_norm", "target_kl", more_than=0)
        check_range(self, "ent_coef", "vf_coef", least=0)

    def keywords(self) -> dict[str, Any]:
        """Return the keywords, see `Sb3Settings.keywords`."""
        found = super().keywords()
        del found["normalize_obs"], found["normalize_reward"]
        return found

    def net_arch(self) -> Any:
        """Return the widths of hidden layers."""
        return {"pi": [self.hidden_units] * self.hidden_layers, "vf": [self.critic_units] * self.hidden_layers}


def _of_the_policy(keywords: dict[str, Any], *names: str) -> dict[str, Any]:
    """Return the keywords with those that the library gives to the policy among the policy's."""
    for name in names:
        keywords["policy_kwargs"][name] = keywords.pop(name)
    return keywords
