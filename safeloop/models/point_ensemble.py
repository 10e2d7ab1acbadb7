"""The ensemble over points: K models of a robot and the tracks of objects around it.

It stands in the place of `Ensemble`, with states in place of observations. Its predictions have no noise: what
positions and lidars show is exact, and what lidars hide is no matter of chance.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from safeloop.data.replay import Batch, Replay
from safeloop.models.fitting import CHECKED_EVERY, HELD, Fitted, Learned, logistic, passes
from safeloop.models.full import Heads
from safeloop.models.point_net import PointNet
from safeloop.models.tracks import CERTAIN, KNOWN, POSITION, PRESENT, VELOCITY, Tracks
from safeloop.models.windows import continuing, starts
from safeloop.networks import Generators, initialiser

UNIT, SPEED_UNIT = 0.05, 0.02
"""Errors of positions and of velocities that count as 1, metres."""
UNSURE = 0.2
"""Weight of positions that are not certain."""
FORGOTTEN = 0.3
"""Share of the velocities that models are trained without, because a new object's is not known."""
WEIGHTS = {
    "robot": 0.3,
    "position": 1.0,
    "velocity": 0.5,
    "reward": 1.0,
    "event": 2.0,
    "violated": 2.0,
    "terminated": 2.0,
}
"""Weights of the parts of the loss."""
ROUND = 400
"""Gradient steps after which states are made anew: the velocities in them depend on the models."""
NEARLY_ALL, NEARLY_MOST, CONTACT = 0.99, 0.999, 1.5
"""Quantiles of nearest objects' distances at violations and of their approach in a decision; a margin of the first."""


class Windows(NamedTuple):
    """Stretches of W decisions, `[K, B, W, ...]`, from states `[K, B, T]` on."""

    state: Tensor
    act: Tensor
    following: Tensor  # the states that followed
    reward: Tensor
    event: Tensor
    violated: Tensor
    terminated: Tensor


class PointEnsemble(Learned):
    """K models with their normalisers and their optimiser."""

    def __init__(
        self,
        tracks: Tracks,
        act_dim: int,
        *,
        ensemble_size: int,
        sizes: list[int],
        heads: Heads,
        width: int = 32,
        window: int = 4,
        horizon: int = 1,
        margin: float = 0.0,
        learning_rate: float = 1e-3,
        weight_decay: float = 1e-5,
        reward_weight: float = 1.0,
        cost_weight: float = 1.0,
        generator: torch.Generator,
        device: str = "cpu",
    ):
        super().__init__()
        self.ensemble_size, self.heads, self.window = ensemble_size, heads, window
        self.horizon, self.margin = horizon, margin
        factors = {"reward": reward_weight, "violated": cost_weight}
        self.weights = {name: weight * factors.get(name, 1.0) for name, weight in WEIGHTS.items()}
        self.tracks, self.feature_size = tracks, tracks.feature_size
        self.net = PointNet(ensemble_size, tracks, act_dim, heads, sizes, width, initialiser(generator))
        self.net.asks = torch.device(device).type != "cuda"
        n = tracks.n_robot
        self.robot_mean: Tensor
        self.robot_std: Tensor
        self.delta_std: Tensor
        self.alive: Tensor
        self.reach: Tensor
        self.contact: Tensor
        for name, start in (
            ("robot_mean", torch.zeros(n)), ("robot_std", torch.ones(n)), ("delta_std", torch.ones(n)),
            ("alive", torch.ones(n)), ("reward_mean", torch.zeros(())), ("reward_std", torch.ones(())),
            ("event_reward", torch.zeros(())), ("reach", torch.tensor(tracks.sight)),
            ("contact", torch.tensor(torch.inf)),
        ):  # fmt: skip
            self.register_buffer(name, start)
        self.to(device)
        self.generator, self.device = generator, device
        self.optimizer = torch.optim.Adam(self.parameters(), lr=learning_rate, weight_decay=weight_decay, fused=True)

    # -- perception ---------------------------------------------------------------------------------------

    def first(self, obs: Tensor) -> Tensor:
        """Return the states `[..., T]` that observations `[..., S]` show by themselves."""
        return self.tracks.first(obs)

    @torch.no_grad()
    def expected(self, state: Tensor, act: Tensor) -> Tensor:
        """Return the mean states `[B, T]` after `state, act [B, .]`, had no object moved by itself."""
        robot, tracks = self.tracks.split(state)
        still = torch.cat((tracks[..., : VELOCITY.start], torch.zeros_like(tracks[..., VELOCITY.start :])), -1)
        k = self.ensemble_size
        blind = self.tracks.join(robot, still)
        return self.step(blind.expand(k, -1, -1), act.expand(k, -1, -1), None)[0].mean(0)

    @torch.no_grad()
    def follow(self, state: Tensor, act: Tensor, obs: Tensor) -> Tensor:
        """Return the states `[B, T]` of `obs [B, S]`, one decision after `state, act [B, .]`."""
        return self.tracks.follow(self.expected(state, act), obs)

    def near(self, state: Tensor) -> Tensor:
        """Return states without the objects that can't matter within the horizon (`reach`)."""
        return self.tracks.within(state, self.reach)

    def observed(self, state: Tensor) -> Tensor:
        """Return the observations `[..., S]` that show states `[..., T]`, for known models."""
        return self.tracks.observed(state)

    def features(self, state: Tensor) -> Tensor:
        """Return the inputs of learners and values for states `[..., T]` (`tracks.Tracks.features`)."""
        return self.tracks.features(self.near(state))

    # -- prediction ---------------------------------------------------------------------------------------

    def step(self, state: Tensor, act: Tensor, generators: Generators | None) -> tuple[Tensor, Tensor]:
        """Return the next states `[K, B, T]` of `state, act [K, B, .]`, and the memory that `judge` needs."""
        robot, tracks = self.net.split(state)
        shown = self._shown(tracks)
        change, after, memory = self.net.transition(
            self._normalise(robot), tracks[:, shown], act, self.tracks.kind[shown]
        )
        after = after.float()
        if torch.compiler.is_exporting() or after.shape[1] < tracks.shape[1]:
            after = torch.zeros_like(tracks).index_copy(1, shown, after)
        return self.net.join(robot + self.delta_std * self.alive * change.float(), after), memory

    def _shown(self, tracks: Tensor) -> Tensor:
        """Return the tracks of `[K, E, B, 7]` that there is an object of in any row: the others need no products.

        Where that is not asked (`PointNet.asks`), and while learning, these are all.
        """
        if not self.net.asks or torch.is_grad_enabled():
            return self.tracks.all
        there = tracks[0, ..., PRESENT].amax(1) > 0  # alike in all models
        there[self.tracks.singles] = True
        return there.nonzero()[:, 0]

    def judge(self, state: Tensor, act: Tensor, following: Tensor, memory: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return mean rewards `[K, B]` (0 where not learned) and probabilities `{name: [K, B]}` of transitions."""
        return self._outcome(*self._judge(state, act, following, memory), state)

    def _judge(
        self, state: Tensor, act: Tensor, following: Tensor, memory: Tensor
    ) -> tuple[Tensor | None, dict[str, Tensor]]:
        (robot, before), (robot_after, after) = self.net.split(state), self.net.split(following)
        reward, logits = self.net.outcome((self._normalise(robot), self._normalise(robot_after)), act, (before, after))
        if self.heads.violated:
            logits["violated"] = self.net.contacts(memory, (robot, robot_after), (before, after), self.contact)
        return reward, logits

    def _normalise(self, robot: Tensor) -> Tensor:
        return (robot - self.robot_mean) / self.robot_std

    @torch.no_grad()
    def errors(self, batch: Batch) -> Tensor:
        """Return the mean squared one-step error of the mean of the robot's numbers, `[B]`, in standard deviations."""
        state, robot = self.expected(self.tracks.first(batch.obs), batch.act), batch.next_obs[:, self.tracks.robot]
        squares = ((self.tracks.split(state)[0] - robot) / self.delta_std).square()
        return (self.alive * squares).sum(1) / self.alive.sum()

    # -- fitting ------------------------------------------------------------------------------------------

    @torch.no_grad()
    def states(self, data: Batch, remember: bool = True) -> tuple[Tensor, Tensor]:
        """Return the states `[R, T]` of recorded transitions in order, and those that followed.

        Within an episode, where an observation is the one that followed the last, they are remembered: all episodes
        are followed side by side. Without `remember` each is what its observation shows by itself.
        """
        if not remember:
            return self.tracks.first(data.obs), self.tracks.first(data.next_obs)
        states, following = (data.obs.new_empty(len(data.obs), self.tracks.size) for _ in range(2))
        continues = continuing(data)
        rows = (~continues).nonzero()[:, 0]
        now = self.tracks.first(data.obs[rows])
        while len(rows):
            then = self.follow(now, data.act[rows], data.next_obs[rows])
            states[rows], following[rows] = now, then
            on = rows + 1 < len(continues)
            on &= continues[(rows + 1).clamp(max=len(continues) - 1)]
            rows, now = rows[on] + 1, then[on]
        return states, following

    def fit(self, replay: Replay, steps: int, batch_size: int = 256, patience: int = 0, epochs: int = 0) -> Fitted:
        """Take at most `steps` gradient steps on windows of the replay's transitions, in rounds (`fitting.Learned`).

        The first round of new models has windows of one decision and nothing remembered, because what is remembered
        depends on the models. With `patience` > 0, fitting stops after as many rounds without a gain of 1% as have that
        many checks, and at least `epochs` passes over the transitions.
        """
        data = replay.rows(torch.arange(len(replay), device=self.device))
        self._fit_normalisers(data)
        done, stale, rounds = 0, 0, list[Fitted]()
        least = passes(epochs, len(replay), batch_size)
        steps = max(steps, least)
        while done < steps and (done < least or not patience or stale * ROUND < patience * CHECKED_EVERY):
            rounds.append(self._round(data, min(ROUND, steps - done), batch_size, new=not self.optimizer.state))
            stale = stale + 1 if rounds[-1][2] > 0.99 * rounds[-1][1] else 0
            done += rounds[-1][0]
        return done, rounds[0][1], rounds[-1][2]

    def _round(self, data: Batch, steps: int, batch_size: int, new: bool) -> Fitted:
        """Fit on windows with the states as the models now see them, shorter windows where none is as long."""
        window = 1 if new else self.window
        train, held = starts(data, window)
        while window > 1 and not len(train):
            window -= 1
            train, held = starts(data, window)
        states, following = self.states(data, remember=not new)
        held = held if len(held) else train
        k = self.ensemble_size

        def windows(start: Tensor) -> Windows:
            rows = start.unsqueeze(-1) + torch.arange(window, device=self.device)
            found = data.event[rows], data.violated[rows], data.terminated[rows]
            return Windows(states[start], data.act[rows], following[rows], data.reward[rows], *found)

        def sample() -> Windows:
            size = (k, max(1, batch_size // window))
            return windows(train[torch.randint(len(train), size, generator=self.generator, device=self.device)])

        judged = windows(held[:: -(-len(held) // (HELD // window))].expand(k, -1))
        return self._descend(sample, judged, steps)

    def _fit_normalisers(self, data: Batch) -> None:
        """Set means and standard deviations; numbers that never change are left unscaled, and never change."""
        robot = data.obs[:, self.tracks.robot]
        delta = data.next_obs[:, self.tracks.robot] - robot
        std, delta_std = robot.std(0, unbiased=False), delta.std(0, unbiased=False)
        calm = data.event < 0.5
        reward = data.reward[calm] if bool(calm.any()) else data.reward
        self.robot_mean.copy_(robot.mean(0))
        self.robot_std.copy_(torch.where(std < 1e-5, 1.0, std))
        self.delta_std.copy_(torch.where(delta_std < 1e-5, 1.0, delta_std))
        self.alive.copy_(delta_std >= 1e-5)
        self.reward_mean.copy_(reward.mean())
        self.reward_std.copy_(reward.std(unbiased=False).clamp(min=1e-6))
        if bool((~calm).any()):
            self.event_reward.copy_(data.reward[~calm].mean())
        self._fit_reach(data)

    def _fit_reach(self, data: Batch) -> None:
        """Set the distance within which objects can be touched in a decision, and can matter within the horizon.

        The first is `CONTACT` times the distance of the nearest object at nearly all violations. The second is farther
        by the margin of a known cost and by the nearest objects' approach in nearly the most eventful decision, for
        each decision of the horizon. Where no violation is known, or where nothing can be touched, all objects matter.
        """
        sight, several = self.tracks.sight, self.tracks.several
        before, after = self.tracks.nearest(data.obs), self.tracks.nearest(data.next_obs)  # [R, G]
        seen = (before < sight) & (after < sight) & (data.event < 0.5).unsqueeze(1)
        approach, bad = (before - after).abs()[seen], data.violated > 0
        bad = bad if bad.ndim == 1 else bad.any(1)
        if not len(approach) or not several or not bool(bad.any()):
            self.contact.fill_(torch.inf)
            self.reach.fill_(sight)
            return
        nearest = torch.minimum(before, after)[bad][:, several].amin(1)
        self.contact.copy_(CONTACT * quantile(nearest, NEARLY_ALL))
        farther = self.margin + self.horizon * quantile(approach, NEARLY_MOST)
        self.reach.copy_((self.contact + farther).clamp(max=sight))

    def _loss(self, data: Windows) -> Tensor:
        """Return the weighted sum of all errors, summed over models."""
        robot, tracks = self.tracks.split(data.state)
        forgotten = torch.rand(tracks.shape[:-1], generator=self.generator, device=self.device) < FORGOTTEN
        tracks = torch.cat(
            (tracks[..., : VELOCITY.start], tracks[..., VELOCITY.start :] * ~forgotten.unsqueeze(-1)), -1
        )
        errors = self._errors(data._replace(state=self.tracks.join(robot, tracks)))
        return torch.stack([self.weights[name] * error.sum() for name, error in errors.items()]).sum()

    @torch.no_grad()
    def _holdout_error(self, data: Windows) -> Tensor:
        """Return the error of each model on held-out windows, `[K]`."""
        return torch.stack([self.weights[name] * error for name, error in self._errors(data).items()]).sum(0)

    def _errors(self, data: Windows) -> dict[str, Tensor]:
        """Return each model's errors by name, `[K]`, over windows whose states are predicted from the first on."""
        state, window, path, memories = data.state, data.act.shape[2], [data.state], []
        for t in range(window):
            state, memory = self.step(state, data.act[:, :, t], None)
            path.append(state)
            memories.append(memory)
        states, memory = torch.stack(path, 2), torch.stack(memories, 2).flatten(1, 2)  # [K, B, W+1, T], [K, B*W, .]
        calm = (1 - data.event).cumprod(2) if self.heads.event else torch.ones_like(data.event)
        before = torch.cat((torch.ones_like(calm[:, :, :1]), calm[:, :, :-1]), 2)  # 0 once the goal has jumped
        errors = self._errors_of_states(states[:, :, 1:].flatten(1, 2), data.following.flatten(1, 2), calm.flatten(1))
        # Outcomes are learned from predicted states, their inputs in planning, but do not teach the dynamics.
        transitions = states[:, :, :-1].detach().flatten(1, 2), data.act.flatten(1, 2), states[:, :, 1:].detach()
        reward, logits = self._judge(*transitions[:2], transitions[2].flatten(1, 2), memory)
        if reward is not None:
            error = reward - ((data.reward - self.reward_mean) / self.reward_std).flatten(1)
            errors["reward"] = (calm.flatten(1) * huber(error)).mean(1)
        for name, logit in logits.items():
            truth = getattr(data, name).flatten(1, 2)
            errors[name] = logistic(logit, truth, before.flatten(1) if name == "event" else 1.0)
        return errors

    def _errors_of_states(self, state: Tensor, target: Tensor, still: Tensor) -> dict[str, Tensor]:
        """Return the errors `[K]` of predicted states `[K, R, T]`; `still [K, R]` is 0 once the goal has jumped.

        A track is compared with the object that it is (`tracks.Tracks.match`).
        """
        (robot, tracks), (robot_target, targets) = self.tracks.split(state), self.tracks.split(target)
        of_robot = (self.alive * huber((robot - robot_target) / self.delta_std)).mean((1, 2))
        with torch.no_grad():
            own, weight = self.tracks.match(tracks, targets)
            if self.tracks.goal is not None:
                weight[..., self.tracks.goal] *= still
            sure = tracks[..., CERTAIN] * own[..., CERTAIN] > 0
            moves = weight * tracks[..., KNOWN] * own[..., KNOWN]
            weight = weight * torch.where(sure, 1.0, UNSURE)
        position = huber((tracks[..., POSITION] - own[..., POSITION]) / UNIT).sum(-1)
        velocity = huber((tracks[..., VELOCITY] - own[..., VELOCITY]) / SPEED_UNIT).sum(-1)
        return {
            "robot": of_robot,
            "position": (weight * position).mean((1, 2)),
            "velocity": (moves * velocity).mean((1, 2)),
        }


def quantile(values: Tensor, part: float) -> Tensor:
    """Return a quantile of `values [R]`, of any number of them."""
    return values.sort().values[int(part * (len(values) - 1))]


def huber(error: Tensor) -> Tensor:
    """Return half of the squares of errors up to 1, and beyond it errors less a half."""
    return F.smooth_l1_loss(error, torch.zeros_like(error), reduction="none")
