"""Imagined rollouts: the protocol of models, and the loop that rolls them out.

Letters: K models, M rollouts in each, H steps, S observation, A action.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from safeloop.networks import Generators

Controller = Callable[[int, Tensor], Tensor]
"""A function that returns the actions `[K, M, A]` at step t = 0..H-1 for the imagined observations `[K, M, S]`."""


class OpenLoop:
    """The controller of fixed actions `[K, H, M, A]`, whatever is observed."""

    def __init__(self, act: Tensor):
        self.act = act

    def __call__(self, t: int, obs: Tensor) -> Tensor:
        """Return the actions `[K, M, A]` of step t."""
        return self.act[:, t]


class Outcome(NamedTuple):
    """The outcome of transitions, `[K, M]` each, or of whole rollouts, `[K, H, M]` each."""

    reward: Tensor  # including the bonus of an event
    cost: Tensor  # of several costs `[K, M, C]`, or `[K, H, M, C]`
    terminated: Tensor | None  # probability; None where episodes can't terminate
    event: Tensor | None  # probability; None where there are no events


class Trajectories(NamedTuple):
    """Imagined rollouts."""

    obs: Tensor  # [K, H+1, M, S], the first before any action
    act: Tensor  # [K, H, M, A]
    outcome: Outcome


class Model(Protocol):
    """K models of one world. Their carry from step to step is private: no other code reads it.

    A model may also have a method `rollout(start, controller, horizon, generators, judged)` where that is faster than a
    loop over `step`; the function `rollout` below then calls it.
    """

    ensemble_size: int

    def start(self, start: Any) -> tuple[Any, Tensor]:
        """Return the carry of M rollouts in each model, and their first observations `[K, M, S]`.

        `start` is a state in the model's own form; models without such a form take observations `[K, M, S]`.
        """
        ...

    def step(self, carry: Any, act: Tensor, generators: Generators) -> tuple[Any, Tensor, Outcome]:
        """Return the next carry, the observations `[K, M, S]` and the outcome of actions `[K, M, A]`.

        The M rows belong to the generators in equal parts, in order.
        """
        ...


def rollout(
    model: Model, start: Any, controller: Controller, horizon: int, generators: Generators, judged: bool = True
) -> Trajectories:
    """Return the rollouts of `horizon` steps under a controller, in every model; model k keeps row k.

    Gradients flow from all outputs to actions and start, unless they are switched off (`torch.no_grad`). Without
    `judged` a model need not compute the outcome, so the caller must not read it.
    """
    own = getattr(model, "rollout", None)
    if own is not None:
        return own(start, controller, horizon, generators, judged)
    carry, obs = model.start(start)
    path, actions, outcomes = [obs], [], []
    for t in range(horizon):
        act = controller(t, path[-1])
        carry, obs, outcome = model.step(carry, act, generators)
        path.append(obs)
        actions.append(act)
        outcomes.append(outcome)
    columns = zip(*outcomes, strict=True)
    outcome = Outcome(*(None if column[0] is None else torch.stack(column, 1) for column in columns))  # type: ignore[arg-type]
    return Trajectories(torch.stack(path, 1), torch.stack(actions, 1), outcome)


def dealt(rows: int, models: int, device: torch.device) -> Tensor:
    """Return the numbers of rows in order, and again from the first until each of K models has equally many."""
    return torch.arange(-(-rows // models) * models, device=device) % rows


def survival(chance: Tensor | None, like: Tensor) -> Tensor:
    """Return the probability that nothing with `chance [K, H, M]` happened before step t = 0..H, `[K, H+1, M]`.

    `chance` None stands for 0 in the shape of `like`.
    """
    first = torch.ones_like(like[:, :1])
    return torch.cat((first, (1 - chance).cumprod(1) if chance is not None else torch.ones_like(like)), 1)


class Watched:
    """A wrapper of a model whose judged rollouts are shown to `saw`."""

    def __init__(self, model: Model):
        self.model, self.ensemble_size = model, model.ensemble_size

    def start(self, start: Any) -> tuple[Any, Tensor]:
        """Return the result of the model's `start`."""
        return self.model.start(start)

    def step(self, carry: Any, act: Tensor, generators: Generators) -> tuple[Any, Tensor, Outcome]:
        """Return the result of the model's `step`."""
        return self.model.step(carry, act, generators)

    def rollout(
        self, start: Any, controller: Controller, horizon: int, generators: Generators, judged: bool = True
    ) -> Trajectories:
        """Return the model's rollouts, and show them where they are judged."""
        found = rollout(self.model, start, controller, horizon, generators, judged)
        if judged:
            self.saw(found)
        return found

    def saw(self, found: Trajectories) -> None:
        """Do something with rollouts."""
        raise NotImplementedError
