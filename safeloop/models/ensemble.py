"""The probabilistic ensemble: K models of the next observation, reward, event, termination and violation.

Each model is a Gaussian with learned, bounded log-variance (Chua et al., 2018; CoRL 2021, C.1), fitted on the same data
with its own batches: of single transitions, or of windows of decisions over which the models predict from their own
predictions. Inputs and targets are normalised. The networks have one of two shapes, `full` and `factored`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from safeloop.cmdp import Entities, Lidars
from safeloop.data.replay import Batch, Replay
from safeloop.models.censored import clipped_side, deviance, misses
from safeloop.models.factored import FactoredNet, jumping
from safeloop.models.fitting import HELD, Fitted, Learned, logistic, passes
from safeloop.models.full import FullNet, Heads, Prediction
from safeloop.models.windows import inside, sides
from safeloop.networks import Generators, initialiser, normals


def _bounded(raw: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Return `e^low + e^high * sigmoid(raw - high)`, which is the exponential of the two softplus clamps."""
    return torch.addcmul(low.exp(), high.exp(), torch.sigmoid(raw - high))


class Parts(NamedTuple):
    """Predictions of B transitions beside the truth, in normalised units."""

    mean: Tensor  # [K, B, S], of the change, as `raw` and `target`
    raw: Tensor
    target: Tensor
    side: Tensor | None  # [K, B, S], 1 or -1 where the truth is clipped at its upper or lower limit, else 0
    mask: Tensor  # [K, B, S], 0 for what the dynamics do not learn
    outcome: Prediction
    reward: Tensor  # [K, B]
    calm: Tensor  # [K, B], 0 where the reward is not learned
    losses: dict[str, Tensor]  # name -> [K], the mean losses of the logits, with their weights


class Ensemble(Learned):
    """K models with their normalisers and their optimiser. Each sampled rollout stays with one model (TS-infinity)."""

    def __init__(
        self,
        obs_dim: int,
        act_dim: int,
        *,
        ensemble_size: int,
        sizes: list[int],
        heads: Heads,
        parts: Entities | Lidars | None = None,
        factored: bool = False,
        entity_width: int = 32,
        window: int = 1,
        learning_rate: float = 1e-3,
        weight_decay: float = 1e-5,
        reward_weight: float = 1.0,
        cost_weight: float = 1.0,
        limits: Mapping[int, float] | None = None,
        generator: torch.Generator,
        device: str = "cpu",
    ):
        super().__init__()
        self.ensemble_size, self.heads, self.window = ensemble_size, heads, window
        self.reward_weight, self.cost_weight = reward_weight, cost_weight
        self.feature_size = obs_dim
        init = initialiser(generator)
        net: FullNet | FactoredNet
        if not factored or parts is None:
            net = FullNet(ensemble_size, obs_dim, act_dim, heads, sizes, init)
        else:
            net = FactoredNet(ensemble_size, obs_dim, act_dim, parts, heads, sizes, entity_width, init)
        self.net = net
        self.obs_mean: Tensor
        self.obs_std: Tensor
        self.delta_mean: Tensor
        self.delta_std: Tensor
        self.event_mask: Tensor
        for name, size in (("obs", obs_dim), ("delta", obs_dim), ("reward", 1)):
            self.register_buffer(f"{name}_mean", torch.zeros(size))
            self.register_buffer(f"{name}_std", torch.ones(size))
        self.register_buffer("event_reward", torch.zeros(()))
        bound_of = torch.arange(obs_dim) if isinstance(net, FullNet) else net.bounds()
        n = int(bound_of.max()) + 2  # the last bound is the reward's
        self.bound_of: Tensor
        self.register_buffer("bound_of", bound_of, persistent=False)
        self.log_var_max = nn.Parameter(torch.full((ensemble_size, n), 0.5))
        self.log_var_min = nn.Parameter(torch.full((ensemble_size, n), -10.0))
        mask = torch.ones(obs_dim)  # 0 for the numbers that an event relocates
        if parts is not None:
            mask[jumping(parts)] = 0
        self.register_buffer("event_mask", mask, persistent=False)
        limit = None  # [S], of the numbers that are clipped, inf for others; None: no likelihood is censored
        if limits:
            limit = torch.full((obs_dim,), torch.inf)
            limit[list(limits)] = torch.tensor(list(limits.values()))
        self.limit: Tensor | None
        self.register_buffer("limit", limit, persistent=False)
        self.to(device)
        self.generator, self.device = generator, device
        self.optimizer = torch.optim.Adam(self.parameters(), lr=learning_rate, weight_decay=weight_decay, fused=True)

    # -- perception: states are observations ------------------------------------------------------------------

    def first(self, obs: Tensor) -> Tensor:
        """Return the observations, which are the states."""
        return obs

    def follow(self, state: Tensor, act: Tensor, obs: Tensor) -> Tensor:
        """Return the observations, which are the states."""
        return obs

    def near(self, state: Tensor) -> Tensor:
        """Return the states."""
        return state

    def observed(self, state: Tensor) -> Tensor:
        """Return the states, which known models read."""
        return state

    def features(self, state: Tensor) -> Tensor:
        """Return the states, which learners and values read."""
        return state

    # -- prediction ---------------------------------------------------------------------------------------

    def _variance(self, raw: Tensor) -> Tensor:
        """Return bounded variances `[K, B, S]` of a change, from raw log-variances."""
        return _bounded(raw, *(bound[:, None, self.bound_of] for bound in (self.log_var_min, self.log_var_max)))

    def _reward_variance(self, raw: Tensor) -> Tensor:
        """Return bounded variances `[K, B]` of a reward, from raw log-variances."""
        return _bounded(raw, self.log_var_min[:, -1:], self.log_var_max[:, -1:])

    def normalise(self, obs: Tensor) -> Tensor:
        """Return observations as normalised inputs of the networks."""
        return (obs - self.obs_mean) / self.obs_std

    def step(
        self, obs: Tensor, act: Tensor, generators: Generators | None, noise: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the next observation `[K, B, S]` of `obs, act [K, B, .]`, and the memory that `judge` needs.

        It is drawn with fresh noise from the generators, or with `noise [K, B, S]`; without both it is the mean.
        """
        mean, raw, memory = self.net.transition(self.normalise(obs), act, self.delta_std)
        change = mean.float()
        if generators is not None:
            noise = normals(mean.shape, generators, dim=1)
        if noise is not None:
            change = change.addcmul(self._variance(raw.float()).sqrt_(), noise)
        return self._clipped(torch.addcmul(obs + self.delta_mean, self.delta_std, change)), memory

    def _clipped(self, obs: Tensor) -> Tensor:
        """Return predicted observations `[..., S]` as the environment shows them."""
        return obs if self.limit is None else obs.clamp(-self.limit, self.limit)

    def noise_of(self, obs: Tensor, act: Tensor, next_obs: Tensor) -> Tensor:
        """Return the noise `[K, B, S]` with which `step` would return `next_obs`."""
        mean, raw, _ = self.net.transition(self.normalise(obs), act, self.delta_std)
        change = (next_obs - obs - self.delta_mean) / self.delta_std
        return (change - mean.float()) / self._variance(raw.float()).sqrt()

    def deviation(self, obs: Tensor, act: Tensor) -> Tensor:
        """Return the standard deviations `[K, B, S]` of the next observations of `obs, act [K, B, .]`."""
        raw = self.net.transition(self.normalise(obs), act, self.delta_std)[1]
        return self.delta_std * self._variance(raw.float()).sqrt()

    def judge(self, obs: Tensor, act: Tensor, next_obs: Tensor, memory: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return mean rewards `[K, B]` (0 where not learned) and probabilities `{name: [K, B]}` of transitions."""
        transition = (memory, self.normalise(obs), act, self.normalise(next_obs))
        outcome = self.net.outcome(*transition)
        logits = dict(outcome.logits)
        if self.heads.violated:
            logits["violated"] = self.net.violation(*transition)
        return self._outcome(outcome.reward, logits, obs)

    @torch.no_grad()
    def errors(self, batch: Batch) -> Tensor:
        """Return the mean squared one-step error of the ensemble mean, `[B]`, in standard deviations of changes.

        Numbers that jumped at an event are left out.
        """
        k = self.ensemble_size
        mean = self.step(batch.obs.expand(k, -1, -1), batch.act.expand(k, -1, -1), None)[0].mean(0)
        weight = 1 - batch.event.unsqueeze(-1) * (1 - self.event_mask)  # [B, S]
        squares = weight * ((mean - batch.next_obs) / self.delta_std).square()
        return squares.sum(1) / weight.sum(1).clamp(min=1)

    # -- fitting ------------------------------------------------------------------------------------------

    def fit(self, replay: Replay, steps: int, batch_size: int = 256, patience: int = 0, epochs: int = 0) -> Fitted:
        """Take at most `steps` gradient steps on the replay's transitions, then restore each model's best weights.

        The error (mean squared error in normalised units plus logistic losses, per model) is that on at most 1000
        held-out transitions spread over the replay; if the replay is too short for a holdout, on the fitted
        transitions. A model's variance bounds are restored with its weights. `Learned._descend` describes
        `patience` and the result; there are at least `epochs` passes over the fitted transitions.
        With windows of W > 1 decisions, a step has `batch_size / W` windows, and whole blocks are held out (`sides`).
        """
        w, k = self.window, self.ensemble_size
        train, held = replay.split() if w == 1 else sides(len(replay), w, self.device)
        self._fit_normalisers(replay.rows(train))

        def rows(start: Tensor) -> Batch:
            if w == 1:
                return replay.rows(start)
            return replay.rows((start.unsqueeze(-1) + torch.arange(w, device=self.device)).clamp(max=len(replay) - 1))

        def sample() -> Batch:
            size = (k, max(1, batch_size // w))
            return rows(train[torch.randint(len(train), size, generator=self.generator, device=self.device)])

        judged = held if len(held) else train
        held_batch = rows(judged[:: -(-len(judged) // (HELD // w))].expand(k, -1))
        least = passes(epochs, len(train) * w, batch_size)
        return self._descend(sample, held_batch, max(steps, least), patience, least)

    def _fit_normalisers(self, data: Batch) -> None:
        """Set the means and standard deviations of inputs and targets; constant features are left unscaled."""
        weight = 1 - data.event.unsqueeze(-1) * (1 - self.event_mask)  # [B, S], 0 where the goal jumped
        delta = data.next_obs - data.obs
        count = weight.sum(0).clamp(min=1)
        delta_mean = (weight * delta).sum(0) / count
        delta_std = ((weight * (delta - delta_mean) ** 2).sum(0) / count).sqrt()
        obs_mean, obs_std = data.obs.mean(0), data.obs.std(0, unbiased=False)
        if isinstance(self.net, FactoredNet):  # entities are exchangeable: one scale, centred on the robot
            group = self.net.coordinates()
            obs_mean[group], delta_mean[group] = 0.0, 0.0
            obs_std[group] = self.net.sight.unit or data.obs[:, group].square().mean().sqrt()
            delta_std[group] = (weight * delta.square())[:, group].sum().div(count[group].sum()).sqrt()
        calm = data.event < 0.5 if self.heads.event else torch.ones_like(data.event, dtype=torch.bool)
        reward = data.reward[calm] if bool(calm.any()) else data.reward
        for name, value in (
            ("obs_mean", obs_mean), ("obs_std", obs_std), ("delta_mean", delta_mean), ("delta_std", delta_std),
            ("reward_mean", reward.mean(0, keepdim=True)), ("reward_std", reward.std(0, unbiased=False, keepdim=True)),
        ):  # fmt: skip
            getattr(self, name).copy_(torch.where(value < 1e-6, 1.0, value) if name.endswith("std") else value)
        if bool((~calm).any()):
            self.event_reward.copy_(data.reward[~calm].mean())

    def _path(self, data: Batch) -> tuple[Batch, Tensor, Tensor, Tensor, Tensor]:
        """Return transitions `[K, B]`, which are there, and the network's mean and raw log-variance and output of each.

        Windows `[K, B, W]` become `[K, B * W]` transitions from predicted states: each mean prediction is the input of
        the next decision, but what an event relocated goes on from its true numbers. Those that are not there follow
        the end of the window's episode.
        """
        if self.window == 1:
            predicted = self.net.transition(self.normalise(data.obs), data.act, self.delta_std)
            return data, torch.ones_like(data.event), *predicted
        obs, steps = data.obs[:, :, 0], []
        for t in range(self.window):
            mean, raw, out = self.net.transition(self.normalise(obs), data.act[:, :, t], self.delta_std)
            steps.append((obs, mean, raw, out))
            jumped = data.event[:, :, t].unsqueeze(-1) * (1 - self.event_mask)  # [K, B, S]
            after = self._clipped(obs + self.delta_mean + self.delta_std * mean)
            obs = torch.lerp(after, data.next_obs[:, :, t], jumped)
        obs, mean, raw, out = (torch.stack(x, 2).flatten(1, 2) for x in zip(*steps, strict=True))
        transitions = Batch(*(x.flatten(1, 2) for x in data))._replace(obs=obs)
        return transitions, inside(data).flatten(1), mean, raw, out

    def _parts(self, data: Batch) -> Parts:
        """Return what the models predict of transitions `[K, B]` or windows `[K, B, W]`, beside the truth."""
        data, there, mean, raw, out = self._path(data)
        x, y = self.normalise(data.obs.detach()), self.normalise(data.next_obs)
        target = (data.next_obs - data.obs - self.delta_mean) / self.delta_std
        jumped = data.event.unsqueeze(-1) * (1 - self.event_mask)  # [K, B, S]
        # Where the goal jumped, the outcome is read from the position that the goal would have had.
        expected = self.normalise(self._clipped(data.obs + self.delta_mean + self.delta_std * mean).detach())
        after = torch.lerp(y, expected, jumped) if self.window == 1 else expected
        outcome = self.net.outcome(out, x, data.act, after)
        if self.heads.violated:  # a cost has a sharp edge: it is learned from predictions, its inputs in planning
            outcome.logits["violated"] = self.net.violation(out, x, data.act, expected)
        reward = (data.reward - self.reward_mean) / self.reward_std
        calm = 1 - data.event if self.heads.event else torch.ones_like(data.event)
        losses = {name: logistic(logit, getattr(data, name), there) for name, logit in outcome.logits.items()}
        if "violated" in losses:
            losses["violated"] = self.cost_weight * losses["violated"]
        side = None if self.limit is None else clipped_side(data.next_obs, self.limit)
        return Parts(mean, raw, target, side, there.unsqueeze(-1) * (1 - jumped), outcome, reward, there * calm, losses)

    def _loss(self, data: Batch) -> Tensor:
        """Return Gaussian negative log-likelihoods and logistic losses, summed over models, plus 0.01 times the bounds.

        All are means over transitions, in windows over each decision of each. The likelihood of the change is a mean
        over the numbers of the observation. With a `reward_weight` of 1 the reward therefore counts as much as all
        these numbers together.
        """
        mean, raw, target, side, mask, outcome, reward, calm, losses = self._parts(data)
        loss = (mask * deviance(mean, self._variance(raw), target, side)).mean((1, 2)).sum()
        if outcome.reward is not None and outcome.reward_raw is not None:
            variance = self._reward_variance(outcome.reward_raw)
            of_reward = calm * deviance(outcome.reward, variance, reward)
            loss = loss + self.reward_weight * of_reward.mean(1).sum()
        for error in losses.values():
            loss = loss + error.sum()
        return loss + 0.01 * (self.log_var_max.sum() - self.log_var_min.sum())

    @torch.no_grad()
    def _holdout_error(self, data: Batch) -> Tensor:
        """Return the error of each model on held-out transitions or windows, `[K]`."""
        mean, _, target, side, mask, outcome, reward, calm, losses = self._parts(data)
        error = (mask * misses(mean, target, side).square()).mean((1, 2))
        if outcome.reward is not None:
            error = error + self.reward_weight * (calm * (outcome.reward - reward).square()).mean(1)
        for each in losses.values():
            error = error + each
        return error
