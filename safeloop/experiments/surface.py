"""Draw the returns that a trained planner expects around one of its plans (`safeloop plot RUN --surface`)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from safeloop.agents.policies import PlannerPolicy
from safeloop.errors import UsageError
from safeloop.planning.policy_spaces import ActionNoise, ProposalNoise, WeightNoise
from safeloop.planning.surface import Surface, Watching, actions_alone, surface
from safeloop.recording.reader import loading, open_run
from safeloop.registry import find_algorithm, find_env
from safeloop.rng import EVALUATION, derived_seed
from safeloop.training.evaluation import longest, together

AT = 50
"""Decisions of the first evaluation episode after which the plan is drawn; fewer where half an episode is shorter."""
NAMES = {
    ActionNoise: "noise on the policy's actions", ProposalNoise: "noise on the policy's proposals",
    WeightNoise: "noise on the policy's weights",
}  # fmt: skip
"""The spaces around a policy."""


def draw_surface(path: str | Path) -> Path:
    """Write `surface.png` into the folder of a run, and return its path.

    Where the run's planner searches around a policy, a second panel has a plan of action sequences from the same state,
    with the same models. Raises `UsageError` for an algorithm that does not plan.
    """
    from safeloop.report import surface as picture

    run = open_run(path)
    settings = run.settings
    spec = find_env(settings.env, settings.env_options)
    with loading(run):
        policy = find_algorithm(settings.algo).load(run, settings.seed)
    if not isinstance(policy, PlannerPolicy):
        raise UsageError(f"--surface: {settings.algo} does not plan, so there is no plan to draw")
    at = min(AT, longest(spec) // 2)
    env = spec.make()
    found = _surfaces(policy, together(policy, spec, [env], [derived_seed(settings.seed, EVALUATION, 0)]), at)
    env.close()
    file = run.path / "surface.png"
    picture.draw(found, f"{settings.env}, {settings.name} seed {settings.seed}, plan after {at} decisions", file)
    return file


def _surfaces(policy: PlannerPolicy, episode: Any, at: int) -> dict[str, Surface]:
    """Return surfaces by the name of the space that was searched."""
    for _ in range(at):
        next(episode)
    planner: Any = policy.planner
    search, start = planner.search, planner.search.space.shift(planner.mean)
    watching = Watching(search.objective)
    planner.search = replace(search, objective=watching)
    next(episode)
    obs, _, value_after_event = watching.given
    streams = planner.generators
    name = NAMES.get(type(search.space), "actions")
    found = {name: surface(search, obs, start, streams, value_after_event)}
    if name != "actions":
        other = actions_alone(search)
        found["actions"] = surface(other, obs, torch.zeros(1, *other.space.size), streams, value_after_event)
    return found
