"""The checks of an environment's contract, which `safeloop.cmdp` and docs/adding-an-environment.md describe.

Each returns what it saw, or raises `Fault` with the value, what was expected and what to do.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from numbers import Real
from typing import Any

import numpy as np

from safeloop.checks.driving import Trial, advance, begin, difference, drive, replay
from safeloop.checks.findings import Check, Fault, NotApplicable, many
from safeloop.cmdp import Entities, Lidars, sizes
from safeloop.errors import UsageError

REPEATED = 300
"""Decisions after which two environments of one seed need no further episode to compare."""


def spaces(trial: Trial) -> str:
    """Observations and actions are vectors, actions in -1 to 1."""
    try:
        observations, actions = sizes(trial.env, trial.spec)
    except UsageError as error:
        raise Fault(str(error)) from error
    return f"observations [{observations}] {trial.env.observation_space.dtype}, actions [{actions}] in -1 to 1"


def driven(trial: Trial) -> str:
    """Episodes of random actions can be driven, one after the other, in one environment."""
    drive(trial)
    return f"{many(len(trial.episodes), 'episode')} of random actions, {many(trial.decisions, 'decision')}"


def speed(trial: Trial) -> str:
    """How many decisions a second; for information."""
    seconds = sum(episode.seconds for episode in trial.episodes)
    return f"{trial.decisions / seconds:,.0f} decisions a second, resets included"


def observations(trial: Trial) -> str:
    """Every observation of reset and step is in the observation space."""
    space: Any = trial.env.observation_space
    for episode in trial.episodes:
        for index, obs in enumerate(episode.observations):
            where = episode.at(index - 1) if index else f"reset(seed={episode.seed})"
            _in_space(obs, space, where)
    return f"in the space, {trial.decisions + len(trial.episodes):,} of them"


def _in_space(obs: Any, space: Any, where: str) -> None:
    if not isinstance(obs, np.ndarray):
        raise Fault(f"the observation of {where} is a {type(obs).__name__}, expected an array {list(space.shape)}")
    if obs.shape != space.shape:
        raise Fault(f"the observation of {where} has shape {list(obs.shape)}, expected the space's {list(space.shape)}")
    if not np.can_cast(obs.dtype, space.dtype):
        raise Fault(f"the observation of {where} is {obs.dtype}, expected the space's {space.dtype}: use astype")
    if not np.isfinite(obs).all():
        index = int(np.flatnonzero(~np.isfinite(obs))[0])
        raise Fault(f"number {index} of the observation of {where} is {obs[index]}, expected finite ones")
    outside = np.flatnonzero((obs < space.low) | (obs > space.high))
    if len(outside):
        index = int(outside[0])
        low, high = space.low[index], space.high[index]
        raise Fault(f"number {index} of the observation of {where} is {obs[index]:g}, expected {low:g} to {high:g}")


def rewards(trial: Trial) -> str:
    """Every reward is a finite number."""
    for where, step, _ in trial.steps():
        if not _number(step.reward):
            raise Fault(f"the reward of {where} is {_shown(step.reward)}, expected a finite number: use float(...)")
    found = [float(step.reward) for _, step, _ in trial.steps()]
    return f"{min(found):.4g} to {max(found):.4g} a decision"


def information(trial: Trial) -> str:
    """`info` has what `safeloop.cmdp` asks for, in the right types and ranges."""
    spec, repeat, reported = trial.spec, trial.spec.action_repeat, 0
    for where, step, _ in trial.steps():
        if not isinstance(step.info, Mapping):
            raise Fault(f"info is a {type(step.info).__name__} at {where}, expected a dict")
        cost = step.info.get("cost", 0.0)
        if not _number(cost) or cost < 0:
            raise Fault(f"info['cost'] is {_shown(cost)} at {where}, expected a finite number of at least 0")
    for (where, info), (_, step, last) in zip(trial.infos(), trial.steps(), strict=True):
        least = 1 if last else repeat
        if not _whole(info["simulator_steps"], least, repeat):
            wanted = f"{least} to {repeat}" if last else f"{repeat}, fewer only where an episode ends"
            value = _shown(info["simulator_steps"])
            raise Fault(f"info['simulator_steps'] is {value} at {where}, expected {wanted}")
        if not _whole(info["violations"], 0, info["simulator_steps"]):
            wanted = f"a whole number of 0 to {info['simulator_steps']}, the simulator steps that cost"
            raise Fault(f"info['violations'] is {_shown(info['violations'])} at {where}, expected {wanted}")
        _check_costs(step.info, info, where)
        if "event" in info and not isinstance(info["event"], (bool, np.bool_)):
            raise Fault(f"info['event'] is {_shown(info['event'])} at {where}, expected True or False: use bool(...)")
        if info.get("event") and not spec.has_events:
            raise Fault(f"info['event'] is True at {where}, but EnvSpec.has_events is False: set it to True")
        reported += "event" in info
        diagnostics = step.info.get("diagnostics", {})
        if not isinstance(diagnostics, Mapping) or not all(map(_number, diagnostics.values())):
            raise Fault(f"info['diagnostics'] is {_shown(diagnostics)} at {where}, expected finite numbers by name")
    if spec.has_events and not reported:
        raise Fault(f"EnvSpec.has_events is True, but none of {trial.decisions:,} decisions has info['event']")
    return "cost, violations and simulator_steps of each decision" + (", event" if spec.has_events else "")


def _check_costs(given: Mapping[str, Any], info: Mapping[str, Any], where: str) -> None:
    """Raise `Fault` where `info["costs"]` is there and not the cost of each simulator step.

    Costs by name are those of the spec (`cmdp.complete`).
    """
    if "costs" not in given or "named_costs" in info:
        return
    try:
        each = [float(cost) for cost in given["costs"]]
    except (TypeError, ValueError):
        raise Fault(f"info['costs'] is {_shown(given['costs'])} at {where}, expected a list of numbers") from None
    if len(each) != info["simulator_steps"]:
        raise Fault(f"info['costs'] has {len(each)} numbers at {where}, expected {info['simulator_steps']}, one a step")
    if not math.isclose(sum(each), info["cost"], abs_tol=1e-6) or sum(c > 0 for c in each) != info["violations"]:
        seen = f"{sum(each):g} in all, {sum(c > 0 for c in each)} positive"
        wanted = f"the cost {info['cost']:g} with {info['violations']} violations"
        raise Fault(f"info['costs'] is {seen} at {where}, expected {wanted}")


def costs(trial: Trial) -> str:
    """A decision has a violation exactly where it has a cost, and neither in environments without a cost."""
    violating, violations = 0, 0
    for where, info in trial.infos():
        if (info["cost"] > 0) != (info["violations"] > 0):
            seen = f"cost {info['cost']:g} and {info['violations']} violations"
            raise Fault(f"{seen} at {where}: expected violations exactly where there is a cost")
        if trial.spec.budget is None and info["cost"] > 0:
            hint = "expected none, as EnvSpec.budget is None; give it the cost return that an episode may have"
            raise Fault(f"cost {info['cost']:g} at {where}: {hint}")
        violating += info["cost"] > 0
        violations += int(info["violations"])
    if trial.spec.budget is None:
        return "no cost"
    return f"{violating:,} of {trial.decisions:,} decisions cost, {many(violations, 'violation')}"


def ends(trial: Trial) -> str:
    """`terminated` and `truncated` are bools, and nothing terminates where the spec says so."""
    terminated = 0
    for where, step, _ in trial.steps():
        for name in ("terminated", "truncated"):
            value = getattr(step, name)
            if not isinstance(value, (bool, np.bool_)):
                raise Fault(f"{name} is {_shown(value)} at {where}, expected True or False: use bool(...)")
        terminated += bool(step.terminated)
        if step.terminated and not trial.spec.terminates:
            raise Fault(f"terminated at {where}, but EnvSpec.terminates is False: set it to True")
    return f"{terminated:,} of {len(trial.episodes):,} episodes terminated"


def length(trial: Trial) -> str:
    """An episode that does not terminate is truncated after exactly `episode_steps` simulator steps."""
    full, whole = trial.spec.episode_steps, 0
    taken = iter([int(info["simulator_steps"]) for _, info in trial.infos()])
    for episode in trial.episodes:
        total, last = sum(next(taken) for _ in episode.steps), episode.steps[-1]
        where = f"the episode of seed {episode.seed}"
        if not last.ended:
            raise Fault(f"{where} goes on after {total:,} simulator steps, expected truncated=True at {full:,}")
        if total > full:
            raise Fault(
                f"{where} has {total:,} simulator steps, expected at most EnvSpec.episode_steps = {full:,}; "
                "the last decision may have fewer than the action repeat"
            )
        if last.truncated and total < full:
            raise Fault(f"{where} was truncated after {total:,} simulator steps, EnvSpec.episode_steps is {full:,}")
        whole += total == full
    if not whole:
        raise NotApplicable(f"every episode terminated before its {full:,} simulator steps")
    return f"{whole:,} of {len(trial.episodes):,} episodes have all their {full:,} simulator steps"


def same_seed(trial: Trial) -> str:
    """Two environments of one seed, driven by turns, give the same episodes to the last bit."""
    envs, compared, count = [trial.spec.make(), trial.spec.make()], 0, 0
    try:
        for episode in trial.episodes:
            one, two = replay(envs, episode, episode.seed, REPEATED)
            if found := difference(one, two):
                raise Fault(
                    f"{found} between two environments of seed {episode.seed} with the same actions, driven by turns: "
                    "draw all random numbers from self.np_random, and let environments share nothing that changes"
                )
            compared, count = compared + len(one.steps), count + 1
            if compared >= REPEATED:
                break
    finally:
        for env in envs:
            with suppress(Exception):  # a check of its own
                env.close()
    return f"two environments agree in every bit, over {many(count, 'episode')} and {many(compared, 'decision')}"


def other_seed(trial: Trial) -> str:
    """Another seed gives another episode."""
    first, seed = trial.episodes[0], trial.episodes[0].seed ^ 1
    (other,) = replay([trial.env], first, seed, REPEATED)
    if not difference(other, first):
        same = f"seeds {first.seed} and {seed} give the same episode"
        raise NotApplicable(f"{same}: nothing is random, or the seed is not used")
    return "gives another episode"


def reset(trial: Trial) -> str:
    """A reset in mid-episode begins anew, as a new environment does; one without a seed goes on."""
    first = trial.episodes[0]
    for episode in trial.episodes:
        if not isinstance(episode.start_info, dict):
            raise Fault(f"the info of reset is a {type(episode.start_info).__name__}, expected a dict: return {{}}")
    replay([trial.env], first, first.seed ^ 1, max(1, min(10, len(first.steps) // 2)))
    (again,) = replay([trial.env], first, first.seed, REPEATED)
    if found := difference(again, first):
        raise Fault(
            f"{found} after reset(seed={first.seed}) in mid-episode from the same seed in a new environment: "
            "reset everything there, and seed again with super().reset(seed=seed)"
        )
    episode, seen = begin(trial.env, None)
    advance(trial.env, episode, first.steps[0].action, seen)
    for obs in episode.observations:
        _in_space(obs, trial.env.observation_space, "reset() without a seed")
    return "begins anew in mid-episode, and without a seed"


def arrays(trial: Trial) -> str:
    """A step leaves the action and earlier observations as they are."""
    for episode in trial.episodes:
        if episode.disturbed:
            raise Fault(f"step changed {episode.disturbed}: both are stored for learning after it, so make a copy")
    return "step changes neither its action nor earlier observations"


def parts(trial: Trial) -> str:
    """Entities or lidars name every number of the observation once, and lidars are 0 to 1."""
    found = trial.spec.parts
    if found is None:
        raise NotApplicable("no entities or lidars: dynamics are `full`")
    size, name = sizes(trial.env, trial.spec)[0], "entities" if isinstance(found, Entities) else "lidars"
    groups = found.positions if isinstance(found, Entities) else found.rings
    indices = [*found.robot, *(index for group in groups for index in group)]
    if wrong := [index for index in indices if not 0 <= index < size]:
        raise Fault(f"{name} name number {wrong[0]}, expected 0 to {size - 1}: an observation has {size} numbers")
    if len(set(indices)) < len(indices):
        twice = next(index for index in indices if indices.count(index) > 1)
        raise Fault(f"{name} name number {twice} twice, expected each number of the observation once")
    if missing := sorted(set(range(size)) - set(indices)):
        raise Fault(f"{name} do not name number {missing[0]}, expected all {size}: the rest belongs to `robot`")
    if found.goal is not None and not 0 <= found.goal < len(groups):
        raise Fault(f"{name}.goal is {found.goal}, expected 0 to {len(groups) - 1}")
    if isinstance(found, Lidars):
        seen = np.stack([obs for episode in trial.episodes for obs in episode.observations])[:, np.ravel(groups)]
        if seen.min() < 0 or seen.max() > 1 + 1e-6:
            raise Fault(f"bins of lidars are {seen.min():g} to {seen.max():g}, expected 0 to 1, the closeness")
    return f"the robot's numbers: {len(found.robot)}, {name}: {len(groups)}"


def clipped(trial: Trial) -> str:
    """Numbers that are said to be clipped are within their limits, and the observation has them."""
    limits, size = trial.spec.clipped, sizes(trial.env, trial.spec)[0]
    if not limits:
        raise NotApplicable("no numbers are said to be clipped")
    if wrong := [index for index in limits if not 0 <= index < size]:
        raise Fault(f"clipped names number {wrong[0]}, expected 0 to {size - 1}: an observation has {size} numbers")
    seen = np.abs(np.stack([obs for episode in trial.episodes for obs in episode.observations]))
    for index, limit in limits.items():
        if seen[:, index].max() > limit:
            raise Fault(f"number {index} reaches {seen[:, index].max():g}, expected at most its limit, {limit:g}")
    at_limit = sum((seen[:, index] >= limit).mean() for index, limit in limits.items()) / len(limits)
    return f"{len(limits)} numbers within their limits, {at_limit:.1%} of them at one"


def close(trial: Trial) -> str:
    """The environment can be closed."""
    trial.env.close()
    return "raises nothing"


def _number(value: Any) -> bool:
    return isinstance(value, Real) and math.isfinite(value)


def _whole(value: Any, least: Any, most: Any) -> bool:
    return _number(value) and value == int(value) and least <= value <= most


def _shown(value: Any) -> str:
    text = repr(value)
    return f"{text if len(text) <= 60 else text[:60] + '...'} ({type(value).__name__})"


CHECKS = (
    Check("spaces", spaces),
    Check("episodes", driven, ("spaces",)),
    Check("speed", speed, ("episodes",)),
    Check("observations", observations, ("episodes",)),
    Check("rewards", rewards, ("episodes",)),
    Check("info", information, ("episodes",)),
    Check("costs", costs, ("info",)),
    Check("ends", ends, ("episodes",)),
    Check("length", length, ("info", "ends")),
    Check("same seed", same_seed, ("observations", "info")),
    Check("other seed", other_seed, ("same seed",)),
    Check("reset", reset, ("same seed",)),
    Check("arrays", arrays, ("observations",)),
    Check("parts", parts, ("observations",)),
    Check("clipped", clipped, ("observations",)),
)
"""In the order of the report; those of known models follow."""
