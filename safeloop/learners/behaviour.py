"""The value of the behaviour in the replay buffer, by temporal differences: what the planner itself earns.

SAC's value is that of an actor that maximises the reward alone. Under a constraint the planner may not go where
that actor would: at a hazard between robot and goal the actor's value promises the way through. The value of
what was done instead needs no action at all: `V(s) <- r + gamma V(s')` over the transitions of the buffer
(LOOP-SARSA in the papers' comparisons has the same target for Q).
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor

from safeloop.networks import EnsembleMLP, initialiser, polyak
from safeloop.replay import Batch


class BehaviourValue:
    """Twin value functions `[..., S] -> [...]` with Polyak-averaged targets; the value is the lower of the two."""

    def __init__(
        self,
        obs_dim: int,
        discount: float,
        learning_rate: float,
        polyak: float,
        hidden: int,
        generator: torch.Generator,
        device: str = "cpu",
    ):
        self.discount, self.polyak = discount, polyak
        net = EnsembleMLP(2, [obs_dim, hidden, hidden, 1], torch.relu_, initialiser(generator))
        self.net = net.to(device)
        self.target = copy.deepcopy(self.net).requires_grad_(False)
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=learning_rate, fused=True)

    @staticmethod
    def _both(net: EnsembleMLP, obs: Tensor) -> Tensor:
        """Both functions' values, `[2, B]`."""
        return net(obs.expand(2, -1, -1))[..., 0]

    @torch.no_grad()
    def value(self, obs: Tensor) -> Tensor:
        """`min_i V_i(s)`, for any leading dimensions: `[..., S] -> [...]`."""
        return self._both(self.net, obs.reshape(-1, obs.shape[-1])).amin(0).view(obs.shape[:-1])

    def update(self, batch: Batch) -> None:
        """One gradient step on `batch`."""
        with torch.no_grad():
            following = self._both(self.target, batch.next_obs).amin(0)
            target = batch.reward + self.discount * (1 - batch.terminated) * following
        loss = (self._both(self.net, batch.obs) - target).square().mean(1).sum()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        polyak(self.target, self.net, self.polyak)

    def checkpoint(self) -> dict[str, Any]:
        """Networks and optimiser."""
        return {
            "net": self.net.state_dict(),
            "target": self.target.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Restore `checkpoint`."""
        self.net.load_state_dict(state["net"])
        self.target.load_state_dict(state["target"])
        self.optimizer.load_state_dict(state["optimizer"])
