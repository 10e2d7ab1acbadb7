"""POLO (Lowrey et al., 2019, Algorithm 1): a planner whose lookahead ends with an optimistic value ensemble."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from safeloop.agents.parts import Fitted, of_features
from safeloop.agents.planning import PlanningAgent
from safeloop.agents.settings import PoloSettings
from safeloop.data.replay import Replay
from safeloop.data.visits import Visit, Visits
from safeloop.learners.value_ensemble import ValueEnsemble
from safeloop.models.ensemble import Ensemble
from safeloop.models.point_ensemble import PointEnsemble
from safeloop.models.simulator import SimulatorModel
from safeloop.models.trajectories import OpenLoop, Trajectories, Watched, rollout, survival
from safeloop.networks import Generators
from safeloop.planning.objective import lookahead
from safeloop.planning.planners import Parts, planner
from safeloop.planning.search import Plan, Planner
from safeloop.protocols import Transition


class Last(Watched):
    """A wrapper of a model that keeps the last rollouts."""

    last: Trajectories | None = None

    def saw(self, found: Trajectories) -> None:
        """Keep the rollouts."""
        self.last = found


def until_horizon(imagined: Trajectories, discount: float) -> tuple[Tensor, Tensor]:
    """Return the discounted returns `[K, M]` of rollouts of H steps, and the weight `[K, M]` of a value at their end.

    Returns are -infinity where a number is not finite. The weight is `gamma^H` times the probability that no
    termination and no event came before.
    """
    reward, _, terminated, event = imagined.outcome  # [K, H, M]
    returns, _, valid = lookahead(imagined, discount)
    alive = survival(terminated, reward)[:, -1] * survival(event, reward)[:, -1]
    weight = discount ** reward.shape[1] * alive
    return torch.where(valid, returns, -torch.inf), torch.where(valid, weight, 0.0)


class PoloAgent(PlanningAgent):
    """A planner that acts by its plans alone, over the simulator or learned models, and learns values of its states."""

    settings: PoloSettings

    def __init__(
        self,
        replay: Replay,
        settings: PoloSettings,
        generator: torch.Generator,
        models: Ensemble | PointEnsemble | SimulatorModel,
        parts: Parts,
        planner_generator: torch.Generator,
        values: ValueEnsemble,
    ):
        super().__init__(None, replay, settings, generator, models, parts, planner_generator, values.value)
        self.values = values
        self.watched = Last(parts.model)
        self.planner = planner(self.settings.planner, replace(parts, model=self.watched), [planner_generator])
        self.visits = Visits(self.settings.online.capacity, self.device)

    def observe(self, transition: Transition) -> None:
        """Store a transition, and the visit of its first state with its plan."""
        super().observe(transition)
        if self.latest is not None:
            self.visits.add(self._visit(transition.obs, self.latest))
            self.latest = None

    def _visit(self, obs: np.ndarray, plan: Plan) -> Visit:
        assert self.watched.last is not None
        seen = self.state(obs)
        state = torch.as_tensor(self.full[0], device=self.device) if self.needs_states else seen
        chosen = plan.weights[0].topk(min(self.settings.polo.kept, plan.weights.shape[1])).indices
        ends = self._ends(self.watched.last)
        return Visit(seen, state, plan.mean[0], *(x[:, chosen] for x in ends))

    def _ends(self, imagined: Trajectories) -> tuple[Tensor, Tensor, Tensor]:
        """Return returns, the weights of the end's value and the end's observations, `[K, M]` and `[K, M, S]`."""
        returns, going = until_horizon(imagined, self.settings.learner.discount)
        final = self.ensemble.features(imagined.obs[:, -1])
        return returns, going, torch.where(returns[..., None].isfinite(), final, 0.0)  # 0 in place of NaN

    def update(self) -> Fitted | None:
        """Fit learned models where that is due, then the values: `value_steps` gradient steps every `update_every`."""
        fitted, c = super().update(), self.settings.polo
        if len(self.visits) and self.replay.added % c.update_every == 0:
            for step in range(c.value_steps):
                if step % c.target_steps == 0:
                    visits = self.visits.sample(c.target_states, self.generator)
                    target = self.targets(visits)  # [K, target_states]
                shape = (self.settings.value_ensemble.value_ensemble_size, c.value_batch)
                rows = torch.randint(c.target_states, shape, generator=self.generator, device=self.device)
                self.values.update(visits.obs[rows], target.gather(1, rows))
        return fitted

    @torch.no_grad()
    def targets(self, visits: Visit) -> Tensor:
        """Return each network's targets `[K, B]`: the best of each state's candidates by that network's value (Eq. 7).

        `kept`: the candidates are those of the plan that was made there. `plan`: new ones, N steps long, drawn around
        that plan's solution; one set of rollouts for all networks.
        """
        returns, going, final = visits.returns, visits.going, visits.final
        if self.settings.polo.targets == "plan":
            returns, going, final = self._planned_anew(visits)
        shape = (-1, *returns.shape)  # networks, states, models, candidates
        values = self.values.each(final.reshape(-1, final.shape[-1])).view(shape)
        return (returns + going * values).mean(2).amax(2)

    def _planned_anew(self, visits: Visit) -> tuple[Tensor, Tensor, Tensor]:
        c, space = self.settings.polo, self.planner.search.space
        horizon, count = c.target_horizon, c.target_candidates
        longer = torch.zeros_like(visits.plan[:, :1]).expand(-1, max(0, horizon - visits.plan.shape[1]), -1)
        mean = torch.cat((visits.plan, longer), 1)[:, :horizon]  # [B, N, A]
        spread = torch.full_like(mean, self.settings.planner.initial_variance)
        drawn = replace(space, horizon=horizon).draw(mean, spread, count - 1, [self.generator])  # type: ignore[type-var]
        candidates = torch.cat((mean[:, None], drawn), 1)  # [B, M, N, A]
        model, k = self.parts.model, self.parts.model.ensemble_size
        start = visits.state if self.needs_states else self.ensemble.first(visits.obs)  # type: ignore[union-attr]
        start = start.repeat_interleave(count, 0).expand(k, -1, -1)
        sequences = candidates.flatten(0, 1).transpose(0, 1).expand(k, -1, -1, -1)
        imagined = rollout(model, start, OpenLoop(sequences), horizon, [self.generator])
        returns, going, final = (x.unflatten(1, (-1, count)).transpose(0, 1) for x in self._ends(imagined))
        return returns, going, final

    def new_planner(self, generators: Generators, draws: bool = False) -> Planner:
        """Return a planner for evaluation, of as many episodes as there are generators."""
        parts = self.parts
        if self.settings.value_ensemble.evaluation == "mean":
            parts = replace(parts, value=of_features(self.ensemble, partial(self.values.value, kind="none")))
        return planner(self.settings.planner, parts, generators, draws)

    def checkpoint(self) -> dict[str, Any]:
        """Return everything that training has changed."""
        return {**super().checkpoint(), "values": self.values.checkpoint(), "visits": self.visits.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        """Restore `checkpoint`."""
        super().restore(state)
        self.values.restore(state["values"])
        self.visits.load_state_dict(state["visits"])
