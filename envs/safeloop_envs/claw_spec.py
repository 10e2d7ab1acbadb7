"""The description of `Claw` (CoRL 2021, 6.1), the claw of Nagabandi et al. (2019). Imports no simulator."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from safeloop.cmdp import EnvSpec
from safeloop.settings import build
from safeloop_envs.claw_reward import Kind, known

if TYPE_CHECKING:
    import gymnasium

    from safeloop.protocols import Simulator

CLAW = "Claw"


@dataclass(frozen=True)
class ClawOptions:
    """Options of `Claw`."""

    reward: Kind = "published"
    """Bonuses as the paper prints them (1 below 0.25 rad, 11 below 0.1 rad), or as its program pays them (2, 20)."""


def claw_spec(**options: Any) -> EnvSpec:
    """Return the spec of `Claw`. Raises `UsageError` for an unknown option and for an invalid value."""
    chosen = build(ClawOptions, {}, options, owner=CLAW)
    return EnvSpec(
        id=CLAW,
        suite="PDDM (arXiv 1909.11652)",
        make=partial(_make, chosen.reward),
        action_repeat=1,
        episode_steps=40,
        cost_meaning="no cost",
        budget=None,
        reward=partial(known, kind=chosen.reward),
        simulator=partial(_simulate, chosen.reward),
        options=asdict(chosen),
    )


def _make(kind: Kind, render_mode: str | None = None) -> gymnasium.Env:
    from safeloop_envs.claw import ClawEnv

    return ClawEnv(kind, render_mode)


def _simulate(kind: Kind, threads: int) -> Simulator:
    from safeloop_envs.claw import Claw, ClawSimulator

    return ClawSimulator(Claw(kind), threads)
