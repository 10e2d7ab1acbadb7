"""Whether known models say what the simulator says, on the random decisions of a trial."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from safeloop.checks.findings import Check, Fault, NotApplicable, many, told
from safeloop.models.settings import shows_points

if TYPE_CHECKING:
    from safeloop.checks.driving import Trial
    from safeloop.cmdp import EnvSpec, Known

ABSOLUTE, RELATIVE = 1e-4, 1e-4
"""Tolerances of a known reward; observations are in single precision."""
BATCHED = 1e-5
"""Tolerance of a batch: the order of sums may differ with its shape."""
UNFOUNDED = 0.01
"""Share of decisions in which a known cost may be positive where the simulator reports none."""
ENOUGH = 20
"""Violating decisions of which a known cost has to see one."""
MARGIN = 0.1
FAR = (1000.0, 2000.0)
"""Distances that are far away, metres."""


class Seen(NamedTuple):
    """The decisions of a trial, float32 where nothing else is said."""

    obs: Tensor  # [N, S]
    act: Tensor  # [N, A]
    next_obs: Tensor  # [N, S]
    reward: Tensor  # [N] float64
    cost: Tensor  # [N]
    terminated: Tensor  # [N] bool
    event: Tensor  # [N] bool
    last: Tensor  # [N] bool, the episode ends with it
    where: list[str]

    @property
    def transition(self) -> tuple[Tensor, Tensor, Tensor]:
        """The arguments of a known model."""
        return self.obs, self.act, self.next_obs


def seen(trial: Trial) -> Seen:
    """Return a trial's decisions as tensors."""
    infos = [info for _, info in trial.infos()]
    before = [obs for episode in trial.episodes for obs in episode.observations[:-1]]
    steps = [step for _, step, _ in trial.steps()]
    obs, act, next_obs = (
        torch.as_tensor(np.stack(column), dtype=torch.float32)
        for column in (before, [step.action for step in steps], [step.obs for step in steps])
    )
    reward = torch.tensor([float(step.reward) for step in steps], dtype=torch.float64)
    cost = torch.tensor([float(info["cost"]) for info in infos])
    terminated = torch.tensor([bool(step.terminated) for step in steps])
    event = torch.tensor([bool(info.get("event")) for info in infos])
    last = torch.tensor([is_last for _, _, is_last in trial.steps()])
    where = [place for place, _, _ in trial.steps()]
    return Seen(obs, act, next_obs, reward, cost, terminated, event, last, where)


def models(spec: EnvSpec) -> dict[str, Known]:
    """Return the known models of a spec by the names of its fields; several costs are added up."""
    found = {name: getattr(spec.with_one_cost(), name) for name in ("cost", "reward", "terminated", "event")}
    return {name: model for name, model in found.items() if model is not None}


def event_bonus(trial: Trial) -> str:
    """A decision with an event pays `event_bonus` more than others."""
    spec, data = trial.spec, seen(trial)
    if not spec.has_events or (spec.reward is None and not spec.event_bonus):
        raise NotApplicable("the environment has no events" if not spec.has_events else "none is given")
    if not data.event.any() or data.event.all():
        raise NotApplicable(f"no event occurred in {len(data.where):,} random decisions")
    calm, events = data.reward[~data.event], data.reward[data.event] - spec.event_bonus
    low, high, middle = calm.min().item(), calm.max().item(), events.median().item()
    width = high - low
    beside = f"beside the bonus of {spec.event_bonus:g} the median reward is {middle:.3g}"
    told_of = f"{many(len(events), 'event')}: {beside}"
    if not low - width <= middle <= high + width:
        raise Fault(f"{told_of}, but other decisions have {low:.3g} to {high:.3g}: correct EnvSpec.event_bonus")
    return f"{told_of}; other decisions have {low:.3g} to {high:.3g}"


def batches(trial: Trial) -> str:
    """Known models take any leading dimensions and give the same numbers in each of them."""
    found = models(trial.spec)
    if not found:
        raise NotApplicable("no model is known")
    data = seen(trial)
    chosen = torch.linspace(0, len(data.where) - 1, 15).long()
    transition = tuple(x[chosen] for x in data.transition)
    for name, model in found.items():
        flat = _call(name, model, transition)
        twice = _call(name, model, tuple(x.unflatten(0, (3, 5)) for x in transition))
        each = torch.stack([_call(name, model, tuple(x[i] for x in transition)) for i in range(15)])
        for shape, values in (("[3, 5]", twice.flatten()), ("[]", each)):
            if not torch.allclose(values.double(), flat.double(), BATCHED, BATCHED, equal_nan=True):
                worst = int((values.double() - flat.double()).abs().argmax())
                numbers = f"{values[worst]:g} in a batch {shape} and {flat[worst]:g} in a batch [15]"
                raise Fault(f"{name}: {numbers} for one transition: index from the end, as in obs[..., 0]")
    return f"same numbers for leading dimensions [15], [3, 5] and []: {', '.join(found)}"


def _call(name: str, model: Known, transition: tuple[Any, ...], **more: float) -> Tensor:
    """Call a known model. Raises `Fault` where it fails, changes what it is given, or gives another shape or type."""
    leading, before = list(transition[2].shape[:-1]), [x.clone() for x in transition]
    call = f"{name}(obs {list(transition[0].shape)}, act {list(transition[1].shape)}, next_obs, {more or ''})"
    call = call.replace(", )", ")")
    try:
        with torch.no_grad():
            found = model(*transition, **more)
    except Exception as error:
        raise Fault(f"{call} raised {told(error)}") from error
    if not isinstance(found, Tensor) or list(found.shape) != leading:
        shape = f"shape {list(found.shape)}" if isinstance(found, Tensor) else f"a {type(found).__name__}"
        raise Fault(f"{call} gave {shape}, expected a tensor {leading}: a number for each transition")
    wanted = "bool" if name in ("terminated", "event") else "float32"
    if (found.dtype is torch.bool) != (wanted == "bool"):
        raise Fault(f"{call} gave {str(found.dtype).removeprefix('torch.')}, expected {wanted}")
    if not all(torch.equal(x, y) for x, y in zip(before, transition, strict=True)):
        raise Fault(f"{call} changed the tensors that it was given: work on new ones")
    return found


def _check_local(name: str, model: Known, spec: EnvSpec, data: Seen) -> None:
    """Raise `Fault` where a known model depends on objects that are far away, of kinds that there are several of.

    Dynamics over points leave these out of plans, and put them far away for known models.
    """
    entities = spec.entities
    if entities is None or not shows_points(spec):
        return
    others = [e for e in range(len(entities.kinds)) if e != entities.goal]
    kinds = [entities.kinds[e] for e in others]
    several = {kind for kind in kinds if kinds.count(kind) > 1}
    if not several:
        return
    moved = [i for e in others if entities.kinds[e] in several for i in entities.positions[e]]
    values = []
    for distance in FAR:
        obs, next_obs = data.obs.clone(), data.next_obs.clone()
        obs[:, moved] = next_obs[:, moved] = distance
        values.append(_call(name, model, (obs, data.act, next_obs)))
    apart = (values[1] - values[0]).abs()
    if not apart.max() <= BATCHED:
        raise Fault(
            f"{name} changes by {apart.max():.3g} where {', '.join(sorted(several))} move from {FAR[0]:g} m to "
            f"{FAR[1]:g} m away: plans leave out what is far, so it must not matter; or name no entities"
        )


def known_cost(trial: Trial) -> str:
    """A known cost is positive only where the simulator reports one, and sees violations."""
    model, data = trial.spec.with_one_cost().cost, seen(trial)
    if model is None:
        raise NotApplicable("no cost" if trial.spec.budget is None else "learned: EnvSpec.cost is None")
    known, wider = (_call("cost", model, data.transition, margin=margin) for margin in (0.0, MARGIN))
    unit, real, count = trial.spec.cost_unit, data.cost > 0, len(data.where)
    for values, given in ((known, ""), (wider, f" with margin={MARGIN}")):
        bad = ~values.isfinite() | (values < 0)
        if bad.any():
            first = int(bad.nonzero()[0])
            wanted = "expected finite and at least 0 (0: safe)"
            raise Fault(f"cost{given} is {values[first]:g} at {data.where[first]}, {wanted}")
    if (wider < known - BATCHED).any():
        worst = int((wider - known).argmin())
        numbers = f"{wider[worst]:g} with margin={MARGIN} and {known[worst]:g} without"
        raise Fault(f"cost is {numbers} at {data.where[worst]}, expected at least as much: a margin widens what costs")
    _check_local("cost", model, trial.spec, data)
    following = torch.cat((real[1:], torch.zeros(1, dtype=torch.bool))) & ~data.last
    positive = known > 0
    unfounded = positive & ~real & ~following
    wrong, right = int(unfounded.sum()), int(positive.sum())
    if wrong > UNFOUNDED * count or wrong > max(2, right / 2):
        first = int(unfounded.nonzero()[0])
        raise Fault(
            f"cost is positive in {right:,} of {count:,} decisions, in {wrong:,} of which the simulator reported none, "
            f"nor in the next (first: {known[first]:.3g} {unit} at {data.where[first]}): expected at most "
            f"{UNFOUNDED:.0%} of decisions; compare EnvSpec.cost with the simulator's cost"
        )
    violating, noticed = int(real.sum()), int((real & positive).sum())
    if not violating:
        raise NotApplicable(f"no violation occurred in {count:,} random decisions")
    if violating >= ENOUGH and not right:
        raise Fault(
            f"cost is 0 in all of {count:,} decisions, but the simulator reported a cost in {violating:,}: compare "
            "EnvSpec.cost with the simulator's cost"
        )
    beside = f"; positive without a cost in {wrong:,} of {right:,}" if wrong else ""
    return f"sees {noticed:,} of {violating:,} violating decisions ({100 * noticed // violating}%){beside}"


def known_reward(trial: Trial) -> str:
    """A known reward equals the simulator's in decisions without an event."""
    model, data = trial.spec.reward, seen(trial)
    if model is None:
        raise NotApplicable("learned: EnvSpec.reward is None")
    if data.event.all():
        raise NotApplicable(f"an event in each of {len(data.where):,} decisions, and none of them can be compared")
    known = _call("reward", model, data.transition).double()
    apart = (known - data.reward).abs().masked_fill(data.event, 0.0)
    apart = torch.where(apart.isfinite(), apart, torch.inf)
    wrong, calm = apart > ABSOLUTE + RELATIVE * data.reward.abs(), ~data.event
    if wrong.any():
        worst, rewards = int(apart.argmax()), data.reward[calm]
        raise Fault(
            f"reward differs in {int(wrong.sum()):,} of {int(calm.sum()):,} decisions without an event by more than "
            f"{ABSOLUTE:g} + {RELATIVE:g} |reward|: {apart[calm].median():.2g} in the median, most {apart[worst]:.2g} "
            f"at {data.where[worst]} (known {known[worst]:.5g}, simulator {data.reward[worst]:.5g}; rewards are "
            f"{rewards.min():.3g} to {rewards.max():.3g}): compare EnvSpec.reward with the simulator's"
        )
    _check_local("reward", model, trial.spec, data)
    return f"differs by at most {apart.max():.1g} in {int(calm.sum()):,} decisions without an event"


def known_terminated(trial: Trial) -> str:
    """A known termination is the simulator's."""
    model, data = trial.spec.terminated, seen(trial)
    if model is None:
        raise NotApplicable("learned" if trial.spec.terminates else "episodes end by truncation alone")
    if not trial.spec.terminates:
        raise Fault("EnvSpec.terminated is given, but EnvSpec.terminates is False, so nothing uses it: set it to True")
    known = _call("terminated", model, data.transition)
    wrong = known != data.terminated
    if wrong.any():
        first = int(wrong.nonzero()[0])
        raise Fault(
            f"terminated differs in {int(wrong.sum()):,} of {len(wrong):,} decisions (first: known "
            f"{bool(known[first])}, simulator {bool(data.terminated[first])} at {data.where[first]}): compare "
            "EnvSpec.terminated with the simulator's"
        )
    return f"equal in {len(wrong):,} decisions, {many(int(known.sum()), 'termination')} among them"


def known_event(trial: Trial) -> str:
    """A known event is False where the simulator reports none."""
    model, data = trial.spec.event, seen(trial)
    if model is None:
        raise NotApplicable("learned: EnvSpec.event is None" if trial.spec.has_events else "no events")
    known = _call("event", model, data.transition)
    wrong = known & ~data.event
    if wrong.any():
        first = int(wrong.nonzero()[0])
        raise Fault(
            f"event is True in {int(wrong.sum()):,} decisions where info['event'] is not (first: {data.where[first]}): "
            "compare EnvSpec.event with the simulator's"
        )
    calm, happened = int((~data.event).sum()), int(data.event.sum())
    met = f"True in {int(known.sum()):,} of {many(happened, 'event')}, which may have moved what it reads"
    return f"False in all {calm:,} decisions without an event" + (f", {met}" if happened else "")


WHOLE = ("observations", "rewards", "info", "ends")
CHECKS = (
    Check("event bonus", event_bonus, WHOLE),
    Check("batches", batches, WHOLE),
    Check("known cost", known_cost, (*WHOLE, "costs", "batches")),
    Check("known reward", known_reward, (*WHOLE, "batches")),
    Check("known terminated", known_terminated, (*WHOLE, "batches")),
    Check("known event", known_event, (*WHOLE, "batches")),
)
