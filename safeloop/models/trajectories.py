"""Imagined rollouts: the protocol that models keep, and the one loop that imagines.

Letters: K models, M rollouts in each, H steps, S observation, A action.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from safeloop.networks import Streams

Controller = Callable[[int, Tensor], Tensor]
"""The actions `[K, M, A]` of step t = 0..H-1 in the imagined observations `[K, M, S]`."""


class Outcome(NamedTuple):
    """The outcome of transitions, `[K, M]` each; of whole rollouts `[K, H, M]`."""

    reward: Tensor  # the bonus of an event included
    cost: Tensor
    terminated: Tensor | None  # probability; None where it can't happen
    event: Tensor | None  # probability; None where there are none


class Trajectories(NamedTuple):
    """Imagined rollouts."""

    obs: Tensor  # [K, H+1, M, S], the first before any action
    act: Tensor  # [K, H, M, A]
    outcome: Outcome


class Model(Protocol):
    """K models of one world. What they carry from step to step is their own: nobody else looks into it.

    A model may also have a method `rollout(start, controller, horizon, streams, judged)` where that is faster than a
    loop over `step`; `rollout` below takes it.
    """

    members: int

    def start(self, start: Any) -> tuple[Any, Tensor]:
        """Return the carry of M rollouts in each model, and their first observations `[K, M, S]`.

        `start` is a state of the model's own kind; those that know no other take observations `[K, M, S]`.
        """
        ...

    def step(self, carry: Any, act: Tensor, streams: Streams) -> tuple[Any, Tensor, Outcome]:
        """Return the next carry, the observations `[K, M, S]` and the outcome of actions `[K, M, A]`.

        The M rows belong to the streams in equal parts, in order.
        """
        ...


def rollout(
    model: Model, start: Any, controller: Controller, horizon: int, streams: Streams, judged: bool = True
) -> Trajectories:
    """Return what `horizon` steps under a controller lead to, in every model; model k keeps row k.

    Gradients flow from all of it to actions and start, unless they are switched off (`torch.no_grad`). Without
    `judged` a model need not work out the outcome, and nobody may read it.
    """
    own = getattr(model, "rollout", None)
    if own is not None:
        return own(start, controller, horizon, streams, judged)
    carry, obs = model.start(start)
    path, actions, outcomes = [obs], [], []
    for t in range(horizon):
        act = controller(t, path[-1])
        carry, obs, outcome = model.step(carry, act, streams)
        path.append(obs)
        actions.append(act)
        outcomes.append(outcome)
    columns = zip(*outcomes, strict=True)
    outcome = Outcome(*(None if column[0] is None else torch.stack(column, 1) for column in columns))  # type: ignore[arg-type]
    return Trajectories(torch.stack(path, 1), torch.stack(actions, 1), outcome)


def survival(chance: Tensor | None, like: Tensor) -> Tensor:
    """Return the probability that nothing of `chance [K, H, M]` happened before step t = 0..H, `[K, H+1, M]`.

    `chance` None stands for 0, shaped as `like`.
    """
    first = torch.ones_like(like[:, :1])
    return torch.cat((first, (1 - chance).cumprod(1) if chance is not None else torch.ones_like(like)), 1)
