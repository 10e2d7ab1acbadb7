"""The learner of model-based offline planning besides its models (MBOP; Argenson & Dulac-Arnold, 2020).

It learns a behaviour policy, which imitates the dataset, and a truncated value, the return over the next decisions up
to a fixed number. Both are ensembles. MBOP's networks also see the previous action; here they see the observation
alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from safeloop.data.replay import Batch
from safeloop.learners.settings import LearnerSettings
from safeloop.networks import EnsembleMLP, Generators, initialiser


def truncated_returns(
    reward: np.ndarray, terminated: np.ndarray, truncated: np.ndarray, horizon: int, discount: float
) -> np.ndarray:
    """Return `sum_{k<horizon} gamma^k r_{t+k}` within the episode, `[T]`, from rewards and ends of episodes, `[T]`.

    It is NaN where fewer decisions were recorded although the episode continued.
    """
    found, ends = np.zeros(len(reward)), terminated | truncated
    ends[-1:] = True
    first = 0
    for last in np.flatnonzero(ends):
        rows = reward[first : last + 1].astype(float)
        total = np.zeros(len(rows) + 1)  # discounted sums to the episode's end
        for t in reversed(range(len(rows))):
            total[t] = rows[t] + discount * total[t + 1]
        beyond = np.zeros(len(rows))
        if len(rows) > horizon:
            beyond[:-horizon] = discount**horizon * total[horizon:-1]
        found[first : last + 1] = total[:-1] - beyond
        if not terminated[last]:
            found[max(first, last + 2 - horizon) : last + 1] = np.nan
        first = last + 1
    return found.astype(np.float32)


class MBOP:
    """The MBOP learner: ensembles of a behaviour policy and of a value, with one `update` per batch.

    The batch's `reward` is the target of the value: the truncated return, or NaN where it is not known.
    """

    def __init__(
        self,
        obs_dim: int,
        act_dim: int,
        ensemble_size: int,
        shared: LearnerSettings,
        generator: torch.Generator,
        device: str = "cpu",
    ):
        init, h, k = initialiser(generator), shared.hidden, ensemble_size
        self.ensemble_size = k
        self.actor = EnsembleMLP(k, [obs_dim, h, h, act_dim], torch.relu_, init).to(device)
        self.critic = EnsembleMLP(k, [obs_dim, h, h, 1], torch.relu_, init).to(device)
        parameters = [*self.actor.parameters(), *self.critic.parameters()]
        self.optimizer = torch.optim.Adam(parameters, lr=shared.rate, fused=True)

    def _all(self, net: EnsembleMLP, obs: Tensor) -> Tensor:
        """Return the output of each network for the same observations: `[B, S] -> [K, B, n]`."""
        return net(obs.expand(self.ensemble_size, -1, -1))

    @torch.no_grad()
    def value(self, obs: Tensor) -> Tensor:
        """Return the mean of the values, for any leading dimensions: `[..., S] -> [...]`."""
        return self._all(self.critic, obs.reshape(-1, obs.shape[-1])).mean(0).view(obs.shape[:-1])

    @torch.no_grad()
    def act(self, obs: Tensor, generators: Generators | None) -> Tensor:
        """Return the mean action of the behaviour policies, `[..., A]`; nothing is drawn from `generators`."""
        flat = obs.reshape(-1, obs.shape[-1])
        return torch.tanh(self._all(self.actor, flat)).mean(0).view(*obs.shape[:-1], -1)

    def update(self, batch: Batch) -> None:
        """Take one gradient step of both ensembles on `batch`."""
        behaviour = (torch.tanh(self._all(self.actor, batch.obs)) - batch.act).square().mean((1, 2)).sum()
        known = batch.reward.isfinite()
        missed = self._all(self.critic, batch.obs)[..., 0] - batch.reward.nan_to_num()
        value = (known * missed.square()).mean(1).sum()
        self.optimizer.zero_grad(set_to_none=True)
        (behaviour + value).backward()
        self.optimizer.step()

    def checkpoint(self) -> dict[str, Any]:
        """Return the states of the networks and the optimiser."""
        return {
            "actor": self.actor.state_dict(),
            "critic": self.critic.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Restore the state from `checkpoint`."""
        self.actor.load_state_dict(state["actor"])
        self.critic.load_state_dict(state["critic"])
        self.optimizer.load_state_dict(state["optimizer"])
