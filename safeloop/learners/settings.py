"""Settings of learners. This module imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from safeloop.settings import MANY, TRANSITIONS, check_range

USUAL_RATE, CROSSQ_RATE = 3e-4, 1e-3
"""Learning rates where nothing else is asked for."""


@dataclass(frozen=True)
class LearnerSettings:
    """Settings that all learners of an agent share."""

    discount: float = 0.95
    """Discount per decision, in planning and in values."""
    learning_rate: float | None = None
    """Adam's learning rate; None: 3e-4, with learner=crossq 1e-3."""
    tau: float = 0.005
    """Weight of the new parameters in the target networks at each gradient step (Polyak averaging)."""
    hidden: int = 256
    """Units of each of the two hidden layers of actor and critics; of CrossQ's actor alone."""
    batch_size: int = 256
    """Number of transitions per gradient step."""

    def __post_init__(self) -> None:
        """Raise `ValueError` for a value out of range."""
        check_range(self, "batch_size", "hidden", least=1, most=MANY)
        check_range(self, "learning_rate", more_than=0)
        check_range(self, "discount", "tau", least=0, most=1)

    @property
    def rate(self) -> float:
        """Return the learning rate; None stands for that of all learners but CrossQ."""
        return USUAL_RATE if self.learning_rate is None else self.learning_rate

    def filled(self, learner: str | None) -> LearnerSettings:
        """Return these settings with the learning rate of a learner, by its name, in place of None."""
        usual = CROSSQ_RATE if learner == "crossq" else USUAL_RATE
        return self if self.learning_rate is not None else replace(self, learning_rate=usual)


@dataclass(frozen=True)
class ChoiceSettings:
    """Settings of which learner a planner stands on."""

    learner: Literal["sac", "td3", "crr", "crossq"] = "sac"
    """The learner of actions and of their values that the planner stands on."""


@dataclass(frozen=True)
class CriticSettings:
    """Settings of the critics of SAC, TD3, CRR, PLAS, BCLag and CPQ."""

    layer_norm: bool = False
    """Layer normalisation in the critics (not CrossQ's), which bounds values of actions outside the data (Ball et al.,
    2023); without it those of CRR diverge on narrow datasets."""


@dataclass(frozen=True)
class SACSettings:
    """Settings of SAC (safeloop/learners/sac.py), of which CrossQ has the same."""

    initial_temperature: float = 0.1
    """Weight of the entropy at the start, in SAC and CrossQ."""
    backup_entropy: bool = True
    """Include the entropy in the targets of SAC's and CrossQ's critics, as published; without it their values are
    returns."""

    def __post_init__(self) -> None:
        """Raise `ValueError` for a value out of range."""
        check_range(self, "initial_temperature", more_than=0)


@dataclass(frozen=True)
class TD3Settings:
    """Settings of TD3 (safeloop/learners/td3.py), with the noises and the delay of Fujimoto et al. (2018)."""

    exploration_noise: float = 0.1
    """Standard deviation of TD3's noise on training actions, which lie in [-1, 1]."""
    target_noise: float = 0.2
    """Standard deviation of TD3's noise on the target actor's actions."""
    target_noise_clip: float = 0.5
    """Bound of TD3's noise on the target actor's actions."""
    actor_every: int = 2
    """Gradient steps of TD3's critics for each update of its actor and targets."""

    def __post_init__(self) -> None:
        """Raise `ValueError` for a value out of range."""
        check_range(self, "exploration_noise", "target_noise", "target_noise_clip", least=0)
        check_range(self, "actor_every", least=1, most=MANY)


@dataclass(frozen=True)
class CrossQSettings:
    """Settings of CrossQ (safeloop/learners/crossq.py), as published (Bhatt et al., 2024) but for the width."""

    critic_width: int = 256
    """Units of each of the two hidden layers of CrossQ's critics; the paper has 2,048."""
    policy_delay: int = 3
    """Gradient steps of CrossQ's critics for each update of its actor and temperature."""
    statistics_momentum: float = 0.01
    """Weight of a batch's means and variances in CrossQ's running ones."""
    renormalise_after: int = 100_000
    """Updates of a network by plain batch normalisation, after which CrossQ renormalises batches (Ioffe, 2017)."""

    def __post_init__(self) -> None:
        """Raise `ValueError` for a value out of range."""
        check_range(self, "critic_width", "policy_delay", least=1, most=MANY)
        check_range(self, "statistics_momentum", more_than=0, most=1)
        check_range(self, "renormalise_after", least=0, most=TRANSITIONS)


@dataclass(frozen=True)
class ValueSettings:
    """Settings of the value at the planning horizon."""

    value: Literal["auto", "behaviour", "actor", "none"] = "auto"
    """The value at the horizon: the value of the behaviour (`behaviour`), `Q(s, pi(s))` of the learner's actor, which
    ignores the constraint (`actor`), or none (`none`); `auto`: `behaviour` with a constraint, `actor` without one."""
    value_sees: Literal["auto", "observation", "entities"] = "auto"
    """The input of the behaviour's value: the observation as a vector, or a set of entities; `auto`: entities where the
    environment names them."""
    cost_value: Literal["none", "behaviour"] = "none"
    """The cost after the horizon: none, or that of the behaviour, in the unit of the planner's cost."""
    behaviour_hidden: int = 128
    """Units of each of the two hidden layers of the behaviour's values."""

    def __post_init__(self) -> None:
        """Raise `ValueError` for a value out of range."""
        check_range(self, "behaviour_hidden", least=1, most=MANY)


@dataclass(frozen=True)
class ValueEnsembleSettings:
    """Settings of POLO's value ensemble (safeloop/learners/value_ensemble.py)."""

    value_ensemble_size: int = 6
    """K, networks."""
    value_layers: int = 2
    """Hidden layers of each, of tanh units."""
    value_width: int = 64
    """Units of each hidden layer; the paper has 16 for the humanoid, 64 for the hand."""
    value_inputs: int = 0
    """Numbers of the observation, the first ones, that values see; 0: all."""
    value_learning_rate: float = 1e-3
    """Adam's learning rate."""
    value_scale: float = 1.0
    """Unit of the networks' outputs: values of about this size are learned as fast as others of size 1."""
    input_gain: float = 1.0
    """Factor on the first layer's initial weights: with more, values differ over shorter distances at first."""
    prior_scale: float = 1.0
    """Weight of each network's fixed random prior (Eq. 5)."""
    target_noise: float = 0.0
    """sigma, standard deviation of the noise on targets (Eq. 5), in `value_scale`."""
    weight_decay: float = 0.0
    """sigma^2 / lambda, weight of the squared parameters in the loss (Eq. 5)."""
    kappa: float = 10.0
    """Optimism of the ensemble's value, per `value_scale` (Eq. 6)."""
    optimism: Literal["normalised", "printed", "none"] = "normalised"
    """The ensemble's value: `(1/kappa) log mean_k exp(kappa V_k)`, `log sum_k exp(kappa V_k)` as the paper prints it,
    or the mean."""
    evaluation: Literal["optimistic", "mean"] = "optimistic"
    """The value in evaluation: that of training, as in the paper, or the mean."""

    def __post_init__(self) -> None:
        """Raise `ValueError` for a value out of range."""
        check_range(self, "value_ensemble_size", "value_layers", least=1, most=100)
        check_range(self, "value_width", least=1, most=MANY)
        check_range(self, "value_inputs", least=0, most=MANY)
        check_range(self, "value_learning_rate", "value_scale", "input_gain", "kappa", more_than=0)
        check_range(self, "prior_scale", "target_noise", "weight_decay", least=0)


@dataclass(frozen=True)
class CRRSettings:
    """Settings of CRR (safeloop/learners/crr.py), as published but for scalar critics, which are normalised."""

    weights: Literal["exp", "binary"] = "exp"
    """CRR's weight of an action of advantage A: `exp(A / temperature)`, at most 20, or 1 where A > 0 and else 0."""
    advantage_temperature: float = 1.0
    """The temperature of CRR's `exp` weights, in units of return."""
    samples: int = 4
    """m, the number of the actor's actions whose mean value is the baseline of CRR's advantages."""

    def __post_init__(self) -> None:
        """Raise `ValueError` for a value out of range."""
        check_range(self, "samples", least=1, most=1000)
        check_range(self, "advantage_temperature", more_than=0)


@dataclass(frozen=True)
class BCSettings:
    """Settings of behaviour cloning (safeloop/learners/bc.py)."""

    learning_rate: float = 3e-4
    """Adam's learning rate."""
    hidden: int = 256
    """Units of each of the actor's two hidden layers."""
    batch_size: int = 256
    """Number of transitions per gradient step."""

    def __post_init__(self) -> None:
        """Raise `ValueError` for a value out of range."""
        check_range(self, "batch_size", "hidden", least=1, most=MANY)
        check_range(self, "learning_rate", more_than=0)


@dataclass(frozen=True)
class BCLagSettings:
    """Settings of behaviour cloning under a Lagrange multiplier (safeloop/learners/bc_lag.py)."""

    multiplier_rate: float = 1e-3
    """Step of the multiplier at each gradient step, times the violation in discounted cost."""

    def __post_init__(self) -> None:
        """Raise `ValueError` for a value out of range."""
        check_range(self, "multiplier_rate", more_than=0)


@dataclass(frozen=True)
class CPQSettings:
    """Settings of CPQ (safeloop/learners/cpq.py)."""

    samples: int = 10
    """The actor's actions in each state of a batch, of which those outside the data are given large cost values."""
    inside: float = 0.95
    """Share of a batch's own actions whose codes are as near to the prior as those that count as inside the data."""
    outside_scale: float = 1.5
    """Cost value that actions outside the data are raised to, in units of the threshold."""
    penalty_rate: float = 1e-3
    """Step of the penalty's weight alpha at each gradient step, times what that cost value lacks."""
    penalty_limit: float = 10.0
    """Largest alpha."""
    recovery: float = 1.0
    """Weight of the cost value beyond the threshold in the actor's loss; 0, the paper's: no gradient there."""
    kl_weight: float = 0.5
    """Weight of the Kullback-Leibler divergence in the autoencoder's loss."""

    def __post_init__(self) -> None:
        """Raise `ValueError` for a value out of range."""
        check_range(self, "samples", least=1, most=1000)
        check_range(self, "inside", least=0, most=1)
        check_range(self, "outside_scale", least=1)
        check_range(self, "penalty_rate", "penalty_limit", "recovery", "kl_weight", least=0)


@dataclass(frozen=True)
class OfflineTargetSettings:
    """Settings of the targets of critics that learn from a dataset."""

    clamp_targets: bool = False
    """Keep targets between the lowest and the highest discounted return in the dataset."""


@dataclass(frozen=True)
class PLASSettings:
    """Settings of PLAS (safeloop/learners/plas.py), as published but for widths (750; 400, 300) and batch (100)."""

    actor_learning_rate: float = 1e-4
    """Adam's learning rate of the latent actor and the autoencoder."""
    latent_limit: float = 2.0
    """Bound of each number of a latent action; samples of the prior are seldom near it in all numbers at once."""
    kl_weight: float = 0.5
    """Weight of the Kullback-Leibler divergence in the autoencoder's loss."""
    minimum_weight: float = 0.75
    """lambda of the target `lambda min_i Q_i + (1 - lambda) max_i Q_i`."""
    pretraining: float = 0.2
    """Share of the gradient steps, at the start, that fit the autoencoder alone."""

    def __post_init__(self) -> None:
        """Raise `ValueError` for a value out of range."""
        check_range(self, "actor_learning_rate", "latent_limit", more_than=0)
        check_range(self, "kl_weight", least=0)
        check_range(self, "pretraining", least=0, below=1)
        check_range(self, "minimum_weight", least=0, most=1)


@dataclass(frozen=True)
class MBOPSettings:
    """Settings of MBOP's learners (Argenson & Dulac-Arnold, 2020; safeloop/learners/mbop.py)."""

    return_horizon: int = 100
    """Number of decisions whose rewards the truncated value sums."""

    def __post_init__(self) -> None:
        """Raise `ValueError` for a value out of range."""
        check_range(self, "return_horizon", least=1, most=MANY)


@dataclass(frozen=True)
class DistillationSettings:
    """Settings of POPLIN's policy and of its distillation (safeloop/learners/distillation.py)."""

    policy_layers: int = 1
    """Hidden layers of the policy, of tanh units."""
    policy_width: int = 32
    """Units of each hidden layer."""
    policy_learning_rate: float = 3e-3
    """Adam's learning rate of the policy."""
    distillation: Literal["bc", "gan", "avg", "zero"] = "bc"
    """The way from plans to a policy: behaviour cloning (Eq. 7), a generative adversarial network (Eq. 8), or the mean
    of the noise on the weights; with `zero` all weights are and stay 0 (Figure 12e)."""
    averaged: Literal["added", "replaced"] = "added"
    """Use of the mean noise: it is added to the weights, as in the paper, or takes their place, as in its program."""
    distilled_steps: int = 100
    """Gradient steps of a distillation."""
    distilled_batch: int = 64
    """Decisions of a gradient step."""
    discriminator_width: int = 64
    """Units of each of the discriminator's two hidden layers."""
    discriminator_learning_rate: float = 3e-3
    """Adam's learning rate of the discriminator."""
    entropy_penalty: float = 1e-3
    """Weight of the discriminator's entropy, which it is rewarded for (5.4)."""

    def __post_init__(self) -> None:
        """Raise `ValueError` for a value out of range."""
        check_range(self, "policy_layers", least=0, most=100)
        check_range(
            self, "policy_width", "distilled_steps", "distilled_batch", "discriminator_width", least=1, most=MANY
        )
        check_range(self, "policy_learning_rate", "discriminator_learning_rate", more_than=0)
        check_range(self, "entropy_penalty", least=0)
