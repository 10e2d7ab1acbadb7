"""Whether an environment keeps the suite's contract: what `safeloop check env NAME` finds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from safeloop.checks import contract, simulated
from safeloop.checks.driving import Trial
from safeloop.checks.findings import FAILED, OK, Check, Finding, judged, told
from safeloop.cmdp import EnvSpec
from safeloop.errors import UsageError
from safeloop.registry import find_env
from safeloop.settings import check_whole, split_pairs

EPISODES, DECISIONS = 2, 2000
"""At least so many whole episodes and random decisions are driven."""


def check(
    env: str | EnvSpec,
    options: Mapping[str, Any] | Iterable[str] = (),
    *,
    episodes: int = EPISODES,
    decisions: int = DECISIONS,
) -> list[Finding]:
    """Check an environment, given by its name and options or by its spec, and return a finding for each check.

    `options` are those of `--env-set`: a dict or `key=value` texts. At least so many whole `episodes` and `decisions`
    are driven with random actions. Raises `UsageError` for an unknown name or option, and where the environment itself
    refuses to be made with one; whatever else goes wrong inside it is a finding.
    """
    return list(examine(find(env, options), episodes=episodes, decisions=decisions))


def find(env: str | EnvSpec, options: Mapping[str, Any] | Iterable[str] = ()) -> EnvSpec:
    """Return the spec that a name and options stand for. Raises `UsageError` for an unknown one."""
    given = dict(options) if isinstance(options, Mapping) else split_pairs(options, "--env-set")
    if isinstance(env, str):
        return find_env(env, given)
    if given:
        raise UsageError(f"options {given}: a spec has its options already; give them with a name")
    return env


def examine(
    spec: EnvSpec,
    *,
    episodes: int = EPISODES,
    decisions: int = DECISIONS,
) -> Iterator[Finding]:
    """Make the checks of `check` one after the other and yield each finding as it is made.

    Raises `UsageError` where the environment refuses to be made with one.
    """
    wanted = check_whole("episodes", episodes, 1), check_whole("decisions", decisions, 1)
    try:
        env = spec.make()
    except UsageError:
        raise
    except Exception as error:
        yield Finding("make", FAILED, f"EnvSpec.make() raised {told(error)}")
        return
    yield Finding("make", OK, f"{spec.id}, {spec.suite}")
    from safeloop.checks import known  # torch takes a second to import

    checks = (*contract.CHECKS, *known.CHECKS, *simulated.CHECKS, Check("close", contract.close))
    yield from judged(checks, Trial(spec, env, wanted))
