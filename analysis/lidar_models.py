"""Compare models of what lidars show: python analysis/lidar_models.py OUT.csv RUN [RUN ...]

Takes runs of `loop` with `--env-set observation=task` on PointGoal1, PointButton1 or PointCircle1. Models are fitted on
the first `SHARE` of the transitions in a run's replay buffer, and predict outcomes of windows of the others from the
first observation and the actions. There are four kinds, each with `SEEDS` seeds:

- `bins`: factored dynamics over the bins of the lidars;
- `points, one step`: dynamics over points, fitted on single decisions;
- `points`: the same, fitted on windows of four;
- `positions`: factored dynamics over the true positions, in the same episodes driven again.

Writes for windows of 4, 8 and 16 decisions, without those that begin with a violation: `auc`, the chance that a window
with a violation has a greater expected number of violations (mean over models) than one without; `missed`, the share of
windows with a violation of which the worst model expects at most 0.5; `feasible`, that of the others; `reward`, the
correlation of the predicted reward (up to the first event) with the true one.
"""

import sys
import time

import numpy as np
import torch
from rows import label, opened, trained_agent, write_rows
from scipy.stats import rankdata

from safeloop.data.replay import Replay
from safeloop.models.ensemble import Ensemble
from safeloop.models.full import Heads
from safeloop.models.lidar_tracks import LidarTracks
from safeloop.models.point_ensemble import PointEnsemble
from safeloop.models.trajectories import survival
from safeloop.models.windows import continuing
from safeloop.registry import find_env
from safeloop.rng import TRAINING, derived_seed

K, SEEDS, STEPS, SHARE = 3, 3, 3000, 0.8
LENGTHS = (4, 8, 16)
EVERY = 3  # windows begin at every third transition


def driven_again(data, spec, seed):
    """The observations before and after the transitions of a replay buffer, in the same episodes in `spec`."""
    first, env, before, after = ~continuing(data), spec.make(), [], []
    episode = -1
    for row, act in enumerate(data.act.numpy()):
        if first[row]:
            episode += 1
            obs, _ = env.reset(seed=derived_seed(seed, TRAINING, episode))
        before.append(np.array(obs))
        obs, reward, *_ = env.step(act)
        assert abs(reward - data.reward[row].item()) < 1e-4, f"transition {row} is another one"
        after.append(np.array(obs))
    return data._replace(**{k: torch.tensor(np.array(v)) for k, v in (("obs", before), ("next_obs", after))})


def made(kind, spec, data, seed):
    """A model of a kind, not fitted yet."""
    heads = Heads(event=spec.has_events, violated=True)
    shared = {"ensemble_size": K, "heads": heads, "generator": torch.Generator().manual_seed(seed)}
    act = data.act.shape[1]
    if kind.startswith("points"):
        window = 1 if kind.endswith("one step") else 4
        return PointEnsemble(LidarTracks(spec.lidars, 6), act, sizes=[64, 64], window=window, **shared)
    return Ensemble(data.obs.shape[1], act, sizes=[128, 128], parts=spec.parts, factored=True, **shared)


@torch.no_grad()
def imagined(model, states, data, start):
    """Expected rewards, events `[1, H, W]` and violations `[K, H, W]` of windows from `start [W]`, H the longest."""
    state, found = states[start].expand(K, -1, -1), []
    for t in range(LENGTHS[-1]):
        act = data.act[start + t].expand(K, -1, -1)
        following, memory = model.step(state, act, None)
        reward, chance = model.judge(state, act, following, memory)
        event = chance.get("event", torch.zeros_like(reward))
        found.append((reward.mean(0), event.mean(0), chance["violated"]))
        state = following
    reward, event, violated = zip(*found, strict=True)
    return torch.stack(reward)[None], torch.stack(event)[None], torch.stack(violated, 1)


def figures(found, data, start):
    """The figures of predictions, by the length of the windows."""
    reward, event, violated = found
    rows = start + torch.arange(LENGTHS[-1]).unsqueeze(1)  # [H, W]
    paid = (survival(data.event[rows][None], data.reward[rows][None])[:, :-1] * data.reward[rows])[0]
    expected = (survival(event, reward)[:, :-1] * reward)[0]
    for h in LENGTHS:
        bad = data.violated[rows][:h].amax(0) > 0
        each = violated[:, :h].sum(1)  # [K, W]
        ranks, n = rankdata(each.mean(0)), int(bad.sum())
        auc = (ranks[bad.numpy()].sum() - n * (n + 1) / 2) / (n * (len(ranks) - n)) if 0 < n < len(ranks) else np.nan
        allowed = (each.amax(0) <= 0.5).float()
        pair = torch.stack((expected[:h].sum(0), paid[:h].sum(0)))
        yield h, auc, allowed[bad].mean().item(), allowed[~bad].mean().item(), torch.corrcoef(pair)[0, 1].item(), n


def rows(path):
    """Yield a run's rows."""
    run, spec = opened(path)
    replay = trained_agent(path).replay
    data = replay.rows(torch.arange(len(replay)))
    shown = find_env(spec.id, {"observation": "paper" if "Goal" in spec.id else "positions"})
    sources = {"bins": (spec, data), "points, one step": (spec, data), "points": (spec, data)}
    sources["positions"] = (shown, driven_again(data, shown, run.settings.seed))
    cut = round(SHARE * len(replay))
    cut += int((~continuing(data))[cut:].nonzero()[0, 0])  # where an episode begins
    for kind, (env, seen) in sources.items():
        held, fitted = type(seen)(*(x[cut:] for x in seen)), Replay(cut, seen.obs.shape[1], seen.act.shape[1])
        fitted.extend(type(seen)(*(x[:cut] for x in seen)))
        index, on = torch.arange(len(held.obs) - LENGTHS[-1] + 1), continuing(held)
        whole = torch.stack([on[index + i] for i in range(1, LENGTHS[-1])]).all(0)
        start = index[whole & (held.violated[(index - 1).clamp(min=0)] == 0)][::EVERY]
        for seed in range(SEEDS):
            model, begun = made(kind, env, seen, seed), time.process_time()
            model.fit(fitted, STEPS, 256)
            seconds = time.process_time() - begun
            states = model.states(held)[0] if isinstance(model, PointEnsemble) else held.obs
            for h, *numbers, n in figures(imagined(model, states, held, start), held, start):
                yield label(path), kind, seed, h, *(f"{x:.3f}" for x in numbers), n, len(start), f"{seconds:.0f}"
            print(label(path), kind, seed, f"{seconds:.0f} s", file=sys.stderr, flush=True)


if __name__ == "__main__":
    names = ("auc", "missed", "feasible", "reward", "violating", "windows", "cpu_seconds")
    write_rows(__doc__, ("run", "model", "seed", "decisions", *names), rows)
