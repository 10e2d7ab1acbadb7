"""Carry out checks in one way, and hold their findings. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from safeloop.activity import doing
from safeloop.texts import one_line

OK: Literal["ok"] = "ok"
FAILED: Literal["FAILED"] = "FAILED"
NOT_APPLICABLE: Literal["-"] = "-"
"""State of a check that does not apply, or that could not be made."""
LONGEST = 400
"""Characters of an exception's message that are shown."""


@dataclass(frozen=True)
class Finding:
    """The result of one check."""

    name: str
    state: Literal["ok", "FAILED", "-"]
    detail: str
    """The observation made; for a failure also the expectation and the remedy; for `-` the reason."""

    @property
    def line(self) -> str:
        """Return the finding as one line for a terminal."""
        return f"{self.state:<7} {self.name:<17} {self.detail}".rstrip()


class Fault(Exception):
    """A check does not hold; the message has the value, what was expected and what to do."""


class NotApplicable(Exception):
    """A check says nothing here; the message has the reason."""


class Check(NamedTuple):
    """A check of a subject."""

    name: str
    judge: Callable[[Any], str]
    """Gives the detail of a check that holds. Raises `Fault` or `NotApplicable`; any other exception is a fault too."""
    needs: tuple[str, ...] = ()
    """Names of earlier checks without which this one can't be made."""


def told(error: BaseException) -> str:
    """Return an exception as one line: its kind and its message."""
    text = one_line(f"{type(error).__name__}: {error}")
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def judged(checks: Iterable[Check], subject: Any) -> Iterator[Finding]:
    """Make the checks in order and yield the finding of each; one whose needs have failed is left out with a `-`."""
    missing: set[str] = set()
    for check in checks:
        lacking = [name for name in check.needs if name in missing]
        if lacking:
            missing.add(check.name)
            yield Finding(check.name, NOT_APPLICABLE, f"not checked: {lacking[0]} has to hold first")
            continue
        try:
            with doing(f"checking {check.name}"):
                detail = check.judge(subject)
            yield Finding(check.name, OK, one_line(detail))
        except NotApplicable as reason:
            yield Finding(check.name, NOT_APPLICABLE, one_line(str(reason)))
        except Exception as error:
            missing.add(check.name)
            yield Finding(check.name, FAILED, one_line(str(error)) if isinstance(error, Fault) else told(error))


def verdict(findings: Iterable[Finding]) -> str:
    """Return the last line of a report: how many checks hold, failed and do not apply."""
    states = [finding.state for finding in findings]
    return f"{states.count(OK)} ok, {states.count(FAILED)} failed, {states.count(NOT_APPLICABLE)} not applicable"


def many(count: int, what: str) -> str:
    """Return a number with its noun: `"1 event"`, `"2,000 events"`."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"
