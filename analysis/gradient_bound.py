"""The corrected bound of MAAC's Lemma 4.1 (Clavera et al., 2020; docs/theory.md, MAAC)."""

from typing import NamedTuple

import torch
from torch import Tensor


class Derivatives(NamedTuple):
    """Derivatives along B paths of H decisions, from states of S numbers with actions of A numbers."""

    dynamics: Tensor  # [H, B, S, S+A]
    reward: Tensor  # [H, B, S+A]
    critic: Tensor  # [B, S+A], at the end
    of_parameters: Tensor  # [H+1, B, A, P], of the policy
    of_state: Tensor  # [H+1, B, A, S], of the policy


def norm(x: Tensor) -> Tensor:
    """The largest singular value of each matrix of `x [H, B, m, n]`, the largest of H; 0 where H is 0."""
    each = torch.linalg.matrix_norm(x, 2) if x.numel() else x.new_zeros(*x.shape[:2])
    return torch.cat((each.new_zeros(1, each.shape[1]), each)).amax(0)


def bound(true: Derivatives, learned: Derivatives, gamma: float) -> Tensor:
    """The largest errors `[B]` of the gradients of single paths; the names are those of the page."""
    r, r_hat = (x.reward.unsqueeze(2) for x in (true, learned))
    q, q_hat = (x.critic[None, :, None] for x in (true, learned))
    eps_f, eps_r, eps_q = norm(learned.dynamics - true.dynamics), norm(r_hat - r), norm(q_hat - q)
    eps_theta = norm(learned.of_parameters - true.of_parameters)
    eps_s = norm(learned.of_state - true.of_state)
    b = torch.maximum(norm(true.of_parameters), norm(learned.of_parameters))
    l_pi = torch.maximum(norm(true.of_state), norm(learned.of_state))
    l_f, l_r = torch.maximum(norm(true.dynamics), norm(learned.dynamics)), torch.maximum(norm(r), norm(r_hat))
    horizon, total, x, y = len(true.dynamics), torch.zeros_like(b), b, eps_theta  # X_0 and Y_0: D_0 = E_0 = 0
    for t in range(horizon):
        total = total + gamma**t * (eps_r * x + l_r * y)
        d, e = l_f * x, eps_f * x + l_f * y
        x, y = b + (1 + l_pi) * d, eps_theta + eps_s * d + (1 + l_pi) * e
    return total + gamma**horizon * (eps_q * x + norm(q) * y)
