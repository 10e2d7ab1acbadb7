"""Compare planning with and without a value over horizons: python analysis/polo_horizons.py FOLDER RUN [RUN ...]

Takes runs of `polo` and `mpc` on `HumanoidGetup`. Writes into FOLDER

- `horizons.csv`: each run's horizon, temperature, seed and decisions of training, the mean reward per decision of its
  evaluation, and the effective number of sequences in its last 1,000 decisions of training;
- `horizons.png`: the rewards of the seeds that no temperature was chosen on, at each agent's own best temperature, and
  at an equal effective number of sequences (Lowrey et al., 2019, Figure 3).

The best temperature of an agent and a horizon is that with the highest reward among the runs of the first seed.
"""

from __future__ import annotations

import csv
import sys
from collections import defaultdict
from pathlib import Path
from statistics import fmean

from rows import opened, write_table

from safeloop.recording.reader import read
from safeloop.report import style

HEAD = ("agent", "horizon", "inverse_temperature", "effective_size", "seed", "decisions", "reward", "effective_number")


def row(path: str) -> tuple:
    """Return a run's row of `horizons.csv`."""
    recorded = read(opened(path)[0])
    settings, given = recorded.run.settings, recorded.run.settings.algo_settings
    episodes = recorded.last_evaluation
    reward = sum(x.return_ for x in episodes) / sum(x.length for x in episodes)
    wanted = given["effective_size"]
    return (
        settings.algo, given["horizon"], "" if wanted else given["inverse_temperature"], wanted or "", settings.seed,
        recorded.episodes[-1].simulator_steps, f"{reward:.4f}", f"{recorded.plans[-1].effective_size:.1f}",
    )  # fmt: skip


def best(rows: list[dict[str, str]]) -> dict[tuple[str, str], str]:
    """Return the best temperature of each agent and horizon, by the first seed."""
    first = min(int(x["seed"]) for x in rows)
    tried = [x for x in rows if int(x["seed"]) == first and not x["effective_size"]]
    ordered = sorted(tried, key=lambda x: float(x["reward"]))
    return {(x["agent"], x["horizon"]): x["inverse_temperature"] for x in ordered}  # the last one stays


def draw(rows: list[dict[str, str]], path: Path) -> None:
    """Draw rewards over horizons: a dot for each seed, a line through their means."""
    chosen, first = best(rows), min(int(x["seed"]) for x in rows)
    reported = [x for x in rows if int(x["seed"]) != first]
    equal = [x for x in reported if x["effective_size"]]
    own = [x for x in reported if x["inverse_temperature"] == chosen.get((x["agent"], x["horizon"]), "-")]
    figure = style.Figure(figsize=(9, 4), layout="constrained")
    size = equal[0]["effective_size"] if equal else ""
    titles = ("each at its best of five temperatures", f"effective number of sequences: {float(size or 'nan'):g}")
    for axes, title, mine in zip(figure.subplots(1, 2, sharey=True), titles, (own, equal), strict=True):
        for index, agent in enumerate(("polo", "mpc")):
            found = defaultdict(list)
            for x in mine:
                if x["agent"] == agent:
                    found[int(x["horizon"])].append(float(x["reward"]))
            look, horizons = style.look(index), sorted(found)
            axes.plot(horizons, [fmean(found[h]) for h in horizons], label=agent, **look)
            for h in horizons:
                axes.plot([h] * len(found[h]), found[h], style.MARKERS[index], color=look["color"], alpha=0.6)
        axes.set(title=title, xlabel="horizon H (decisions)", xscale="log")
        axes.set_xticks([8, 16, 32, 64], ["8", "16", "32", "64"])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("reward per decision (1: standing)")
    figure.axes[0].legend()
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    folder = Path(sys.argv[1])
    write_table(folder / "horizons.csv", HEAD, sorted(map(row, sys.argv[2:]), key=lambda x: tuple(map(str, x))))
    with open(folder / "horizons.csv") as file:
        draw(list(csv.DictReader(file)), folder / "horizons.png")
