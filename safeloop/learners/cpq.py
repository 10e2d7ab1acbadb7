"""Constraints penalised Q-learning (CPQ; Xu, Zhan & Zhu, 2022), for datasets with a cost."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor

from safeloop.data.replay import Batch
from safeloop.learners.plas import Autoencoder
from safeloop.learners.sac import Actor
from safeloop.learners.settings import CPQSettings, LearnerSettings
from safeloop.learners.targets import Targets, one_step
from safeloop.networks import EnsembleMLP, Generators, initialiser, polyak, q_values, restored, saved, twin_critics

NETWORKS = ("autoencoder", "actor", "critic", "cost_critic", "target", "cost_target")


class CPQ:
    """The CPQ learner: autoencoder, actor, twin critics of return and of cost, and targets of these.

    Actions whose cost value is above `threshold`, the discounted cost that the budget allows, count as worth nothing.
    So rewards must be at least 0, and actions that the dataset lacks are given large cost values.
    """

    def __init__(
        self,
        obs_dim: int,
        act_dim: int,
        shared: LearnerSettings,
        settings: CPQSettings,
        threshold: float,
        generator: torch.Generator,
        device: str = "cpu",
        layer_norm: bool = False,
    ):
        self.shared, self.settings, self.threshold, self.generator = shared, settings, threshold, generator
        init, h = initialiser(generator), shared.hidden
        self.autoencoder = Autoencoder(obs_dim, act_dim, h, init).to(device)
        self.actor = Actor(EnsembleMLP(1, [obs_dim, h, h, 2 * act_dim], torch.relu_, init)).to(device)
        self.critic = twin_critics(obs_dim, act_dim, h, init, layer_norm).to(device)
        self.cost_critic = twin_critics(obs_dim, act_dim, h, init, layer_norm).to(device)
        self.target = copy.deepcopy(self.critic).requires_grad_(False)
        self.cost_target = copy.deepcopy(self.cost_critic).requires_grad_(False)
        groups = (self.autoencoder, self.actor, self.critic, self.cost_critic)
        self.optimizers = [torch.optim.Adam(list(net.parameters()), lr=shared.rate, fused=True) for net in groups]
        self.penalty = torch.zeros((), device=device)
        """alpha, the weight of the cost value of actions outside the data."""

    @torch.no_grad()
    def value(self, obs: Tensor) -> Tensor:
        """Return `min_i Q_i(s, pi(s))` with the actor's mean action, with leading dimensions: `[..., S] -> [...]`."""
        flat = obs.reshape(-1, obs.shape[-1])
        return q_values(self.critic, flat, self.actor.mean(flat)).amin(0).view(obs.shape[:-1])

    @torch.no_grad()
    def act(self, obs: Tensor, generators: Generators | None) -> Tensor:
        """Return actions `[..., A]`, drawn with `generators`, or the mean actions without generators."""
        if generators is None:
            return self.actor.mean(obs)
        return self.actor.sample(obs, generators)[0].view(*obs.shape[:-1], -1)

    def penalised(self, critic: EnsembleMLP, cost: Tensor, obs: Tensor, act: Tensor) -> Tensor:
        """Return the lower value of pairs `[B, S], [B, A]`, 0 where their `cost [B]` is above the threshold, `[B]`."""
        return (cost <= self.threshold) * q_values(critic, obs, act).amin(0)

    @torch.no_grad()
    def targets(self, batch: Batch) -> tuple[Targets, Targets]:
        """Return one-step targets of the return, penalised, and of the cost, at the same action of the actor."""
        act, discount = self.actor.sample(batch.next_obs, [self.generator])[0], self.shared.discount
        cost = q_values(self.cost_target, batch.next_obs, act).amax(0)
        kept = self.penalised(self.target, cost, batch.next_obs, act)
        return one_step(batch, kept, discount), one_step(batch._replace(reward=batch.cost), cost, discount)

    @torch.no_grad()
    def outside(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Draw `samples` actions of the actor in each state: pairs `[n*B, S], [n*B, A]`, and 1 for those outside.

        An action is outside the data where its code is farther from the prior than a share of the batch's own are.
        """
        obs = batch.obs.repeat(self.settings.samples, 1)
        act = self.actor.sample(obs, [self.generator])[0]
        limit = torch.quantile(self.autoencoder.divergence(batch.obs, batch.act), self.settings.inside)
        return obs, act, (self.autoencoder.divergence(obs, act) > limit).float()

    def outside_cost(self, batch: Batch) -> Tensor:
        """Return the mean cost value of actions outside the data, 0 where none is drawn (differentiable)."""
        obs, act, outside = self.outside(batch)
        return (outside * q_values(self.cost_critic, obs, act).mean(0)).sum() / outside.sum().clamp(min=1)

    @torch.no_grad()
    def raise_penalty(self, outside_cost: Tensor) -> None:
        """Move alpha by its rate times what the cost value of actions outside the data lacks of its aim."""
        lacking = self.settings.outside_scale * self.threshold - outside_cost
        self.penalty = (self.penalty + self.settings.penalty_rate * lacking).clamp(0, self.settings.penalty_limit)

    def actor_loss(self, obs: Tensor) -> Tensor:
        """Return minus the penalised value of drawn actions, plus `recovery` times their cost beyond the threshold."""
        act = self.actor.sample(obs, [self.generator])[0]
        cost = q_values(self.cost_critic, obs, act).amax(0)
        beyond = (cost - self.threshold).clamp(min=0)
        return (self.settings.recovery * beyond - self.penalised(self.critic, cost, obs, act)).mean()

    def update(self, batch: Batch) -> None:
        """Take one gradient step of autoencoder, critics and actor on `batch`."""
        autoencoder_optimizer, actor_optimizer, critic_optimizer, cost_optimizer = self.optimizers
        self._step(autoencoder_optimizer, self.autoencoder.loss(batch, self.settings.kl_weight, self.generator))
        returns, costs = self.targets(batch)
        self._step(critic_optimizer, returns.loss(self.critic))
        outside_cost = self.outside_cost(batch)
        self.raise_penalty(outside_cost)
        self._step(cost_optimizer, costs.loss(self.cost_critic) - self.penalty * outside_cost)

        for net in (self.critic, self.cost_critic):
            net.requires_grad_(False)
        self._step(actor_optimizer, self.actor_loss(batch.obs))
        for net in (self.critic, self.cost_critic):
            net.requires_grad_(True)
        polyak(self.target, self.critic, self.shared.tau)
        polyak(self.cost_target, self.cost_critic, self.shared.tau)

    @staticmethod
    def _step(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    def checkpoint(self) -> dict[str, Any]:
        """Return the states of networks, optimisers, random generator and alpha."""
        return {**saved(self, *NETWORKS), "penalty": self.penalty}

    def restore(self, state: dict[str, Any]) -> None:
        """Restore the state from `checkpoint`."""
        restored(self, state, *NETWORKS)
        self.penalty = state["penalty"].to(self.penalty.device)
