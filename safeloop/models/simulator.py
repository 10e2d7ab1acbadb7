"""A task's own physics as a model: one model without error, whose states are the simulator's full states.

Letters: M rollouts, H steps, F full state, S observation, A action.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from safeloop.models.trajectories import Controller, OpenLoop, Outcome, Trajectories
from safeloop.networks import Generators
from safeloop.protocols import Simulated, Simulator


class SimulatorModel:
    """A simulator as `trajectories.Model`, in the place of an ensemble; there is nothing to fit.

    A rollout whose physics diverged has NaN for its rewards and costs, so that no planner can choose it.
    """

    ensemble_size, learned = 1, False

    def __init__(self, simulator: Simulator, obs_dim: int):
        self.simulator, self.feature_size = simulator, obs_dim

    def start(self, start: Tensor) -> tuple[Tensor, Tensor]:
        """Return the full states `[1, M, F]` twice: as the carry and as the first states."""
        return start, start

    def step(self, carry: Tensor, act: Tensor, generators: Generators) -> tuple[Tensor, Tensor, Outcome]:
        """Return the next full states, twice, and the outcome of actions `[1, M, A]`."""
        found = self.simulator.rollout(_array(carry[0]), _array(act[0])[:, None])
        following = torch.as_tensor(found.state[:, -1], device=carry.device)[None]
        outcome = (None if x is None else x[:, 0] for x in _outcome(found, carry))
        return following, following, Outcome(*outcome)  # type: ignore[arg-type]

    def rollout(
        self, start: Tensor, controller: Controller, horizon: int, generators: Generators, judged: bool = True
    ) -> Trajectories:
        """Return the rollouts of `trajectories.rollout`: fixed actions are simulated all at once.

        Actions that follow from states are simulated step by step. There each step begins without the solver's memory
        of the last one, so that its results differ by the solver's tolerance.
        """
        if isinstance(controller, OpenLoop):
            act = controller.act[0, :horizon]  # [H, M, A]
            found = self.simulator.rollout(_array(start[0]), _array(act.transpose(0, 1)))
            path = torch.as_tensor(found.state, device=start.device).transpose(0, 1)
            return Trajectories(path[None], act[None], _outcome(found, start))
        states, actions, outcomes = [start], [], []
        for t in range(horizon):
            actions.append(controller(t, states[-1]))
            _, following, outcome = self.step(states[-1], actions[-1], generators)
            states.append(following)
            outcomes.append(outcome)
        columns = (None if x[0] is None else torch.stack(x, 1) for x in zip(*outcomes, strict=True))
        return Trajectories(torch.stack(states, 1), torch.stack(actions, 1), Outcome(*columns))  # type: ignore[arg-type]

    def features(self, state: Tensor) -> Tensor:
        """Return the observations `[..., S]` of full states `[..., F]`."""
        seen = self.simulator.observe(_array(state.reshape(-1, state.shape[-1])))
        return torch.as_tensor(seen, device=state.device).view(*state.shape[:-1], -1)

    def checkpoint(self) -> dict[str, Any]:
        """Return nothing: nothing was learned."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Do nothing."""


def _array(x: Tensor) -> np.ndarray:
    return x.detach().cpu().double().numpy()


def _outcome(found: Simulated, like: Tensor) -> Outcome:
    """Return the outcome `[1, H, M]` of rollouts, NaN where one is not valid."""
    spoiled = np.where(found.valid, 0.0, np.nan)[:, None]

    def steps(x: np.ndarray) -> Tensor:
        return torch.as_tensor(x, dtype=torch.float32, device=like.device).T[None]

    return Outcome(
        steps(found.reward + spoiled),
        steps(found.cost + spoiled),
        None if found.terminated is None else steps(found.terminated),
        None if found.event is None else steps(found.event),
    )
