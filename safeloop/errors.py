"""The error that is raised for every mistake of a user."""

from __future__ import annotations

from safeloop.texts import one_line


class UsageError(ValueError):
    """A mistake in a request. It is shown as one line, and the exit code is 2."""

    def __init__(self, message: object):
        super().__init__(one_line(str(message)))
