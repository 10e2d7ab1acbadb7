"""What critics are taught, and value expansion: targets that look into a model first."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from safeloop.data.replay import Batch
from safeloop.models.trajectories import Model, rollout
from safeloop.networks import EnsembleMLP, q_values

if TYPE_CHECKING:
    from safeloop.learners.sac import SAC


class Targets(NamedTuple):
    """What the critics should say of state-action pairs."""

    obs: Tensor  # [B, S]
    act: Tensor  # [B, A]
    target: Tensor  # [B]
    weight: Tensor  # [B], 0 where the pair lies beyond an imagined episode's end, or what was imagined is not finite

    def loss(self, critic: EnsembleMLP) -> Tensor:
        """The squared error, a mean over the pairs and a sum over the critics."""
        error = q_values(critic, self.obs, self.act) - self.target
        return (self.weight * error.square()).mean(1).sum()


@torch.no_grad()
def expanded(sac: SAC, model: Model, batch: Batch, horizon: int) -> Targets:
    """Targets over `horizon` imagined steps after each real transition (MVE; Feinberg et al., 2018).

    From `next_obs` SAC's actor acts in the model, each row in one of the K models. The critics are taught at the real
    pair and at every imagined one (Feinberg's TD-k trick): `sum_k gamma^k r_k + gamma^n V'(s_H)` over the n steps from
    there to the end, each value with the bonus for the entropy of the action that leaves its state.
    """
    k, b, gamma = model.members, len(batch.reward), sac.settings.discount
    rows = torch.arange(-(-b // k) * k, device=batch.reward.device) % b  # as many for each model: some rows twice
    real = Batch(*(x[rows] for x in batch))
    log_probs: list[Tensor] = []

    def controller(_: int, obs: Tensor) -> Tensor:
        a, log_prob = sac.actor.sample(obs.flatten(0, 1), [sac.generator])
        log_probs.append(log_prob)
        return a.view(k, obs.shape[1], -1)

    def steps(x: Tensor) -> list[Tensor]:  # [K, H, M, ...] to H of [K * M, ...]
        return [step.flatten(0, 1) for step in x.unbind(1)]

    start = real.next_obs.view(k, -1, real.next_obs.shape[-1])
    imagined = rollout(model, start, controller, horizon, [sac.generator])
    *before, s = steps(imagined.obs)
    none, terminated = torch.zeros_like(real.reward), imagined.outcome.terminated
    rewards = [real.reward, *steps(imagined.outcome.reward)]
    ended = [real.terminated, *([none] * horizon if terminated is None else steps(terminated))]
    bonuses = [none, *map(sac.bonus, log_probs)]  # of the entropy; the real action is given
    value, targets = sac.next_value(s), []
    for reward, end, bonus in zip(reversed(rewards), reversed(ended), reversed(bonuses), strict=True):
        targets.append(torch.where(end < 1, reward + gamma * (1 - end) * value, reward))
        value = targets[-1] + bonus
    obs, act = (torch.cat(x) for x in ([real.obs, *before], [real.act, *steps(imagined.act)]))
    target = torch.cat(targets[::-1])
    survived = torch.stack([torch.zeros_like(ended[0]), *ended[:-1]]).neg().add(1).cumprod(0)
    # A model may say what is not finite, which no weight of zero makes good.
    finite = torch.cat((obs, act, target.unsqueeze(1)), 1).isfinite().all(1)
    obs, act = (torch.where(finite.unsqueeze(1), x, 0.0) for x in (obs, act))
    return Targets(obs, act, torch.where(finite, target, 0.0), torch.where(finite, survived.flatten(), 0.0))
