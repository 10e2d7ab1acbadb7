"""The probabilistic ensemble: K models of the next observation, reward, event, termination and violation.

Each model is a Gaussian with learned, bounded log-variance (Chua et al., 2018; CoRL 2021, C.1), fitted on
the same data with its own batches. Inputs and targets are normalised. Two shapes:

- `full`: one network predicts the change of the whole observation and the reward from (s, a).
- `factored`: a small network reads the robot's own state and the action and predicts the robot's change;
  another, shared by all entities, predicts an entity's change from the same, what it is and its kind; the
  reward and the event are read from the robot and the goal before and after. Entities are positions, or the
  bins of lidars.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from safeloop.cmdp import Entities, Lidars
from safeloop.networks import EnsembleMLP, Streams, initialiser, normals
from safeloop.replay import Batch, Replay

ACTION_SCALES = (5.0, 25.0)
"""Actuators are limited: their effect can saturate within a small part of the action's range (Point's motor at
a twentieth of it). `factored` networks see an action a with tanh(scale * a) beside it, or they learn the
steep part too slowly."""
NEAR_SCALE = 3.0
"""The event network sees normalised goal positions p with tanh(scale * p) beside them: what happens at the goal
is decided close to it. The contact network sees distances so, for the same reason."""
TURN = 2
"""Bins by which lidars may turn in a decision."""

LOGITS = ("event", "terminated", "violated")


@dataclass(frozen=True)
class Heads:
    """What is learned beside the change of the observation."""

    reward: bool = True
    event: bool = False
    terminated: bool = False
    violated: bool = False

    def logits(self) -> list[str]:
        """Names of the logistic heads in use, in order."""
        return [name for name in LOGITS if getattr(self, name)]


class Outcome(NamedTuple):
    """What a model says of a transition, in normalised units; absent heads are not in `logits`."""

    reward: Tensor | None  # [K, B]
    reward_raw: Tensor | None  # [K, B], unbounded log-variance
    logits: dict[str, Tensor]  # name -> [K, B]


class FullNet(nn.Module):
    """One network per model: (s, a) to the Gaussian of the change of s and of the reward, and the logits."""

    def __init__(self, k: int, obs_dim: int, act_dim: int, heads: Heads, sizes: list[int], generator):
        super().__init__()
        self.obs_dim, self.heads = obs_dim, heads
        self.targets = obs_dim + heads.reward
        out = 2 * self.targets + len(heads.logits())
        self.net = EnsembleMLP(k, [obs_dim + act_dim, *sizes, out], F.silu, generator)

    def transition(self, obs: Tensor, act: Tensor, scale: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Mean and raw log-variance of the change, `[K, B, S]` each, and the output for `outcome`.

        `scale [S]` is what changes are measured in, which only lidars need to know.
        """
        out = self.net(torch.cat((obs, act), -1))
        return out[..., : self.obs_dim], out[..., self.targets : self.targets + self.obs_dim], out

    def logit(self, out: Tensor, name: str) -> Tensor:
        """The output `[K, B]` of the logistic head `name`."""
        return out[..., 2 * self.targets + self.heads.logits().index(name)]

    def outcome(self, out: Tensor, obs: Tensor, act: Tensor, next_obs: Tensor) -> Outcome:
        """The other heads; the paper's model reads them from (s, a), so `next_obs` is not used."""
        logits = {name: self.logit(out, name) for name in self.heads.logits() if name != "violated"}
        if not self.heads.reward:
            return Outcome(None, None, logits)
        return Outcome(out[..., self.targets - 1], out[..., 2 * self.targets - 1], logits)

    def violation(self, out: Tensor, obs: Tensor, act: Tensor, next_obs: Tensor) -> Tensor:
        """Logit of a violation `[K, B]`, read from (s, a) too."""
        return self.logit(out, "violated")


class EntityNet(nn.Module):
    """One hidden layer per model, shared by all entities and modulated by what the robot is and does.

    Feature-wise linear modulation (Perez et al., 2018): the robot's state and the action are read once, by
    the body network; the work per entity is then a small fraction of what a network on the concatenated
    inputs needs. Of the inputs, the kind of an entity is known beforehand: its part is a row of `by_kind`.
    """

    def __init__(self, k: int, entity: int, kind: Tensor, width: int, out: int, generator):
        super().__init__()
        self.kind: Tensor
        self.register_buffer("kind", kind, persistent=False)  # [E], index
        kinds = int(kind.max()) + 1
        bound = 1 / math.sqrt(entity + kinds)
        self.weight, self.by_kind = (
            nn.Parameter(torch.empty(k, n, width).uniform_(-bound, bound, generator=generator)) for n in (entity, kinds)
        )
        self.head = EnsembleMLP(k, [width, out], torch.relu_, generator)

    def forward(self, modulation: Tensor, entity: Tensor) -> Tensor:
        """Modulation `[K, B, 2 * width]` and entities `[K, E, B, m]` to `[K, E, B, out]`."""
        k, e, b, m = entity.shape
        scale, shift = (part.contiguous().unsqueeze(1) for part in modulation.chunk(2, -1))  # [K, 1, B, width]
        w = scale.shape[-1]
        by_kind = self.by_kind[:, self.kind].view(k * e, 1, w)
        by_entity = self.weight.unsqueeze(1).expand(k, e, m, w).reshape(k * e, m, w)
        # Entities before rows: the products with what all entities share then run over long rows.
        h = torch.baddbmm(by_kind, entity.reshape(k * e, b, m), by_entity)
        h = torch.addcmul(shift, h.view(k, e, b, w), scale).relu_()
        return self.head(h.view(k, e * b, w)).view(k, e, b, -1)


class Points(nn.Module):
    """How the networks see entities that are points: raw `[K, E, B, D]` are E positions in the robot's frame."""

    def __init__(self, entities: Entities):
        super().__init__()
        kinds = sorted(set(entities.kinds))
        self.indices, self.goal_index = torch.tensor(entities.positions), entities.goal
        self.kind = self.contact_kind = torch.tensor([kinds.index(x) for x in entities.kinds])
        dim = self.indices.shape[1]
        self.entity_size, self.contact_size = dim, 2 * dim + (4 if entities.goal is None else 6)
        self.goal_size = self.near_size = dim * (1 if entities.goal is not None else len(self.indices))
        self.unit = 0.0  # positions are scaled by what is seen of them
        self.turn_size = 0

    def turned(self, raw: Tensor, turn: Tensor) -> Tensor:
        """Nothing to turn: a network moves positions easily."""
        return raw

    def entity(self, raw: Tensor) -> Tensor:
        """`[K, E, B, entity_size]`."""
        return raw

    def goal(self, raw: Tensor) -> Tensor:
        """What the reward is about, all where no entity is it: `[K, B, goal_size]`."""
        which = slice(None) if self.goal_index is None else slice(self.goal_index, self.goal_index + 1)
        return torch.cat(raw[:, which].unbind(1), -1)

    def near(self, goal: Tensor) -> Tensor:
        """The same with what is close spread out: what happens at the goal is decided there."""
        return torch.tanh(NEAR_SCALE * goal)

    def contact(self, before: Tensor, after: Tensor) -> Tensor:
        """What can be touched, each with its distances, also from the goal: `[K, E, B, contact_size]`.

        Positions alone would leave the network to draw small circles with a few straight lines: it learns none.
        Whether a button costs depends on whether it is the goal.
        """
        distances = [before.norm(dim=-1), after.norm(dim=-1)]
        if self.goal_index is not None:
            distances.append((after - after[:, self.goal_index : self.goal_index + 1]).norm(dim=-1))
        distance = torch.stack(distances, -1)
        return torch.cat((before, after, distance, torch.tanh(NEAR_SCALE * distance)), -1)


class Rings(nn.Module):
    """How the networks see lidars: raw `[K, E, B, 1]` are the bins of one ring after the other, each an entity.

    A bin is seen with its neighbours and its direction. What touches the robot is judged by direction, over all
    rings: whether a button costs depends on whether it is the goal.
    """

    def __init__(self, lidars: Lidars):
        super().__init__()
        self.rings, self.bins = len(lidars.rings), len(lidars.rings[0])
        self.goal_index = lidars.goal
        self.indices = torch.tensor(lidars.rings).view(-1, 1)
        self.kind = torch.arange(self.rings).repeat_interleave(self.bins)
        self.contact_kind = torch.zeros(self.bins, dtype=torch.long)
        angle = 2 * math.pi * torch.arange(self.bins) / self.bins
        self.direction: Tensor
        self.register_buffer("direction", torch.stack((angle.cos(), angle.sin()), -1), persistent=False)
        self.entity_size, self.contact_size = 5 + 2, 10 * self.rings + 2
        self.goal_size = (self.bins if self.goal_index is not None else self.rings * self.bins) + 1
        self.near_size = 2 * self.goal_size
        self.unit = 1.0  # closeness stays as it is
        self.turn_size = 2 * TURN + 1

    def by_ring(self, raw: Tensor) -> Tensor:
        """`[K, E, B, 1] -> [K, G, bins, B]`."""
        return raw[..., 0].unflatten(1, (self.rings, self.bins))

    def directions(self, k: int, rows: int) -> Tensor:
        """`[K, bins, B, 2]`."""
        return self.direction[:, None].expand(k, -1, rows, -1)

    def turned(self, raw: Tensor, turn: Tensor) -> Tensor:
        """All rings turned by bins at most `TURN` either way, weighed by `turn [K, B, turn_size]`.

        When the robot turns, all that lidars show goes round alike: the body network says how far.
        """
        rings, weight = self.by_ring(raw), torch.softmax(4 * turn, -1)
        turned = torch.zeros_like(rings)
        for i in range(-TURN, TURN + 1):
            turned = torch.addcmul(turned, rings.roll(i, 2), weight[:, None, None, :, i + TURN])
        return turned.flatten(1, 2).unsqueeze(-1)

    def entity(self, raw: Tensor) -> Tensor:
        """Each bin, two neighbours on either side, and its direction: `[K, E, B, 7]`."""
        rings, (k, _, rows, _) = self.by_ring(raw), raw.shape
        near = torch.stack([rings.roll(i, 2) for i in (-2, -1, 0, 1, 2)], -1).flatten(1, 2)
        return torch.cat((near, self.directions(k, rows).repeat(1, self.rings, 1, 1)), -1)

    def goal(self, raw: Tensor) -> Tensor:
        """The bins of the goal's lidar, or of all, and the largest, which is the nearest: `[K, B, goal_size]`."""
        which = slice(None) if self.goal_index is None else slice(self.goal_index, self.goal_index + 1)
        bins = self.by_ring(raw)[:, which].flatten(1, 2).transpose(1, 2)
        return torch.cat((bins, bins.amax(-1, keepdim=True)), -1)

    def near(self, goal: Tensor) -> Tensor:
        """Its 4th and 16th powers, which spread out what is close: closeness runs to 1, and contact is near that."""
        fourth = goal.clamp(0, 1).square().square()
        return torch.cat((fourth, fourth.square().square()), -1)

    def contact(self, before: Tensor, after: Tensor) -> Tensor:
        """What each direction shows: every ring's bin with its neighbours, spread out, and the direction."""
        seen = []
        for raw in (before, after):
            rings = self.by_ring(raw)
            bins = rings.permute(0, 2, 3, 1)  # [K, bins, B, G]
            seen += [*(bins.roll(i, 1) for i in (-1, 0, 1)), self.near(bins)]
        return torch.cat((*seen, self.directions(len(before), before.shape[2])), -1)


class FactoredNet(nn.Module):
    """Per model: a body network for the robot, an entity network shared by all entities, an outcome network."""

    def __init__(
        self,
        k: int,
        obs_dim: int,
        act_dim: int,
        parts: Entities | Lidars,
        heads: Heads,
        sizes: list[int],
        width: int,
        generator,
    ):
        super().__init__()
        self.heads, self.n_robot = heads, len(parts.robot)
        sight: Points | Rings = Points(parts) if isinstance(parts, Entities) else Rings(parts)
        self.sight = sight
        self.n_entities, self.dim = sight.indices.shape
        order = torch.cat((torch.tensor(parts.robot), sight.indices.flatten()))
        if sorted(order.tolist()) != list(range(obs_dim)):
            raise ValueError(f"entities name the observation indices {sorted(order.tolist())}, not 0..{obs_dim - 1}")
        self.in_order = order.tolist() == list(range(obs_dim))
        self.order: Tensor
        self.inverse: Tensor
        self.register_buffer("order", order, persistent=False)
        self.register_buffer("inverse", torch.argsort(order), persistent=False)
        body = self.n_robot + act_dim * (1 + len(ACTION_SCALES))
        self.parts = [2 * self.n_robot, 2 * width, 2 * width * heads.violated, sight.turn_size]
        self.body_net = EnsembleMLP(k, [body, *sizes, sum(self.parts)], torch.relu_, generator)
        self.entity_net = EntityNet(k, sight.entity_size, sight.kind, width, 2 * self.dim, generator)
        outputs = 2 * heads.reward + heads.terminated
        self.outcome_net = EnsembleMLP(k, [body + 2 * sight.goal_size, *sizes, outputs], torch.relu_, generator)
        if heads.event:  # apart, and on the goal alone: events are few, and with more inputs it overfits
            seen = 2 * (sight.goal_size + sight.near_size)
            self.event_net = EnsembleMLP(k, [seen, *(n // 2 for n in sizes), 1], torch.relu_, generator)
        if heads.violated:
            self.contact_net = EntityNet(k, sight.contact_size, sight.contact_kind, width, 1, generator)

    def split(self, obs: Tensor) -> tuple[Tensor, Tensor]:
        """Observation `[K, B, S]` to the robot's part `[K, B, n]` and the entities' `[K, E, B, D]`."""
        ordered = obs if self.in_order else obs[..., self.order]
        entities = ordered[..., self.n_robot :].unflatten(-1, (self.n_entities, self.dim))
        return ordered[..., : self.n_robot], entities.transpose(1, 2)

    def join(self, robot: Tensor, entities: Tensor) -> Tensor:
        """The inverse of `split`."""
        ordered = torch.cat((robot, entities.transpose(1, 2).flatten(2)), -1)
        return ordered if self.in_order else ordered[..., self.inverse]

    def body(self, robot: Tensor, act: Tensor) -> Tensor:
        """The robot's state and the action at several scales."""
        return torch.cat((robot, act, *((scale * act).tanh_() for scale in ACTION_SCALES)), -1)

    def transition(self, obs: Tensor, act: Tensor, scale: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Mean and raw log-variance of the change, `[K, B, S]` each, and the modulation for `violation`."""
        robot, entities = self.split(obs)
        own, modulation, contact, turn = self.body_net(self.body(robot, act)).split(self.parts, -1)
        robot_mean, robot_raw = own.chunk(2, -1)
        turned = self.sight.turned(entities, turn)
        entity_mean, entity_raw = self.entity_net(modulation, self.sight.entity(turned)).chunk(2, -1)
        if turned is not entities:
            entity_mean = entity_mean + (turned - entities) / scale[self.order[-1]]
        return self.join(robot_mean, entity_mean), self.join(robot_raw, entity_raw), contact

    def outcome(self, contact: Tensor, obs: Tensor, act: Tensor, next_obs: Tensor) -> Outcome:
        """Reward and termination from robot and goal, event from the goal, before and after."""
        (robot, before), (_, after) = self.split(obs), self.split(next_obs)
        goal = torch.cat((self.sight.goal(before), self.sight.goal(after)), -1)
        y, logits = act[..., :0], {}
        if self.heads.reward or self.heads.terminated:
            y = self.outcome_net(torch.cat((self.body(robot, act), goal), -1))
        if self.heads.event:
            logits["event"] = self.event_net(torch.cat((goal, self.sight.near(goal)), -1))[..., 0]
        if self.heads.terminated:
            logits["terminated"] = y[..., -1]
        if not self.heads.reward:
            return Outcome(None, None, logits)
        return Outcome(y[..., 0], y[..., 1], logits)

    def violation(self, contact: Tensor, obs: Tensor, act: Tensor, next_obs: Tensor) -> Tensor:
        """Logit of a violation `[K, B]`: that any of what can be touched, each by itself, costs."""
        by_entity = self.contact_net(contact, self.sight.contact(self.split(obs)[1], self.split(next_obs)[1]))
        log_safe = F.logsigmoid(-by_entity[..., 0].float()).sum(1).clamp(max=-1e-6)
        # P(violated) = 1 - prod(1 - p_e), as a logit: log(1 - e^x) - x with x = log P(safe)
        return torch.log(-torch.expm1(log_safe)) - log_safe

    def coordinates(self) -> list[int]:
        """Observation indices of all entities, which share one scale."""
        return self.order[self.n_robot :].tolist()

    def bounds(self) -> Tensor:
        """For each number of the observation the variance bound that it has, index `[S]`.

        Entities of one kind are exchangeable, so they share the bounds of their coordinates.
        """
        own = torch.arange(self.n_robot)
        shared = self.n_robot + self.sight.kind.unsqueeze(1) * self.dim + torch.arange(self.dim)  # [E, D]
        return torch.cat((own, shared.flatten()))[self.inverse]


def _bounded(raw: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Return `e^low + e^high * sigmoid(raw - high)`, which is the exponential of the two softplus clamps."""
    return torch.addcmul(low.exp(), high.exp(), torch.sigmoid(raw - high))


def jumping(parts: Entities | Lidars) -> list[int]:
    """Observation indices of what an event relocates."""
    if parts.goal is None:
        return []
    return list(parts.positions[parts.goal] if isinstance(parts, Entities) else parts.rings[parts.goal])


class Dynamics(nn.Module):
    """K models, their normalisers and their optimiser. Sampling keeps each model to itself (TS-infinity)."""

    def __init__(
        self,
        obs_dim: int,
        act_dim: int,
        *,
        members: int,
        sizes: list[int],
        heads: Heads,
        parts: Entities | Lidars | None = None,
        factored: bool = False,
        entity_width: int = 32,
        learning_rate: float = 1e-3,
        weight_decay: float = 1e-5,
        reward_weight: float = 1.0,
        generator: torch.Generator,
        device: str = "cpu",
    ):
        super().__init__()
        self.members, self.heads, self.reward_weight = members, heads, reward_weight
        init = initialiser(generator)
        net: FullNet | FactoredNet
        if not factored or parts is None:
            net = FullNet(members, obs_dim, act_dim, heads, sizes, init)
        else:
            net = FactoredNet(members, obs_dim, act_dim, parts, heads, sizes, entity_width, init)
        self.net = net
        self.obs_mean: Tensor
        self.obs_std: Tensor
        self.delta_mean: Tensor
        self.delta_std: Tensor
        self.reward_mean: Tensor
        self.reward_std: Tensor
        self.event_reward: Tensor
        self.event_mask: Tensor
        for name, size in (("obs", obs_dim), ("delta", obs_dim), ("reward", 1)):
            self.register_buffer(f"{name}_mean", torch.zeros(size))
            self.register_buffer(f"{name}_std", torch.ones(size))
        self.register_buffer("event_reward", torch.zeros(()))
        bound_of = torch.arange(obs_dim) if isinstance(net, FullNet) else net.bounds()
        n = int(bound_of.max()) + 2  # the last is the reward's
        self.bound_of: Tensor
        self.register_buffer("bound_of", bound_of, persistent=False)
        self.log_var_max = nn.Parameter(torch.full((members, n), 0.5))
        self.log_var_min = nn.Parameter(torch.full((members, n), -10.0))
        mask = torch.ones(obs_dim)  # 0 for what an event relocates
        if parts is not None:
            mask[jumping(parts)] = 0
        self.register_buffer("event_mask", mask, persistent=False)
        self.to(device)
        self.generator, self.device = generator, device
        self.optimizer = torch.optim.Adam(self.parameters(), lr=learning_rate, weight_decay=weight_decay, fused=True)

    # -- prediction ---------------------------------------------------------------------------------------

    def _variance(self, raw: Tensor) -> Tensor:
        """Bounded variances `[K, B, S]` of a change, from raw log-variances."""
        return _bounded(raw, *(bound[:, None, self.bound_of] for bound in (self.log_var_min, self.log_var_max)))

    def _reward_variance(self, raw: Tensor) -> Tensor:
        """Bounded variances `[K, B]` of a reward, from raw log-variances."""
        return _bounded(raw, self.log_var_min[:, -1:], self.log_var_max[:, -1:])

    def normalise(self, obs: Tensor) -> Tensor:
        """Observation to network input."""
        return (obs - self.obs_mean) / self.obs_std

    def step(self, obs: Tensor, act: Tensor, streams: Streams | None) -> tuple[Tensor, Tensor]:
        """Next observation `[K, B, S]` of `obs, act [K, B, .]`, and `judge`'s memory of it.

        Drawn with fresh noise from the streams; the mean without any.
        """
        mean, raw, memory = self.net.transition(self.normalise(obs), act, self.delta_std)
        change = mean.float()
        if streams is not None:
            noise = normals(mean.shape, streams, dim=1)
            change = change.addcmul(self._variance(raw.float()).sqrt_(), noise)
        return torch.addcmul(obs + self.delta_mean, self.delta_std, change), memory

    def judge(self, obs: Tensor, act: Tensor, next_obs: Tensor, memory: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean reward `[K, B]` (0 where it is not learned) and probabilities `{name: [K, B]}` of transitions."""
        transition = (memory, self.normalise(obs), act, self.normalise(next_obs))
        outcome = self.net.outcome(*transition)
        logits = dict(outcome.logits)
        if self.heads.violated:
            logits["violated"] = self.net.violation(*transition)
        chance = {name: torch.sigmoid(logit.float()) for name, logit in logits.items()}
        if outcome.reward is None:
            return torch.zeros(obs.shape[:-1], device=obs.device), chance
        reward = outcome.reward.float() * self.reward_std + self.reward_mean
        if "event" in chance:  # progress and event apart: an event pays what events paid
            reward = torch.lerp(reward, self.event_reward, chance["event"])
        return reward, chance

    @torch.no_grad()
    def errors(self, batch: Batch) -> Tensor:
        """What the mean over models misses of each change, `[B]`: mean square in standard deviations of changes.

        What jumped at an event is left out.
        """
        k = self.members
        mean = self.step(batch.obs.expand(k, -1, -1), batch.act.expand(k, -1, -1), None)[0].mean(0)
        weight = 1 - batch.event.unsqueeze(-1) * (1 - self.event_mask)  # [B, S]
        squares = weight * ((mean - batch.next_obs) / self.delta_std).square()
        return squares.sum(1) / weight.sum(1).clamp(min=1)

    # -- fitting ------------------------------------------------------------------------------------------

    def fit(self, replay: Replay, steps: int, batch_size: int = 256, patience: int = 0) -> tuple[int, float, float]:
        """Take at most `steps` gradient steps on the replay's transitions; each model's best weights are restored.

        The holdout error (mean squared error in normalised units plus logistic losses, per model) is taken
        before the first step and every 50 steps, on at most 1000 held-out transitions from all over the replay; where
        it is too short for any to be held out, on those that are fitted. A model's variance bounds go with its
        weights. With
        `patience` > 0 fitting stops once so many checks have passed since any model was last better by 1% than it had
        been then: small gains add up. Returns the steps taken and the mean error before and after.
        """
        train, held = replay.split()
        self._fit_normalisers(replay.rows(train))
        judged = held if len(held) else train
        held_batch = replay.rows(judged[:: -(-len(judged) // 1000)].expand(self.members, -1))
        best_error = self._holdout_error(held_batch)
        first_error = best_error.mean().item()
        best, reference = [p.detach().clone() for p in self.parameters()], best_error
        stale, done = 0, 0
        for step in range(1, steps + 1):
            choice = torch.randint(len(train), (self.members, batch_size), generator=self.generator, device=self.device)
            self.optimizer.zero_grad(set_to_none=True)
            self._loss(replay.rows(train[choice])).backward()
            self.optimizer.step()
            done = step
            if step % 50 == 0 or step == steps:
                error = self._holdout_error(held_batch)
                better = error < best_error
                gained = error < 0.99 * reference
                reference = torch.where(gained, error, reference)
                stale = 0 if bool(gained.any()) else stale + 1
                best_error = torch.where(better, error, best_error)
                with torch.no_grad():
                    for kept, parameter in zip(best, self.parameters(), strict=True):
                        kept[better] = parameter[better]
                if patience and stale >= patience:
                    break
        with torch.no_grad():
            for kept, parameter in zip(best, self.parameters(), strict=True):
                parameter.copy_(kept)
        return done, first_error, best_error.mean().item()

    def _fit_normalisers(self, data: Batch) -> None:
        """Means and standard deviations of inputs and targets; constant features are left unscaled."""
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

    def _parts(self, data: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor, Outcome, Tensor, Tensor]:
        """Forward pass on transitions `[K, B]`: prediction, target and mask of the change; outcome; reward."""
        x, y = self.normalise(data.obs), self.normalise(data.next_obs)
        mean, raw, out = self.net.transition(x, data.act, self.delta_std)
        target = (data.next_obs - data.obs - self.delta_mean) / self.delta_std
        jumped = data.event.unsqueeze(-1) * (1 - self.event_mask)  # [K, B, S]
        # Where the goal jumped, the outcome is read from where the goal would have been.
        expected = self.normalise(data.obs + self.delta_mean + self.delta_std * mean.detach())
        outcome = self.net.outcome(out, x, data.act, torch.lerp(y, expected, jumped))
        if self.heads.violated:  # a cost has a sharp edge: learned from predictions, which is what planning will show
            outcome.logits["violated"] = self.net.violation(out, x, data.act, expected)
        reward = (data.reward - self.reward_mean) / self.reward_std
        calm = 1 - data.event if self.heads.event else torch.ones_like(data.event)
        return mean, raw, target, 1 - jumped, outcome, reward, calm

    def _loss(self, data: Batch) -> Tensor:
        """Gaussian negative log-likelihood and logistic losses, summed over models, plus 0.01 times the bounds.

        That of the change is a mean over the numbers of the observation, so the reward's, of weight `reward_weight`,
        counts 1 as much as all of these together.
        """
        mean, raw, target, mask, outcome, reward, calm = self._parts(data)
        variance = self._variance(raw)
        loss = (mask * ((mean - target).square() / variance + variance.log())).mean((1, 2)).sum()
        if outcome.reward is not None and outcome.reward_raw is not None:
            variance = self._reward_variance(outcome.reward_raw)
            of_reward = calm * ((outcome.reward - reward).square() / variance + variance.log())
            loss = loss + self.reward_weight * of_reward.mean(1).sum()
        for name, logit in outcome.logits.items():
            loss = loss + F.binary_cross_entropy_with_logits(logit, getattr(data, name), reduction="none").mean(1).sum()
        return loss + 0.01 * (self.log_var_max.sum() - self.log_var_min.sum())

    @torch.no_grad()
    def _holdout_error(self, data: Batch) -> Tensor:
        """Error of each model on held-out transitions, `[K]`."""
        mean, _, target, mask, outcome, reward, calm = self._parts(data)
        error = (mask * (mean - target).square()).mean((1, 2))
        if outcome.reward is not None:
            error = error + self.reward_weight * (calm * (outcome.reward - reward).square()).mean(1)
        for name, logit in outcome.logits.items():
            error = error + F.binary_cross_entropy_with_logits(logit, getattr(data, name), reduction="none").mean(1)
        return error

    # -- checkpoints --------------------------------------------------------------------------------------

    def checkpoint(self) -> dict[str, Any]:
        """Weights, normalisers, optimiser and random stream."""
        return {
            "model": self.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Restore `checkpoint`."""
        self.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"])
