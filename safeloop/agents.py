"""Named compositions of an ensemble, a planner and, but for pets and safepets, SAC."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from safeloop.cmdp import Constraint, EnvSpec, Known, UsageError, zero_cost
from safeloop.dynamics import Dynamics, Heads
from safeloop.learners.behaviour import BehaviourValue
from safeloop.learners.sac import SAC, SACSettings
from safeloop.lookahead import WorldModel
from safeloop.networks import Streams, bf16_is_fast
from safeloop.planner import Plan, Planner, PlannerSettings
from safeloop.replay import Replay
from safeloop.runs import AGENT, EVALUATION, Recorder, Run, derived_seed
from safeloop.settings import check_range
from safeloop.training import train


@dataclass(frozen=True)
class Settings:
    """Every setting of a planning agent. `--set key=value` reaches each; the paper's are in `PAPER`."""

    # Models: what is learned, and what the environment is asked to tell (privileged)
    dynamics: Literal["auto", "factored", "full"] = "auto"
    """`auto`: factored where the environment names entities or lidars, full elsewhere."""
    reward: Literal["learned", "known"] = "learned"
    cost: Literal["auto", "learned", "known"] = "auto"
    """`auto`: known where the environment has it, learned elsewhere."""
    members: int = 5
    """K, models in the ensemble."""
    layers: int | None = None
    """Hidden layers of each network; None, here and below: `FullSettings` and those after it have it."""
    width: int | None = None
    """Units of each hidden layer."""
    entity_width: int = 32
    """Units of the hidden layer that each entity has (factored)."""
    model_learning_rate: float = 1e-3
    fit_every: int = 250
    """K_m: decisions between fits of the ensemble."""
    fit_steps: int = 200
    """Gradient steps of a fit, at most."""
    first_fit_steps: int = 2000
    """Gradient steps of the first fit, at most."""
    fit_patience: int = 0
    """A fit ends after so many checks (every 50 steps) without improvement on held-out data; 0: never early."""
    # Planner: see safeloop/planner.py
    horizon: int | None = None
    """H, decisions. Longer where the model can be trusted for longer."""
    population: int = 100
    actor_fraction: float = 0.05
    particles: int = 1
    iterations: int | None = None
    inverse_temperature: float = 50.0
    elites: int = 0
    momentum: float = 0.1
    initial_variance: float = 0.25
    noise_correlation: float | None = None
    """Of the noise of neighbouring decisions; 0: independent, as in the paper."""
    model_noise: bool | None = None
    """Whether imagined states are drawn with the models' noise, as in the paper, or are their means."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the matrix products in planning; `auto`: bfloat16 where the device has it in hardware."""
    # Constraint (CoRL 2021, Eq. 10)
    cost_over: Literal["worst", "mean"] = "worst"
    """A sequence costs what the worst of the models and particles says, or what they say on average."""
    cost_margin: float = 0.05
    """Widening of the forbidden region of a known cost, in its unit (metres)."""
    threshold: float | None = None
    """d0: allowed cost in the horizon; None: 0.02 (known: metres), 0.5 (learned: expected violations)."""
    min_feasible: int = 10
    """m of Algorithm 4."""
    penalty: float | None = None
    """Return that a unit of cost outweighs where fewer are feasible; None: cost alone counts there (Algorithm 4)."""
    # Learner and data
    value: Literal["auto", "behaviour", "actor", "none"] = "auto"
    """Whose value ends the lookahead: that of what was done (`behaviour`), or `Q(s, pi(s))` of SAC's actor, which
    knows no constraint; `none`: nothing does; `auto`: behaviour under a constraint, actor without."""
    value_sees: Literal["auto", "observation", "entities"] = "auto"
    """What the behaviour's value is a function of: the numbers as they come, or a set of entities; `auto`: entities
    where the environment names them."""
    discount: float = 0.95
    """A decision's, in planning and in the critic."""
    learning_rate: float = 3e-4
    polyak: float = 0.005
    hidden: int = 256
    """Units of each of the two hidden layers of SAC's networks."""
    behaviour_hidden: int = 128
    """The same, of the behaviour's value."""
    initial_temperature: float = 0.1
    batch_size: int = 256
    updates_per_decision: int = 1
    capacity: int = 1_000_000
    """Transitions kept."""
    warmup: int = 1000
    """Random decisions at the start."""
    warmup_hold: int = 10
    """Decisions that a random action is held for, on average."""

    def __post_init__(self) -> None:
        check_range(
            self, "members", "fit_every", "fit_steps", "first_fit_steps", "horizon", "population", "particles",
            "iterations", "batch_size", "capacity", "warmup", "warmup_hold", "hidden", "behaviour_hidden",
            "min_feasible", least=1,
        )  # fmt: skip
        check_range(
            self, "inverse_temperature", "initial_variance", "learning_rate", "model_learning_rate", more_than=0
        )
        check_range(self, "elites", "actor_fraction", "threshold", "penalty", least=0)
        check_range(self, "momentum", "discount", "polyak", "noise_correlation", least=0, most=1)


@dataclass(frozen=True)
class FullSettings(Settings):
    """What None means with one network over the observation: the paper's networks, horizon and noise (Table 3)."""

    layers: int = 4
    width: int = 200
    horizon: int = 8
    iterations: int = 5
    noise_correlation: float = 0.0
    model_noise: bool = True


@dataclass(frozen=True)
class FactoredSettings(FullSettings):
    """What None means with dynamics over entities, which can be trusted, and so looked ahead in, for longer."""

    layers: int = 2
    width: int = 128
    horizon: int = 16
    iterations: int = 3
    noise_correlation: float = 0.85


@dataclass(frozen=True)
class LidarSettings(FactoredSettings):
    """What None means with dynamics over lidars, which show less than positions do.

    The nearest thing is the largest of all bins: with noise on each, something is nearly always too close.
    """

    horizon: int = 8
    model_noise: bool = False


PLANNER = 2**31
"""Index of the evaluation planners' first random stream, beyond every episode's."""

PAPER = {
    "dynamics": "full", "particles": 4, "iterations": 8, "inverse_temperature": 1.0, "discount": 0.99,
    "cost_margin": 0.0, "threshold": 0.0, "warmup": 2000, "warmup_hold": 1,
    "fit_steps": 5000, "first_fit_steps": 5000, "fit_patience": 5, "value": "actor",
}  # fmt: skip
"""CoRL 2021, Tables 2 and 3, C.4: what differs from the defaults."""

RC_CAR = {
    "layers": 2, "width": 128, "penalty": 30.0, "fit_steps": 1000, "updates_per_decision": 4,
}  # fmt: skip
"""For a few thousand decisions on the RC car: models and values learn more from each (results/rc_car)."""

PETS = {"elites": 20, "actor_fraction": 0.0}
"""The cross-entropy method with no learner: no actor to propose, no value at the horizon (CoRL 2021, section 6.3)."""


def _factored(settings: Settings, spec: EnvSpec) -> bool:
    return settings.dynamics == "factored" or (settings.dynamics == "auto" and spec.parts is not None)


def _filled(settings: Settings, spec: EnvSpec) -> FullSettings:
    """The settings with numbers where None stands for one that depends on the dynamics."""
    given = {name: value for name, value in vars(settings).items() if value is not None}
    if not _factored(settings, spec):
        return FullSettings(**given)
    return (FactoredSettings if spec.entities is not None else LidarSettings)(**given)


def _value_kind(settings: Settings, constrained: bool) -> str:
    return settings.value if settings.value != "auto" else ("behaviour" if constrained else "actor")


def _value_sees_entities(settings: Settings, spec: EnvSpec) -> bool:
    return settings.value_sees == "entities" or (settings.value_sees == "auto" and spec.entities is not None)


def _known_cost(settings: Settings, spec: EnvSpec) -> bool:
    return settings.cost == "known" or (settings.cost == "auto" and spec.cost is not None)


class PlanningAgent:
    """An ensemble, an off-policy learner (or none) and a planner over both. The trainer owns the loop."""

    def __init__(
        self,
        spec: EnvSpec,
        obs_dim: int,
        act_dim: int,
        settings: Settings,
        constrained: bool,
        learns_value: bool,
        seed: int,
        device: str,
    ):
        self.spec, self.constrained, self.device = spec, constrained, device
        self.settings = _filled(settings, spec)
        self.act_dim = act_dim
        generators = [torch.Generator(device=device).manual_seed(derived_seed(seed, AGENT, i)) for i in range(5)]
        self.generator = generators[0]
        c, factored, known_reward = self.settings, _factored(settings, spec), settings.reward == "known"
        learned_cost = constrained and not _known_cost(settings, spec)
        heads = Heads(
            reward=not known_reward,
            event=spec.has_events and not (known_reward and spec.event is not None),
            terminated=spec.terminates and spec.terminated is None,
            violated=learned_cost,
        )
        self.dynamics = Dynamics(
            obs_dim, act_dim,
            members=c.members, sizes=[c.width] * c.layers,
            heads=heads, parts=spec.parts, factored=factored, entity_width=c.entity_width,
            learning_rate=c.model_learning_rate, generator=generators[1], device=device,
        )  # fmt: skip
        self.learner = None
        if learns_value:
            self.learner = SAC(
                obs_dim, act_dim,
                SACSettings(c.discount, c.learning_rate, c.polyak, c.hidden, c.initial_temperature),
                generators[2], device,
            )  # fmt: skip
        self.behaviour = None
        if learns_value and _value_kind(c, constrained) == "behaviour":
            self.behaviour = BehaviourValue(
                obs_dim, c.discount, c.learning_rate, c.polyak, c.behaviour_hidden, generators[4], device,
                spec.entities if _value_sees_entities(c, spec) else None, c.entity_width,
            )  # fmt: skip
        cost: Known | None = None
        if not constrained:
            cost = zero_cost
        elif spec.cost is not None and not learned_cost:
            cost = partial(spec.cost, margin=c.cost_margin)
        self.model = WorldModel(
            self.dynamics,
            reward=spec.reward if known_reward else None,
            cost=cost,
            terminated=spec.terminated if spec.terminates else None,
            event=spec.event if known_reward else None,
            event_bonus=spec.event_bonus,
            noise=c.model_noise,
        )
        threshold = c.threshold if c.threshold is not None else (0.5 if learned_cost else 0.02)
        self.constraint = Constraint(threshold, c.min_feasible, c.penalty) if constrained else None
        self.value_after_event = torch.zeros((), device=device)
        self.planner = self.new_planner([generators[3]])
        self.replay = Replay(c.capacity, obs_dim, act_dim, device)
        self.held_action = torch.zeros(act_dim, device=device)
        self.fitted = False

    @property
    def value(self) -> Callable[[Tensor], Tensor] | None:
        """The value at the horizon, `[..., S] -> [...]`; None without a learner or where none is asked for."""
        learner = self.behaviour or self.learner
        return learner.value if learner and self.settings.value != "none" else None

    def new_planner(self, streams: Streams) -> Planner:
        """A planner over this agent's models, of as many episodes as there are random streams."""
        c, learner = self.settings, self.learner
        settings = PlannerSettings(
            c.horizon, c.population, c.actor_fraction, c.particles, c.iterations,
            c.inverse_temperature, c.elites, c.momentum, c.initial_variance, c.noise_correlation, c.discount,
            worst_case=c.cost_over == "worst",
            bf16=c.precision == "bfloat16" or (c.precision == "auto" and bf16_is_fast(self.device)),
        )  # fmt: skip
        return Planner(
            settings, self.constraint, self.model, self.act_dim,
            actor=learner.act if learner else None, value=self.value, streams=streams,
        )  # fmt: skip

    def random_action(self) -> np.ndarray:
        """A uniform action `[A]`, held for `warmup_hold` decisions on average."""
        fresh = torch.rand(self.act_dim + 1, generator=self.generator, device=self.device)
        if len(self.replay) == 0 or fresh[0] < 1 / self.settings.warmup_hold:
            self.held_action = 2 * fresh[1:] - 1
        return self.held_action.cpu().numpy()

    def plan(self, obs: np.ndarray, t0: bool, planner: Planner | None = None) -> Plan:
        """The planner's decisions for `obs [B, S]`."""
        state = torch.as_tensor(obs, dtype=torch.float32, device=self.device)
        return (planner or self.planner).plan(state, t0, self.value_after_event)

    def fit(self) -> tuple[int, float, float]:
        """Fit the ensemble on the replay buffer; returns steps taken and held-out error before and after."""
        c = self.settings
        steps = c.fit_steps if self.fitted else c.first_fit_steps
        self.fitted = True
        return self.dynamics.fit(self.replay, steps, c.batch_size, c.fit_patience)

    def update(self) -> None:
        """The learner's gradient steps of one decision."""
        if self.learner is None:
            return
        for _ in range(self.settings.updates_per_decision):
            batch = self.replay.sample(self.settings.batch_size, self.generator)
            self.learner.update(batch)
            if self.behaviour is not None:
                self.behaviour.update(batch)

    def refresh_value_after_event(self) -> None:
        """The mean value of the states that followed the latest events, for imagined rollouts to go on with."""
        if self.spec.has_events and self.value is not None:
            rows = self.replay.data.event[: len(self.replay)].nonzero()[-256:, 0]
            if len(rows):
                self.value_after_event = self.value(self.replay.rows(rows).next_obs).mean()

    def policy(self, seed: int) -> PlannerPolicy:
        """The agent as it acts in evaluation, with planners and random streams of its own.

        The same `seed` gives the same actions, so `safeloop eval` repeats the evaluation that a run recorded.
        """
        return PlannerPolicy(self, seed)

    def checkpoint(self) -> dict[str, Any]:
        """Everything that training has changed."""
        return {
            "dynamics": self.dynamics.checkpoint(),
            "learner": self.learner.checkpoint() if self.learner else {},
            "behaviour": self.behaviour.checkpoint() if self.behaviour else {},
            "planner": self.planner.state_dict(),
            "replay": self.replay.state_dict(),
            "generator": self.generator.get_state(),
            "held_action": self.held_action,
            "value_after_event": self.value_after_event,
            "fitted": self.fitted,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Restore `checkpoint`."""
        self.dynamics.restore(state["dynamics"])
        if self.learner is not None:
            self.learner.restore(state["learner"])
        if self.behaviour is not None:
            self.behaviour.restore(state["behaviour"])
        self.planner.load_state_dict(state["planner"])
        self.replay.load_state_dict(state["replay"])
        self.generator.set_state(state["generator"])
        self.held_action = state["held_action"].to(self.device)
        self.value_after_event = state["value_after_event"].to(self.device)
        self.fitted = state["fitted"]


class PlannerPolicy:
    """An agent's planner as a `Policy`: executes the planned mean, deterministic given its seed.

    Every episode has a random stream of its own, so what is done in it does not depend on how many are planned
    together, but for rounding.
    """

    def __init__(self, agent: PlanningAgent, seed: int):
        self.agent, self.seed, self.begun, self.t0 = agent, seed, 0, True
        self.planner: Planner | None = None

    def reset(self, episodes: int = 1) -> None:
        """Begin so many episodes."""
        streams = [derived_seed(self.seed, EVALUATION, PLANNER + self.begun + i) for i in range(episodes)]
        device = self.agent.device
        self.planner = self.agent.new_planner([torch.Generator(device=device).manual_seed(s) for s in streams])
        self.begun, self.t0 = self.begun + episodes, True

    def act(self, obs: np.ndarray) -> np.ndarray:
        """Observations `[B, S]`, one of each episode begun, to actions `[B, A]`; `[S]` to `[A]`."""
        if self.planner is None:
            raise RuntimeError("no episode is under way: call reset() before act()")
        action = self.agent.plan(np.atleast_2d(obs), self.t0, self.planner).action
        self.t0 = False
        return action.cpu().numpy().reshape(*np.shape(obs)[:-1], -1)


@dataclass(frozen=True)
class PlanningAlgorithm:
    """A planning agent under a name (`registry.Algorithm`)."""

    name: str
    summary: str
    constrained: bool
    learns_value: bool = True
    """Whether SAC proposes actions and values the states at the horizon."""
    default_steps: int = 20_000
    resumable: bool = True
    settings: type = Settings

    @property
    def presets(self) -> Mapping[str, Mapping[str, Any]]:
        """`default`, `paper` and `rc-car`."""
        own = {} if self.learns_value else PETS
        return {"default": own, "paper": PAPER | own, "rc-car": RC_CAR | own}

    def told(self, settings: Settings, spec: EnvSpec) -> str:
        """Known models in use, and the kind of dynamics where the entities are named."""
        if self.constrained:
            spec.need_cost(self.name)
        if settings.dynamics == "factored" and spec.parts is None:
            raise UsageError(
                f"dynamics=factored: {spec.id} names no entities or lidars in its observation; use dynamics=full"
            )
        if settings.value_sees == "entities" and spec.entities is None:
            raise UsageError(f"value_sees=entities: {spec.id} names no entities in its observation; use observation")
        if settings.reward == "known" and spec.reward is None:
            raise UsageError(f"reward=known: {spec.id} has no known reward; use reward=learned")
        if settings.cost == "known" and spec.cost is None:
            raise UsageError(f"cost=known: {spec.id} has no known cost; use cost=learned")
        if settings.actor_fraction and not self.learns_value:
            raise UsageError(f"actor_fraction={settings.actor_fraction}: {self.name} has no actor; leave it at 0")
        told = ["known reward"] if settings.reward == "known" else []
        if self.constrained and _known_cost(settings, spec):
            told.append("known cost")
        if spec.terminates and spec.terminated is not None:
            told.append("known termination")
        sees_them = self.learns_value and _value_kind(settings, self.constrained) == "behaviour"
        if _factored(settings, spec) or (sees_them and _value_sees_entities(settings, spec)):
            told.append("entities" if spec.entities is not None else "lidars")
        return ", ".join(told)

    def _agent(self, env: Any, spec: EnvSpec, run: Run) -> PlanningAgent:
        settings = Settings(**run.settings.algo_settings)
        sizes = (env.observation_space.shape[0], env.action_space.shape[0])
        kind = (self.constrained, self.learns_value)
        return PlanningAgent(spec, *sizes, settings, *kind, run.settings.seed, run.settings.device)

    def learn(self, env: Recorder, budget: float | None, run: Run) -> None:
        """Train, or go on from the run's checkpoint. `budget` is for the report: d0 is the constraint here."""
        train(self._agent(env, env.safeloop_spec, run), env, run)

    def load(self, run: Run, seed: int) -> PlannerPolicy:
        """The policy of the run's checkpoint."""
        from safeloop.registry import find_env

        spec = find_env(run.settings.env, run.settings.env_options)
        env = spec.make()
        agent = self._agent(env, spec, run)
        env.close()
        agent.restore(run.load_checkpoint()["agent"])
        return agent.policy(seed)


safeloop = PlanningAlgorithm("safeloop", "SAC + ensemble + safeARC (CoRL 2021, Algorithm 4)", True)
loop = PlanningAlgorithm("loop", "SAC + ensemble + ARC, no constraint (CoRL 2021, Algorithm 3)", False)
safepets = PlanningAlgorithm("safepets", "ensemble + CEM under the constraint, no value (CoRL 2021, 6.3)", True, False)
pets = PlanningAlgorithm("pets", "ensemble + CEM, no constraint, no value (Chua et al. 2018)", False, False)
