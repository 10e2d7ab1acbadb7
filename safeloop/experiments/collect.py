"""Make datasets from the suite's own runs, with the meanings that D4RL gave its names (docs/offline.md).

random: a randomly initialised policy. medium: a policy half trained. medium-replay: what such a policy had seen when it
was half trained (`replay`). medium-expert: as many episodes of a half trained one as of a trained one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from safeloop.activity import Activity
from safeloop.cmdp import EnvSpec, sizes
from safeloop.data.datasets import Dataset, EpisodeData, read
from safeloop.data.minari import pieces, writer
from safeloop.errors import UsageError
from safeloop.experiments.progress import heartbeat
from safeloop.experiments.specify import Pairs, pairs
from safeloop.files import check_path
from safeloop.protocols import Policy
from safeloop.recording.reader import loading, open_run
from safeloop.recording.run import Run
from safeloop.registry import find_algorithm, find_env
from safeloop.rng import AGENT, COLLECTION, derived_seed
from safeloop.settings import LARGEST_SEED, MOST_EPISODES, check_whole
from safeloop.training.evaluation import TOGETHER, Decision, driving, numbered, together

RANDOM = "random"


@dataclass(frozen=True)
class Collected:
    """A new dataset."""

    path: Path
    data: Dataset

    @property
    def text(self) -> str:
        """One line for a terminal."""
        s = self.data.summary
        cost = f", cost return {s['cost_return']:.1f}" if self.data.cost is not None else ""
        return (
            f"{self.path}: {s['transitions']:,} transitions in {s['episodes']:,} episodes, "
            f"mean return {s['return']:.1f}{cost}"
        )


def collect(
    env: str,
    policies: Sequence[str],
    out: str | Path,
    *,
    episodes: int = 100,
    replay: bool = False,
    seed: int = 0,
    env_options: Pairs = (),
    quiet: bool = False,
) -> Collected:
    """Write a dataset of `env` to the folder `out`, in Minari's layout, and read it back.

    A policy is `random`, a run's folder, or `RUN@STEP` for the run as it was then; several act in turn, in equal parts
    of the `episodes`. They explore as they did in training, where they do so. With `replay` it is what the one run had
    stored up to then, and `episodes` says nothing. Raises `UsageError` for bad input, before anything is written.
    """
    spec = find_env(env, pairs(env_options, "--env-set"))
    check_path(out, "--out")
    episodes = check_whole("--episodes", episodes, len(policies) or 1, MOST_EPISODES)
    seed = check_whole("--seed", seed, 0, LARGEST_SEED)
    if not policies or (replay and (len(policies) > 1 or policies[0] == RANDOM)):
        raise UsageError("--policy: give at least one" if not policies else "--replay: give one run as --policy")
    with heartbeat("collect", quiet):
        found = [acting(each, spec, seed) for each in policies]
        about = {
            "env": spec.id, "env_options": spec.options, "replay": replay,
            "policy": " + ".join(each.name for each in found),
        }  # fmt: skip
        run = found[0].run if replay else None
        source = stored(run, spec) if run else drive(found, spec, episodes, seed)
        with writer(out, about) as add:
            for episode in source:
                add(episode)
        return Collected(Path(out), read(out))


@dataclass(frozen=True)
class Acting:
    """A policy, its name, and the run that it is of."""

    policy: Policy
    name: str
    run: Run | None


def acting(text: str, spec: EnvSpec, seed: int) -> Acting:
    """Return the policy `random`, `RUN` or `RUN@STEP`.

    Raises `UsageError` where it is none, or of another environment.
    """
    if text == RANDOM:
        return Acting(untrained(spec, seed), RANDOM, None)
    path, at, step = text.rpartition("@")
    run = open_run(path if at else text)
    if at:
        run = run.at(check_whole(f"--policy {text}: step", step, 1))
    there, here = (run.settings.env, run.settings.env_options), (spec.id, spec.options)
    if there != here:
        raise UsageError(f"--policy {text}: a run of {there[0]} with {there[1]}, not of {here[0]} with {here[1]}")
    algorithm = find_algorithm(run.settings.algo)
    explorer: Any = algorithm.explorer if algorithm.info.explores else algorithm.load  # type: ignore[attr-defined]
    name = f"{there[0]} {run.settings.name} seed {run.settings.seed}{at}{step if at else ''}"
    with loading(run):
        return Acting(explorer(run, derived_seed(seed, COLLECTION)), name, run)


def untrained(spec: EnvSpec, seed: int) -> Policy:
    """Return a randomly initialised actor of SAC, drawn from."""
    import torch

    from safeloop.agents.policies import Exploring
    from safeloop.learners.sac import SAC
    from safeloop.learners.settings import LearnerSettings, SACSettings

    env = spec.make()
    numbers = sizes(env, spec)
    env.close()
    generators = [torch.Generator().manual_seed(derived_seed(seed, AGENT, i)) for i in range(2)]
    return Exploring(SAC(*numbers, LearnerSettings(), SACSettings(), generators[0]), "cpu", generators[1])


def drive(found: Sequence[Acting], spec: EnvSpec, episodes: int, seed: int) -> Iterator[EpisodeData]:
    """Whole episodes of each policy, so many in all, from seeds of their own."""
    envs = [spec.make() for _ in range(min(TOGETHER, episodes))]
    try:
        with driving("collecting", spec, episodes) as activity:
            for share, each in enumerate(found):
                mine = range(share * episodes // len(found), (share + 1) * episodes // len(found))
                for first in range(mine.start, mine.stop, len(envs)):
                    group = range(first, min(first + len(envs), mine.stop))
                    activity.detail = numbered(group, episodes)
                    seeds = [derived_seed(seed, COLLECTION, i + 1) for i in group]
                    made = _together(each.policy, spec, envs, seeds, activity)
                    yield from made if spec.budget is not None else (episode._replace(cost=None) for episode in made)
    finally:
        for env in envs:
            env.close()


def _together(
    policy: Policy, spec: EnvSpec, envs: Sequence[Any], seeds: Sequence[int], activity: Activity
) -> list[EpisodeData]:
    """Return an episode from each seed, all at once."""
    found: list[list[Decision]] = [[] for _ in seeds]
    for decisions in together(policy, spec, envs, seeds, activity=activity):
        for d in decisions:
            found[d.episode].append(d)
    episodes = []
    for made in found:
        obs = np.stack([*(d.obs for d in made), made[-1].next_obs])
        columns = [
            (d.reward, float(d.info["cost"]), d.terminated, d.truncated, bool(d.info.get("event"))) for d in made
        ]
        numbers = (np.array(column) for column in zip(*columns, strict=True))
        episodes.append(EpisodeData(obs, np.stack([d.action for d in made]), *numbers))
    return episodes


def stored(run: Run, spec: EnvSpec) -> Iterable[EpisodeData]:
    """Return the replay buffer of a run's checkpoint, cut where an observation does not follow from the one before."""
    state = run.load_checkpoint().get("agent")
    if not isinstance(state, dict) or "replay" not in state:
        raise UsageError(f"{run.path}: {run.settings.algo} keeps no replay buffer in its checkpoint; use another run")
    with loading(run):
        return pieces(_transitions(state["replay"], run, spec))


def _transitions(replay: Mapping[str, Any], run: Run, spec: EnvSpec) -> Dataset:
    """Return a checkpoint's replay buffer, in the order that its transitions were stored in."""
    obs, act, reward, cost, terminated, event, next_obs = (x.numpy() for x in replay["data"])
    if cost.ndim > 1:
        raise UsageError(f"{run.path}: its replay buffer tells several costs apart, and a dataset has one; drive it")
    n, added = len(reward), replay["added"]
    order = (added + np.arange(n)) % n if added > n else np.arange(n)  # a full ring begins anywhere
    obs, act, reward, cost, terminated, event, next_obs = (
        x[order] for x in (obs, act, reward, cost, terminated, event, next_obs)
    )
    ended = terminated.astype(bool)
    goes_on = np.append((next_obs[:-1] == obs[1:]).all(1), False) & ~ended
    costs = None if spec.budget is None else cost
    return Dataset(
        run.path, run.path.name, spec.id, spec.options, obs, act, reward, costs, ended, ~goes_on & ~ended,
        event.astype(bool), next_obs, np.ones(n, bool),
    )  # fmt: skip
