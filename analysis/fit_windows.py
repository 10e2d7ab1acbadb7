"""Compare models fitted on windows of several decisions: python analysis/fit_windows.py OUT.csv RUN [RUN ...]

Takes runs whose agents have a replay buffer. Holds out every fifth recorded episode, and fits new models of
observations on the others, with windows of W decisions (`fit_window`): for `STEPS` gradient steps, and for as many as
take the time of `STEPS` steps with W = 1 (`time`; from the median seconds of a step). A step has as many transitions
for each W.

Writes for each number h of decisions the error, after h decisions of the recorded actions, of the mean over models,
each of which goes on from its own mean predictions: root mean square over the numbers of a state, in standard
deviations of states; the median and the mean over held-out windows of `LONGEST` decisions. What an event relocates is
left out from then on. `reward` is the correlation of predicted and true sums of rewards over h decisions without an
event. `noise` is the root mean square of the deviations that are predicted for one step, over that of the errors.
"""

import time
from dataclasses import replace

import torch
from rows import label, opened, write_rows

from safeloop.agents.parts import ensemble
from safeloop.data.replay import Batch, Replay
from safeloop.models.settings import ModelSettings
from safeloop.models.windows import continuing

WINDOWS, SEEDS = (1, 2, 4), (0, 1)
STEPS, BATCH = 1000, 256
DECISIONS = (1, 4, 8, 16)
LONGEST = DECISIONS[-1]
MOST = 1000
"""Held-out windows, at most, spread evenly."""
HELD = 5
"""One episode in so many is held out."""


def recorded(run):
    """Return a run's replay buffer."""
    state = run.load_checkpoint()["agent"]["replay"]
    obs, act = state["data"][:2]
    replay = Replay(len(obs), obs.shape[1], act.shape[1])
    replay.extend(Batch(*state["data"]))
    return replay


def halves(replay):
    """Return a replay of most recorded episodes, and the transitions of the others."""
    data = replay.last(len(replay))
    held = (~continuing(data)).cumsum(0) % HELD == 0
    kept = Replay(len(replay), data.obs.shape[1], data.act.shape[1])
    kept.extend(Batch(*(x[~held] for x in data)))
    return kept, Batch(*(x[held] for x in data))


def windows(data):
    """Return the transitions `[W, LONGEST, ...]` of at most `MOST` windows, each within one episode."""
    goes_on = continuing(data).unfold(0, LONGEST, 1)[:, 1:].all(1)
    first = goes_on.nonzero()
    rows = first[:: -(-len(first) // MOST)] + torch.arange(LONGEST)
    return Batch(*(x[rows] for x in data))


@torch.no_grad()
def measures(model, seen, scale, decisions=DECISIONS):
    """Yield `h, median error, mean error, correlation of rewards` for each number of decisions; the noise is apart."""
    k, obs, rewards = model.ensemble_size, seen.obs[:, 0], 0.0
    state = obs.expand(k, -1, -1)
    for h in range(1, max(decisions) + 1):
        act = seen.act[:, h - 1].expand(k, -1, -1)
        following, memory = model.step(state, act, None)
        rewards = rewards + model.judge(state, act, following, memory)[0].mean(0)
        state = following
        if h not in decisions:
            continue
        past = seen.event[:, :h].amax(1)
        weight = 1 - past.unsqueeze(1) * (1 - model.event_mask)
        squares = weight * ((state.mean(0) - seen.next_obs[:, h - 1]) / scale).square()
        error = (squares.sum(1) / weight.sum(1)).sqrt()
        both = torch.stack((rewards, seen.reward[:, :h].sum(1)))[:, past == 0]
        yield h, error.median().item(), error.mean().item(), torch.corrcoef(both)[0, 1].item()


@torch.no_grad()
def noise(model, data):
    """Return the root mean square of the predicted deviations of one step, over that of its errors."""
    k = model.ensemble_size
    mean, raw, _ = model.net.transition(model.normalise(data.obs).expand(k, -1, -1), data.act.expand(k, -1, -1),
                                        model.delta_std)  # fmt: skip
    weight = 1 - data.event.unsqueeze(-1) * (1 - model.event_mask)
    error = (data.next_obs - data.obs - model.delta_mean) / model.delta_std - mean
    return ((weight * model._variance(raw)).sum() / (weight * error.square()).sum()).sqrt().item()


def seconds(models, replay, rounds=3, steps=50):
    """Return each model's median seconds of a gradient step, measured in turn."""
    found = [[] for _ in models]
    for _ in range(rounds):
        for model, times in zip(models, found, strict=True):
            begun = time.process_time()
            model.fit(replay, steps, BATCH)
            times.append((time.process_time() - begun) / steps)
    return [sorted(times)[rounds // 2] for times in found]


def rows(path):
    """Yield a run's rows."""
    run, spec = opened(path)
    replay, data = halves(recorded(run))
    seen, scale = windows(data), replay.last(len(replay)).obs.std(0)
    scale = torch.where(scale < 1e-6, 1.0, scale)

    settings, dims = ModelSettings(dynamics="auto"), (data.obs.shape[1], data.act.shape[1])

    def new(window, seed):
        generator = torch.Generator().manual_seed(seed)
        return ensemble(replace(settings, fit_window=window), spec, spec.budget is not None, *dims, generator, "cpu")

    cost = seconds([new(w, 0) for w in WINDOWS], replay)
    for seed in SEEDS:
        for window, each in zip(WINDOWS, cost, strict=True):
            model, done = new(window, seed), 0
            for alike, steps in (("time", min(STEPS, round(STEPS * cost[0] / each))), ("steps", STEPS)):
                if steps > done:  # the fit of as many steps goes on from that of as much time
                    model.fit(replay, steps - done, BATCH)
                    done = steps
                about = label(path, 3), len(replay), len(seen.obs), window, seed, alike, steps, f"{1000 * each:.1f}"
                deviation = f"{noise(model, data):.2f}"
                for h, *numbers in measures(model, seen, scale):
                    yield *about, deviation, h, *(f"{x:.4f}" for x in numbers)


if __name__ == "__main__":
    head = (
        "run", "transitions", "held_out", "fit_window", "seed", "alike", "gradient_steps", "ms_a_step",
        "noise", "decisions", "median_error", "mean_error", "reward",
    )  # fmt: skip
    write_rows(__doc__, head, rows)
