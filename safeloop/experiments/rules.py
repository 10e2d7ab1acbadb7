"""Rules that a trained planner is given afterwards: known costs that it was not trained with (docs/constraints.md)."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from safeloop.cmdp import Known
from safeloop.errors import UsageError
from safeloop.experiments.wrapped import Wrapped
from safeloop.texts import one_line

if TYPE_CHECKING:
    from safeloop.agents.policies import Checked

THRESHOLD = 0.02
"""Allowed cost of each rule in the horizon: that of a known cost."""


@dataclass(frozen=True)
class Rule:
    """A known cost by name."""

    name: str
    cost: Known


def find_rule(given: str | Known) -> Rule:
    """Return the rule that is given, a function or the name of one, "package.module:function".

    Modules are looked for in the present folder, too. Raises `UsageError` where there is none.
    """
    if not isinstance(given, str):
        return Rule(getattr(given, "__name__", "rule"), given)
    module, _, name = given.partition(":")
    option = f"rule {given}"
    if not module or not name:
        raise UsageError(f"{option}: expected package.module:function")
    here = os.getcwd()
    sys.path.insert(0, here)
    try:
        found = getattr(importlib.import_module(module), name)
    except Exception as error:  # whatever a user's module does
        raise UsageError(f"{option}: {_told(error)}") from None
    finally:
        sys.path.remove(here)
    if not callable(found):
        raise UsageError(f"{option}: expected a function, found {type(found).__name__}")
    return Rule(given, found)


def check(rule: Rule, obs_dim: int, act_dim: int) -> None:
    """Raise `UsageError` where a rule is no known cost of such observations and actions."""
    import torch

    obs, act = torch.zeros(2, 3, obs_dim), torch.zeros(2, 3, act_dim)
    try:
        found = rule.cost(obs, act, obs, margin=0.1)
    except Exception as error:  # whatever a user's function does
        raise UsageError(
            f"rule {rule.name}(obs, act, next_obs, margin=0.1) with {obs_dim} numbers fails: {_told(error)}"
        ) from None
    if not isinstance(found, torch.Tensor) or found.shape != (2, 3) or not found.isfinite().all():
        shape = list(found.shape) if isinstance(found, torch.Tensor) else type(found).__name__
        raise UsageError(
            f"rule {rule.name}: expected finite costs of the shape [2, 3] for [2, 3, {obs_dim}], got {shape}"
        )


def _told(error: Exception) -> str:
    return one_line(f"{type(error).__name__}: {error}")


def add_rules(policy: Checked, rules: Sequence[Rule]) -> None:
    """Let a policy's planner keep to rules. Raises `UsageError` where it can't."""
    if not rules:
        return
    agent: Any = getattr(policy.policy, "agent", None)
    if not hasattr(agent, "add_rules"):
        raise UsageError(f"rule {rules[0].name}: the run's policy does not plan, so it can keep to no rule")
    data = agent.replay.data
    for rule in rules:
        check(rule, data.obs.shape[1], data.act.shape[1])
    try:
        agent.add_rules([rule.cost for rule in rules], THRESHOLD)
    except TypeError as error:
        raise UsageError(f"rule {rules[0].name}: {error}") from None


class Counting(Wrapped):
    """A policy that counts the decisions which break rules, but for each episode's last one."""

    def __init__(self, policy: Checked, rules: Sequence[Rule]):
        super().__init__(policy)
        self.rules = rules
        self.decisions, self.broken = 0, [0] * len(rules)
        self.before: tuple[np.ndarray, np.ndarray] | None = None

    @property
    def shares(self) -> dict[str, float]:
        """Shares of the decisions that broke each rule."""
        return {rule.name: n / max(1, self.decisions) for rule, n in zip(self.rules, self.broken, strict=True)}

    def reset(self, episodes: int = 1) -> None:
        """Start episodes."""
        super().reset(episodes)
        self.before = None

    def keep(self, rows: Sequence[int]) -> None:
        """Continue only the episodes at the places `rows`."""
        super().keep(rows)
        if self.before is not None:
            self.before = self.before[0][list(rows)], self.before[1][list(rows)]

    def act(self, obs: np.ndarray) -> np.ndarray:
        """Return the policy's actions `[B, A]` for `obs [B, S]`."""
        if self.before is not None:
            self._count(*self.before, obs)
        action = super().act(obs)
        self.before = np.array(obs), np.array(action)
        return action

    def _count(self, *transition: np.ndarray) -> None:
        import torch

        tensors = [torch.as_tensor(x, dtype=torch.float32) for x in transition]
        self.decisions += len(transition[0])
        for i, rule in enumerate(self.rules):
            self.broken[i] += int((rule.cost(*tensors) > 0).sum())
