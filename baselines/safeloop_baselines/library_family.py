"""Algorithms of another library as a family: a prefix and the library's names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from safeloop.errors import UsageError
from safeloop.settings import nearest


class LibraryFamily:
    """A family of algorithms, an entry point in `safeloop.algorithm_families`."""

    def __init__(self, prefix: str, known: Sequence[str], named: Callable[[str], Any], lacks: Callable[[], str]):
        """Take the library's names, what makes an algorithm of one, and what tells a missing package."""
        self.prefix, self.known, self.named, self.lacks = prefix, list(known), named, lacks

    def names(self) -> list[str]:
        """Return the names of the library's algorithms that run here."""
        return list(self.known)

    def algorithm(self, name: str) -> Any:
        """Return the algorithm `PREFIX:NAME`. Raises `UsageError` for one that is unknown."""
        if name not in self.known:
            near = nearest(self.prefix + name, [self.prefix + known for known in self.known])
            raise UsageError(f"unknown algorithm {self.prefix + name!r}; nearest: {near}")
        return self.named(name)
