"""Plans under a known delay: those of an undelayed twin, shifted."""

import pytest
import torch

from safeloop.cmdp import Delay
from safeloop.models.perception import Perception
from safeloop.planning.pending import Pending, ahead
from safeloop.planning.planners import Parts, planner
from safeloop.planning.settings import PlannerSettings
from tests.core.toy import A, B, H, K, LinearModel

DELAYS = [Delay(1, 0), Delay(0, 2), Delay(3, 1), Delay(2, 4)]
DRIFT = torch.full((K,), 0.05)
SETTINGS = PlannerSettings(
    population=11, horizon=H, iterations=2, noise_correlation=0.5, noise_narrowed=False, precision="float32",
    actor_fraction=0.3, min_feasible=3,
)  # fmt: skip


def make(delay):
    """A planner whose model is exact: of one drift in all models."""
    parts = Parts(
        LinearModel(DRIFT), A, 0.9, actor=lambda s, g: torch.tanh(s), value=lambda s: -s.square().sum(-1), delay=delay
    )
    return planner(SETTINGS, parts, [torch.Generator().manual_seed(seed) for seed in range(B)])


def world(state, act):
    return state + act + DRIFT[0]


@pytest.mark.parametrize("delay", DELAYS)
def test_decisions_are_those_of_an_undelayed_twin_that_begins_as_much_later(delay):
    """The twin starts where the actions of 0 at first have led to; from then on both execute the same."""
    start = torch.linspace(-1, 1, B * A).view(B, A)
    delayed, twin = make(delay), make(None)
    true, sent = [start], [torch.zeros(B, A)] * delay.action  # sent[t] is executed at t
    of_twin = start
    for _ in range(delay.action):
        of_twin = world(of_twin, torch.zeros(B, A))
    for t in range(9):
        seen = true[max(0, t - delay.observation)]
        sent.append(delayed.plan(seen, t == 0).action)
        expected = twin.plan(of_twin, t == 0).action
        assert torch.allclose(sent[-1], expected, atol=1e-5), t
        true.append(world(true[t], sent[t]))
        of_twin = world(of_twin, expected)


def test_each_model_starts_from_its_own_states():
    drift, acts = torch.tensor([0.0, 0.1, -0.2]), torch.rand(B, 4, A)
    found = ahead(LinearModel(drift), torch.ones(B, A), acts, [torch.Generator()])
    expected = 1 + acts.sum(1) + 4 * drift.view(K, 1, 1)
    assert torch.allclose(found, expected.expand(K, B, A))
    assert torch.equal(
        ahead(LinearModel(drift), torch.ones(B, A), acts[:, :0], [torch.Generator()]), torch.ones(K, B, A)
    )


@pytest.mark.parametrize("delay", DELAYS)
def test_the_memory_of_states_is_given_the_actions_between_two_observations(delay):
    class Recording:
        """A model of states that are observations; `follow` is told what was executed between."""

        def __init__(self):
            self.told = []

        def first(self, obs):
            return obs

        def follow(self, state, act, obs):
            self.told.append((state, act, obs))
            return obs

        def near(self, state):
            return state

    model = Recording()
    delayed = make(delay)
    delayed.perception = Perception(model)
    true, sent = [torch.zeros(B, A)], [torch.zeros(B, A)] * delay.action
    for t in range(8):
        sent.append(delayed.plan(true[max(0, t - delay.observation)], t == 0).action)
        true.append(world(true[t], sent[t]))
    assert len(model.told) == 7 - delay.observation
    for before, act, after in model.told:
        assert torch.allclose(world(before, act), after, atol=1e-6)


def test_decisions_that_were_not_planned_are_under_way_too():
    planned, told = make(Delay(2, 1)), make(Delay(2, 1))
    first = planned.plan(torch.zeros(B, A), True).action
    told.acted(first, t0=True)
    assert torch.equal(planned.pending.under_way, told.pending.under_way)
    assert torch.equal(told.pending.under_way[:, -1], first) and told.pending.under_way.shape == (B, 3, A)
    told.acted(first, t0=True)  # another episode
    assert torch.equal(told.pending.under_way[:, :2], torch.zeros(B, 2, A))


def test_what_is_under_way_is_kept_by_episode_and_restored():
    one = Pending(Delay(1, 1), LinearModel(DRIFT), A, B, "cpu")
    for t in range(3):
        one.acted(torch.full((B, A), float(t)) + torch.arange(B).view(-1, 1))
    state = one.state_dict()
    other = Pending(Delay(1, 1), LinearModel(DRIFT), A, B, "cpu")
    other.load_state_dict(state, "cpu")
    other.keep([4, 1])
    assert torch.equal(other.under_way[:, :, 0], torch.tensor([[5.0, 6.0], [2.0, 3.0]]))
