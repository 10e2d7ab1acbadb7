import gymnasium
import numpy as np
import pytest

from safeloop import evaluation
from safeloop.cmdp import EnvSpec
from safeloop.runs import Recorder, Run, RunSettings


class Countdown(gymnasium.Env):
    """Ends after 3 to 12 decisions, as its seed says; pays what the policy does."""

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left = int(self.np_random.integers(3, 13))
        return np.array([self.left, 0.0]), {}

    def step(self, action):
        assert self.left > 0, "stepped after its end"
        self.left -= 1
        info = {"cost": 0.5, "violations": 1, "simulator_steps": 2}
        return np.array([self.left, 1.0]), float(action[0]), self.left == 0, False, info


class Follow:
    """Does what it sees: the decisions that are left."""

    def reset(self, episodes=1):
        self.episodes = episodes

    def act(self, obs):
        assert len(obs) == self.episodes
        return obs[..., :1]


def spec():
    return EnvSpec(
        id="Countdown", suite="toy", make=lambda render_mode=None: Countdown(), action_repeat=2, episode_steps=24,
        budget=1.0, cost_meaning="time",
    )  # fmt: skip


@pytest.mark.parametrize("together", [1, 3, 5])
def test_episodes_driven_together_are_those_driven_alone(monkeypatch, together):
    monkeypatch.setattr(evaluation, "TOGETHER", together)
    rows = list(evaluation.evaluate(Follow(), spec(), episodes=7, seed=1, simulator_steps=9))
    assert [r.episode for r in rows] == list(range(7)) and {r.simulator_steps for r in rows} == {9}
    lengths = [r.length // 2 for r in rows]
    assert len(set(lengths)) > 2
    for row, n in zip(rows, lengths, strict=True):
        assert (row.return_, row.cost_return, row.violations) == (n * (n + 1) / 2, n / 2, n)
    monkeypatch.setattr(evaluation, "TOGETHER", 1)
    assert rows == list(evaluation.evaluate(Follow(), spec(), episodes=7, seed=1, simulator_steps=9))


def test_an_evaluation_after_as_many_steps_is_replaced(tmp_path):
    run = Run.create(tmp_path, RunSettings("Countdown", "follow", 100, seed=0, budget=1.0, eval_episodes=2))
    env = Recorder(Countdown(), spec(), run)
    for _ in range(2):
        evaluation.record_evaluation(env, run, Follow())
    assert [row.episode for row in run.evaluations.read()] == [0, 1]
    env.simulator_steps = 10
    evaluation.record_evaluation(env, run, Follow())
    assert [(row.simulator_steps, row.episode) for row in run.evaluations.read()] == [(0, 0), (0, 1), (10, 0), (10, 1)]
