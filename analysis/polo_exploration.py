"""Tell how far a point mass has explored: python analysis/polo_exploration.py FOLDER RUN [RUN ...]

Takes runs of `polo` and `polo-greedy` in `PointBox` and `PointMaze`, and explores the same worlds with random actions
(uniform in each decision) from the same number of seeds. Writes into FOLDER

- `coverage.csv`: the share of cells visited, for each world, explorer, seed and number of decisions;
- `values.csv`: of the first seed of each, the value of a point at rest in the middle of each cell, and whether it was
  visited;
- `coverage.png` and `values.png`, pictures of both.
"""

from __future__ import annotations

import csv
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from rows import opened, trained_agent, write_table

from safeloop.registry import find_env
from safeloop.report import style
from safeloop.report.statistics import iqm
from safeloop_envs.point_mass import CELLS, HALF_WALL, WALLS

EVERY = 50
"""Decisions between rows of `coverage.csv`."""
WORLDS = ("PointBox", "PointMaze")
RANDOM = "random"
CENTRES = (np.arange(CELLS) + 0.5) * 2 / CELLS - 1


def visited(path: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the share of cells visited after each position of a path `[T, 2]`, and the cells visited in the end."""
    cells, shares = np.zeros((CELLS, CELLS), bool), []
    for x, y in ((path + 1) / 2 * CELLS).astype(int).clip(0, CELLS - 1):
        cells[x, y] = True
        shares.append(cells.mean())
    return np.array(shares), cells


def random_path(world: str, seed: int, decisions: int) -> np.ndarray:
    """Return the positions of a point that random actions drive."""
    env, random = find_env(world, {}).make(), np.random.default_rng(seed)
    path = [env.reset(seed=seed)[0][:2]]
    for _ in range(decisions):
        path.append(env.step(random.uniform(-1, 1, 2))[0][:2])
    return np.stack(path)


def explored(runs: list[str]) -> tuple[list, list]:
    """Return the rows of `coverage.csv` and of `values.csv`."""
    shares, values, longest = [], [], defaultdict(int)
    first = min(opened(path)[0].settings.seed for path in runs)
    for path in runs:
        settings, agent = opened(path)[0].settings, trained_agent(path)
        data = agent.replay.data
        stored = len(agent.replay)
        way = torch.cat((data.obs[:stored], data.next_obs[stored - 1 : stored]))[:, :2].numpy()
        found, cells = visited(way)
        shares += [(settings.env, settings.name, settings.seed, t, found[t]) for t in range(0, stored + 1, EVERY)]
        longest[settings.env, settings.seed] = max(longest[settings.env, settings.seed], stored)
        if settings.seed == first:
            x, y = np.meshgrid(CENTRES, CENTRES, indexing="ij")
            at_rest = torch.as_tensor(np.stack((x, y, 0 * x, 0 * x), -1), dtype=torch.float32)
            with torch.no_grad():
                map_ = agent.values.value(at_rest).numpy()
            values += _map(settings.env, settings.name, map_, cells)
    for (world, seed), decisions in sorted(longest.items()):
        found, cells = visited(random_path(world, seed, decisions))
        shares += [(world, RANDOM, seed, t, found[t]) for t in range(0, decisions + 1, EVERY)]
        if seed == first:
            values += _map(world, RANDOM, np.zeros((CELLS, CELLS)), cells)
    return shares, values


def _map(world: str, name: str, value: np.ndarray, cells: np.ndarray) -> list:
    places = np.ndindex(CELLS, CELLS)
    return [
        (world, name, f"{CENTRES[i]:.2f}", f"{CENTRES[j]:.2f}", f"{value[i, j]:.3f}", int(cells[i, j]))
        for i, j in places
    ]


def draw_coverage(rows: list[dict[str, str]], path: Path) -> None:
    """Draw the interquartile mean over seeds of the share visited, with its interval, by decisions."""
    figure = style.Figure(figsize=(9, 4), layout="constrained")
    for axes, world in zip(figure.subplots(1, 2, sharey=True), WORLDS, strict=True):
        mine = [row for row in rows if row["world"] == world]
        for index, name in enumerate(_explorers(mine)):
            by_time = defaultdict(list)
            for row in mine:
                if row["explorer"] == name:
                    by_time[int(row["decisions"])].append(100 * float(row["share"]))
            times = [t for t, seeds in sorted(by_time.items()) if len(seeds) == len(by_time[0])]
            found = [iqm(by_time[t]) for t in times]
            look = style.look(index)
            axes.plot(times, [x.value for x in found], label=name, **look)
            if all(x.low is not None for x in found):
                low, high = [x.low for x in found], [x.high for x in found]
                axes.fill_between(times, low, high, color=look["color"], alpha=0.2, linewidth=0)
        axes.set(title=world, xlabel="decisions", ylim=(0, None))
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("cells visited (%)")
    figure.axes[0].legend()
    figure.savefig(path, dpi=120)


def draw_values(rows: list[dict[str, str]], path: Path) -> None:
    """Draw the values of each explorer's first seed as a map, with a dot in each cell that it visited."""
    names = _explorers(rows)
    figure = style.Figure(figsize=(3.4 * len(names), 6), layout="constrained")
    grid = figure.subplots(len(WORLDS), len(names), squeeze=False)
    for row_of_axes, world in zip(grid, WORLDS, strict=True):
        for axes, name in zip(row_of_axes, names, strict=True):
            mine = [r for r in rows if (r["world"], r["explorer"]) == (world, name)]
            value = np.array([float(r["value"]) for r in mine]).reshape(CELLS, CELLS)
            seen = np.array([int(r["visited"]) for r in mine]).reshape(CELLS, CELLS)
            if name == RANDOM:
                axes.imshow(np.ones((CELLS, CELLS)), extent=(-1, 1, -1, 1), cmap="Greys", vmin=0, vmax=8)
            else:
                image = axes.imshow(value.T, origin="lower", extent=(-1, 1, -1, 1), cmap="viridis")
                figure.colorbar(image, ax=axes, shrink=0.8, label="value")
            i, j = np.nonzero(seen)
            axes.plot(CENTRES[i], CENTRES[j], ".", color="white" if name != RANDOM else "black", markersize=3)
            for x, y in WALLS["box" if world == "PointBox" else "maze"]:
                axes.plot([x, x], [y - HALF_WALL[1], y + HALF_WALL[1]], color="black", linewidth=2)
            axes.set(title=f"{world}: {name}", xlabel="x (m)", ylabel="y (m)" if name == names[0] else None)
    figure.savefig(path, dpi=100)


def _explorers(rows: list[dict[str, str]]) -> list[str]:
    """Return the names of the explorers, by length and random actions last: `polo` comes before its variants."""
    return sorted({row["explorer"] for row in rows}, key=lambda name: (name == RANDOM, len(name), name))


def _read(path: Path) -> list[dict[str, str]]:
    with open(path) as file:
        return list(csv.DictReader(file))


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    shares, values = explored(sys.argv[2:])
    write_table(folder / "coverage.csv", ("world", "explorer", "seed", "decisions", "share"), shares)
    write_table(folder / "values.csv", ("world", "explorer", "x", "y", "value", "visited"), values)
    draw_coverage(_read(folder / "coverage.csv"), folder / "coverage.png")
    draw_values(_read(folder / "values.csv"), folder / "values.png")
