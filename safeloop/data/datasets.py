"""Datasets of transitions. This module reads D4RL's and DSRL's HDF5 files and Minari's folders.

D4RL (Fu et al., 2020) and DSRL (Liu et al., 2024) have one array for each of observations, actions, rewards,
terminals and timeouts (DSRL also for costs); Minari has a group for each episode, with one observation more than
actions, and costs among its infos. Nothing is downloaded.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

from safeloop.errors import UsageError

MAIN, METADATA = "main_data.hdf5", "metadata.json"
OURS = "safeloop"
"""Key in Minari's metadata where our datasets name their environment and their policy."""
LARGEST = 1e15
"""Largest magnitude that is read; the sums of squares of larger numbers exceed single precision."""
EDGE = 1e-3
"""Distance outside [-1, 1] at which actions count as rounded; they are clipped."""
WHERE = (
    "D4RL's and DSRL's files come from their projects' servers, Minari's from `minari download NAME`, "
    "and `safeloop collect` records a new one"
)

DAMAGE = (KeyError, ValueError, TypeError, RuntimeError, AttributeError, UnicodeError, OverflowError)
"""The errors that h5py raises for files with damaged bytes."""


class EpisodeData(NamedTuple):
    """An episode of L decisions, or a piece of an episode."""

    obs: np.ndarray  # [L+1, S]
    act: np.ndarray  # [L, A]
    reward: np.ndarray  # [L]
    cost: np.ndarray | None  # [L]; None where costs were not recorded
    terminated: np.ndarray  # [L], bool
    truncated: np.ndarray  # [L], bool
    event: np.ndarray | None  # [L], bool; None where it was not recorded


@dataclass(frozen=True)
class Dataset:
    """A dataset of T transitions, in the order of its episodes."""

    path: Path
    name: str
    """The name of the file or the folder; for another project's dataset in Minari's layout its id."""
    env: str | None
    """The environment that the dataset names; None where it names none."""
    env_options: dict[str, Any]
    obs: np.ndarray  # [T, S], float32 like all but the flags
    act: np.ndarray  # [T, A], in [-1, 1]
    reward: np.ndarray  # [T]
    cost: np.ndarray | None  # [T]
    terminated: np.ndarray  # [T], bool
    truncated: np.ndarray  # [T], bool
    event: np.ndarray | None  # [T], bool; None where it was not recorded
    next_obs: np.ndarray  # [T, S]
    complete: np.ndarray  # [T], bool: whether `next_obs` was recorded; an old D4RL file has none where episodes end

    def __len__(self) -> int:
        return len(self.reward)

    @property
    def ends(self) -> np.ndarray:
        """Whether each transition is the last one of its episode, bool `[T]`."""
        return self.terminated | self.truncated | (np.arange(len(self)) == len(self) - 1)

    def per_episode(self, values: np.ndarray) -> np.ndarray:
        """Return the sum of `values [T]` over each episode."""
        return np.add.reduceat(values, np.concatenate(([0], np.flatnonzero(self.ends)[:-1] + 1)))

    @property
    def summary(self) -> dict[str, Any]:
        """The description of the dataset in reports, with its fingerprint."""
        returns = self.per_episode(self.reward)
        costs = {} if self.cost is None else {"cost_return": round(float(self.per_episode(self.cost).mean()), 4)}
        return {
            "fingerprint": self.fingerprint, "transitions": len(self), "episodes": len(returns),
            "return": round(float(returns.mean()), 4), **costs,
        }  # fmt: skip

    @property
    def fingerprint(self) -> str:
        """A digest of all numbers; the same data have the same digest in any file."""
        digest = hashlib.sha256()
        arrays = (self.obs, self.act, self.reward, self.cost, self.terminated, self.truncated, self.event)
        for array in (*arrays, self.next_obs):
            digest.update(b"-" if array is None else np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()[:16]


# Reading


def read(path: str | Path) -> Dataset:
    """Read a dataset. Raises `UsageError` naming the file, the key and the index of a mistake."""
    path = Path(path)
    main = next((p for p in (path / "data" / MAIN, path / MAIN, path) if p.is_file()), None)
    if main is None:
        what = "holds no dataset (expected data/main_data.hdf5)" if path.is_dir() else "does not exist"
        raise UsageError(f"{path} {what}: {WHERE}")
    try:
        with h5py.File(main, "r") as file:
            minari = any(key.startswith("episode_") for key in file)
            found = _episodes(file, main, path) if minari else _flat(file, path)
    except OSError as error:
        raise UsageError(f"{main} can't be read as HDF5 ({error}): is it whole? {WHERE}") from None
    except MemoryError:
        raise UsageError(f"{main} does not fit into memory: is it whole? {WHERE}") from None
    except UsageError:
        raise
    except DAMAGE as error:
        raise UsageError(f"{main} is damaged ({type(error).__name__}: {error}): get it again") from None
    return _checked(path, found)


def _array(group: h5py.Group, key: str, where: str, flat: bool = False) -> np.ndarray:
    """Return an array of `group`; `flat` ones may be `[T, 1]` in the file. Raises `UsageError` for anything else."""
    item = group.get(key)
    if item is None:
        there = ", ".join(sorted(group.keys())) or "nothing"
        raise UsageError(f"{where}: {key} is missing (there are {there})")
    if not isinstance(item, h5py.Dataset) or item.dtype.kind not in "fiub" or item.shape is None:
        raise UsageError(f"{where}: {key} is not an array of numbers: only flat observations and actions can be used")
    column = flat and item.ndim == 2 and item.shape[1] == 1
    if (item.ndim != (1 if flat else 2) or 0 in item.shape[1:]) and not column:
        raise UsageError(f"{where}: {key} has the shape {item.shape}, expected {'[T]' if flat else '[T, n]'}")
    return item[:, 0] if column else item[()]


def _flags(group: h5py.Group, key: str, where: str) -> np.ndarray:
    """Return a bool array `[T]` of `group`. Raises `UsageError` where a number is not finite."""
    values = _array(group, key, where, flat=True)
    if not (finite := np.isfinite(values)).all():
        raise UsageError(f"{where}: {key}[{int(np.argmin(finite))}] is not finite")
    return values.astype(bool)


def _flat(file: h5py.File, path: Path) -> dict[str, Any]:
    """Return the arrays of a D4RL or DSRL file."""
    where = str(path)
    found: dict[str, Any] = {
        name: _array(file, key, where) for name, key in (("obs", "observations"), ("act", "actions"))
    }
    found["reward"] = _array(file, "rewards", where, flat=True)
    found["terminated"] = _flags(file, "terminals", where)
    n = len(found["reward"])
    if "timeouts" not in file and "next_observations" not in file:
        raise UsageError(f"{where}: neither timeouts nor next_observations, so the ends of episodes are not known: "
                         "use a newer version of the dataset")  # fmt: skip
    found["truncated"] = np.zeros(n, bool)
    if "timeouts" in file:
        found["truncated"] = _flags(file, "timeouts", where)
    ended = found["terminated"].any() or found["truncated"].any()
    found["cost"] = _array(file, "costs", where, flat=True) if "costs" in file else None
    found["event"], found["complete"] = None, np.ones(n, bool)
    if "next_observations" in file:
        found["next_obs"] = _array(file, "next_observations", where)
        sizes_fit = found["next_obs"].shape == found["obs"].shape and len(found["obs"]) == n
        if "timeouts" not in file and sizes_fit:  # an episode was truncated where the next row does not continue it
            goes_on = np.isclose(found["next_obs"][:-1], found["obs"][1:], equal_nan=True).all(1)
            found["truncated"][:-1] = ~goes_on
            ended = ended or not goes_on.all()
    elif all(values is None or len(values) == n for values in found.values()):
        # The observation after an episode's last decision was not recorded, so a truncated decision can't be used, but
        # a learner can use a termination.
        found["next_obs"] = np.concatenate((found["obs"][1:], found["obs"][-1:]))
        last = np.arange(n) == n - 1
        found["truncated"] &= ~found["terminated"]
        found["complete"] = ~(found["terminated"] | found["truncated"] | last)
        use = found["complete"] | found["terminated"]
        found["next_obs"][found["terminated"]] = found["obs"][found["terminated"]]
        # An episode now ends one decision earlier.
        cut = found["truncated"] | (last & ~found["terminated"])
        found["truncated"] = np.roll(cut, -1) & use & ~found["terminated"]
        found = {name: None if values is None else values[use] for name, values in found.items()}
    if n and not ended:
        marks = "terminals and timeouts" if "timeouts" in file else "terminals and next_observations"
        raise UsageError(f"{where}: no episode ends by {marks}: use a version of the dataset that marks their ends")
    return {**found, "name": path.stem, "env": _named(path.stem), "env_options": {}}


def _named(stem: str) -> str | None:
    """Return the environment in a file's name: `hopper_medium-v2`, `SafetyPointGoal1Gymnasium-v0-100-3001`."""
    first = re.split(r"[_-]", stem)[0]
    dsrl = re.fullmatch(r"(?:Safety|Offline)(.+)Gymnasium", first)
    return dsrl[1] if dsrl else first or None


def _episodes(file: h5py.File, main: Path, path: Path) -> dict[str, Any]:
    """Return the arrays of a Minari file, with its episodes one after the other."""
    metadata = _metadata(file, main, path)
    parts: dict[str, list[np.ndarray]] = {}
    low, high = metadata.pop("bounds")
    firsts, extra = [0], []
    with_cost, with_event = None, True
    for number in range(len(file)):
        key = f"episode_{number}"
        where = f"{main}: {key}"
        if key not in file:
            raise UsageError(f"{where} is missing, though there are {len(file)} episodes")
        group = file[key]
        if not isinstance(group, h5py.Group):
            raise UsageError(f"{where} is not a group, as an episode should be")
        infos = group.get("infos", {})
        has_cost = "cost" in infos
        if with_cost not in (None, has_cost):
            raise UsageError(
                f"{where}: infos/cost is {'there' if has_cost else 'missing'}, unlike in episodes before it"
            )
        with_cost, with_event = has_cost, with_event and "event" in infos
        extra.append(len(infos["cost"]) - len(group["rewards"]) if has_cost and "rewards" in group else 0)
        for name, values in _episode(group, infos, where).items():
            before = parts.setdefault(name, [])
            if before and values.shape[1:] != before[0].shape[1:]:
                called = "actions" if name == "act" else "observations"
                here, there = values.shape[1], before[0].shape[1]
                raise UsageError(f"{where}: {called} have {here} numbers, those of episode_0 {there}")
            before.append(values)
        firsts.append(firsts[-1] + len(parts["reward"][-1]))

    def place(key: str, row: int) -> str:
        number = int(np.searchsorted(firsts, row, side="right")) - 1
        name = {"next_observations": "observations", "costs": "infos/cost"}.get(key, key)
        further = {"next_observations": 1, "costs": extra[number]}.get(key, 0)
        return f"episode_{number}/{name}[{row - firsts[number] + further}]"

    found: dict[str, Any] = {name: np.concatenate(values) for name, values in parts.items()}
    found["place"] = place
    if low.shape == found["act"].shape[1:] and (np.stack((-low, high)) != 1).any():  # the task's bounds; here: 1
        found["act"] = 2 * (found["act"] - low) / (high - low) - 1
    if not with_cost:
        found["cost"] = None
    if not with_event:
        found["event"] = None
    return {**found, **metadata}


def _episode(group: h5py.Group, infos: h5py.Group | dict[str, Any], where: str) -> dict[str, np.ndarray]:
    """Return the arrays of one of Minari's episodes."""
    obs, act = (_array(group, key, where) for key in ("observations", "actions"))
    reward = _array(group, "rewards", where, flat=True)
    terminated, truncated = (_flags(group, key, where) for key in ("terminations", "truncations"))
    n = len(reward)
    if len(obs) != n + 1:
        raise UsageError(f"{where}: {len(obs)} observations for {n} rewards, expected one more")
    # There is one more info than actions where the reset has infos too.
    cost = _array(infos, "cost", f"{where}: infos", flat=True)[-n:] if "cost" in infos else np.zeros(n)
    event = _flags(infos, "event", f"{where}: infos")[-n:] if "event" in infos else np.zeros(n, bool)
    arrays = {
        "act": act, "reward": reward, "terminated": terminated, "truncated": truncated, "cost": cost, "event": event,
        "obs": obs[:-1], "next_obs": obs[1:], "complete": np.ones(n, bool),
    }  # fmt: skip
    for name, values in arrays.items():
        if len(values) != n:
            raise UsageError(f"{where}: {name} has {len(values)} rows for {n} rewards")
    truncated[-1:] |= not terminated[-1:].any()  # a piece of an episode ends here
    return arrays


def _metadata(file: h5py.File, main: Path, path: Path) -> dict[str, Any]:
    """Return the name of a Minari dataset, its environment (ours, or the id in its `env_spec`), and actions' bounds."""
    metadata: dict[str, Any] = dict(file.attrs)
    beside = main.with_name(METADATA)
    try:
        if beside.is_file():
            metadata.update(json.loads(beside.read_text()))
        ours = metadata.get(OURS, {})
        spec = json.loads(metadata["env_spec"]) if "env_spec" in metadata else {}
        name = ours.get("env") or re.sub(r"-v\d+$", "", spec.get("id", "")) or None
        called = path.stem if path.is_file() else path.resolve().name
        if OURS not in metadata:
            called = re.sub(r"[^A-Za-z0-9_.-]", "-", metadata.get("dataset_id", called))
        space = json.loads(metadata.get("action_space", "{}"))
        bounds = [np.array(space.get(key, []), float) for key in ("low", "high")]
        if not all(each.ndim == 1 and np.isfinite(each).all() for each in bounds) or (bounds[0] >= bounds[1]).any():
            bounds = [np.zeros(0), np.zeros(0)]
        options = ours.get("env_options", {})
        if not isinstance(name, str | None) or not isinstance(options, dict):
            raise ValueError(f"its environment is {name!r} with {options!r}")
        return {"name": called, "env": name, "env_options": options, "bounds": bounds}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise UsageError(f"{beside} is damaged ({error}): get the dataset again") from None


def _checked(path: Path, found: dict[str, Any]) -> Dataset:
    """Return the dataset. Raises `UsageError` naming the array and the index that do not fit."""
    n = len(found["reward"])
    place: Callable[[str, int], str] = found.pop("place", lambda key, row: f"{key}[{row}]")
    if n < 2:
        raise UsageError(f"{path}: rewards has 1 row, expected at least 2" if n else f"{path} holds no transitions")
    called = {"obs": "observations", "act": "actions", "reward": "rewards", "next_obs": "next_observations",
              "cost": "costs", "terminated": "terminals", "truncated": "timeouts"}  # fmt: skip
    for name, values in found.items():
        if isinstance(values, np.ndarray) and len(values) != n:
            raise UsageError(f"{path}: {called.get(name, name)} has {len(values)} rows, rewards has {n}")
    if found["obs"].shape != found["next_obs"].shape:
        shapes = f"{found['next_obs'].shape[1]} numbers a row, observations has {found['obs'].shape[1]}"
        raise UsageError(f"{path}: next_observations has {shapes}")
    for name in ("obs", "act", "reward", "next_obs", "cost"):
        if found[name] is None:
            continue
        with np.errstate(over="ignore"):
            found[name] = found[name].astype(np.float32)
        usable = (np.abs(found[name]) <= LARGEST).reshape(n, -1).all(1)
        if not usable.all():
            row = int(np.argmin(usable))
            what = "too large" if np.isfinite(found[name][row]).all() else "not finite"
            raise UsageError(f"{path}: {place(called[name], row)} is {what}: {found[name][row].tolist()}")
    beyond = np.abs(found["act"]).max(1) > 1 + EDGE
    if beyond.any():
        row = int(np.argmax(beyond))
        values = found["act"][row].tolist()
        raise UsageError(
            f"{path}: {place('actions', row)} is {values}: expected numbers in [-1, 1], the range of all actions here, "
            "or the bounds of the task's actions in Minari's action_space"
        )
    found["act"] = found["act"].clip(-1, 1)
    found["truncated"] &= ~found["terminated"]
    if found["cost"] is not None and (found["cost"] < 0).any():
        row = int(np.argmax(found["cost"] < 0))
        raise UsageError(f"{path}: {place('costs', row)} is {found['cost'][row]:g}: expected at least 0")
    return Dataset(path=path, **found)
