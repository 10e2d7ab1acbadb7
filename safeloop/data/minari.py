"""This module writes datasets, as folders in the layout of Minari."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from safeloop.data.datasets import MAIN, METADATA, OURS, Dataset, EpisodeData
from safeloop.errors import UsageError

MINARI_VERSION = "0.5.3"
"""Version of the layout."""


@contextmanager
def writer(path: str | Path, about: dict[str, Any]) -> Iterator[Any]:
    """Yield a function that adds an `EpisodeData` to a new dataset in Minari's layout in the folder `path`.

    The folder appears when it is complete. `about` is stored in the metadata (`env`, `env_options`, `policy`).
    Raises `UsageError` where the folder exists already or can't be written.
    """
    path = Path(path)
    if path.exists():
        raise UsageError(f"{path} exists already: choose another --out, or remove it")
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        (partial / "data").mkdir(parents=True)
    except OSError as error:
        raise UsageError(f"can't write {path}: {error.strerror}; choose another --out") from None
    try:
        totals, sizes = [0, 0], [0, 0]
        with h5py.File(partial / "data" / MAIN, "w", track_order=True) as file:

            def add(episode: EpisodeData) -> None:
                _add(file, totals[0], episode)
                totals[0] += 1
                totals[1] += len(episode.reward)
                sizes[:] = episode.obs.shape[1], episode.act.shape[1]

            yield add
        (partial / "data" / METADATA).write_text(json.dumps(_about(path, totals, sizes, about), indent=2) + "\n")
        partial.rename(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _about(path: Path, totals: list[int], sizes: list[int], about: dict[str, Any]) -> dict[str, Any]:
    """Return Minari's metadata."""
    name = re.sub(r"[^A-Za-z0-9_-]", "-", path.name)
    return {
        "dataset_id": name if re.search(r"-v\d+$", name) else f"{name}-v0",
        "total_episodes": totals[0],
        "total_steps": totals[1],
        "data_format": "hdf5",
        "observation_space": _box(sizes[0], np.inf, "float32"),
        "action_space": _box(sizes[1], 1.0, "float32"),
        "algorithm_name": str(about.get("policy", "")),
        "minari_version": MINARI_VERSION,
        OURS: about,
    }


def _box(size: int, bound: float, dtype: str) -> str:
    """Return a gymnasium `Box` in Minari's form."""
    box = {"type": "Box", "dtype": dtype, "shape": [size], "low": [-bound] * size, "high": [bound] * size}
    return json.dumps(box)


def _add(file: h5py.File, number: int, episode: EpisodeData) -> None:
    group = file.create_group(f"episode_{number}", track_order=True)
    n = len(episode.reward)
    group.attrs["id"], group.attrs["total_steps"] = number, n
    for key, values in (
        ("observations", episode.obs.astype(np.float32)), ("actions", episode.act.astype(np.float32)),
        ("rewards", episode.reward.astype(np.float64)),
        ("terminations", episode.terminated), ("truncations", episode.truncated),
    ):  # fmt: skip
        group.create_dataset(key, data=values)
    infos = group.create_group("infos")  # one more than decisions: a reset has infos too
    if episode.cost is not None:
        infos.create_dataset("cost", data=np.concatenate(([0.0], episode.cost)))
    if episode.event is not None:
        infos.create_dataset("event", data=np.concatenate(([False], episode.event)))


def pieces(dataset: Dataset) -> Iterable[EpisodeData]:
    """Yield the episodes of a dataset, also those that were cut short."""
    first = 0
    for last in np.flatnonzero(dataset.ends):
        rows = slice(first, int(last) + 1)
        first = rows.stop
        obs = np.concatenate((dataset.obs[rows], dataset.next_obs[last : last + 1]))
        cost, event = (None if x is None else x[rows] for x in (dataset.cost, dataset.event))
        yield EpisodeData(
            obs, dataset.act[rows], dataset.reward[rows], cost,
            dataset.terminated[rows], dataset.truncated[rows], event,
        )  # fmt: skip
