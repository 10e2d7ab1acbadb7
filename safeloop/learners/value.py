"""The value of the behaviour in the replay buffer, learned by temporal differences: the planner's own return.

SAC's value is that of an actor that maximises the reward alone. Under a constraint the planner may not follow that
actor: with a hazard between robot and goal, the actor's value assumes the way through it. The value of the behaviour
needs no action at all: `V(s) <- r + gamma V(s')` over the transitions of the buffer (LOOP-SARSA in the papers'
comparisons has the same target for Q).
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from safeloop.cmdp import Entities, Known
from safeloop.data.replay import Batch
from safeloop.learners.settings import LearnerSettings
from safeloop.networks import EnsembleMLP, initialiser, polyak

TWINS = 2


class EntityValue(nn.Module):
    """Value functions that see the entities as a set: `[2, B, S] -> [2, B, 1]`.

    One network reads each entity together with the robot and the goal; its output is averaged and maximised over the
    entities, as in Deep Sets (Zaheer et al., 2017), and a second network reads the results. A network on the whole
    observation memorises the layouts in the buffer (docs/learning.md).
    """

    def __init__(self, entities: Entities, hidden: int, width: int, generator: torch.Generator):
        super().__init__()
        others = [i for i in range(len(entities.kinds)) if i != entities.goal]
        kinds = sorted({entities.kinds[i] for i in others})
        goal = () if entities.goal is None else entities.positions[entities.goal]
        own = [*entities.robot, *goal]
        self.dim = len(entities.positions[0])
        self.own: Tensor
        self.positions: Tensor
        self.kind: Tensor
        self.register_buffer("own", torch.tensor(own), persistent=False)
        self.register_buffer(
            "positions", torch.tensor([index for i in others for index in entities.positions[i]]), persistent=False
        )
        kind = torch.tensor([kinds.index(entities.kinds[i]) for i in others])
        self.register_buffer("kind", nn.functional.one_hot(kind, len(kinds)).float(), persistent=False)  # [E, kinds]
        seen = len(own) + self.dim + len(kinds)
        self.entity_net = EnsembleMLP(TWINS, [seen, width, width], torch.relu_, generator)
        self.net = EnsembleMLP(TWINS, [len(own) + 2 * width, hidden, hidden, 1], torch.relu_, generator)

    def forward(self, obs: Tensor) -> Tensor:
        """Return both values: `[2, B, S] -> [2, B, 1]`."""
        b, e = obs.shape[1], len(self.kind)
        own = obs[..., self.own]
        entities = obs[..., self.positions].view(TWINS, b, e, self.dim)
        each = (own.unsqueeze(2).expand(-1, -1, e, -1), entities, self.kind.expand(TWINS, b, -1, -1))
        said = torch.relu(self.entity_net(torch.cat(each, -1).flatten(1, 2))).view(TWINS, b, e, -1)
        return self.net(torch.cat((own, said.mean(2), said.amax(2)), -1))


def shared(values: Tensor, event: Tensor) -> Tensor:
    """Return `values [B]` with those that follow an event (`event [B]`) replaced by their mean.

    The place of the next goal is random; a single sample as the target would treat it as predictable.
    """
    mean = (event * values).sum() / event.sum().clamp(min=1)
    return torch.where(event > 0, mean, values)


class BehaviourValue:
    """Twin value functions `[..., S] -> [...]` with Polyak-averaged targets; the value is the lower of the two.

    With `entities` these are `EntityValue`s, of `entity_width` units for each entity.
    """

    def __init__(
        self,
        obs_dim: int,
        shared: LearnerSettings,
        hidden: int,
        generator: torch.Generator,
        device: str = "cpu",
        entities: Entities | None = None,
        entity_width: int = 32,
    ):
        self.shared = shared
        init = initialiser(generator)
        net: nn.Module
        if entities is None:
            net = EnsembleMLP(TWINS, [obs_dim, hidden, hidden, 1], torch.relu_, init)
        else:
            net = EntityValue(entities, hidden, entity_width, init)
        self.net = net.to(device)
        self.target = copy.deepcopy(self.net).requires_grad_(False)
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=shared.rate, fused=True)

    @staticmethod
    def _both(net: nn.Module, obs: Tensor) -> Tensor:
        """Return both functions' values, `[2, B]`."""
        return net(obs.expand(TWINS, -1, -1))[..., 0]

    @torch.no_grad()
    def value(self, obs: Tensor) -> Tensor:
        """Return the value of states, `min_i V_i(s)`, for any leading dimensions: `[..., S] -> [...]`."""
        return self.of_twins(self._both(self.net, obs.reshape(-1, obs.shape[-1]))).view(obs.shape[:-1])

    @staticmethod
    def of_twins(values: Tensor) -> Tensor:
        """Return the value `[B]` of both functions' `[2, B]`: the lower one."""
        return values.amin(0)

    def update(self, batch: Batch, gained: Tensor | None = None) -> None:
        """Take one gradient step on `batch`; what its decisions have gained, `[B]`, is the reward if not given."""
        with torch.no_grad():
            following = shared(self.of_twins(self._both(self.target, batch.next_obs)), batch.event)
            reward = batch.reward if gained is None else gained
            target = reward + self.shared.discount * (1 - batch.terminated) * following
        loss = (self._both(self.net, batch.obs) - target).square().mean(1).sum()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        polyak(self.target, self.net, self.shared.tau)

    def checkpoint(self) -> dict[str, Any]:
        """Return the states of the networks and the optimiser."""
        return {
            "net": self.net.state_dict(),
            "target": self.target.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Restore the state from `checkpoint`."""
        self.net.load_state_dict(state["net"])
        self.target.load_state_dict(state["target"])
        self.optimizer.load_state_dict(state["optimizer"])


class BehaviourCost(BehaviourValue):
    """The same for the costs that the behaviour will have: the larger of the two functions, at least 0."""

    def __init__(self, *arguments: Any, known: Known | None = None):
        """Learn of the planner's cost: a known one, else of which decisions had a cost."""
        super().__init__(*arguments)
        self.known = known

    def costs(self, batch: Batch) -> Tensor:
        """Return the costs `[B]` of decisions, whose batch has observations."""
        return batch.violated if self.known is None else self.known(batch.obs, batch.act, batch.next_obs)

    @staticmethod
    def of_twins(values: Tensor) -> Tensor:
        """Return the value `[B]` of both functions' `[2, B]`."""
        return values.amax(0).clamp(min=0)
