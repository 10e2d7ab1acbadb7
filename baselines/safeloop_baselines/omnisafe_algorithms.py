"""OmniSafe's algorithms, its own classes and training loops, on safeloop's environments.

Sources: CPO, Achiam et al., "Constrained Policy Optimization", 2017; PPO-Lagrangian, Ray et al.,
"Benchmarking Safe Exploration in Deep Reinforcement Learning", 2019; these and the others (`omnisafe_names`) as
in OmniSafe 0.5.0 (Ji et al., "OmniSafe: An Infrastructure for Accelerating Safe Reinforcement Learning
Research", 2023).

Departures from OmniSafe's defaults:

- The environment is safeloop's: its observation, action repeat and recorder, and its budget as cost limit.
  A cost is summed over the action repeat, so OmniSafe's episode cost is the cost return.
- An epoch is 10 full-length episodes, in place of 20,000 decisions, which with an action repeat of 5 would be
  one update in 100,000 simulator steps. It holds whole episodes, so no full-length episode is cut; an episode
  in progress at an epoch's end (only where episodes terminate) is abandoned, and its steps count. Off-policy,
  an epoch is 2 full-length episodes, as are OmniSafe's 2,000 steps of its own tasks, and cuts no episode.
- The random steps at the start of off-policy algorithms are counted in simulator steps.
- The run ends with the epoch that reaches the requested steps (OmniSafe rounds down). Where episodes
  terminate in the middle of an action repeat, it can end a few simulator steps early.
- Actions are clipped to the action space before the environment sees them.
- TensorBoard, Weights & Biases, progress bars and console tables are off; threads, device and seed are the
  run's. OmniSafe's `progress.csv` stays, in the run's folder; no result is read from it.
- Evaluation is safeloop's, of the mean action with frozen normaliser statistics. OmniSafe's own evaluation, which
  its off-policy algorithms make after each epoch, is off.

Not changed, but important: the cost that updates the multiplier (PPO-Lagrangian) or enters the trust region
(CPO) is OmniSafe's mean over its last 50 training episodes, so five of these epochs; one discount serves
rewards and costs; PPO-Lagrangian's actor learning rate decays to 0 over the run.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from safeloop.cmdp import EnvSpec
from safeloop.errors import UsageError
from safeloop.protocols import AlgorithmInfo, Policy, Resolved
from safeloop.recording.run import Run
from safeloop.rng import AGENT, derived_seed
from safeloop.settings import build
from safeloop_baselines.omnisafe_settings import CPOSettings, PPOLagSettings


def epoch_steps(settings: Any, spec: EnvSpec) -> int:
    """Return the simulator steps of an epoch."""
    return settings.episodes_per_epoch * spec.episode_steps


@dataclass(frozen=True)
class OmniSafeAlgorithm:
    """An algorithm of OmniSafe, as safeloop's `Algorithm`."""

    info: AlgorithmInfo
    """Its settings have `episodes_per_epoch` and `omnisafe(budget)`, the settings as OmniSafe nests them."""
    omnisafe_name: str
    """The class in OmniSafe."""

    @classmethod
    def named(
        cls, name: str, omnisafe_name: str, summary: str, settings: type[Any], default_steps: int = 100_000
    ) -> OmniSafeAlgorithm:
        """Return the algorithm of OmniSafe's class `omnisafe_name` under a name."""
        presets: dict[str, dict[str, Any]] = {"default": {}, "paper": {}}
        info = AlgorithmInfo(name, summary, settings, default_steps, presets, epoch=epoch_steps)
        return cls(info, omnisafe_name)

    def resolve(self, settings: Any, spec: EnvSpec) -> Resolved:
        """Return the settings as they are.

        Raises `UsageError` in environments without a cost, where the algorithm has a cost limit.
        """
        parts = settings.omnisafe(0.0).values()
        if any("cost_limit" in part for part in parts):
            spec.need_cost(self.info.name)
        return Resolved(settings)

    def train(self, env: Any, run: Any) -> None:
        """Train on `env` for whole epochs that reach `run.settings.steps` simulator steps, or go on from a checkpoint.

        Evaluates when due, always with the updates made so far, and at the end. Raises `UsageError` where OmniSafe is
        missing or cannot act in `env`, and `RuntimeError` with the reason where OmniSafe fails.
        """
        with env.clock_stopped():
            bridge = self._bridge()
            from safeloop_baselines.omnisafe_session import Session

            session = Session(self.info.name, env, run)
        try:
            configuration = self._configuration(run, env.safeloop_spec)
            with bridge.learner(self.omnisafe_name, env, configuration, session.between_episodes) as agent:
                session.learn(agent)
        except UsageError:
            raise
        except Exception as error:
            raise RuntimeError(
                f"OmniSafe's {self.omnisafe_name} failed after {env.simulator_steps:,} simulator steps: "
                f"{type(error).__name__}: {error}"
            ) from error
        session.end()

    def _configuration(self, run: Run, spec: EnvSpec) -> dict[str, Any]:
        """Return the settings as OmniSafe nests them. Raises `UsageError` where no step is left for learning."""
        settings: Any = build(self.info.settings, run.settings.algo_settings, owner=self.info.name)
        epoch = settings.episodes_per_epoch * math.ceil(spec.episode_steps / spec.action_repeat)  # decisions
        epochs = math.ceil(run.settings.steps / epoch_steps(settings, spec))
        budget = run.settings.budget
        found: dict[str, Any] = settings.omnisafe(0.0 if budget is None else float(budget))
        found["seed"] = derived_seed(run.settings.seed, AGENT)
        algo = found["algo_cfgs"]
        algo["steps_per_epoch"] = epoch
        if "start_learning_steps" in algo:  # in simulator steps; OmniSafe counts decisions
            algo["start_learning_steps"] = math.ceil(algo["start_learning_steps"] / spec.action_repeat)
            if algo["start_learning_steps"] + 1 >= epochs * epoch:
                raise UsageError(
                    f"{self.info.name}: start_learning_steps={settings.start_learning_steps} random steps leave "
                    f"none of {run.settings.steps} for learning: give more --steps, or --set start_learning_steps=N"
                )
        found["logger_cfgs"] = {
            "log_dir": str(run.path / "omnisafe"),
            "use_wandb": False,
            "use_tensorboard": False,
        }
        found["train_cfgs"] = {
            "device": run.settings.device,
            "torch_threads": run.settings.threads,
            "vector_env_nums": 1,
            "parallel": 1,
            "total_steps": epochs * epoch,
            **found.get("train_cfgs", {}),
        }
        return found

    def load(self, run: Run, seed: int) -> Policy:
        """Return the policy of the run's checkpoint, with its mean action (so `seed` has no effect), without OmniSafe.

        Raises `UsageError` where there is no checkpoint of this algorithm.
        """
        from safeloop_baselines.frozen_policy import trained

        return trained(run, self.info.name)

    def _bridge(self) -> Any:
        from gymnasium.error import DependencyNotInstalled

        try:
            from safeloop_baselines import omnisafe_bridge
        except (ImportError, DependencyNotInstalled) as error:
            raise UsageError(
                f"{self.info.name} needs OmniSafe 0.5.0, which can't be imported ({error}): "
                "`safeloop doctor` shows how to install it"
            ) from None
        return omnisafe_bridge


cpo = OmniSafeAlgorithm.named(
    "cpo",
    "CPO",
    "Constrained Policy Optimization (Achiam et al. 2017), OmniSafe's",
    CPOSettings,
)
ppo_lag = OmniSafeAlgorithm.named(
    "ppo-lag",
    "PPOLag",
    "PPO with a Lagrange multiplier (Ray et al. 2019), OmniSafe's",
    PPOLagSettings,
)
