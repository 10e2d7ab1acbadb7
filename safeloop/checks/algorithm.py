"""This module checks that an algorithm keeps its protocol, for `safeloop check algorithm NAME`."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from safeloop.checks import description
from safeloop.checks.findings import FAILED, OK, Check, Fault, Finding, NotApplicable, judged, many, told
from safeloop.errors import UsageError
from safeloop.experiments.specify import Pairs, pairs, preset_for, settings_by_algorithm
from safeloop.protocols import Algorithm
from safeloop.recording.rows import AGENT
from safeloop.registry import algorithm_names, find_algorithm, find_env
from safeloop.settings import build

if TYPE_CHECKING:
    from safeloop.checks.short_runs import Trial

TOLERANCE = 1e-4
"""How far actions of episodes acted in together may be from those of the same episodes acted in alone."""


def dataset(trial: Trial) -> str:
    """`check` takes a dataset of the environment, and refuses what it can't use with `UsageError`."""
    if not trial.info.offline:
        raise NotApplicable("it learns while acting")
    data, settings = trial.dataset, trial.resolved.settings
    trial.algorithm.check(data, settings, trial.spec)
    try:
        trial.algorithm.check(replace(data, cost=None), settings, trial.spec)
    except UsageError as error:
        return f"{len(data):,} transitions; without costs: {error}"
    return f"{len(data):,} transitions, with or without costs"


def training(trial: Trial) -> str:
    """A short run ends with the episode or epoch that reaches its steps, and steps the recorder alone."""
    run = trial.trained("first")
    if trial.info.offline:
        return f"{run.asked.steps:,} gradient steps"
    episodes, spec, asked = run.episodes.read(), trial.spec, run.asked.steps
    if not episodes:
        raise Fault(f"no episode was recorded in {run.recorded:,} simulator steps: step env and nothing else")
    if beside := run.taken - run.recorded - run.evaluations.steps:
        raise Fault(f"{beside:,} simulator steps were taken in environments beside env: step env and nothing else")
    if short := [row for row in episodes if not spec.terminates and row.length != spec.episode_steps]:
        hint = f"expected {spec.episode_steps:,}: step env itself, not what it wraps"
        raise Fault(f"episode {short[0].episode} has {short[0].length:,} simulator steps, {hint}")
    last, end, unit = episodes[-1].simulator_steps, run.recorded, trial.unit
    whole = -(-asked // unit) * unit
    late = trial.info.epoch is None and len(episodes) > 1 and episodes[-2].simulator_steps >= asked
    partial = last != end and not (trial.info.epoch and spec.terminates)
    if late or partial or not (end == whole or (spec.terminates and asked <= end < asked + unit)):
        wanted = "the first whole " + ("epoch" if trial.info.epoch else "episode")
        raise Fault(
            f"it ends after {end:,} simulator steps, {last:,} of them in whole episodes; expected {whole:,}, with "
            f"{wanted} that reaches the {asked:,} of run.settings.steps"
        )
    return f"{many(len(episodes), 'episode')}, {end:,} simulator steps where {asked:,} were asked for"


def speed(trial: Trial) -> str:
    """How long the short run took; for information."""
    return f"{min(run.seconds for run in trial.runs.values()):.2f} s, evaluations included"  # the first one imports


def evaluations(trial: Trial) -> str:
    """Evaluations were recorded when they were due."""
    run = trial.trained("first")
    rows = [row for row in run.evaluations.read() if row.control == AGENT]
    wanted, episodes = trial.due(run), run.asked.eval_episodes
    steps = list(dict.fromkeys(row.simulator_steps for row in rows))
    vary = trial.info.epoch is not None and trial.spec.terminates  # the ends of epochs
    if steps != wanted and not (vary and steps and steps[-1] >= run.asked.steps):
        hint = f"call evaluate_when_due between {'epochs' if trial.info.epoch else 'episodes'}"
        raise Fault(f"evaluations after {steps or 'no'} steps, expected after {wanted}: {hint}")
    if len(rows) != len(steps) * episodes:
        raise Fault(f"{many(len(rows), 'episode')} of {many(len(steps), 'evaluation')}, expected {episodes} of each")
    return f"after {', '.join(f'{step:,}' for step in steps)} steps, {many(episodes, 'episode')} each"


def checkpoint(trial: Trial) -> str:
    """The checkpoint can be read without executing anything."""
    run = trial.trained("first")
    if not run.has_checkpoint:
        raise Fault("there is none: call run.save_checkpoint between episodes, and at the end")
    try:
        run.load_checkpoint()
    except UsageError as error:
        hint = "save tensors, numbers, texts, and lists and dicts of them"
        raise Fault(f"it can't be read without executing what is in it: {hint}") from error
    return f"{run.checkpoint.stat().st_size:,} bytes, data alone"


# Repeating and resuming


def same_seed(trial: Trial) -> str:
    """Two runs of one seed record the same."""
    one, two = trial.trained("first"), trial.trained("again")
    if found := trial.difference(one, two):
        hint = "derive all random numbers from run.settings.seed (safeloop.rng.derived_seed)"
        raise Fault(f"two runs of one seed differ: {found}: {hint}")
    rows = sum(len(table.read()) for table in one.tables)
    return f"two runs of one seed record the same {many(rows, 'row')}"


def other_seed(trial: Trial) -> str:
    """Another seed records something else."""
    if not trial.difference(trial.trained("first"), trial.trained("other", seed=1)):
        raise NotApplicable("seeds 0 and 1 record the same: nothing is random, or the seed is not used")
    return "records something else"


def resume(trial: Trial) -> str:
    """A run that was killed and resumed ends as one that was not."""
    if not trial.info.resumable:
        raise NotApplicable("info.resumable is False: an unfinished run is started anew")
    whole = trial.trained("first")
    try:
        found = trial.difference(trial.killed_twice(whole), whole)
    except UsageError as error:  # a table of a run with rows that do not follow each other
        found = str(error)
    if found:
        told_of = "killed in its last evaluation and before a checkpoint, and resumed, it ends otherwise"
        raise Fault(f"{told_of}: {found}: see Resuming in docs/adding-an-algorithm.md")
    begun = "from its first checkpoints" if whole.saves > 1 else "anew, as its only checkpoint is the last"
    return f"killed twice and resumed {begun}, it records the same"


# The policy


def policy(trial: Trial) -> str:
    """The checkpoint's policy acts in one episode and in several, within the action space, alike each time."""
    run, obs = trial.trained("first"), trial.observations
    made = []
    for _ in range(2):
        acting = trial.loaded(run)
        made.append([trial.acted(acting, each) for each in (obs[0, 0], obs[0])])
    if not all(np.array_equal(a, b) for a, b in zip(*made, strict=True)):
        raise Fault("two policies of one checkpoint and seed act differently: draw from `seed`, without exploration")
    return f"{list(obs[0, 0].shape)} to {list(made[0][0].shape)}, {list(obs[0].shape)} to {list(made[0][1].shape)}"


def batch(trial: Trial) -> str:
    """Episodes that are acted in together have the actions that they have alone."""
    run, obs = trial.trained("first"), trial.observations
    one, several, alone = trial.loaded(run), trial.loaded(run), []
    for i in range(obs.shape[1]):
        one.reset(1)
        alone.append([np.asarray(one.act(obs[k, i : i + 1]))[0] for k in range(len(obs))])
    several.reset(obs.shape[1])
    rows, keeps, worst = list(range(obs.shape[1])), hasattr(several, "keep"), 0.0
    for k in range(len(obs)):
        if k and keeps:  # the second of those that go on has ended
            several.keep([row for row in range(len(rows)) if row != 1])
            rows.pop(1)
        for i, action in zip(rows, np.asarray(several.act(obs[k, rows])), strict=True):
            worst = max(worst, float(np.abs(action - alone[i][k]).max()))
    told_of = f"actions of {obs.shape[1]} episodes together and alone differ by at most {worst:.1g}"
    if not worst <= TOLERANCE:
        raise NotApplicable(f"{told_of}: what is done in an episode depends on how many there are")
    return told_of + (", with keep" if keeps else "")


def explorer(trial: Trial) -> str:
    """The explorer acts."""
    if not trial.info.explores:
        raise NotApplicable("info.explores is False")
    run, obs = trial.trained("first"), trial.observations[0]
    return f"{list(obs.shape)} to {list(trial.acted(trial.loaded(run, 'explorer'), obs).shape)}"


def kept(trial: Trial) -> str:
    """Checkpoints were kept every `run.settings.keep_every` steps, and each can be loaded."""
    run = trial.trained("first")
    every = run.asked.keep_every
    if not every:
        raise NotApplicable("info.keeps_checkpoints is False")
    ends = [0, *(row.simulator_steps for row in run.episodes.read())]
    wanted = [b // every * every for a, b in itertools.pairwise(ends) if b // every > a // every]
    if run.kept != wanted:
        hint = "call run.keep_checkpoint when run.settings.keep_every falls due"
        raise Fault(f"checkpoints were kept at {run.kept or 'no'} steps, expected {wanted}: {hint}")
    for step in run.kept:
        trial.acted(trial.loaded(run.at(step)), trial.observations[0])
    return f"at {', '.join(f'{step:,}' for step in run.kept)} steps"


CHECKS = (
    Check("methods", description.methods),
    Check("record", description.record, ("methods",)),
    Check("settings", description.settings, ("methods",)),
    Check("presets", description.presets, ("settings",)),
    Check("meanings", description.meanings, ("settings",)),
    Check("refusals", description.refusals, ("settings",)),
    Check("resolve", description.resolve, ("presets",)),
    Check("without a cost", description.without_cost, ("presets",)),
    Check("dataset", dataset, ("resolve",)),
    Check("training", training, ("resolve", "dataset")),
    Check("evaluations", evaluations, ("training",)),
    Check("checkpoint", checkpoint, ("training",)),
    Check("same seed", same_seed, ("training",)),
    Check("other seed", other_seed, ("same seed",)),
    Check("speed", speed, ("training",)),
    Check("resume", resume, ("evaluations", "checkpoint", "same seed")),
    Check("policy", policy, ("checkpoint",)),
    Check("batch", batch, ("policy",)),
    Check("explorer", explorer, ("policy",)),
    Check("kept checkpoints", kept, ("policy",)),
)
"""In the order of the report."""


def check(algorithm: str | Algorithm, env: str | None = None, settings: Pairs = ()) -> list[Finding]:
    """Check an algorithm, given by its name or as the object itself, and return a finding for each check.

    It is trained for short runs in the environment `env`, or where that is None in a small one made for this, with
    `settings` (a dict or `key=value` texts) and otherwise few and small networks. Raises `UsageError` for an unknown
    name or setting, and where the algorithm refuses the environment with one; whatever else goes wrong inside it is a
    finding.
    """
    return list(examine(algorithm, env, settings))


def examine(
    algorithm: str | Algorithm,
    env: str | None = None,
    settings: Pairs = (),
) -> Iterator[Finding]:
    """Make the checks of `check` one after the other and yield each finding as it is made.

    Raises `UsageError` as `check` does.
    """
    try:
        found: Any = find_algorithm(algorithm) if isinstance(algorithm, str) else algorithm
    except UsageError:
        raise
    except Exception as error:
        yield Finding("entry point", FAILED, f"it can't be loaded: {told(error)}")
        return
    name = algorithm if isinstance(algorithm, str) and algorithm in algorithm_names() else found.info.name
    given = _given(settings, name, found)
    from safeloop.checks.short_runs import Trial  # torch takes a second to import
    from safeloop.checks.small_task import TASK, prepared

    with tempfile.TemporaryDirectory(prefix="safeloop-check-") as folder, prepared(Path(folder)):
        spec = find_env(env or TASK)
        trial = Trial(name, found, spec, Path(folder), given)
        refuse(trial)
        yield Finding("entry point", OK, f"{name} in {spec.id}")
        yield from judged(CHECKS, trial)


def _given(asked: Pairs, name: str, algorithm: Any) -> dict[str, Any]:
    """Return the settings asked for. Raises `UsageError` for an unknown one."""
    try:
        return settings_by_algorithm(pairs(asked, "--set"), {name: algorithm})[name]
    except TypeError:  # these are no settings, which a check says
        return {}


def refuse(trial: Trial) -> None:
    """Raise `UsageError` where the settings asked for are refused, or the environment is.

    Whatever else is wrong with either is for the checks to find.
    """
    try:
        preset = trial.info.presets[preset_for(trial.algorithm, "default", trial.spec)]
        build(trial.info.settings, preset, owner=trial.name)
    except Exception:
        return
    asked: Any = build(trial.info.settings, preset, trial.given, owner=trial.name)
    try:
        trial.algorithm.resolve(asked, trial.spec)
    except UsageError as error:
        raise UsageError(f"{error} (in {trial.spec.id}; --env NAME checks in another environment)") from None
    except Exception:
        return
