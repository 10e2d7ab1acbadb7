"""The `factored` network: a small network for the robot, another for all entities, and others for the outcome.

The body network reads the robot's own state and the action and predicts the robot's change; the entity network
predicts an entity's change from the same inputs, the entity's own numbers and its kind; reward and event are read from
the robot and the goal before and after the decision. Entities are points, or the bins of lidars.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from safeloop.cmdp import Entities, Lidars
from safeloop.models.full import Heads, Prediction
from safeloop.models.lidars import Rings
from safeloop.models.points import Points
from safeloop.networks import EnsembleMLP

ACTION_SCALES = (5.0, 25.0)
"""Scales of additional action inputs. The effect of an actuator can saturate within a small part of the action's range
(Point's motor at a twentieth of it), so `factored` networks see tanh(scale * a) besides an action a; without it they
learn the steep part too slowly."""


class EntityNet(nn.Module):
    """One modulated hidden layer per model, shared by all entities: the robot's state and action modulate it.

    This is feature-wise linear modulation (Perez et al., 2018): the body network reads the robot's state and the action
    once, so the work per entity is a small fraction of the work of a network on the concatenated inputs. The kind of an
    entity is constant: its part of the input is a row of `by_kind`. `hidden` more layers may follow.
    """

    def __init__(self, k: int, entity: int, kind: Tensor, width: int, out: int, generator, hidden: int = 0):
        super().__init__()
        self.kind: Tensor
        self.register_buffer("kind", kind, persistent=False)  # [E], index
        kinds = int(kind.max()) + 1
        bound = 1 / math.sqrt(entity + kinds)
        self.weight, self.by_kind = (
            nn.Parameter(torch.empty(k, n, width).uniform_(-bound, bound, generator=generator)) for n in (entity, kinds)
        )
        self.head = EnsembleMLP(k, [width] * (1 + hidden) + [out], torch.relu_, generator)

    def forward(self, modulation: Tensor, entity: Tensor, kind: Tensor | None = None) -> Tensor:
        """Map modulation `[K, B, 2 * width]` and entities `[K, E, B, m]`, of these kinds `[E]`, to `[K, E, B, out]`."""
        k, e, b, m = entity.shape
        scale, shift = (part.contiguous().unsqueeze(1) for part in modulation.chunk(2, -1))  # [K, 1, B, width]
        w = scale.shape[-1]
        by_kind = self.by_kind[:, self.kind if kind is None else kind].view(k * e, 1, w)
        by_entity = self.weight.unsqueeze(1).expand(k, e, m, w).reshape(k * e, m, w)
        # Entities come before rows, so that the products with values shared by all entities run over long rows.
        h = torch.baddbmm(by_kind, entity.reshape(k * e, b, m), by_entity)
        h = torch.addcmul(shift, h.view(k, e, b, w), scale).relu_()
        return self.head(h.view(k, e * b, w)).view(k, e, b, -1)

    def rows(self, modulation: Tensor, entity: Tensor, kind: Tensor) -> Tensor:
        """Map P pairs of a row and an entity, `[K, P, 2 * width]`, `[K, P, m]` and kinds `[P]`, to `[K, P, out]`."""
        scale, shift = modulation.chunk(2, -1)
        h = torch.baddbmm(self.by_kind[:, kind], entity, self.weight)
        return self.head(torch.addcmul(shift, h, scale).relu())


class FactoredNet(nn.Module):
    """The networks of each model: one for the robot's body, one shared by all entities, and one for the outcome."""

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
        self.parts = [2 * self.n_robot, 2 * width, 2 * width * bool(heads.violated), sight.turn_size]
        self.body_net = EnsembleMLP(k, [body, *sizes, sum(self.parts)], torch.relu_, generator)
        self.entity_net = EntityNet(k, sight.entity_size, sight.kind, width, 2 * self.dim, generator)
        outputs = 2 * heads.reward + heads.terminated
        self.outcome_net = EnsembleMLP(k, [body + 2 * sight.goal_size, *sizes, outputs], torch.relu_, generator)
        if heads.event:  # separate, and on the goal alone: events are few, and with more inputs the network overfits
            seen = 2 * (sight.goal_size + sight.near_size)
            self.event_net = EnsembleMLP(k, [seen, *(n // 2 for n in sizes), 1], torch.relu_, generator)
        if heads.violated:
            self.contact_net = EntityNet(k, sight.contact_size, sight.contact_kind, width, heads.violated, generator)

    def split(self, obs: Tensor) -> tuple[Tensor, Tensor]:
        """Split an observation `[K, B, S]` into the robot's part `[K, B, n]` and the entities' `[K, E, B, D]`."""
        ordered = obs if self.in_order else obs[..., self.order]
        entities = ordered[..., self.n_robot :].unflatten(-1, (self.n_entities, self.dim))
        return ordered[..., : self.n_robot], entities.transpose(1, 2)

    def join(self, robot: Tensor, entities: Tensor) -> Tensor:
        """Join the parts into an observation, the inverse of `split`."""
        ordered = torch.cat((robot, entities.transpose(1, 2).flatten(2)), -1)
        return ordered if self.in_order else ordered[..., self.inverse]

    def body(self, robot: Tensor, act: Tensor) -> Tensor:
        """Return the robot's state and the action at several scales."""
        return torch.cat((robot, act, *((scale * act).tanh_() for scale in ACTION_SCALES)), -1)

    def transition(self, obs: Tensor, act: Tensor, scale: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the mean and raw log-variance of the change, `[K, B, S]` each, and the modulation for `violation`."""
        robot, entities = self.split(obs)
        own, modulation, contact, turn = self.body_net(self.body(robot, act)).split(self.parts, -1)
        robot_mean, robot_raw = own.chunk(2, -1)
        turned = self.sight.turned(entities, turn)
        entity_mean, entity_raw = self.entity_net(modulation, self.sight.entity(turned)).chunk(2, -1)
        if turned is not entities:
            entity_mean = entity_mean + (turned - entities) / scale[self.order[-1]]
        return self.join(robot_mean, entity_mean), self.join(robot_raw, entity_raw), contact

    def outcome(self, contact: Tensor, obs: Tensor, act: Tensor, next_obs: Tensor) -> Prediction:
        """Predict reward and termination from robot and goal, and the event from the goal, before and after."""
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
            return Prediction(None, None, logits)
        return Prediction(y[..., 0], y[..., 1], logits)

    def violation(self, contact: Tensor, obs: Tensor, act: Tensor, next_obs: Tensor) -> Tensor:
        """Return the logit of a violation `[K, B]`, a cost from any of the contacts, which are independent.

        Of several costs it is `[K, B, C]`.
        """
        by_entity = self.contact_net(contact, self.sight.contact(self.split(obs)[1], self.split(next_obs)[1]))
        by_entity = by_entity[..., 0] if self.heads.violated == 1 else by_entity  # [K, E, B] or [K, E, B, C]
        log_safe = F.logsigmoid(-by_entity.float()).sum(1).clamp(max=-1e-6)
        # P(violated) = 1 - prod(1 - p_e), as a logit: log(1 - e^x) - x with x = log P(safe)
        return torch.log(-torch.expm1(log_safe)) - log_safe

    def coordinates(self) -> list[int]:
        """Return the observation indices of all entities, which share one scale."""
        return self.order[self.n_robot :].tolist()

    def bounds(self) -> Tensor:
        """Return the index of the variance bound of each number of the observation, `[S]`.

        Entities of one kind are exchangeable, so they share the bounds of their coordinates.
        """
        own = torch.arange(self.n_robot)
        shared = self.n_robot + self.sight.kind.unsqueeze(1) * self.dim + torch.arange(self.dim)  # [E, D]
        return torch.cat((own, shared.flatten()))[self.inverse]


def jumping(parts: Entities | Lidars) -> list[int]:
    """Return the observation indices of the numbers that an event relocates."""
    if parts.goal is None:
        return []
    return list(parts.positions[parts.goal] if isinstance(parts, Entities) else parts.rings[parts.goal])
