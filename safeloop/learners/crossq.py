"""CrossQ (Bhatt et al., 2024): soft actor-critic with batch renormalisation, without target networks."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from safeloop.data.replay import Batch
from safeloop.learners.renormalised import RenormalisedMLP
from safeloop.learners.sac import Actor, SoftLearner
from safeloop.learners.settings import CrossQSettings, LearnerSettings, SACSettings
from safeloop.networks import Generators, initialiser, normals

BETAS = (0.5, 0.999)
"""Adam's decay rates for actor and critics, of which the first is the paper's."""


class NormalisedActor(Actor):
    """SAC's actor with batch renormalisation: by running statistics, but in `sample_on_batch`."""

    net: RenormalisedMLP

    def sample_on_batch(self, obs: Tensor, generators: Generators, corrected: bool) -> tuple[Tensor, Tensor]:
        """Draw actions as `sample` does, by statistics of the states `[B, S]`, and move the running ones."""
        mean, log_std = self._bounded(self.net.on_batch(obs[None], corrected)[0])
        return self._squashed(mean, log_std, normals(mean.shape, generators))


class CrossQ(SoftLearner):
    """The CrossQ learner: an actor, two critics and a temperature, with one `update` per batch.

    In place of target networks, one pass of the critics sees the pairs of a batch and those that follow: both are
    normalised by the statistics of the two together. Acting, planning and values use running statistics.
    """

    actor: NormalisedActor
    critic: RenormalisedMLP

    def __init__(
        self,
        obs_dim: int,
        act_dim: int,
        shared: LearnerSettings,
        soft: SACSettings,
        settings: CrossQSettings,
        generator: torch.Generator,
        device: str = "cpu",
    ):
        self.crossq, self.updates = settings, 0
        init, h, w = initialiser(generator), shared.hidden, settings.critic_width
        actor, critic = (
            RenormalisedMLP(size, widths, init, settings.statistics_momentum)
            for size, widths in ((1, [obs_dim, h, h, 2 * act_dim]), (2, [obs_dim + act_dim, w, w, 1]))
        )
        super().__init__(NormalisedActor(actor), critic, act_dim, shared, soft, generator, device, BETAS)

    def errors(self, batch: Batch) -> Tensor:
        """Return the critics' errors `[2, B]` in a batch, of one joint pass; targets have no gradient.

        A target is `r + gamma (min_i Q_i(s', a') - alpha log pi(a'))`, where the actor draws a' as it acts.
        """
        with torch.no_grad():
            drawn, log_prob = self.actor.sample(batch.next_obs, [self.generator])
        pairs = torch.cat((torch.cat((batch.obs, batch.act), -1), torch.cat((batch.next_obs, drawn), -1)))
        corrected = self.updates >= self.crossq.renormalise_after
        now, following = self.critic.on_batch(pairs.expand(2, -1, -1), corrected)[..., 0].chunk(2, 1)  # [2, B] each
        worth = following.detach().amin(0) + self.bonus(log_prob)
        return now - (batch.reward + self.shared.discount * (1 - batch.terminated) * worth)

    def update(self, batch: Batch) -> None:
        """Take a gradient step of the critics, and at every `policy_delay`-th one of the actor and the temperature."""
        actor_optimizer, critic_optimizer, _ = self.optimizers
        critic_loss = self.errors(batch).square().mean(1).sum()
        critic_optimizer.zero_grad(set_to_none=True)
        critic_loss.backward()
        critic_optimizer.step()
        self.updates += 1
        if self.updates % self.crossq.policy_delay:
            return
        made = self.updates // self.crossq.policy_delay - 1  # updates of the actor before this one
        self.critic.requires_grad_(False)
        act, log_prob = self.actor.sample_on_batch(batch.obs, [self.generator], made >= self.crossq.renormalise_after)
        actor_loss = (self.temperature * log_prob - self.lower(batch.obs, act)).mean()
        actor_optimizer.zero_grad(set_to_none=True)
        actor_loss.backward()
        actor_optimizer.step()
        self.critic.requires_grad_(True)
        self.adapt_temperature(log_prob)

    def checkpoint(self) -> dict[str, Any]:
        """Return the states as SAC's, running statistics among those of networks, and the number of updates so far."""
        return {**super().checkpoint(), "updates": self.updates}

    def restore(self, state: dict[str, Any]) -> None:
        """Restore the state from `checkpoint`."""
        super().restore(state)
        self.updates = state["updates"]
