from dataclasses import replace
from statistics import fmean
from types import SimpleNamespace

import gymnasium
import numpy as np
import pytest
import torch

from safeloop.activity import under_way
from safeloop.agents.policies import Checked, PlannerPolicy
from safeloop.cmdp import EnvSpec
from safeloop.errors import UsageError
from safeloop.planning.planners import Parts, planner
from safeloop.planning.settings import PlannerSettings
from safeloop.recording import reader
from safeloop.recording.recorder import Recorder
from safeloop.recording.run import Run, RunSettings
from safeloop.report.rows import row as row_of
from safeloop.training import evaluation
from tests.core.toy import LinearModel


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

    def keep(self, rows):
        self.episodes = len(rows)

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


def test_a_checked_policy_goes_on_with_the_episodes_that_are_left():
    class Seen(Countdown):
        observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,))

    where = replace(spec(), make=lambda render_mode=None: Seen())
    rows = list(evaluation.evaluate(Checked(Follow(), where), where, episodes=5, seed=1))
    assert rows == list(evaluation.evaluate(Follow(), where, episodes=5, seed=1))
    assert len({row.length for row in rows}) > 2


class Broken(Countdown):
    """Ends with an observation that is not finite, as a simulator that diverges does."""

    def step(self, action):
        obs, reward, terminated, *others = super().step(action)
        return obs + (np.nan if terminated else 0.0), reward, terminated, *others


def test_an_episode_that_ended_is_neither_checked_nor_planned_while_others_go_on():
    generators = [torch.Generator().manual_seed(i) for i in range(4)]
    sizes = []

    class Planning(PlannerPolicy):
        def act(self, obs):
            sizes.append(len(obs))
            return super().act(obs)

    class Agent:
        device = "cpu"

        def new_planner(self, generators):
            model = LinearModel(torch.tensor([0.0, 0.3, -0.2]), noise=0.1)
            settings = PlannerSettings(
                horizon=2, population=9, actor_fraction=0.0, iterations=2, noise_correlation=0.0, noise_narrowed=True,
                precision="float32",
            )  # fmt: skip
            return planner(settings, Parts(model, 2, 0.95), generators)

        def plan(self, obs, t0, planner):
            return planner.plan(torch.as_tensor(obs, dtype=torch.float32), t0)

    def driven(seeds):
        policy = Planning(Agent(), 0, lambda _: Agent().new_planner([generators[seeds.index(s)] for s in seeds]))
        found = evaluation._drive(policy, spec(), [Broken() for _ in seeds], seeds, None)
        return [{name: value for name, value in total.columns.items() if name != "costs"} for total in found]

    rows = driven([1, 2, 3, 4])
    lengths = [row["length"] // 2 for row in rows]
    assert len(set(lengths)) > 2
    assert sizes == [sum(n > t for n in lengths) for t in range(max(lengths))]
    for i, row in enumerate(rows):  # each as if it had been driven alone
        generators[0].manual_seed(i)
        assert driven([i + 1])[0] == pytest.approx(row, abs=1e-4)


def test_decisions_are_counted_while_they_are_made_and_early_ends_leave_fewer():
    seen = []

    class Looking(Follow):
        def act(self, obs):
            seen.extend(under_way())
            return super().act(obs)

    rows = list(evaluation.evaluate(Looking(), spec(), episodes=7, seed=1))
    first = {"doing": "evaluating", "detail": "episodes 1 to 5 of 7", "done": 0, "of": 7 * 12, "unit": "decisions"}
    assert seen[0] == first and seen[-1]["detail"] == "episodes 6 to 7 of 7" and under_way() == []
    lengths = [row.length // 2 for row in rows]
    second = next(each for each in seen if each["detail"] == "episodes 6 to 7 of 7")
    assert (second["done"], second["of"]) == (sum(lengths[:5]), sum(lengths[:5]) + 2 * 12)
    done = [each["done"] for each in seen]
    assert done == sorted(done) and done[-1] < sum(lengths) <= seen[-1]["of"]


def test_an_evaluation_after_as_many_steps_is_replaced(tmp_path):
    run = Run.create(tmp_path, RunSettings("Countdown", "follow", 100, seed=0, budget=1.0, eval_episodes=2))
    env = Recorder(Countdown(), spec(), run)
    for _ in range(2):
        evaluation.record_evaluation(env, run, Follow())
    assert [row.episode for row in run.evaluations.read()] == [0, 1]
    env.simulator_steps = 10
    evaluation.record_evaluation(env, run, Follow())
    assert [(row.simulator_steps, row.episode) for row in run.evaluations.read()] == [(0, 0), (0, 1), (10, 0), (10, 1)]


def test_a_policy_alone_is_evaluated_beside_the_agent(tmp_path):
    settings = RunSettings("Countdown", "follow", 10, seed=0, budget=1.0, eval_every=5, eval_episodes=2)
    run = Run.create(tmp_path, settings)
    env = Recorder(Countdown(), spec(), run)

    class Still(Follow):
        def act(self, obs):
            return 0 * super().act(obs)

    for before, now in ((0, 5), (5, 10)):
        env.simulator_steps = now
        evaluation.evaluate_when_due(env, run, before, Follow, Still)
    rows = run.evaluations.read()
    found = [(row.simulator_steps, row.control, row.episode) for row in rows]
    assert found == [(s, control, i) for s in (5, 10) for control in ("agent", "policy") for i in (0, 1)]
    recorded = reader.read(run)
    assert recorded.evaluations == [row for row in rows if row.control == "agent"]
    assert recorded.last_policy_alone == rows[-2:] and recorded.last_evaluation == rows[-4:-2]
    assert rows[-1].return_ != rows[-3].return_
    summary = row_of(recorded)
    assert summary.evaluation_return == fmean(row.return_ for row in rows[-4:-2])
    assert summary.diagnostics["policy_return"] == fmean(row.return_ for row in rows[-2:])
    assert "policy_cost_return" in summary.diagnostics

    lines = run.evaluations.path.read_text().splitlines()
    for wrong in ([0, 1, 3, 4, 2], [0, 1, 2, 4]):  # back to the agent within an evaluation; an episode left out
        run.evaluations.path.write_text("".join(f"{lines[i]}\n" for i in wrong))
        with pytest.raises(UsageError, match="expected"):
            run.evaluations.read()


def test_the_seconds_of_an_evaluation_are_recorded_with_its_episodes(tmp_path, monkeypatch):
    clock = iter(range(100, 200, 7))
    monkeypatch.setattr(evaluation, "time", SimpleNamespace(perf_counter=lambda: float(next(clock))))
    run = Run.create(tmp_path, RunSettings("Countdown", "follow", 100, seed=0, budget=1.0, eval_episodes=3))
    evaluation.timed_evaluation(Follow(), spec(), run, 0)
    assert [row.wall_seconds for row in run.evaluations.read()] == [7.0, 14.0, 21.0]
