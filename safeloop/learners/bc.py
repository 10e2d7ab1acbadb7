"""Behaviour cloning: a policy that imitates a dataset's actions (Pomerleau, 1988)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from safeloop.data.replay import Batch
from safeloop.learners.settings import BCSettings
from safeloop.networks import EnsembleMLP, Generators, initialiser


class BC:
    """The learner of behaviour cloning: a deterministic actor, with one `update` per batch.

    The loss is the mean squared error of the actor's action, which is the likelihood of a Gaussian of fixed spread.
    A squashed Gaussian's own likelihood is infinite at the bounds, where a dataset's actions may lie, and its spread
    would be of no use: policies are evaluated by their mean action.
    """

    def __init__(
        self, obs_dim: int, act_dim: int, settings: BCSettings, generator: torch.Generator, device: str = "cpu"
    ):
        sizes = [obs_dim, settings.hidden, settings.hidden, act_dim]
        self.actor = EnsembleMLP(1, sizes, torch.relu_, initialiser(generator)).to(device)
        self.optimizer = torch.optim.Adam(self.actor.parameters(), lr=settings.learning_rate, fused=True)

    def actions(self, obs: Tensor) -> Tensor:
        """Return the actor's actions `[B, A]`, in [-1, 1], for `obs [B, S]`."""
        return torch.tanh(self.actor(obs.unsqueeze(0))[0])

    @torch.no_grad()
    def act(self, obs: Tensor, generators: Generators | None) -> Tensor:
        """Return actions `[..., A]`; the actor is deterministic, so nothing is drawn from `generators`."""
        return self.actions(obs.reshape(-1, obs.shape[-1])).view(*obs.shape[:-1], -1)

    def value(self, obs: Tensor) -> Tensor:
        """Return NaN for each state, `[..., S] -> [...]`: no value is learned."""
        return obs.new_full(obs.shape[:-1], torch.nan)

    def update(self, batch: Batch) -> None:
        """Take one gradient step on `batch`."""
        loss = (self.actions(batch.obs) - batch.act).square().mean()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()

    def checkpoint(self) -> dict[str, Any]:
        """Return the states of the network and the optimiser."""
        return {"actor": self.actor.state_dict(), "optimizer": self.optimizer.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        """Restore the state from `checkpoint`."""
        self.actor.load_state_dict(state["actor"])
        self.optimizer.load_state_dict(state["optimizer"])
