"""Returns that a planner expects, on a plane through its solution (Wang & Ba, 2020, Figures 1, 5, 13 to 17).

Letters: N candidates of an iteration, G points of the grid along an axis.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from safeloop.networks import Generators
from safeloop.planning.objective import Scores
from safeloop.planning.search import Planner, Search
from safeloop.planning.spaces import ActionSequences, Space

GRID, ROOM = 41, 0.1
"""G, and the room beside the outermost candidates as a share of the plane's width."""
CHUNK = 200
"""Candidates of the plane that are scored at once."""


class Surface(NamedTuple):
    """Expected returns on the plane of the candidates' first two principal components; its origin is the solution."""

    size: tuple[int, ...]
    """The shape of a candidate."""
    shares: tuple[float, float]
    """The components' shares of the candidates' variance."""
    points: list[Tensor]
    """The candidates' places in the plane by iteration, `[N, 2]`; they lie beside the plane, too."""
    returns: list[Tensor]
    """Their expected returns, `[N]`."""
    axes: tuple[Tensor, Tensor]
    """The places of the grid along both axes, `[G]` each."""
    grid: Tensor
    """Expected returns on the plane, `[G, G]`: a row for each place along the second component."""


class Watching:
    """An objective that remembers the candidates that it scores, and the place that they are scored from."""

    def __init__(self, objective: Callable[..., Scores]):
        self.objective, self.seen, self.given = objective, list[tuple[Tensor, Tensor]](), list[Any]()

    def __call__(
        self, obs: Tensor, space: Space, candidates: Tensor, generators: Generators, value_after_event: Tensor
    ) -> Scores:
        """Score candidates, and remember them."""
        scores = self.objective(obs, space, candidates, generators, value_after_event)
        self.seen.append((candidates[0], scores.returns[0]))
        self.given = [obs, space, value_after_event]
        return scores


def actions_alone(search: Search) -> Search:
    """Return the same search among action sequences."""
    space = search.space
    return replace(search, space=ActionSequences(space.horizon, space.act_dim, narrowed=False))


@torch.no_grad()
def surface(search: Search, obs: Tensor, mean: Tensor, generators: Generators, value_after_event: Tensor) -> Surface:
    """Plan from a state `obs [1, S]`, around `mean [1, *size]` at first, and return the surface around the solution."""
    watching = Watching(search.objective)
    solution = Planner(replace(search, objective=watching), generators)._plan(obs, mean, value_after_event).mean
    space = watching.given[1]
    away = [candidates.flatten(1) - solution.flatten() for candidates, _ in watching.seen]
    _, spread, components = torch.linalg.svd(torch.cat(away), full_matrices=False)
    plane = components[:2]  # [2, D]
    points = [each @ plane.T for each in away]
    x, y = (_grid(torch.cat(points)[:, i]) for i in range(2))
    places = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1).view(-1, 2)
    candidates = (solution.flatten() + places @ plane).view(1, -1, *space.size)
    scored = [
        search.objective(obs, space, some, generators, value_after_event).returns[0]
        for some in candidates.split(CHUNK, 1)
    ]
    shares = (spread.square() / spread.square().sum()).tolist()
    return Surface(
        space.size, (shares[0], shares[1]), points, [returns for _, returns in watching.seen], (x, y),
        torch.cat(scored).view(GRID, GRID),
    )  # fmt: skip


def _grid(values: Tensor) -> Tensor:
    """Return the grid's places `[G]` along an axis on which candidates have these `values`."""
    low, high = values.aminmax()
    room = ROOM * (high - low)
    return torch.linspace(float(low - room), float(high + room), GRID, device=values.device)
