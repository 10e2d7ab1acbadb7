"""Imagined transitions for an off-policy learner: MBPO's branched rollouts, and what a planner's search meets."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from safeloop.lookahead import Judgement, Model, survival
from safeloop.networks import Streams
from safeloop.replay import Batch, Replay


def as_transitions(obs: Tensor, act: Tensor, next_obs: Tensor, judged: Judgement, generator: torch.Generator) -> Batch:
    """What a model says of `[K, M, .]` as transitions `[K * M]`; terminations are drawn."""
    none = terminated = torch.zeros_like(judged.reward)
    if judged.terminated is not None:
        terminated = torch.bernoulli(judged.terminated, generator=generator)
    return Batch(*(x.flatten(0, 1) for x in (obs, act, judged.reward, none, terminated, none, next_obs)))


@torch.no_grad()
def branch(
    model: Model,
    actor: Callable[[Tensor, Streams], Tensor],
    start: Tensor,
    length: int,
    generator: torch.Generator,
    into: Replay,
) -> None:
    """Roll the actor out from states `[M, S]` for `length` steps (MBPO; Janner et al., 2019).

    Every transition goes `into` a buffer; a rollout ends where the model says so. Those that go on are dealt to the K
    models anew, in equal parts: M is rounded down to a multiple of K.
    """
    k, s = model.members, start
    for _ in range(length):
        s = s[: len(s) // k * k]
        if not len(s):
            return
        a = actor(s, [generator])
        here = s.view(k, -1, s.shape[-1]), a.view(k, -1, a.shape[-1])
        following, memory = model.step(*here, [generator])
        batch = as_transitions(*here, following, model.judge(*here, following, memory), generator)
        into.extend(batch)
        s = batch.next_obs[batch.terminated == 0]


class Witness:
    """A model that keeps `each` of the transitions of every search, drawn at random (workshop paper, appendix D).

    A search looks `horizon` steps ahead; of steps beyond an imagined episode's end none is kept.
    """

    def __init__(self, model: Model, horizon: int, each: int, into: Replay, generator: torch.Generator):
        self.model, self.members, self.horizon = model, model.members, horizon
        self.each, self.into, self.generator = each, into, generator

    def step(self, obs: Tensor, act: Tensor, streams: Streams) -> tuple[Tensor, Tensor]:
        """The model's."""
        return self.model.step(obs, act, streams)

    def judge(self, obs: Tensor, act: Tensor, next_obs: Tensor, memory: Tensor) -> Judgement:
        """The model's, of which some is kept."""
        judged = self.model.judge(obs, act, next_obs, memory)
        k, m = judged.reward.shape
        size = (k, -(-self.each // k))
        rows = torch.randint(m, size, generator=self.generator, device=obs.device)
        models = torch.arange(k, device=obs.device).unsqueeze(1)
        some = Judgement(*(None if x is None else x[models, rows] for x in judged))  # type: ignore[arg-type]
        s, a, following = (x[models, rows] for x in (obs, act, next_obs))
        found = as_transitions(s, a, following, some, self.generator)
        if judged.terminated is not None:
            reached = survival(judged.terminated.view(k, self.horizon, -1), judged.reward.view(k, self.horizon, -1))
            there = torch.bernoulli(reached[:, :-1].flatten(1)[models, rows], generator=self.generator).flatten() > 0
            found = Batch(*(x[there] for x in found))
        self.into.extend(found)
        return judged


def mixed(real: Batch, imagined: Batch) -> Batch:
    """Both, one after the other."""
    return Batch(*(torch.cat(pair) for pair in zip(real, imagined, strict=True)))
