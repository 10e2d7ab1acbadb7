"""Compare fits of models on recorded buffers: python analysis/model_errors.py OUT.csv RUN [RUN ...]

Takes runs whose agents have a replay buffer. Holds out every fifth recorded episode, and fits new models on the others
as each of `FITS` says: from nothing, with the batches of 256 transitions of the online preset. Writes for 1, 2, 4 and
8 recorded decisions the errors of the mean over models, and the correlation of rewards, as `fit_windows.py` does;
beside them the fit's gradient steps and its seconds of one core. Fits that need clipped numbers are left out where the
environment names none.
"""

import time
from dataclasses import replace

import torch
from fit_windows import BATCH, halves, measures, recorded, windows
from rows import label, opened, write_rows

from safeloop.agents.parts import ensemble
from safeloop.models.settings import ModelSettings

SEEDS = (0, 1)
DECISIONS = (1, 2, 4, 8)
STOPS = {"fit_steps": 20_000, "fit_patience": 5, "fit_epochs": 5}
FITS = {
    "2,000 steps": {"fit_steps": 2000},
    "until it stops": STOPS,
    "censored, 2,000 steps": {"fit_steps": 2000, "censored": True},
    "censored, until it stops": {**STOPS, "censored": True},
    "reward x 10, until it stops": {**STOPS, "reward_weight": 10.0},
    "windows of 2, until it stops": {**STOPS, "fit_window": 2},
}


def rows(path):
    """Yield a run's rows."""
    run, spec = opened(path)
    replay, data = halves(recorded(run))
    seen, scale = windows(data), replay.last(len(replay)).obs.std(0)
    scale = torch.where(scale < 1e-6, 1.0, scale)
    for seed in SEEDS:
        for name, asked in FITS.items():
            if asked.get("censored") and not spec.clipped:
                continue
            c, generator = replace(ModelSettings(dynamics="auto"), **asked), torch.Generator().manual_seed(seed)
            dims = data.obs.shape[1], data.act.shape[1]
            model = ensemble(c, spec, spec.budget is not None, *dims, generator, "cpu")
            begun = time.process_time()
            steps = model.fit(replay, c.fit_steps, BATCH, c.fit_patience, c.fit_epochs)[0]
            about = label(path, 3), len(replay), len(seen.obs), seed, name, steps, f"{time.process_time() - begun:.0f}"
            for h, *numbers in measures(model, seen, scale, DECISIONS):
                yield *about, h, *(f"{x:.4f}" for x in numbers)


if __name__ == "__main__":
    head = (
        "run", "transitions", "held_out", "seed", "fit", "gradient_steps", "seconds", "decisions", "median_error",
        "mean_error", "reward",
    )  # fmt: skip
    write_rows(__doc__, head, rows)
