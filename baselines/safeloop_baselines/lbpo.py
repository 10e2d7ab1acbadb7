"""LBPO: Lyapunov Barrier Policy Optimization (Sikchi, Zhou, Held, arXiv 2103.09230, 2021).

Let J_C be the cost return of pi_B, the policy of an epoch's episodes, and Q_R and Q_C its values of return and cost.
With the largest constant auxiliary cost that the budget d0 leaves,

    epsilon = (1 - gamma) (d0 - J_C),

the Lyapunov function of pi_B (Chow et al., "A Lyapunov-based Approach to Safe Reinforcement Learning", 2018) keeps
every policy within the budget that has Q_C(s, pi(s)) - Q_C(s, pi_B(s)) <= epsilon. As in Chow et al., "Lyapunov-based
Safe Policy Optimization for Continuous Control", 2019, this is required on average over the states visited, and
LBPO puts a logarithmic barrier there. It takes one step within a trust region around pi_B, to lower

    -E[Q_R(s, pi(s))] - beta log(epsilon - E[Q_C(s, pi(s)) - Q_C(s, pi_B(s))]),

whose gradient at pi_B is that of -E[Q_R] + (beta / epsilon) E[Q_C]. Outside the barrier the objective is infinite, so
the line search ends inside. Where pi_B is already over the budget (epsilon <= 0), the step lowers E[Q_C] alone.

As in the authors' program, the policy is deterministic and explored with Gaussian noise of a fixed width; the barrier
has no gradient far from the budget (`barrier_threshold`); values are fitted to the epoch's own returns; observations
are not normalised; d0 and J_C are cost returns of whole, undiscounted episodes, as the budget is here, while Q_C is
discounted (so less of the budget is used than is left).

Departures: values are fitted before the step, not after it, and to standardised targets; the line search checks
the barrier too; there is no safe policy to start from, so a run may begin over the budget. The preset `paper` has the
program's numbers; the default numbers learn from fewer steps.
"""

from __future__ import annotations

from typing import Any

from safeloop.cmdp import EnvSpec
from safeloop.errors import UsageError
from safeloop.protocols import AlgorithmInfo, Policy, Resolved
from safeloop.recording.run import Run
from safeloop.settings import build
from safeloop.training.evaluation import evaluate_when_due
from safeloop_baselines.lbpo_settings import PAPER, Settings


class LBPO:
    """LBPO as safeloop's `Algorithm`."""

    info = AlgorithmInfo(
        "lbpo",
        "Lyapunov Barrier Policy Optimization (Sikchi et al. 2021)",
        Settings,
        default_steps=100_000,
        presets={"default": {}, "paper": PAPER},
        epoch=lambda settings, spec: settings.episodes_per_epoch * spec.episode_steps,
    )

    def resolve(self, settings: Settings, spec: EnvSpec) -> Resolved:
        """Return the settings as they are. Raises `UsageError` in environments without a cost."""
        spec.need_cost(self.info.name)
        return Resolved(settings)

    def train(self, env: Any, run: Any) -> None:
        """Train for whole epochs until `run.settings.steps` simulator steps, from the run's checkpoint if there is one.

        Raises `UsageError` where the environment's actions are not bounded.
        """
        import gymnasium

        from safeloop_baselines.frozen_policy import FrozenPolicy
        from safeloop_baselines.lbpo_learner import Learner

        settings = build(Settings, run.settings.algo_settings, owner=self.info.name)
        space, budget = env.action_space, run.settings.budget
        assert budget is not None  # `resolve`
        if not isinstance(space, gymnasium.spaces.Box) or not space.is_bounded():
            raise UsageError(f"{env.safeloop_spec.id}: {self.info.name} needs bounded actions, not {space}")
        obs_dim = env.observation_space.shape[0]  # type: ignore[index]
        learner = Learner(space, obs_dim, settings, run.settings.seed, run.settings.device)
        if run.has_checkpoint:
            state = run.load_checkpoint()
            learner.load_state_dict(state["learner"])
            env.load_state_dict(state["recorder"])
        run.drop_rows_after(env.simulator_steps)
        while env.simulator_steps < run.settings.steps:
            before = env.simulator_steps
            learner.update([learner.drive(env) for _ in range(settings.episodes_per_epoch)], budget)
            evaluate_when_due(env, run, before, lambda: FrozenPolicy(learner.policy()))
            run.save_checkpoint(
                {"learner": learner.state_dict(), "policy": learner.policy(), "recorder": env.state_dict()}
            )

    def load(self, run: Run, seed: int) -> Policy:
        """Return the policy of the run's checkpoint, without exploration (so `seed` has no effect)."""
        from safeloop_baselines.frozen_policy import FrozenPolicy

        return FrozenPolicy(run.load_checkpoint()["policy"])


lbpo = LBPO()
