"""Errors of the policy gradient through a model by its horizon: python analysis/gradient_study.py OUT.csv OUT.png

A linear policy drives a double integrator at a quadratic cost (Clavera et al., 2020, 5.2 and Figure 3). For each of
`SEEDS` an ensemble and a critic are learned from 500 noisy transitions. Written are, by the horizon H, L1 errors of the
gradient of `sum_{t<H} gamma^t r + gamma^H Q`: `objective` from that of the true dynamics and the true Q (Lemma 4.1),
`return_` from that of the expected return, in closed form. Dynamics and critic are each true or learned. `bound` is the
corrected bound of the lemma on the first, a mean over starts; it is of lengths, `sqrt(2)` of which bound L1 errors.
"""

import sys
from itertools import product
from pathlib import Path
from statistics import fmean, median

import torch
from gradient_bound import Derivatives, bound
from rows import write_table
from torch import Tensor

from safeloop.cmdp import zero_cost
from safeloop.data.replay import Batch, Replay
from safeloop.models.ensemble import Ensemble
from safeloop.models.full import Heads
from safeloop.models.trajectories import Outcome, rollout
from safeloop.models.world import World
from safeloop.networks import EnsembleMLP, Generators, polyak
from safeloop.planning.objective import lookahead
from safeloop.report import style

SEEDS, HORIZONS = 10, (0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
GAMMA, STEP = 0.95, 0.2
EPISODES, LENGTH, EXPLORATION, NOISE = 20, 25, 1.0, 0.02
"""Of the data; standard deviations of the noise on actions, and on what follows them."""
STARTS = 512
MODEL_STEPS, CRITIC_STEPS = 1000, 5000
F = torch.tensor([[1.0, STEP], [0.0, 1.0]])
G = torch.tensor([[0.0], [STEP]])
COST = torch.diag(torch.tensor([1.0, 0.1])), torch.tensor([[0.1]])
THETA = torch.tensor([[-0.6, -0.9]])
"""The policy's gain: `a = theta s`."""


def reward(obs: Tensor, act: Tensor, next_obs: Tensor) -> Tensor:
    return -((obs @ COST[0]) * obs).sum(-1) - ((act @ COST[1]) * act).sum(-1)


class Integrator:
    """The true dynamics, as a model."""

    ensemble_size = 1

    def start(self, start: Tensor) -> tuple[Tensor, Tensor]:
        """Return the states twice."""
        return start, start

    def step(self, obs: Tensor, act: Tensor, generators: Generators) -> tuple[Tensor, Tensor, Outcome]:
        """Return the next states and their rewards."""
        following = obs @ F.T + act @ G.T
        return following, following, Outcome(reward(obs, act, following), torch.zeros(obs.shape[:-1]), None, None)


def value_matrix(theta: Tensor) -> Tensor:
    """P of the policy's value `-s P s`: the solution of a linear equation."""
    closed, stage = F + G @ theta, COST[0] + theta.T @ COST[1] @ theta
    return torch.linalg.solve(torch.eye(4) - GAMMA * torch.kron(closed.T, closed.T), stage.flatten()).view(2, 2)


def true_q(obs: Tensor, act: Tensor) -> Tensor:
    following = obs @ F.T + act @ G.T
    return reward(obs, act, following) - GAMMA * ((following @ value_matrix(THETA)) * following).sum(-1)


def data(generator: torch.Generator) -> Batch:
    """Transitions of the policy with exploration, from random starts; their noise is not in the true dynamics."""

    def normals(n: int) -> Tensor:
        return torch.randn(EPISODES, n, generator=generator)

    obs, steps = 2 * torch.rand(EPISODES, 2, generator=generator) - 1, []
    for _ in range(LENGTH):
        act = obs @ THETA.T + EXPLORATION * normals(1)
        following = obs @ F.T + act @ G.T + NOISE * normals(2)
        steps.append((obs, act, following))
        obs = following
    before, act, after = (torch.cat(x) for x in zip(*steps, strict=True))
    none = torch.zeros(len(act))
    return Batch(before, act, reward(before, act, after), none, none, none, after)


def learned_model(batch: Batch, generator: torch.Generator) -> World:
    replay = Replay(len(batch.act), 2, 1, "cpu")
    replay.extend(batch)
    ensemble = Ensemble(2, 1, ensemble_size=4, sizes=[64, 64], heads=Heads(reward=False), generator=generator)
    ensemble.fit(replay, MODEL_STEPS)
    return World(ensemble.requires_grad_(False), reward=reward, cost=zero_cost, noise=False)


def learned_q(batch: Batch, generator: torch.Generator):
    """A critic of the policy, by temporal differences."""
    critic, target = (
        EnsembleMLP(1, [3, 64, 64, 1], torch.relu, torch.Generator().manual_seed(generator.initial_seed()))
        for _ in range(2)
    )
    optimizer = torch.optim.Adam(critic.parameters(), 1e-3)

    def q(net, obs, act):
        return net(torch.cat((obs, act), -1).view(1, -1, 3)).view(obs.shape[:-1])

    for _ in range(CRITIC_STEPS):
        which = torch.randint(len(batch.act), (128,), generator=generator)
        rows = Batch(*(x[which] for x in batch))
        with torch.no_grad():
            wanted = rows.reward + GAMMA * q(target, rows.next_obs, rows.next_obs @ THETA.T)
        loss = (q(critic, rows.obs, rows.act) - wanted).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        polyak(target, critic, 0.01)
    critic.requires_grad_(False)
    return lambda obs, act: q(critic, obs, act)


def gradient(model, q, starts: Tensor, horizon: int) -> Tensor:
    """The gradient of the objective, `[2]`."""
    theta = THETA.clone().requires_grad_()
    k = model.ensemble_size

    def value(obs: Tensor) -> Tensor:
        return q(obs, obs @ theta.T)

    if horizon == 0:
        worth = value(starts)
    else:
        rows = starts.view(k, -1, 2)
        found = rollout(model, rows, lambda t, obs: obs @ theta.T, horizon, [])
        worth = lookahead(found, GAMMA, value)[0]
    return torch.autograd.grad(worth.mean(), theta)[0][0]


def derivatives(model, q, starts: Tensor, horizon: int) -> Derivatives:
    """Derivatives along the paths from starts `[B, 2]`, which the models share out."""
    k, b = model.ensemble_size, len(starts)
    with torch.no_grad():
        path = rollout(model, starts.view(k, -1, 2), lambda t, obs: obs @ THETA.T, max(horizon, 1), []).obs
    states = path.transpose(0, 1).reshape(-1, b, 2)[: horizon + 1]
    pairs = torch.cat((states, states @ THETA.T), -1)

    def step(x: Tensor) -> Tensor:
        x = x.view(k, -1, 3)
        return model.step(model.start(x[..., :2])[0], x[..., 2:], [])[1].reshape(-1, 2)

    def jacobian(function, x: Tensor) -> Tensor:  # of rows `[B, 3]` to rows `[B, m]`
        x = x.clone().requires_grad_()
        outputs = function(x)
        return torch.stack([torch.autograd.grad(y.sum(), x, retain_graph=True)[0] for y in outputs.unbind(1)], 1)

    dynamics = [jacobian(step, x) for x in pairs[:-1]]
    rewards = [jacobian(lambda x: reward(x[:, :2], x[:, 2:], x).unsqueeze(1), x)[:, 0] for x in pairs[:-1]]
    return Derivatives(
        torch.stack(dynamics) if horizon else torch.empty(0, b, 2, 3),
        torch.stack(rewards) if horizon else torch.empty(0, b, 3),
        jacobian(lambda x: q(x[:, :2], x[:, 2:]).unsqueeze(1), pairs[-1])[:, 0],
        states.unsqueeze(2),
        THETA.expand(horizon + 1, b, 1, 2),
    )


def of_return(starts: Tensor) -> Tensor:
    """The gradient of the expected return, in closed form."""
    theta = THETA.clone().requires_grad_()
    worth = -((starts @ value_matrix(theta)) * starts).sum(-1).mean()
    return torch.autograd.grad(worth, theta)[0][0]


def rows(seed: int):
    """Errors of a seed."""
    generator = torch.Generator().manual_seed(seed)
    batch = data(generator)
    models = {"true": Integrator(), "learned": learned_model(batch, generator)}
    critics = {"true": true_q, "learned": learned_q(batch, generator)}
    starts = 2 * torch.rand(STARTS, 2, generator=generator) - 1
    whole = of_return(starts)
    for horizon in HORIZONS:
        exact = gradient(models["true"], true_q, starts, horizon)
        of_truth = derivatives(models["true"], true_q, starts, horizon)
        for model, critic in product(models, critics):
            of_pair = derivatives(models[model], critics[critic], starts, horizon)
            limit = bound(of_truth, of_pair, GAMMA).mean().item()
            found = gradient(models[model], critics[critic], starts, horizon)
            errors = [round((found - other).abs().sum().item(), 6) for other in (exact, whole)]
            assert (found - exact).norm() <= limit + 1e-5
            yield seed, horizon, model, critic, *errors, round(whole.abs().sum().item(), 4), float(f"{limit:.4g}")
    print(f"seed {seed}", flush=True)


def draw(found: list[tuple], path: str) -> None:
    """Draw the errors of a learned critic by the horizon, medians and single seeds."""
    picture, *axes = style.figure("Error of the policy gradient through a model, double integrator", 2)
    titles = ("from the objective's own gradient (Lemma 4.1)", "from the gradient of the return")
    for axis, column, title in zip(axes, (4, 5), titles, strict=True):
        for i, (model, name) in enumerate((("learned", "learned dynamics"), ("true", "true dynamics"))):
            curves = [
                [row[column] for row in found if row[0] == seed and row[2] == model and row[3] == "learned"]
                for seed in range(SEEDS)
            ]
            for curve in curves:
                axis.plot(HORIZONS, curve, **style.look(i), linewidth=0.6, alpha=0.4)
            middle = [median(values) for values in zip(*curves, strict=True)]
            axis.plot(HORIZONS, middle, **style.look(i), linewidth=2.2, label=f"{name} (median of {SEEDS} seeds)")
        axis.set_title(title, fontsize=11)
        axis.set_xlabel("H, imagined decisions")
        axis.set_ylabel("L1 error of the gradient")
        axis.set_yscale("log")
    style.legend_below(picture, *axes, caption="With a learned critic. Thin lines: single seeds.")
    style.save(picture, Path(path))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    torch.set_num_threads(1)
    everything = [row for seed in range(SEEDS) for row in rows(seed)]
    columns = ("seed", "horizon", "dynamics", "critic", "objective", "return_", "size", "bound")
    write_table(sys.argv[1], columns, everything)
    draw(everything, sys.argv[2])
    for horizon in HORIZONS:
        means = {m: fmean(r[4] for r in everything if r[1:4] == (horizon, m, "learned")) for m in ("learned", "true")}
        print(horizon, *(f"{name} {value:.4f}" for name, value in means.items()))
