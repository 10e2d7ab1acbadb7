"""Time rollouts of simulators beside MuJoCo alone: python analysis/simulator_speed.py OUT.csv [ENV ...]

For each environment, from a state some random decisions after its first: MuJoCo steps a second of `mj_step`, in a
loop in C for each decision, and of the simulator's rollouts with their rewards and costs, in one thread and in two. All
take turns, for `ROUNDS` rounds. Writes the medians, the ratio of one thread to `mj_step`, and of two threads to one.
"""

import sys

import mujoco
import numpy as np
from rows import write_table

from safeloop.measurements import in_turns, ratio, spread
from safeloop.registry import find_env

ENVS = ("PointBox", "HumanoidGetup", "HandReorient", "HalfCheetah", "Hopper", "Ant", "PointGoal1", "CarGoal1")
ROLLOUTS, DECISIONS, ROUNDS, BEFORE = 30, 16, 8, 20


def started(name):
    """An environment's simulators of one thread and of two, a full state, and actions."""
    spec, random = find_env(name, {}), np.random.default_rng(0)
    env = spec.make()
    env.reset(seed=0)
    size = env.action_space.shape[0]
    for _ in range(BEFORE):
        *_, terminated, _, _ = env.step(0.3 * random.uniform(-1, 1, size))
        if terminated:
            env.reset(seed=1)
    state = np.repeat(env.unwrapped.get_state()[None], ROLLOUTS, 0)
    return [spec.simulator(threads) for threads in (1, 2)], state, random.uniform(-1, 1, (ROLLOUTS, DECISIONS, size))


def measured(name):
    """The rows of an environment."""
    simulators, state, act = started(name)
    one = simulators[0]
    model = one.physics.model
    low, high = model.actuator_ctrlrange.T
    controls = (low + high) / 2 + (high - low) / 2 * act
    data = mujoco.MjData(model)

    def alone():
        for row in range(ROLLOUTS):
            mujoco.mj_setState(model, data, state[row, : one.physics.size], mujoco.mjtState.mjSTATE_FULLPHYSICS)
            for control in controls[row]:
                data.ctrl[:] = control
                mujoco.mj_step(model, data, one.substeps)

    found = in_turns(
        {"alone": alone, **{threads: lambda s=s: s.rollout(state, act) for threads, s in enumerate(simulators, 1)}},
        ROUNDS,
    )
    steps = ROLLOUTS * DECISIONS * one.substeps
    rates = {key: round(steps / spread(seconds, 6)["median"]) for key, seconds in found.items()}
    shares = ratio(found["alone"], found[1]), ratio(found[1], found[2])
    return name, one.substeps, rates["alone"], rates[1], rates[2], *shares


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    header = ("env", "physics_steps_a_decision", "mj_step", "one_thread", "two_threads", "share", "two_to_one")
    write_table(sys.argv[1], header, (measured(name) for name in sys.argv[2:] or ENVS))
