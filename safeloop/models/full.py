"""The `full` network: one perceptron per model over the whole observation and the action (CoRL 2021, C.1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from safeloop.networks import EnsembleMLP

LOGITS = ("event", "terminated", "violated")


@dataclass(frozen=True)
class Heads:
    """The learned outputs besides the change of the observation."""

    reward: bool = True
    event: bool = False
    terminated: bool = False
    violated: int = 0
    """Costs that are learned, each by whether a decision has it."""

    @property
    def outputs(self) -> int:
        """The number of logits."""
        return self.event + self.terminated + self.violated

    def logits(self) -> list[str]:
        """Return the names of the logistic heads in use, in order."""
        return [name for name in LOGITS if getattr(self, name)]


class Prediction(NamedTuple):
    """A model's prediction of a transition, in normalised units; absent heads are not in `logits`."""

    reward: Tensor | None  # [K, B]
    reward_raw: Tensor | None  # [K, B], unbounded log-variance
    logits: dict[str, Tensor]  # name -> [K, B]; violations of C > 1 costs have [K, B, C]


class FullNet(nn.Module):
    """One network per model, from (s, a) to the Gaussian of the change of s and of the reward, and to the logits."""

    def __init__(self, k: int, obs_dim: int, act_dim: int, heads: Heads, sizes: list[int], generator):
        super().__init__()
        self.obs_dim, self.heads = obs_dim, heads
        self.targets = obs_dim + heads.reward
        out = 2 * self.targets + heads.outputs
        self.net = EnsembleMLP(k, [obs_dim + act_dim, *sizes, out], F.silu, generator)

    def transition(self, obs: Tensor, act: Tensor, scale: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the mean and raw log-variance of the change, `[K, B, S]` each, and the output for `outcome`.

        `scale [S]` is the unit of each change, which only lidars need.
        """
        out = self.net(torch.cat((obs, act), -1))
        return out[..., : self.obs_dim], out[..., self.targets : self.targets + self.obs_dim], out

    def logit(self, out: Tensor, name: str) -> Tensor:
        """Return the output `[K, B]` of the logistic head `name`."""
        return out[..., 2 * self.targets + self.heads.logits().index(name)]

    def outcome(self, out: Tensor, obs: Tensor, act: Tensor, next_obs: Tensor) -> Prediction:
        """Return the other heads; the paper's model reads them from (s, a), so `next_obs` is not used."""
        logits = {name: self.logit(out, name) for name in self.heads.logits() if name != "violated"}
        if not self.heads.reward:
            return Prediction(None, None, logits)
        return Prediction(out[..., self.targets - 1], out[..., 2 * self.targets - 1], logits)

    def violation(self, out: Tensor, obs: Tensor, act: Tensor, next_obs: Tensor) -> Tensor:
        """Return the logit of a violation `[K, B]`, which is also read from (s, a); of several costs `[K, B, C]`."""
        return self.logit(out, "violated") if self.heads.violated == 1 else out[..., -self.heads.violated :]
