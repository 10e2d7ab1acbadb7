"""The error that every mistake of a user raises."""

from __future__ import annotations

from safeloop.texts import one_line


class UsageError(ValueError):
    """A mistake in a request: shown as one line, exit code 2."""

    def __init__(self, message: object):
        super().__init__(one_line(str(message)))
