"""Imagined transitions for an off-policy learner: MBPO's branched rollouts, and transitions of a planner's search."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from safeloop.data.replay import Batch, Replay
from safeloop.models.ensemble import Ensemble
from safeloop.models.trajectories import Model, Outcome, Trajectories, Watched, rollout, survival
from safeloop.models.world import World
from safeloop.networks import Generators


def as_transitions(obs: Tensor, act: Tensor, next_obs: Tensor, outcome: Outcome, generator: torch.Generator) -> Batch:
    """Return imagined transitions `[K, M, .]` as a batch `[K * M]`; terminations are drawn."""
    none = terminated = torch.zeros_like(outcome.reward)
    if outcome.terminated is not None:
        terminated = torch.bernoulli(outcome.terminated, generator=generator)
    return Batch(*(x.flatten(0, 1) for x in (obs, act, outcome.reward, none, terminated, none, next_obs)))


@torch.no_grad()
def branch(
    model: Model,
    actor: Callable[[Tensor, Generators], Tensor],
    start: Tensor,
    length: int,
    generator: torch.Generator,
    into: Replay,
) -> None:
    """Roll the actor out from states `[M, S]` for `length` steps (MBPO; Janner et al., 2019).

    Every transition is added to the buffer `into`; a rollout ends where the model terminates it. After each step the
    other rollouts are distributed over the K models again, in equal parts: M is rounded down to a multiple of K.
    """
    k, s = model.ensemble_size, start

    def controller(_: int, obs: Tensor) -> Tensor:
        return actor(obs.flatten(0, 1), [generator]).view(k, obs.shape[1], -1)

    for _ in range(length):
        s = s[: len(s) // k * k]
        if not len(s):
            return
        step = rollout(model, s.view(k, -1, s.shape[-1]), controller, 1, [generator])
        outcome = Outcome(*(None if x is None else x[:, 0] for x in step.outcome))  # type: ignore[arg-type]
        batch = as_transitions(step.obs[:, 0], step.act[:, 0], step.obs[:, 1], outcome, generator)
        into.extend(batch)
        s = batch.next_obs[batch.terminated == 0]


class Penalised:
    """A world whose rewards are less by `weight` times the models' doubt (MOPO; Yu et al., 2020).

    The doubt of a transition is the largest length, over the models, of the vector of predicted standard deviations.
    """

    def __init__(self, world: World, weight: float):
        self.world, self.weight, self.ensemble_size = world, weight, world.ensemble_size

    def start(self, start: Tensor) -> tuple[Tensor, Tensor]:
        """Return the result of the world's `start`."""
        return self.world.start(start)

    def step(self, carry: Tensor, act: Tensor, generators: Generators) -> tuple[Tensor, Tensor, Outcome]:
        """Return the world's step, with rewards less the doubt."""
        following, obs, outcome = self.world.step(carry, act, generators)
        models = self.world.ensemble
        assert isinstance(models, Ensemble)
        pairs = (x.flatten(0, 1).expand(self.ensemble_size, -1, -1) for x in (carry, act))
        doubt = models.deviation(*pairs).norm(dim=-1).amax(0).view(outcome.reward.shape)
        return following, obs, outcome._replace(reward=outcome.reward - self.weight * doubt)


class Witness(Watched):
    """A wrapper of a model that stores `each` random transitions of every search (workshop paper, appendix D).

    It stores no steps beyond the end of an imagined episode.
    """

    def __init__(self, model: Model, each: int, into: Replay, generator: torch.Generator):
        super().__init__(model)
        self.each, self.into, self.generator = each, into, generator

    def state_dict(self) -> dict[str, Any]:
        """Return the stored transitions and the generator's state."""
        return {"imagined": self.into.state_dict(), "witness": self.generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state from `state_dict`."""
        self.into.load_state_dict(state["imagined"])
        self.generator.set_state(state["witness"])

    def saw(self, found: Trajectories) -> None:
        """Store some of the transitions of rollouts."""
        k, h, m = found.outcome.reward.shape
        rows = torch.randint(h * m, (k, -(-self.each // k)), generator=self.generator, device=found.obs.device)
        models = torch.arange(k, device=rows.device).unsqueeze(1)

        def some(x: Tensor) -> Tensor:
            return x.flatten(1, 2)[models, rows]

        outcome = Outcome(*(None if x is None else some(x) for x in found.outcome))  # type: ignore[arg-type]
        obs, act, following = (some(x) for x in (found.obs[:, :-1], found.act, found.obs[:, 1:]))
        batch = as_transitions(obs, act, following, outcome, self.generator)
        if found.outcome.terminated is not None:
            reached = some(survival(found.outcome.terminated, found.outcome.reward)[:, :-1])
            there = torch.bernoulli(reached, generator=self.generator).flatten() > 0
            batch = Batch(*(x[there] for x in batch))
        self.into.extend(batch)


def mixed(real: Batch, imagined: Replay | None, real_fraction: float, generator: torch.Generator) -> Batch:
    """Return a real batch's first part, then drawn imagined transitions in place of the rest, where there are any."""
    if imagined is None or not len(imagined):
        return real
    n = round(real_fraction * len(real.reward))
    some = imagined.sample(len(real.reward) - n, generator)
    return Batch(*(torch.cat((x[:n], y)) for x, y in zip(real, some, strict=True)))
