"""Windows of decisions in a row, for models that are fitted on their own predictions."""

from __future__ import annotations

import torch
from torch import Tensor

from safeloop.data.replay import Batch

BLOCK = 10
"""Transitions in a row that are held out, or not, together: windows lie within one or the other."""


def continuing(data: Batch) -> Tensor:
    """Return which transitions `[..., R]` of a row of R go on in the episode of the transition before."""
    goes_on = (data.obs[..., 1:, :] == data.next_obs[..., :-1, :]).all(-1) & (data.terminated[..., :-1] < 0.5)
    return torch.cat((torch.zeros_like(data.terminated[..., :1], dtype=torch.bool), goes_on), -1)


def inside(data: Batch) -> Tensor:
    """Return 1 for the transitions `[..., W]` of windows that are of the first one's episode, 0 for later ones."""
    goes_on = continuing(data)
    goes_on[..., 0] = True
    return goes_on.float().cumprod(-1)


def sides(count: int, window: int, device: str) -> tuple[Tensor, Tensor]:
    """Return the first transitions of windows for fitting, and of windows held out, among `count` transitions.

    The last block of every ten is held out. A window may begin near the end of an episode, or of all transitions.
    """
    index = torch.arange(count, device=device)
    held = index // BLOCK % BLOCK == BLOCK - 1
    alone = held[(index + window - 1).clamp(max=count - 1)] == held  # a window is no longer than a block
    return index[alone & ~held], index[alone & held]


def starts(data: Batch, window: int) -> tuple[Tensor, Tensor]:
    """Return the windows of `sides` that are whole: within one episode, from the first transition to the last."""
    continues, index = continuing(data), torch.arange(len(data.obs), device=data.obs.device)
    whole = index + window <= len(index)
    for i in range(1, window):
        whole &= continues[(index + i).clamp(max=len(index) - 1)]
    train, held = sides(len(index), window, str(data.obs.device))
    return train[whole[train]], held[whole[held]]
