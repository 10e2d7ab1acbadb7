"""Protocols that environments, policies, agents and algorithms keep. Third parties implement these.

What a run offers to an algorithm (`Run`) and the recorder around its environment (`Recorder`) are protocols too: this
ground imports nothing that implements them, neither torch nor gymnasium.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

from safeloop.cmdp import EnvSpec

if TYPE_CHECKING:
    import numpy as np


class EnvFamily(Protocol):
    """The object that an entry point in `safeloop.envs` loads to."""

    def names(self) -> list[str]:
        """Return short names, as on the command line."""
        ...

    def canonical(self, name: str) -> str | None:
        """Return the short name that `name` stands for, or None where it is not one of these environments."""
        ...

    def spec(self, name: str, **options: Any) -> EnvSpec:
        """Return the environment's spec. Raises `UsageError` for an unknown name or option."""
        ...


class Policy(Protocol):
    """A trained policy, acting deterministically."""

    def reset(self, episodes: int = 1) -> None:
        """Begin episodes, so many at once (clears a planner's warm start)."""
        ...

    def act(self, obs: np.ndarray) -> np.ndarray:
        """Return actions `[B, A]` for observations `[B, S]`, one of each episode under way; for one, `[S]`, `[A]`.

        A policy that remembers something of each episode also has `keep(rows)`, which goes on with those of the
        episodes that are at the places `rows`; the others have ended. One that plans with a simulator has
        `needs_states`, True, and `see(states)`, called before `act` with the full states `[B, F]` of these episodes.
        """
        ...


def needs_states(acting: Any) -> bool:
    """Return whether a policy or an agent plans with a simulator, so that it must `see` full states before it acts."""
    return bool(getattr(acting, "needs_states", False))


class Transition(NamedTuple):
    """One decision in an environment."""

    obs: np.ndarray  # [S], before it
    act: np.ndarray  # [A]
    reward: float
    terminated: bool
    truncated: bool
    info: Mapping[str, Any]  # as `cmdp` asks for, complete
    next_obs: np.ndarray  # [S]


class Simulated(NamedTuple):
    """Rollouts of a simulator from M full states, of H decisions each. The first state is the one before any."""

    state: np.ndarray  # [M, H+1, F], float64
    reward: np.ndarray  # [M, H], including the bonus of an event
    cost: np.ndarray  # [M, H]
    terminated: np.ndarray | None  # bool [M, H]; None where episodes can't terminate
    event: np.ndarray | None  # bool [M, H]; None where there are no events
    valid: np.ndarray  # bool [M], False where the physics diverged: nothing in the row can be trusted


class Simulator(Protocol):
    """The physics of a task, rolled out from any of its full states.

    The task's environment has `get_state()`, which returns its full state `[F]`, float64, and `set_state(state)`.
    """

    def rollout(self, state: np.ndarray, act: np.ndarray) -> Simulated:
        """Return the rollouts of actions `[M, H, A]` from full states `[M, F]`; actions beyond [-1, 1] are clipped."""
        ...

    def observe(self, state: np.ndarray) -> np.ndarray:
        """Return the observations `[M, S]`, float32, of full states `[M, F]`."""
        ...


class Agent(Protocol):
    """An agent that learns while it acts. It never steps an environment: the trainer owns the loop."""

    def act(self, obs: np.ndarray, t0: bool) -> np.ndarray:
        """Return the action `[A]` for `obs [S]` in training; `t0` marks an episode's first decision.

        An agent that plans with a simulator has `needs_states`, True, and `see(states)`, called before `act` with the
        full state `[1, F]`.
        """
        ...

    def observe(self, transition: Transition) -> None:
        """Store a transition. Raises `ValueError` where a number is not finite."""
        ...

    def update(self) -> tuple[int, float, float] | None:
        """Take the gradient steps of one decision.

        Returns the gradient steps of a fit of models, and their held-out error before and after, where one was due.
        """
        ...

    def diagnostics(self) -> dict[str, float] | None:
        """Return numbers about the plans of the episode that has ended (`rows.PlanSummary`); None without plans.

        An agent that measures its learning also has `measured()`, which returns means over that episode by name.
        """
        ...

    def policy(self, seed: int) -> Policy:
        """Return the agent as it acts in evaluation; `seed` seeds its draws.

        An agent that makes a policy besides its planner also has `alone()`, which returns that; each evaluation
        has episodes of both.
        """
        ...

    def checkpoint(self) -> dict[str, Any]:
        """Return everything that training has changed: tensors, numbers, texts, and lists and dicts of them."""
        ...

    def restore(self, state: dict[str, Any]) -> None:
        """Restore `checkpoint`."""
        ...


class OfflineAgent(Protocol):
    """An agent that learns from a dataset."""

    def fit(self) -> tuple[int, float, float] | None:
        """Fit the models, once, before the first `update`. Returns as `Agent.update` does; None without models."""
        ...

    def update(self) -> None:
        """Take one gradient step."""
        ...

    def value(self) -> float:
        """Return the mean value of some of the dataset's observations, the same ones throughout a run; NaN without one.

        An agent that measures its learning also has `measured()`, which returns further columns of `rows.Update`.
        """
        ...

    def policy(self, seed: int) -> Policy:
        """Return the agent as it acts in evaluation; `seed` seeds its draws."""
        ...

    def checkpoint(self) -> dict[str, Any]:
        """Return everything that training has changed."""
        ...

    def restore(self, state: dict[str, Any]) -> None:
        """Restore `checkpoint`."""
        ...


class Run(Protocol):
    """The part of a run's folder (`recording.run.Run`) that algorithms use."""

    path: Path
    settings: Any
    """A `recording.run.RunSettings`: seed, steps, device, budget, and `algo_settings` by flat names."""
    report: Callable[[dict[str, Any]], None]
    notify: Callable[[str], None]
    """Shows the user one line."""

    @property
    def has_checkpoint(self) -> bool:
        """Whether a checkpoint was written."""
        ...

    def load_checkpoint(self) -> dict[str, Any]:
        """Read the checkpoint, without executing anything in it."""
        ...

    def save_checkpoint(self, state: dict[str, Any]) -> None:
        """Replace the checkpoint, atomically."""
        ...

    def drop_rows_after(self, simulator_steps: int) -> None:
        """Forget rows that a checkpoint at so many steps has not seen."""
        ...


class Recorder(Protocol):
    """The recorder around an environment (`recording.recorder.Recorder`), itself a `gymnasium.Env`."""

    safeloop_spec: EnvSpec
    observation_space: Any
    action_space: Any
    episode: int
    simulator_steps: int
    decisions: int
    after_episode: Callable[[Any], None]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Start the next episode; its seed is the run's, whatever is given."""
        ...

    def step(self, action: Any) -> Any:
        """Step the environment and record."""
        ...

    def clock_stopped(self) -> AbstractContextManager[None]:
        """Return a context whose time does not count as training."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return counters, to be restored between episodes."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore `state_dict`."""
        ...


class Resolved(NamedTuple):
    """Settings for one environment."""

    settings: Any
    """With a number in place of every default that depends on the environment."""
    privileged: str = ""
    """The privileged information in use, for example "known cost"; "" for none."""


@dataclass(frozen=True)
class AlgorithmInfo:
    """The record of an algorithm: everything that is known of it before it runs."""

    name: str
    summary: str
    """One line for `safeloop list algos`."""
    settings: type
    """A frozen dataclass with every setting and its default, or one of such parts (`safeloop.settings`)."""
    default_steps: int
    """Simulator steps of a run where the user gives none; offline gradient steps."""
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: {"default": {}})
    """Named groups of settings; `default` is always there."""
    resumable: bool = True
    """Whether a killed run continues to the same result; otherwise it starts anew."""
    constrained: bool = False
    """Whether a planner keeps the cost within its horizon under a threshold, rather than training for the budget."""
    offline: bool = False
    """Whether it learns from a dataset (`OfflineAlgorithm`)."""
    keeps_checkpoints: bool = False
    """Whether a run can keep earlier checkpoints (`--keep-every`)."""
    explores: bool = False
    """Whether there is a method `explorer(run, seed)`, which gives the policy as it explores in training."""
    base: str = ""
    """The algorithm that it plans on top of: the two are compared."""
    tunable: bool = False
    """Whether `safeloop offline --sweep` can choose its planner's settings (`load_with`)."""
    epoch: Callable[[Any, EnvSpec], int] | None = None
    """The simulator steps of an epoch, for one that trains in epochs of several episodes."""


@runtime_checkable
class Algorithm(Protocol):
    """The object that an entry point in `safeloop.algorithms` loads to. See docs/adding-an-algorithm.md."""

    info: AlgorithmInfo

    def resolve(self, settings: Any, spec: EnvSpec) -> Resolved:
        """Return the settings for an environment, with the privileged information that they use.

        Raises `UsageError` where the environment can't give what the settings ask for.
        """
        ...

    def load(self, run: Run, seed: int) -> Policy:
        """Return the policy of the run's checkpoint; `seed` seeds whatever it draws when it acts."""
        ...


@runtime_checkable
class OnlineAlgorithm(Algorithm, Protocol):
    """An algorithm that learns while acting."""

    def train(self, env: Recorder, run: Run) -> None:
        """Train on `env` until `run.settings.steps` simulator steps, for a cost return of `run.settings.budget`.

        That is None in environments without a cost; an algorithm that needs a budget says so in `resolve`
        (`EnvSpec.need_cost`).
        """
        ...


@runtime_checkable
class OfflineAlgorithm(Algorithm, Protocol):
    """An algorithm that learns from a dataset."""

    def check(self, dataset: Any, settings: Any, spec: EnvSpec) -> None:
        """Raise `UsageError` where the dataset lacks something that would be learned of it.

        `spec.budget` is the run's.
        """
        ...

    def train_on(self, dataset: Any, run: Run) -> None:
        """Take `run.settings.steps` gradient steps on the dataset (`data.datasets.Dataset`)."""
        ...


class AlgorithmFamily(Protocol):
    """The object that an entry point in `safeloop.algorithm_families` loads to: algorithms `<entry point>:NAME`.

    A family whose algorithms need a package that may be missing also has `lacks()`, which returns what is missing and
    the command that installs it, or "": `safeloop doctor` shows it.
    """

    def names(self) -> list[str]:
        """Return the names that may stand for NAME."""
        ...

    def algorithm(self, name: str) -> Algorithm:
        """Return the algorithm `<entry point>:NAME`. Raises `UsageError` for an unknown name."""
        ...
