"""A linear toy with closed-form answers: s' = s + a + drift_k, reward = sum(s), cost = |s_0|, noise-free."""

from __future__ import annotations

from dataclasses import fields

import torch
from torch import Tensor

from safeloop.learners.settings import LearnerSettings
from safeloop.models.trajectories import Outcome
from safeloop.networks import Generators, normals
from safeloop.planning.objective import Objective, Scores
from safeloop.planning.planners import Parts, planner
from safeloop.planning.search import Planner
from safeloop.planning.settings import PlannerSettings
from safeloop.planning.spaces import ActionSequences

# Asymmetric on purpose, so that a transposed axis fails: K, P, N, H, S and B all differ.
K, P, N, H, S, A, B = 3, 2, 7, 5, 4, 4, 6


class LinearModel:
    """Model k drifts by `drift[k]`; optional per-row noise, event and termination by threshold on s_0."""

    def __init__(self, drift: Tensor, noise: float = 0.0, event_at: float | None = None, end_at: float | None = None):
        self.ensemble_size, self.drift = len(drift), drift
        self.noise, self.event_at, self.end_at = noise, event_at, end_at
        self.seen: list[Tensor] = []

    def start(self, start: Tensor) -> tuple[Tensor, Tensor]:
        return start, start

    def step(self, carry: Tensor, act: Tensor, generators: Generators) -> tuple[Tensor, Tensor, Outcome]:
        self.seen.append(carry)
        next_obs = carry + act + self.drift.view(-1, 1, 1)
        if self.noise:
            next_obs = next_obs + self.noise * normals(next_obs.shape, generators, dim=1)
        return next_obs, next_obs, self.outcome(carry, act, next_obs)

    def outcome(self, obs: Tensor, act: Tensor, next_obs: Tensor) -> Outcome:
        event = None if self.event_at is None else (next_obs[..., 0] >= self.event_at).float()
        ended = None if self.end_at is None else (next_obs[..., 0] >= self.end_at).float()
        return Outcome(obs.sum(-1), next_obs[..., 0].abs(), ended, event)


def closed_form(
    obs: Tensor, actions: Tensor, drift: float, discount: float
) -> tuple[list[float], list[float], list[Tensor]]:
    """Per sequence: discounted return, discounted cost and final state of one noise-free model."""
    returns, costs, finals = [], [], []
    for sequence in actions:
        s, r, c = obs.clone(), 0.0, 0.0
        for t, a in enumerate(sequence):
            r += discount**t * s.sum().item()
            s = s + a + drift
            c += discount**t * abs(s[0].item())
        returns.append(r)
        costs.append(c)
        finals.append(s)
    return returns, costs, finals


def score(model, obs, actions, *, generators, value_after_event=0.0, **options) -> Scores:
    """The scores of action sequences `[B, N, H, A]`."""
    space = ActionSequences(actions.shape[2], actions.shape[3])
    return Objective(model, **options)(obs, space, actions, generators, value_after_event)


def make_planner(
    model,
    constraint=None,
    act_dim=A,
    actor=None,
    value=None,
    seeds=(0,),
    discount=0.95,
    draws=False,
    cost_value=None,
    **settings,
) -> Planner:
    """A planner of the toy: five iterations of independent noise over H decisions unless told otherwise."""
    usual = {"horizon": H, "iterations": 5, "noise_correlation": 0.0, "noise_narrowed": True, "precision": "float32"}
    parts = Parts(model, act_dim, discount, constraint, actor, value, cost_value)
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    return planner(PlannerSettings(**{**usual, **settings}), parts, generators, draws)


def settings_of(own: type, **changes):
    """A learner's shared settings, small, and its own, from changes of either."""
    names = {f.name for f in fields(LearnerSettings)}
    shared = {"hidden": 32, **{k: v for k, v in changes.items() if k in names}}
    return LearnerSettings(**shared), own(**{k: v for k, v in changes.items() if k not in names})
