"""Perception: the states of episodes under way, which a model follows from one decision to the next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from torch import Tensor


class Follows(Protocol):
    """A model that knows what observations show of its states."""

    def first(self, obs: Tensor) -> Tensor:
        """Return the states `[..., T]` that observations `[..., S]` show by themselves."""
        ...

    def follow(self, state: Tensor, act: Tensor, obs: Tensor) -> Tensor:
        """Return the states `[B, T]` of `obs [B, S]`, one decision after `state, act [B, .]`."""
        ...

    def near(self, state: Tensor) -> Tensor:
        """Return states with nothing in them that can't matter within the horizon."""
        ...


class Perception:
    """The states of B episodes: each follows from the last state, the action and the observation."""

    def __init__(self, model: Follows):
        self.model = model
        self.state: Tensor | None = None
        self.act: Tensor | None = None

    def see(self, obs: Tensor, t0: bool) -> Tensor:
        """Return the states `[B, T]` to plan from, for `obs [B, S]`; `t0` marks the episodes' first decision."""
        if t0 or self.state is None or self.act is None:
            self.state = self.model.first(obs)
        else:
            self.state = self.model.follow(self.state, self.act, obs)
        return self.model.near(self.state)

    def acted(self, act: Tensor | None) -> None:
        """Remember the actions `[B, A]` until the next observations; None: these will be the same."""
        self.act = act

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with the episodes at these places alone."""
        chosen = list(rows)
        self.state = None if self.state is None else self.state[chosen]
        self.act = None if self.act is None else self.act[chosen]

    def state_dict(self) -> dict[str, Any]:
        """Return what is remembered."""
        return {"state": self.state, "act": self.act}

    def load_state_dict(self, state: dict[str, Any], device: Any) -> None:
        """Restore `state_dict`."""
        self.state, self.act = (None if state[name] is None else state[name].to(device) for name in ("state", "act"))
