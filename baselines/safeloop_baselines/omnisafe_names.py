"""OmniSafe's other algorithms, `omnisafe:NAME`, with settings read from its own defaults.

Names are OmniSafe 0.5.0's. Naming an algorithm reads its default file and does not import OmniSafe.
"""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import yaml

from safeloop.errors import UsageError
from safeloop.settings import MOST, check_range, nearest
from safeloop_baselines.omnisafe_algorithms import OmniSafeAlgorithm

PREFIX = "omnisafe:"
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""PyYAML's loader, in C where it has one: a list of algorithms reads 26 files, which takes half a second in Python."""

ON_POLICY = {
    "CPO": "Constrained Policy Optimization (Achiam et al. 2017)",
    "CPPOPID": "PPO with a PID-controlled multiplier (Stooke et al. 2020)",
    "CUP": "Constrained Update Projection (Yang et al. 2022)",
    "FOCOPS": "First Order Constrained Optimization in Policy Space (Zhang et al. 2020)",
    "IPO": "Interior-point Policy Optimization (Liu et al. 2020)",
    "NaturalPG": "natural policy gradient (Kakade 2001), no constraint",
    "OnCRPO": "CRPO, reward or cost step by step (Xu et al. 2021)",
    "P3O": "Penalized PPO (Zhang et al. 2022)",
    "PCPO": "Projection-based Constrained Policy Optimization (Yang et al. 2020)",
    "PDO": "policy gradient with a Lagrange multiplier (Chow et al. 2018)",
    "PolicyGradient": "policy gradient (Sutton et al. 2000), no constraint",
    "PPO": "Proximal Policy Optimization (Schulman et al. 2017), no constraint",
    "PPOLag": "PPO with a Lagrange multiplier (Ray et al. 2019)",
    "RCPO": "natural policy gradient with a Lagrange multiplier (Tessler et al. 2019)",
    "TRPO": "Trust Region Policy Optimization (Schulman et al. 2015), no constraint",
    "TRPOLag": "TRPO with a Lagrange multiplier (Ray et al. 2019)",
    "TRPOPID": "TRPO with a PID-controlled multiplier (Stooke et al. 2020)",
}

OFF_POLICY = {
    "DDPG": "Deep Deterministic Policy Gradient (Lillicrap et al. 2016), no constraint",
    "DDPGLag": "DDPG with a Lagrange multiplier",
    "DDPGPID": "DDPG with a PID-controlled multiplier (Stooke et al. 2020)",
    "SAC": "Soft Actor-Critic (Haarnoja et al. 2018), no constraint",
    "SACLag": "SAC with a Lagrange multiplier",
    "SACPID": "SAC with a PID-controlled multiplier (Stooke et al. 2020)",
    "TD3": "Twin Delayed DDPG (Fujimoto et al. 2018), no constraint",
    "TD3Lag": "TD3 with a Lagrange multiplier",
    "TD3PID": "TD3 with a PID-controlled multiplier (Stooke et al. 2020)",
}

_CUT_SHORT = "it breaks off episodes whose cost passes the limit, so only the cheaper ones would be recorded"
_COST_LEFT = "its policy also observes the remaining budget of the episode, which policies here do not observe"
_MODELS = "its models need environments of OmniSafe's own; safeloop, loop, rce, cce and pets are of this kind"
_OFFLINE = "it learns from a data set, not from an environment"

REFUSED = {
    **dict.fromkeys(("PPOEarlyTerminated", "TRPOEarlyTerminated"), _CUT_SHORT),
    **dict.fromkeys(("PPOSaute", "TRPOSaute", "PPOSimmerPID", "TRPOSimmerPID"), _COST_LEFT),
    **dict.fromkeys(("CAPPETS", "CCEPETS", "LOOP", "PETS", "RCEPETS", "SafeLOOP"), _MODELS),
    **dict.fromkeys(("BCQ", "BCQLag", "CCRR", "COptiDICE", "CRR", "VAEBC"), _OFFLINE),
}
"""OmniSafe's algorithms that can't be compared here, and why."""


EPISODES_PER_EPOCH = {"on-policy": 10, "off-policy": 2}
"""Full-length episodes per epoch. OmniSafe's off-policy epoch, 2,000 steps, is two episodes of its own tasks."""

DECIDED = {"steps_per_epoch", "cost_limit", "update_cycle", "use_cost", "use_exploration_noise"}
"""Keys that are not settings here: the epoch, the budget, and the parts of the algorithm."""

FRACTIONS = {
    "gamma", "lam", "lam_c", "polyak", "entropy_coef", "penalty_coef", "pid_delta_p_ema_alpha", "pid_delta_d_ema_alpha",
}  # fmt: skip
MAY_BE_ZERO = {"start_learning_steps", "warmup_epochs"}
"""Counts that may be 0; the others are at least 1."""


@dataclass(frozen=True)
class OmniSafeSettings:
    """Settings of one algorithm, by OmniSafe's names; subclasses have the fields. See `settings_of`.

    Raises `ValueError` for a value out of range.
    """

    places: ClassVar[Mapping[str, tuple[str, ...]]]
    """For each field but `episodes_per_epoch`, `hidden_layers` and `hidden_units`, its place in OmniSafe's settings."""
    limits: ClassVar[tuple[str, ...]]
    """The parts of OmniSafe's settings that have a `cost_limit`."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            if field.type != "bool":
                least = 1 if field.type == "int" and field.name not in MAY_BE_ZERO else 0
                most = 1 if field.name in FRACTIONS else 100 if field.name == "hidden_layers" else MOST
                check_range(self, field.name, least=least, most=most if field.type == "int" or most == 1 else None)
        kept = getattr(self, "size", None)  # of an off-policy algorithm's buffer
        for name in ("batch_size", "start_learning_steps"):
            if kept is not None and getattr(self, name, 0) > kept:
                raise ValueError(f"{name}={getattr(self, name)}: expected at most size={kept}, all that are kept")

    def omnisafe(self, budget: float) -> dict[str, Any]:
        """Return these settings as OmniSafe nests them, with `budget` (cost return per episode) as the cost limit."""
        sizes = [self.hidden_units] * self.hidden_layers  # type: ignore[attr-defined]
        values: dict[str, Any] = {
            "algo_cfgs": {}, "model_cfgs": {"actor": {"hidden_sizes": sizes}, "critic": {"hidden_sizes": sizes}},
        }  # fmt: skip
        for field in dataclasses.fields(self):
            if field.name in self.places:
                *parts, key = self.places[field.name]
                group = values
                for part in parts:
                    group = group.setdefault(part, {})
                value = getattr(self, field.name)
                group[key] = float(value) if field.type == "float" else value
        for part in self.limits:
            values.setdefault(part, {})["cost_limit"] = budget
        if "start_learning_steps" in self.places:  # off-policy: these evaluate, on an environment of their own
            values["train_cfgs"] = {"eval_episodes": 0}
        return values


def _defaults(name: str) -> dict[str, Any]:
    """Return OmniSafe's defaults of the algorithm, from its file. Raises `UsageError` without OmniSafe."""
    spec = importlib.util.find_spec("omnisafe")
    if spec is None or spec.origin is None:
        raise UsageError(f"{PREFIX}{name} needs OmniSafe 0.5.0: `safeloop doctor` shows how to install it")
    text = (Path(spec.origin).parent / "configs" / _kind(name) / f"{name}.yaml").read_text()
    return yaml.load(text, LOADER)["defaults"]


def _kind(name: str) -> str:
    return "on-policy" if name in ON_POLICY else "off-policy"


def _unread(name: str, algo_cfgs: Mapping[str, Any]) -> set[str]:
    """Return the keys of the default file that OmniSafe 0.5.0 does not read for this algorithm."""
    found = {"cost_gamma", "fvp_obs"}
    if "cg_iters" in algo_cfgs:  # steps by conjugate gradients
        found |= {"clip", "entropy_coef", "kl_early_stop", "linear_lr_decay"}
    if name.startswith("SAC"):
        found |= {"exploration_noise", "policy_noise", "policy_noise_clip"}
    return found | {
        "FOCOPS": {"clip"},
        "IPO": {"lagrangian_multiplier_init", "lambda_lr"},
        "PDO": {"clip", "entropy_coef"},
        "PolicyGradient": {"entropy_coef"},
    }.get(name, set())


@cache
def settings_of(name: str) -> type[OmniSafeSettings]:
    """Return the settings of OmniSafe's algorithm `name`: a frozen dataclass with OmniSafe's defaults.

    Its fields are the numbers and switches of `algo_cfgs` and `lagrange_cfgs`, the learning rates as `actor_lr`
    and `critic_lr`, the networks' size, and the epoch in full-length episodes. `start_learning_steps` counts
    simulator steps.
    """
    defaults = _defaults(name)
    hidden = defaults["model_cfgs"]["actor"]["hidden_sizes"]
    found: dict[str, Any] = {
        "episodes_per_epoch": EPISODES_PER_EPOCH[_kind(name)], "hidden_layers": len(hidden), "hidden_units": hidden[0],
    }  # fmt: skip
    places: dict[str, tuple[str, ...]] = {}
    candidates = [
        *((f"{network}_lr", ("model_cfgs", network, "lr")) for network in ("actor", "critic")),
        ("linear_lr_decay", ("model_cfgs", "linear_lr_decay")),
        *((key, (part, key)) for part in ("algo_cfgs", "lagrange_cfgs") for key in defaults.get(part, {})),
    ]
    omitted = DECIDED | _unread(name, defaults["algo_cfgs"])
    for key, place in candidates:
        value: Any = defaults
        for part in place:
            value = value[part]
        if isinstance(value, bool | int | float) and key not in omitted:
            found[key], places[key] = float(value) if key == "max_grad_norm" else value, place
    limits = tuple(part for part in ("algo_cfgs", "lagrange_cfgs") if "cost_limit" in defaults.get(part, {}))
    return dataclasses.make_dataclass(
        f"{name}Settings",
        [(key, type(value).__name__, dataclasses.field(default=value)) for key, value in found.items()],
        bases=(OmniSafeSettings,),
        frozen=True,
        namespace={"places": places, "limits": limits, "__doc__": f"Settings of OmniSafe's {name}."},
    )


class OmniSafeFamily:
    """The family of OmniSafe's algorithms, the entry point `omnisafe` in `safeloop.algorithm_families`."""

    def names(self) -> list[str]:
        """Return the names of OmniSafe's on-policy and off-policy algorithms that run here."""
        return [*ON_POLICY, *OFF_POLICY]

    def algorithm(self, name: str) -> OmniSafeAlgorithm:
        """Return the algorithm `omnisafe:NAME`. Raises `UsageError` for one that is unknown or can't run here."""
        near = nearest(PREFIX + name, [PREFIX + known for known in self.names()])
        if name in REFUSED:
            raise UsageError(f"{PREFIX}{name} can't run here: {REFUSED[name]}; nearest: {near}")
        if name not in self.names():
            raise UsageError(f"unknown algorithm {PREFIX + name!r}; nearest: {near}")
        return OmniSafeAlgorithm.named(
            PREFIX + name,
            name,
            f"{(ON_POLICY | OFF_POLICY)[name]}, OmniSafe's",
            settings_of(name),
            default_steps=100_000 if name in ON_POLICY else 1_000_000,
        )


omnisafe_family = OmniSafeFamily()
