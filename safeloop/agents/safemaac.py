"""MAAC under a budget: the gradient of return less a price of the worst cost over the models. The form is ours."""

from __future__ import annotations

from typing import Any

import torch

from safeloop.agents.imagination_settings import SafeMAACSettings
from safeloop.agents.maac import MAACAgent
from safeloop.agents.parts import value_after_events
from safeloop.data.replay import Batch
from safeloop.learners.cost_critic import CostCritic
from safeloop.learners.pathwise import SafePathwise
from safeloop.learners.sac import SAC
from safeloop.protocols import Transition


class SafeMAACAgent(MAACAgent):
    """MAAC with a critic of costs and a price of them, which follows the costs of episodes towards the budget."""

    settings: SafeMAACSettings

    def __init__(self, *parts: Any, budget: float, generator: torch.Generator):
        super().__init__(*parts)
        assert isinstance(self.learner, SAC)
        c, data = self.settings, self.replay.data
        self.costs = CostCritic(data.obs.shape[1], data.act.shape[1], c.learner, generator, self.device)
        self.budget, self.price, self.cost_return = budget, c.price.initial_price, 0.0
        self.value_after_event = torch.zeros((), device=self.device)
        self.objective = SafePathwise(
            self.learner, self.model, c.pathwise.gradient_horizon, c.pathwise.gradient_samples, self.costs,
            lambda: self.price, lambda: self.value_after_event,
        )  # fmt: skip
        self.kept["price"] = []

    def observe(self, transition: Transition) -> None:
        """Store a transition; at an episode's end the price of cost follows what the episode cost."""
        super().observe(transition)
        self.cost_return += float(transition.info["cost"])
        if not (transition.terminated or transition.truncated):
            return
        if not self.warming_up:
            change = self.settings.price.price_rate * (self.cost_return - self.budget)
            self.price = max(0.0, self.price + change)
        self.cost_return = 0.0
        self.kept["price"].append(self.price)
        assert self.learner is not None
        found = value_after_events(self.replay, self.learner.value)
        self.value_after_event = self.value_after_event if found is None else found

    def learn(self, batch: Batch) -> None:
        """Take one gradient step of the critics and, once the models are fitted, of the actor along the Lagrangian."""
        assert isinstance(self.learner, SAC)
        self.costs.update(batch, self.learner)
        self.costs.critic.requires_grad_(False)
        super().learn(batch)
        self.costs.critic.requires_grad_(True)

    def checkpoint(self) -> dict[str, Any]:
        """Return everything that training has changed."""
        own = {"costs": self.costs.checkpoint(), "price": self.price, "value_after_event": self.value_after_event}
        return {**super().checkpoint(), **own}

    def restore(self, state: dict[str, Any]) -> None:
        """Restore `checkpoint`."""
        super().restore(state)
        self.costs.restore(state["costs"])
        self.price, self.value_after_event = state["price"], state["value_after_event"].to(self.device)
