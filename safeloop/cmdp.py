"""The constrained MDP: the required outputs of an environment, its known models, and the constraint.

An environment is a `gymnasium.Env` with the standard 5-tuple. Its `info` carries, for each decision:

- `cost`: the simulator's cost, summed over the action repeat (it may be left out in environments without a cost);
- `violations`: the number of simulator steps of this decision whose cost was positive;
- `simulator_steps`: the number of simulator steps of this decision (fewer than the action repeat at an
  episode's end); without an action repeat this and `violations` follow from `cost` and may be left out;
- `costs` (optional): the cost of each simulator step of this decision, in order. `cost`, `violations` and
  `simulator_steps` follow from it and may be left out; without it, longest runs of costly steps are known only where
  all steps of a decision have a cost or none has. Where the spec names several costs (`EnvSpec.cost_names`) it has
  them by name, `{"hazards": 3.0, "vases": 0.0}`, each a sum over the decision, or a list like that of the one cost;
  `cost` is then their sum where it is not given;
- `event` (optional): True when the task relocated something in the observation during this decision (a
  goal that jumps when it is met), so that this change of the observation does not follow the dynamics;
- `diagnostics` (optional): further numbers by name (such as a car's drifting); a run records their mean
  over each training episode.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from safeloop.errors import UsageError

if TYPE_CHECKING:
    import gymnasium
    from torch import Tensor

NAME = "[a-z][a-z0-9_]*"
"""Names of costs."""
Known = Callable[..., "Tensor"]
"""`f(obs [..., S], act [..., A], next_obs [..., S]) -> [...]`, batched over any leading dimensions."""


@dataclass(frozen=True)
class Entities:
    """The parts of an observation, for `factored` dynamics and for points: the robot's own numbers and named entities.

    Each entity is a position in the robot's frame. Entities of one `kind` are exchangeable.
    """

    robot: tuple[int, ...]
    """Observation indices of the robot's own state."""
    positions: tuple[tuple[int, ...], ...]
    """For each entity, the observation indices of its position (the same number for all, metres)."""
    kinds: tuple[str, ...]
    """For each entity, its kind, for example "goal" or "hazard"."""
    goal: int | None = None
    """The entity that the reward is about (an index into `positions`), where there is one. This is the
    entity that jumps when `info["event"]` is True."""

    def __post_init__(self) -> None:
        if len(self.positions) != len(self.kinds):
            raise ValueError(f"{len(self.positions)} positions but {len(self.kinds)} kinds: give one kind each")
        if len({len(p) for p in self.positions}) > 1:
            raise ValueError(f"positions {self.positions} differ in dimension: give each the same number")


@dataclass(frozen=True)
class LidarModel:
    """The way that lidars show objects, so that their bins can be decoded into points (`models/decoding.py`)."""

    reach: float
    """Distance of an object whose closeness is 0, metres; the closeness of a nearer one is `1 - distance / reach`."""
    aliased: bool = True
    """True where an object also raises the two bins beside its own, by its place within the bin."""
    single: tuple[int, ...] = ()
    """The lidars that show one object each (indices into `Lidars.rings`)."""
    compass: tuple[int, int] | None = None
    """Observation indices of a fixed horizontal direction's parts along the robot's axes x and y, such as a
    magnetometer's, where there is one."""


@dataclass(frozen=True)
class Lidars:
    """The parts of an observation, for `factored` dynamics: the robot's own numbers and lidars.

    A lidar is a ring of bins around the robot, each with the closeness, 0 (nothing in reach) to 1, of the nearest
    object of its kind in that direction.
    """

    robot: tuple[int, ...]
    """Observation indices of the robot's own state."""
    rings: tuple[tuple[int, ...], ...]
    """For each lidar, the observation indices of its bins in their order around the robot. All have the same number
    of bins and begin in the same direction."""
    goal: int | None = None
    """The lidar that shows the one object that the reward is about (an index into `rings`), where there is one. Its
    bins jump when `info["event"]` is True."""
    sensor: LidarModel | None = None
    """The way that they show objects, where it is known; dynamics over points need it."""

    def __post_init__(self) -> None:
        if len({len(ring) for ring in self.rings}) != 1:
            sizes = [len(ring) for ring in self.rings]
            raise ValueError(f"lidars of {sizes} bins: give at least one, and each the same number")


@dataclass(frozen=True)
class Delay:
    """Delays between an agent and its environment."""

    action: int = 0
    """Decisions until an action takes effect."""
    observation: int = 0
    """Decisions until an observation arrives."""

    @property
    def decisions(self) -> int:
        """Decisions between an observation and the effect of the action that it leads to."""
        return self.action + self.observation


@dataclass(frozen=True)
class EnvSpec:
    """The suite's description of an environment. See docs/adding-an-environment.md."""

    id: str
    """Short name, as on the command line: `PointGoal1`."""
    suite: str
    """Origin of the environment: `Safety-Gymnasium 1.0.0`."""
    make: Callable[..., gymnasium.Env]
    """`make(render_mode=None) -> Env`."""
    action_repeat: int
    """Simulator steps per decision."""
    episode_steps: int
    """Largest number of simulator steps per episode."""
    cost_meaning: str
    """The meaning of a cost of 1, in one line."""
    budget: float | None = 25.0
    """Default cost limit per episode (a cost return); None in environments without a cost, whose reports show none."""
    cost: Known | None = None
    """Known planning cost `cost(obs, act, next_obs, margin=0.0)`: 0 where safe, otherwise the depth (in the
    environment's own unit, `cost_unit`) in the forbidden region widened by `margin`. Where several costs are named it
    gives all of them, `[..., C]`."""
    cost_names: tuple[str, ...] = ()
    """The names of the costs in `info["costs"]`, where the environment tells several apart."""
    cost_unit: str = "m"
    """Unit of `cost` and of its margin."""
    reward: Known | None = None
    """Known reward of a decision, without the bonus of an event, which is `event_bonus`."""
    terminated: Known | None = None
    """Known termination (a bool tensor). Leave None where episodes only end by truncation."""
    terminates: bool = False
    """Whether episodes can end by termination; without a known termination it is learned."""
    event: Known | None = None
    """Known event (a bool tensor), needed with `reward` where the environment reports events."""
    event_bonus: float = 0.0
    """Reward of an event in addition to `reward`."""
    has_events: bool = False
    """Whether `info["event"]` is reported."""
    entities: Entities | None = None
    """The entities in the observation, where it has them."""
    lidars: Lidars | None = None
    """The lidars in the observation, where it has these and no entities."""
    simulator: Callable[[int], Any] | None = None
    """The task's own physics as a model (`protocols.Simulator`), of so many threads, where it can be rolled out from
    any full state."""
    clipped: Mapping[int, float] = field(default_factory=dict)
    """The numbers of an observation that the environment clips: index and limit, to -limit and limit."""
    delay: Delay | None = None
    """The delay under which the environment is, where there is one (`delay.py`)."""
    reference_returns: tuple[float, float] | None = None
    """Returns that a normalised score of 0 and of 100 stand for."""
    references: str = ""
    """The source and version of the reference returns, for example "D4RL (arXiv 2004.07219): random policy, expert"."""
    options: dict[str, Any] = field(default_factory=dict)
    """The options that this spec was made with (recorded with each run)."""

    def __post_init__(self) -> None:
        """Raise `ValueError` for costs whose names could not be told apart in a table or on the command line."""
        wrong = [name for name in self.cost_names if not re.fullmatch(NAME, name)]
        if wrong or len(set(self.cost_names)) < len(self.cost_names):
            raise ValueError(f"{self.id}: cost_names={self.cost_names}: expected different names like out_of_boundary")

    @property
    def costs(self) -> int:
        """C, the number of costs that are told apart; 1 where none is named."""
        return max(1, len(self.cost_names))

    def with_one_cost(self) -> EnvSpec:
        """Return the spec for an algorithm that knows one cost: that of `info["cost"]`."""
        if not self.cost_names:
            return self
        return replace(self, cost_names=(), cost=self.cost and partial(_summed, self.cost))

    @property
    def parts(self) -> Entities | Lidars | None:
        """The observation's layout for `factored` dynamics; None where there is none and dynamics are `full`."""
        return self.entities or self.lidars

    def need_cost(self, algorithm: str) -> None:
        """Raise `UsageError` in an environment without a cost, for an `algorithm` that keeps a cost within a limit."""
        if self.budget is None:
            raise UsageError(
                f"{self.id} has no cost, and {algorithm} keeps a cost within a limit: use an algorithm without a limit"
            )

    def known(self) -> dict[str, bool]:
        """Return by name whether this environment can give a model as privileged information."""
        return {"cost": self.cost is not None, "reward": self.reward is not None}


def _summed(each: Known, obs: Tensor, act: Tensor, next_obs: Tensor, margin: float = 0.0) -> Tensor:
    """Return the sum of several known costs, `[..., S] -> [...]`."""
    return each(obs, act, next_obs, margin=margin).sum(-1)


def complete(info: dict[str, Any], spec: EnvSpec) -> dict[str, Any]:
    """Return a decision's `info` with the keys that follow from the others.

    Raises `ValueError` where one is missing that does not follow.
    """
    found = dict(info)
    if spec.cost_names:
        _tell_apart(found, spec)
    if "costs" in found:
        found.setdefault("cost", float(sum(found["costs"])))
        found.setdefault("violations", sum(cost > 0 for cost in found["costs"]))
        found.setdefault("simulator_steps", len(found["costs"]))
    if spec.budget is None:
        found.setdefault("cost", 0.0)
    if spec.action_repeat == 1 and "cost" in found:
        found.setdefault("violations", int(found["cost"] > 0))
        found.setdefault("simulator_steps", 1)
    missing = {"cost", "violations", "simulator_steps"} - found.keys()
    if missing:
        raise ValueError(f"{spec.id}: info lacks {sorted(missing)}; see docs/adding-an-environment.md")
    return found


def _tell_apart(info: dict[str, Any], spec: EnvSpec) -> None:
    """Put costs by name in the spec's order into `named_costs`, and into `costs` the sum of each simulator step."""
    given = info.pop("costs", None)
    if not isinstance(given, Mapping) or set(given) != set(spec.cost_names):
        raise ValueError(f"{spec.id}: info['costs'] is {given!r}, expected the costs of {', '.join(spec.cost_names)}")
    each = [given[name] for name in spec.cost_names]
    steps = [hasattr(cost, "__len__") for cost in each]
    sums = [float(sum(cost) if listed else cost) for cost, listed in zip(each, steps, strict=True)]
    info["named_costs"] = dict(zip(spec.cost_names, sums, strict=True))
    if all(steps):
        info["costs"] = [sum(costs) for costs in zip(*each, strict=True)]
    info.setdefault("cost", sum(sums))


def sizes(env: gymnasium.Env, spec: EnvSpec) -> tuple[int, int]:
    """Return the sizes of observations and actions.

    Raises `UsageError` where they are not vectors, or where actions do not have the range [-1, 1] of our agents.
    """
    from gymnasium.spaces import Box

    for name, space in (("observations", env.observation_space), ("actions", env.action_space)):
        if not isinstance(space, Box) or len(space.shape) != 1:
            raise UsageError(f"{spec.id}: {name} are {space}, expected a Box of shape (n,): wrap the environment")
    actions: Any = env.action_space
    if (actions.low != -1).any() or (actions.high != 1).any():
        raise UsageError(
            f"{spec.id}: actions are {actions}, expected -1 to 1: wrap it in gymnasium.wrappers.RescaleAction"
        )
    return env.observation_space.shape[0], actions.shape[0]  # type: ignore[index]


@dataclass(frozen=True)
class Constraint:
    """The planner's constraint (CoRL 2021, Eq. 10): worst-case cost over the horizon at most `threshold`."""

    threshold: float | Tensor
    """d0: allowed discounted cost within the horizon, in the unit of the cost model in use; a tensor where it changes
    while planners hold it, `[C]` where there are several costs, each of which has to keep to its own."""
    min_feasible: int = 10
    """m of Algorithm 4: with fewer feasible sequences than this, the others count too."""
    penalty: float | None = None
    """The return that outweighs a unit of cost in that case; None: only cost weights sequences then (Algorithm 4)."""


def zero_cost(obs: Tensor, act: Tensor, next_obs: Tensor) -> Tensor:
    """Return 0 everywhere, the cost model of an unconstrained planner. Shapes `[..., S] -> [...]`."""
    return next_obs.new_zeros(next_obs.shape[:-1])
