"""Value expansion: targets of critics over imagined steps of a model."""

from __future__ import annotations

import torch
from torch import Tensor

from safeloop.data.replay import Batch
from safeloop.learners.sac import SAC
from safeloop.learners.targets import Targets
from safeloop.models.trajectories import Model, dealt, rollout


@torch.no_grad()
def expanded(sac: SAC, model: Model, batch: Batch, horizon: int) -> Targets:
    """Return targets over `horizon` imagined steps after each real transition (MVE; Feinberg et al., 2018).

    From `next_obs` SAC's actor acts in the model, each row in one of the K models. The critics have a target at the
    real pair and at every imagined pair (Feinberg's TD-k trick): `sum_k gamma^k r_k + gamma^n V'(s_H)` over the n steps
    from the pair to the end. Each value has the bonus for the entropy of the action in its state.
    """
    k, b, gamma = model.ensemble_size, len(batch.reward), sac.shared.discount
    rows = dealt(b, k, batch.reward.device)
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
    bonuses = [none, *map(sac.bonus, log_probs)]  # for the entropy; the real action has none
    value, targets = sac.next_value(s), []
    for reward, end, bonus in zip(reversed(rewards), reversed(ended), reversed(bonuses), strict=True):
        targets.append(torch.where(end < 1, reward + gamma * (1 - end) * value, reward))
        value = targets[-1] + bonus
    obs, act = (torch.cat(x) for x in ([real.obs, *before], [real.act, *steps(imagined.act)]))
    target = torch.cat(targets[::-1])
    survived = torch.stack([torch.zeros_like(ended[0]), *ended[:-1]]).neg().add(1).cumprod(0)
    # A model's prediction may not be finite, and a weight of zero would not remove it.
    finite = torch.cat((obs, act, target.unsqueeze(1)), 1).isfinite().all(1)
    obs, act = (torch.where(finite.unsqueeze(1), x, 0.0) for x in (obs, act))
    return Targets(obs, act, torch.where(finite, target, 0.0), torch.where(finite, survived.flatten(), 0.0))
