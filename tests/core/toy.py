"""A linear toy with closed-form answers: s' = s + a + drift_k, reward = sum(s), cost = |s_0|, noise-free."""

from __future__ import annotations

from torch import Tensor

from safeloop.models.trajectories import Outcome
from safeloop.networks import Streams, normals

# Asymmetric on purpose, so that a transposed axis fails: K, P, N, H, S and B all differ.
K, P, N, H, S, A, B = 3, 2, 7, 5, 4, 4, 6


class LinearModel:
    """Model k drifts by `drift[k]`; optional per-row noise, event and termination by threshold on s_0."""

    def __init__(self, drift: Tensor, noise: float = 0.0, event_at: float | None = None, end_at: float | None = None):
        self.members, self.drift = len(drift), drift
        self.noise, self.event_at, self.end_at = noise, event_at, end_at
        self.seen: list[Tensor] = []

    def start(self, start: Tensor) -> tuple[Tensor, Tensor]:
        return start, start

    def step(self, carry: Tensor, act: Tensor, streams: Streams) -> tuple[Tensor, Tensor, Outcome]:
        self.seen.append(carry)
        next_obs = carry + act + self.drift.view(-1, 1, 1)
        if self.noise:
            next_obs = next_obs + self.noise * normals(next_obs.shape, streams, dim=1)
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
