"""LBPO's policy, its values and their update: the mathematics of `safeloop_baselines.lbpo`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import torch
from torch import Tensor
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from safeloop.networks import EnsembleMLP
from safeloop.recording.recorder import Recorder
from safeloop.rng import AGENT, derived_seed
from safeloop_baselines.lbpo_settings import Settings


def lambda_returns(rewards: Tensor, next_values: Tensor, gamma: float, lam: float) -> Tensor:
    """Return `G_t = r_t + gamma ((1 - lam) V_t+1 + lam G_t+1)`, where `G` after the last step is its next value.

    `rewards` and `next_values` (0 after a termination) are `[..., T]`, and so is the result.
    """
    result = torch.empty_like(rewards)
    following = next_values[..., -1]
    for t in reversed(range(rewards.shape[-1])):
        following = rewards[..., t] + gamma * ((1 - lam) * next_values[..., t] + lam * following)
        result[..., t] = following
    return result


def objective(q: Tensor, q_cost_before: Tensor, epsilon: float, beta: float, threshold: float) -> Tensor:
    """Return the objective that an update lowers, a scalar; it is infinite at and beyond the barrier.

    `q` is `[2]`, the mean Q_R and Q_C of the new policy's actions, `q_cost_before` the mean Q_C of pi_B's.
    """
    if epsilon <= 0:
        return q[1]
    slack = epsilon - (q[1] - q_cost_before)
    if slack <= 0:
        return torch.full_like(slack, math.inf)
    return -q[0] - (beta * torch.log(slack) if beta / epsilon > threshold else 0.0)


def conjugate_gradients(product: Callable[[Tensor], Tensor], b: Tensor, iterations: int) -> Tensor:
    """Return the `x [n]` with `product(x) = b [n]`, for a symmetric positive definite matrix given by its product."""
    x, residual, direction = torch.zeros_like(b), b.clone(), b.clone()
    size = residual @ residual
    for _ in range(iterations):
        if size < 1e-20:
            break
        along = product(direction)
        step = size / (direction @ along)
        x, residual = x + step * direction, residual - step * along
        size, before = residual @ residual, size
        direction = residual + size / before * direction
    return x


def trust_region_step(
    parameters: Sequence[Tensor],
    loss: Callable[[], Tensor],
    kl: Callable[[], Tensor],
    target_kl: float,
    iterations: int,
    damping: float,
) -> float:
    """Change `parameters` by the natural gradient step that lowers `loss` (Schulman et al., TRPO, 2015, appendix C).

    Its length is the one at which `kl`, a divergence from the present parameters, reaches `target_kl` to second order;
    it is halved up to nine times until `loss` falls and `kl` is at most `target_kl`. Returns the part of the step
    taken, 0 where none was taken.
    """

    def flat_gradient(value: Tensor, create_graph: bool = False) -> Tensor:
        return torch.cat([g.flatten() for g in torch.autograd.grad(value, parameters, create_graph=create_graph)])

    start, before = parameters_to_vector(parameters).detach(), loss()
    slope = flat_gradient(kl(), create_graph=True)

    def fisher(v: Tensor) -> Tensor:
        product = torch.autograd.grad(slope @ v, parameters, retain_graph=True)
        return torch.cat([g.flatten() for g in product]) + damping * v

    direction = conjugate_gradients(fisher, -flat_gradient(before), iterations)
    length = direction @ fisher(direction)
    if not length > 0:
        return 0.0
    full = torch.sqrt(2 * target_kl / length) * direction
    with torch.no_grad():
        for halvings in range(10):
            vector_to_parameters(start + 0.5**halvings * full, parameters)
            if loss() < before and kl() <= target_kl:
                return 0.5**halvings
        vector_to_parameters(start, parameters)
    return 0.0


class Trajectory(NamedTuple):
    """One whole episode of T decisions."""

    obs: Tensor  # [T + 1, S], with the final observation
    act: Tensor  # [T, A], in [-1, 1], as the environment saw them
    outcome: Tensor  # [2, T], reward and cost
    terminated: bool


class Learner:
    """The policy, its values, and their update."""

    def __init__(self, space: gymnasium.spaces.Box, obs_dim: int, settings: Settings, seed: int, device: str):
        self.settings, self.space, self.device = settings, space, device
        self.generator = torch.Generator().manual_seed(derived_seed(seed, AGENT))
        hidden, act_dim = [settings.hidden_units] * settings.hidden_layers, space.shape[0]
        self.actor = EnsembleMLP(1, [obs_dim, *hidden, act_dim], torch.relu, self.generator).to(device)
        self.critics = EnsembleMLP(2, [obs_dim + act_dim, *hidden, 1], torch.tanh, self.generator).to(device)
        self.optimiser = torch.optim.Adam(self.critics.parameters(), lr=settings.critic_lr)
        self.shift, self.scale = torch.zeros(2, 1, device=device), torch.ones(2, 1, device=device)

    def act(self, obs: Tensor) -> Tensor:
        """Return the policy's actions without exploration: `[B, S]` to `[B, A]`, in [-1, 1]."""
        return torch.tanh(self.actor(obs[None])[0])

    def values(self, obs: Tensor, act: Tensor) -> Tensor:
        """Return Q_R and Q_C, `[2, B]`, of `[B, S]` and `[B, A]`."""
        return self.shift + self.scale * self.critics(torch.cat([obs, act], -1).expand(2, -1, -1))[..., 0]

    @torch.no_grad()
    def drive(self, env: Recorder) -> Trajectory:
        """Run one episode with exploration. Raises `ValueError` where the simulator's numbers are not finite."""
        seen, _ = env.reset()
        obs, act, outcome, done = [seen], [], [], False
        low, high, dtype = self.space.low, self.space.high, self.space.dtype
        while not done:
            mean = self.act(torch.as_tensor(seen, dtype=torch.float32, device=self.device)[None])[0].cpu()  # [A]
            noise = torch.randn(mean.shape, generator=self.generator)
            action = torch.clamp(mean + self.settings.exploration_noise * noise, -1, 1).numpy()
            scaled = np.clip(low + (high - low) * (action + 1) / 2, low, high).astype(dtype)
            seen, reward, terminated, truncated, info = env.step(scaled)
            obs.append(seen)
            act.append(action)
            outcome.append((float(reward), float(info["cost"])))
            done = terminated or truncated
        tensors = [torch.as_tensor(np.array(x), dtype=torch.float32, device=self.device) for x in (obs, act, outcome)]
        if not all(torch.isfinite(x).all() for x in tensors):
            raise ValueError(f"episode {env.episode - 1} is not finite: the simulator or the policy diverged")
        return Trajectory(tensors[0], tensors[1], tensors[2].T, terminated)

    def update(self, episodes: Sequence[Trajectory], budget: float) -> None:
        """Fit the values of the policy that acted in `episodes`, then take one step from it, as `lbpo` describes."""
        c = self.settings
        obs, act = torch.cat([e.obs[:-1] for e in episodes]), torch.cat([e.act for e in episodes])  # [B, S], [B, A]
        targets = torch.cat([self._targets(e) for e in episodes], -1)  # [2, B]
        self.shift, self.scale = targets.mean(-1, keepdim=True), targets.std(-1, keepdim=True) + 1e-3
        for _ in range(c.critic_iters):
            loss = ((self.values(obs, act) - targets) / self.scale).square().mean(-1).sum()
            self.optimiser.zero_grad()
            loss.backward()
            self.optimiser.step()
        cost_return = torch.stack([e.outcome[1].sum() for e in episodes]).mean().item()
        epsilon = (1 - c.gamma) * (budget - cost_return)
        with torch.no_grad():
            before = self.act(obs)
            q_cost_before = self.values(obs, before)[1].mean()

        def step_loss() -> Tensor:
            q = self.values(obs, self.act(obs)).mean(-1)
            return objective(q, q_cost_before, epsilon, c.beta, c.barrier_threshold)

        def kl() -> Tensor:
            return (self.act(obs) - before).square().sum(-1).mean() / (2 * c.exploration_noise**2)

        trust_region_step(list(self.actor.parameters()), step_loss, kl, c.target_kl, c.cg_iters, c.cg_damping)

    @torch.no_grad()
    def _targets(self, episode: Trajectory) -> Tensor:
        next_obs = episode.obs[1:]
        next_values = self.values(next_obs, self.act(next_obs))  # [2, T]
        if episode.terminated:
            next_values[:, -1] = 0
        return lambda_returns(episode.outcome, next_values, self.settings.gamma, self.settings.lam)

    def policy(self) -> dict[str, Any]:
        """Return the numbers that `FrozenPolicy` needs."""
        return {
            "weights": [w[0].T.detach().cpu().clone() for w in self.actor.weights],
            "biases": [b[0, 0].detach().cpu().clone() for b in self.actor.biases],
            "activation": "ReLU", "squashed": True,
            "obs_mean": torch.tensor(0.0), "obs_std": torch.tensor(1.0), "obs_clip": math.inf,
            "action_low": torch.tensor(self.space.low, dtype=torch.float32),
            "action_high": torch.tensor(self.space.high, dtype=torch.float32),
        }  # fmt: skip

    def state_dict(self) -> dict[str, Any]:
        """Return everything that learning has changed."""
        return {
            "actor": self.actor.state_dict(), "critics": self.critics.state_dict(),
            "optimiser": self.optimiser.state_dict(), "generator": self.generator.get_state(),
            "shift": self.shift, "scale": self.scale,
        }  # fmt: skip

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state from `state_dict`."""
        self.actor.load_state_dict(state["actor"])
        self.critics.load_state_dict(state["critics"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.generator.set_state(state["generator"])
        self.shift, self.scale = state["shift"].to(self.device), state["scale"].to(self.device)
