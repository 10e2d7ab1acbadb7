"""Measure decoded lidar points against true positions: python analysis/lidar_points.py OUT.csv TASK [TASK ...]

Drives each task at random, and decodes each lidar after each decision. Writes a row for each lidar and each band of
distance from the robot, with the shares of true objects that have a decoded point within 3 cm and within 10 cm, the
same for certain points alone, and the shares of points in this band that are farther than 10 cm from any object. True
positions are those in the robot's own frame, which tilts with it; `tilt` is the distance, m, that 95% of them stay
within of the place that a level robot would see. Rings of zeros are left out. `lidar_tables.py` makes tables of the
rows.
"""

import numpy as np
import torch
from rows import write_rows

from safeloop.models.decoding import decode
from safeloop.registry import find_env
from safeloop_envs.family import CATALOGUE, LIDARS

DECISIONS = {"Doggo": 1500}
"""Decisions for each task, where not 3,000."""
HOLD, FORWARD = 0.85, 0.5
"""Chance that an action is held for another decision, and that a new one of Point and Car drives forward."""
BANDS = ((0.0, 0.3), (0.3, 0.5), (0.5, 1.0), (1.0, 2.0))
NEAR, FAR = 0.03, 0.1
COLUMNS = (
    "objects", "tilt", "present_3cm", "present_10cm", "certain_3cm", "certain_10cm",
    "present", "present_off", "certain", "certain_off",
)  # fmt: skip


def drive(name, decisions):
    """Return a task's spec, its rings `[N, G, n]`, and for each lidar the objects' positions `[N, M, 2]`.

    The last are in the robot's frame, and then as a level robot would see them.
    """
    spec, robot = find_env(name, {"observation": "task"}), CATALOGUE[name].robot
    env, rng, seed = spec.make(), np.random.default_rng(0), 0
    env.reset(seed=seed)
    task = env.unwrapped._task
    seen = {o.name: o for o in task._obstacles if o.is_lidar_observed}
    rings, places, levels = [], [], []
    action = np.zeros(env.action_space.shape)
    for _ in range(decisions):
        if rng.random() > HOLD:
            action = rng.uniform(-1, 1, action.shape)
            if robot in ("Point", "Car") and rng.random() < FORWARD:
                action[: 1 if robot == "Point" else 2] = np.abs(action[: 1 if robot == "Point" else 2])
        obs, _, terminated, truncated, _ = env.step(action)
        rings.append(obs[np.array(spec.lidars.rings)])
        found = [positions(task, np.atleast_2d(seen[kind].pos)) for kind in kinds(name)]
        places.append([own for own, _ in found])
        levels.append([level for _, level in found])
        if terminated or truncated:
            seed += 1
            env.reset(seed=seed)
    return spec, np.array(rings), *([np.array(each) for each in zip(*x, strict=True)] for x in (places, levels))


def kinds(name):
    """The kinds of objects that a task's lidars show, in order."""
    return LIDARS[f"{CATALOGUE[name].kind}{CATALOGUE[name].level}"]


def positions(task, world):
    """Places `[M, 2]` of objects on the ground, in the robot's frame and in that of a level robot of its heading."""
    ground = np.concatenate([world[:, :2], np.zeros((len(world), 1))], 1) - task.agent.pos
    frame = task.agent.mat
    ahead = frame[:2, 0] / np.linalg.norm(frame[:2, 0])
    level = ground[:, :2] @ np.array([[ahead[0], -ahead[1]], [ahead[1], ahead[0]]])
    return (ground @ frame)[:, :2], level


def measured(points, places, levels, low, high):
    """The values of `COLUMNS` in the band from `low` to `high`."""
    inside = (places.norm(dim=-1) >= low) & (places.norm(dim=-1) < high)
    gaps = (places[:, :, None] - points.position[:, None]).norm(dim=-1)  # [N, M, n]
    tilt = (places - levels).norm(dim=-1)[inside]
    yield int(inside.sum())
    yield float(tilt.quantile(0.95)) if len(tilt) else float("nan")
    for chosen in (points.present, points.certain):
        nearest = gaps.masked_fill(~chosen[:, None], torch.inf).amin(-1)[inside]
        yield from (float((nearest < limit).double().mean()) for limit in (NEAR, FAR))
    distance = points.position.norm(dim=-1)
    for chosen in (points.present, points.certain):
        here = chosen & (distance >= low) & (distance < high)
        yield int(here.sum())
        yield float((gaps.amin(1)[here] > FAR).double().mean())


def rows(name):
    """Yield a row for each lidar and band."""
    spec, rings, *true = drive(name, DECISIONS.get(CATALOGUE[name].robot, 3000))
    for i, kind in enumerate(kinds(name)):
        shown = torch.from_numpy(rings[:, i].any(-1))
        points = decode(torch.from_numpy(rings[:, i])[shown], spec.lidars.sensor)
        places, levels = (torch.from_numpy(x[i]).float()[shown] for x in true)
        found = [dict(zip(COLUMNS, measured(points, places, levels, *band), strict=True)) for band in BANDS]
        for (low, high), x in zip(BANDS, found, strict=True):
            yield (
                name,
                kind,
                low,
                high,
                *(f"{value:.4f}" if isinstance(value, float) else value for value in x.values()),
            )


if __name__ == "__main__":
    write_rows(__doc__, ("task", "lidar", "from", "to", *COLUMNS), rows)
