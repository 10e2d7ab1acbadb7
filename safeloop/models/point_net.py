"""The networks of dynamics over points: one for the robot, one shared by all tracks, and others for the outcome.

Letters: K models, E tracks, B rows. States are `[K, B, T]` (`tracks.Tracks`).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from safeloop.models.factored import ACTION_SCALES, EntityNet
from safeloop.models.full import Heads
from safeloop.models.tracks import CERTAIN, KNOWN, POSITION, PRESENT, VELOCITY, Tracks
from safeloop.networks import EnsembleMLP, length

STEP, TURN = 0.1, 0.05
"""Units of the networks' outputs: changes of a position and of a velocity, metres."""
SPEED = 20.0
"""Scale of velocities as inputs, which are some centimetres per decision."""
NEAR = (3.0, 9.0)
"""Scales of additional inputs tanh(scale * distance), because contacts and goals are decided close to the robot."""
NEVER = -10.0
"""Logit of an event while no goal is in sight."""


class PointNet(nn.Module):
    """The networks of each model."""

    asks: bool = True
    """True where products are taken for the objects alone that need them. On a CUDA device asking would wait."""

    def __init__(self, k: int, tracks: Tracks, act_dim: int, heads: Heads, sizes: list[int], width: int, generator):
        super().__init__()
        self.tracks, self.heads = tracks, heads
        n = tracks.n_robot
        # Walls that no lidar shows follow from where the robot is, seen from the objects that there is one each of.
        self.compass = tracks.compass if not bool(tracks.many.any()) else None
        body = n + act_dim * (1 + len(ACTION_SCALES))
        self.parts = [n, 2 * width, 2 * width * bool(heads.violated)]
        self.body_net = EnsembleMLP(k, [body, *sizes, sum(self.parts)], torch.relu_, generator)
        self.track_net = EntityNet(k, 5, tracks.kind, width, 4, generator)
        seen, singles = 3 + len(NEAR), len(tracks.singles)
        goal = 2 * seen
        if heads.violated:
            contact = 2 * seen + 1 + (1 + len(NEAR)) * (tracks.goal is not None) + 4 * (self.compass is not None)
            self.contact_net = EntityNet(k, contact, tracks.kind, width, heads.violated, generator, hidden=1)
            with torch.no_grad():  # contacts are rare
                self.contact_net.head.biases[-1].fill_(-3.0)
        among = 2 * singles * (singles - 1) // 2
        read = body + n + singles * (goal + 1) + among
        if heads.reward or heads.terminated:
            self.outcome_net = EnsembleMLP(k, [read, *sizes, heads.reward + heads.terminated], torch.relu_, generator)
        if heads.event:
            self.event_net = EnsembleMLP(k, [goal, *sizes, 1], torch.relu_, generator)

    def body(self, robot: Tensor, act: Tensor) -> Tensor:
        """Return the robot's normalised numbers and the action at several scales."""
        return torch.cat((robot, act, *((scale * act).tanh() for scale in ACTION_SCALES)), -1)

    def split(self, state: Tensor) -> tuple[Tensor, Tensor]:
        """Split states into the robot's numbers `[K, B, n]` and tracks `[K, E, B, 7]`."""
        robot, tracks = self.tracks.split(state)
        return robot, tracks.transpose(1, 2)

    def join(self, robot: Tensor, tracks: Tensor) -> Tensor:
        """Join the parts into states, the inverse of `split`."""
        return self.tracks.join(robot, tracks.transpose(1, 2))

    def transition(self, robot: Tensor, tracks: Tensor, act: Tensor, kind: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the change of normalised numbers `[K, B, n]`, the next tracks, and the modulation for `contacts`.

        `tracks [K, E', B, 7]` may be some of all, of these kinds `[E']`.
        """
        change, modulation, contact = self.body_net(self.body(robot, act)).split(self.parts, -1)
        position, velocity, known = tracks[..., POSITION], tracks[..., VELOCITY], tracks[..., KNOWN:]
        moved = self.track_net(modulation, torch.cat((position, SPEED * velocity, known), -1), kind)
        position = position + STEP * moved[..., :2]
        velocity = (velocity + TURN * moved[..., 2:]) * known
        return change, torch.cat((position, tracks[..., PRESENT : CERTAIN + 1], velocity, known), -1), contact

    def seen(self, position: Tensor) -> Tensor:
        """Return positions with their distances, near ones spread out: `[..., 2]` to `[..., 5]`."""
        return torch.cat((position, spread(length(position).unsqueeze(-1))), -1)

    def contacts(
        self, modulation: Tensor, robots: tuple[Tensor, Tensor], tracks: tuple[Tensor, Tensor], within: Tensor
    ) -> Tensor:
        """Return the logit of a violation `[K, B]`, by any of the tracks, from before and after a decision.

        Of several costs it is `[K, B, C]`.
        An object that is farther than `within []` before and after violates nothing, and needs no products.
        """
        (before, after), goal = tracks, self.tracks.goal
        a, b = before[..., POSITION], after[..., POSITION]
        near = (torch.minimum(length(a), length(b)) < within) & (before[..., PRESENT] > 0)  # [K, E, B]
        if self.asks:
            track, row = near.any(0).nonzero(as_tuple=True)
        else:
            places = (torch.arange(n, device=near.device) for n in near.shape[1:])
            track, row = (x.flatten() for x in torch.meshgrid(*places, indexing="ij"))
        a, b = a[:, track, row], b[:, track, row]  # [K, P, 2]
        inputs = [self.seen(a), self.seen(b), before[:, track, row, CERTAIN : CERTAIN + 1]]
        if goal is not None:
            inputs.append(spread(length(b - after[:, goal, row, POSITION]).unsqueeze(-1)))
        if self.compass is not None:
            inputs += [self.turned(robot[:, row], x) for robot, x in zip(robots, (a, b), strict=True)]
        logit = self.contact_net.rows(modulation[:, row], torch.cat(inputs, -1), self.tracks.kind[track])
        safe = F.logsigmoid(-logit.float()) * near[:, track, row].unsqueeze(-1)  # [K, P, C]
        if self.asks:
            log_safe = safe.new_zeros(*modulation.shape[:2], safe.shape[2]).index_add(1, row, safe)
        else:
            log_safe = safe.view(*near.shape, -1).sum(1)
        log_safe = (log_safe if self.heads.violated > 1 else log_safe[..., 0]).clamp(max=-1e-6)
        return torch.log(-torch.expm1(log_safe)) - log_safe  # P(violated) = 1 - prod(1 - p_e), as a logit

    def turned(self, robot: Tensor, position: Tensor) -> Tensor:
        """Return positions `[..., 2]` along the compass' direction and across it."""
        assert self.compass is not None
        north = F.normalize(robot[..., self.compass], dim=-1)
        x, y = position[..., 0], position[..., 1]
        along = north[..., 0] * x + north[..., 1] * y
        across = north[..., 0] * y - north[..., 1] * x
        return torch.stack((along, across), -1)

    def outcome(
        self, robots: tuple[Tensor, Tensor], act: Tensor, tracks: tuple[Tensor, Tensor]
    ) -> tuple[Tensor | None, dict[str, Tensor]]:
        """Return the reward in its unit `[K, B]`, and logits `{name: [K, B]}` of event and termination.

        They are read from the robot's normalised numbers and from the objects that there is one each of.
        """
        layout, logits, reward = self.tracks, {}, None
        single = [[side[:, e] for e in layout.singles] for side in tracks]  # [K, B, 7] each
        if self.heads.reward or self.heads.terminated:
            inputs = [self.body(robots[0], act), robots[1]]
            for side in single:
                inputs += [self.seen(x[..., POSITION]) for x in side]
                inputs += [
                    length(x[..., POSITION] - y[..., POSITION]).unsqueeze(-1)
                    for i, x in enumerate(side)
                    for y in side[:i]
                ]
            inputs += [x[..., PRESENT : PRESENT + 1] for x in single[0]]
            found = self.outcome_net(torch.cat(inputs, -1))
            if self.heads.reward:
                reward = found[..., 0]
            if self.heads.terminated:
                logits["terminated"] = found[..., -1]
        if self.heads.event and layout.goal is not None:
            goal = [side[:, layout.goal] for side in tracks]
            event = self.event_net(torch.cat([self.seen(x[..., POSITION]) for x in goal], -1))[..., 0]
            logits["event"] = torch.where(goal[0][..., PRESENT] > 0, event, NEVER)
        return reward, logits


def spread(distance: Tensor) -> Tensor:
    """Return distances `[..., 1]` with near ones spread out, `[..., 3]`."""
    return torch.cat((distance, *(torch.tanh(scale * distance) for scale in NEAR)), -1)
