"""Episodes of random actions, recorded as the environment gave them, for the checks to judge."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from numbers import Real
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from safeloop.activity import doing
from safeloop.checks.findings import Fault, told
from safeloop.cmdp import EnvSpec, complete
from safeloop.rng import TRAINING, derived_seed

if TYPE_CHECKING:
    import gymnasium

KEYS = ("cost", "violations", "simulator_steps", "costs", "event", "diagnostics")
"""The entries of `info` that the suite reads."""
HELD = (1, 1, 1, 10)
"""For how many decisions an action is held, drawn with equal chances."""


class Step(NamedTuple):
    """One decision as the environment answered it."""

    action: np.ndarray  # [A] float32
    obs: Any  # the observation after it, [S] where all is well
    reward: Any
    terminated: Any
    truncated: Any
    info: Any  # the keys that the suite reads; another object where it is no mapping

    @property
    def ended(self) -> bool:
        """Whether the episode is over."""
        return bool(self.terminated) or bool(self.truncated)


@dataclass
class Drive:
    """One episode, whole or its beginning."""

    seed: int
    start: Any
    """The first observation."""
    start_info: Any
    seconds: float = 0.0
    """Inside the environment."""
    steps: list[Step] = field(default_factory=list)
    disturbed: str = ""
    """The first array of the caller's that a step changed, "" where none did."""

    @property
    def observations(self) -> list[Any]:
        """Every observation, the first one included."""
        return [self.start, *(step.obs for step in self.steps)]

    def at(self, index: int) -> str:
        """Return the name of a place in the episode, counted from 0, as a message gives it."""
        return f"decision {index + 1} of the episode of seed {self.seed}"


@dataclass
class Trial:
    """An environment under examination, and what was seen of it."""

    spec: EnvSpec
    env: gymnasium.Env
    wanted: tuple[int, int]
    """Whole episodes and decisions, at least."""
    episodes: list[Drive] = field(default_factory=list)

    @property
    def decisions(self) -> int:
        """How many decisions were recorded."""
        return sum(len(episode.steps) for episode in self.episodes)

    def steps(self) -> Iterator[tuple[str, Step, bool]]:
        """Yield each decision with its place and whether it is the last of its episode."""
        for episode in self.episodes:
            for index, step in enumerate(episode.steps):
                yield episode.at(index), step, index == len(episode.steps) - 1

    def infos(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield each decision's place and `info`, completed. Raises `Fault` where something is missing."""
        for where, step, _ in self.steps():
            try:
                yield where, complete(step.info, self.spec)
            except (ValueError, TypeError) as error:
                raise Fault(f"{error} (at {where})") from error


def begin(env: Any, seed: int | None) -> tuple[Drive, Any]:
    """Reset: an episode without steps, and the observation itself, not copied. Raises `Fault` where that fails."""
    what, begun = "reset()" if seed is None else f"reset(seed={seed})", time.perf_counter()
    try:
        found = env.reset() if seed is None else env.reset(seed=seed)
    except Exception as error:
        raise Fault(f"{what} raised {told(error)}") from error
    if not isinstance(found, tuple) or len(found) != 2:
        raise Fault(f"{what} returned {_shape(found)}, expected (observation, info)")
    seconds = time.perf_counter() - begun
    return Drive(-1 if seed is None else seed, deepcopy(found[0]), found[1], seconds), found[0]


def advance(env: Any, episode: Drive, action: np.ndarray, seen: Any) -> Any:
    """Take one decision and append it to the episode; return the new observation itself.

    `seen` is the observation that the environment handed out last. Raises `Fault` where that fails.
    """
    where, given = episode.at(len(episode.steps)), action.copy()
    kept = episode.steps[-1].obs if episode.steps else episode.start
    begun = time.perf_counter()
    try:
        found = env.step(given)
    except Exception as error:
        raise Fault(f"step raised {told(error)} at {where}") from error
    episode.seconds += time.perf_counter() - begun
    if not isinstance(found, tuple) or len(found) != 5:
        raise Fault(
            f"step returned {_shape(found)} at {where}, expected (observation, reward, terminated, truncated, info)"
        )
    obs, reward, terminated, truncated, info = found
    if not episode.disturbed and bits(given) != bits(action):
        episode.disturbed = f"the action that step was given, at {where}"
    if not episode.disturbed and bits(seen) != bits(kept):
        episode.disturbed = f"the observation handed out before, at {where}"
    read = {key: deepcopy(info[key]) for key in KEYS if key in info} if isinstance(info, Mapping) else info
    episode.steps.append(Step(action, deepcopy(obs), deepcopy(reward), terminated, truncated, read))
    return obs


def actions(size: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield random actions `[A]` float32, uniform in -1 to 1, some of them held for several decisions."""
    while True:
        action = rng.uniform(-1, 1, size).astype(np.float32)
        for _ in range(int(rng.choice(HELD))):
            yield action


def drive(trial: Trial) -> None:
    """Drive whole episodes of random actions, as many as the trial wants, and record them.

    Episode i has the seed of a run's episode i. One that does not end is left after as many decisions as an episode
    has. Raises `Fault` where the environment fails.
    """
    env: Any = trial.env
    episodes, decisions = trial.wanted
    most = -(-trial.spec.episode_steps // max(1, trial.spec.action_repeat))
    rng = np.random.default_rng(0)
    with doing("driving", decisions, "random decisions") as activity:
        while len(trial.episodes) < episodes or activity.done < decisions:
            episode, seen = begin(env, derived_seed(0, TRAINING, len(trial.episodes)))
            trial.episodes.append(episode)
            for action in actions(env.action_space.shape[0], rng):
                seen = advance(env, episode, action, seen)
                activity.done += 1
                if episode.steps[-1].ended or len(episode.steps) >= most:
                    break


def replay(envs: Sequence[Any], episode: Drive, seed: int, most: int) -> list[Drive]:
    """Repeat the first `most` actions of an episode from `seed` in several environments, by turns."""
    made, seen = (list(column) for column in zip(*(begin(env, seed) for env in envs), strict=True))
    for step in episode.steps[:most]:
        for i, env in enumerate(envs):
            seen[i] = advance(env, made[i], step.action, seen[i])
        if any(each.steps[-1].ended for each in made):
            break
    return made


def difference(one: Drive, two: Drive) -> str:
    """Return where two episodes first differ, in any bit, as far as both go; "" where they do not."""
    if bits(one.start) != bits(two.start):
        return "the first observation differs"
    for index, (a, b) in enumerate(zip(one.steps, two.steps, strict=False)):
        for name in ("obs", "reward", "terminated", "truncated"):
            if bits(getattr(a, name)) != bits(getattr(b, name)):
                return f"{'observation' if name == 'obs' else name} differs at decision {index + 1}"
        for key in KEYS[:5]:
            values = [step.info.get(key) if isinstance(step.info, Mapping) else None for step in (a, b)]
            if values[0] != values[1]:
                return f"{key} differs at decision {index + 1} ({values[0]} and {values[1]})"
    return ""


def bits(value: Any) -> bytes:
    """Return the bytes of an array or number; none of anything else."""
    return np.asarray(value).tobytes() if isinstance(value, (np.ndarray, np.generic, Real)) else b""


def _shape(found: Any) -> str:
    return f"{len(found)} results" if isinstance(found, tuple) else f"one {type(found).__name__}"
