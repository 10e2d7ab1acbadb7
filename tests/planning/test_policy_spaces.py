"""POPLIN's search spaces: against loops, and against the action sequences of the cross-entropy method."""

import pytest
import torch

from safeloop.learners.flat_policy import FlatPolicy
from safeloop.models.trajectories import rollout
from safeloop.planning.objective import Objective
from safeloop.planning.policy_spaces import ActionNoise, ProposalNoise, WeightNoise
from safeloop.planning.search import Momentum, Planner, Search
from safeloop.planning.spaces import ActionSequences
from safeloop.planning.weighting import Elites
from tests.core.toy import A, B, H, K, LinearModel, N, P, S

DRIFT = torch.tensor([0.0, 0.1, -0.2])


def policy(hidden=(8,), seed=0, **changes):
    return FlatPolicy([S, *hidden, A], torch.Generator().manual_seed(seed), "cpu", **{"last": 1.0, **changes})


def observations(b=B, seed=1):
    return torch.randn(b, S, generator=torch.Generator().manual_seed(seed))


def spaces(of):
    return {
        "replan": ActionNoise(H, A, of), "init": ProposalNoise(H, A, of, LinearModel(DRIFT)),
        "sep": WeightNoise(H, A, of), "uni": WeightNoise(H, A, of, each=False),
    }  # fmt: skip


def one(name, of, start, drift, noise):
    """States and actions of one candidate in one model, step by step."""
    weights, state, acts = of.weights.detach(), start, []
    proposed = start.clone().expand(K, S).clone()
    for t in range(H):
        if name in ("sep", "uni"):
            each = FlatPolicy([S, 8, A], torch.Generator(), "cpu")
            each.weights = weights + noise[t if name == "sep" else 0]
            act = each(state)
        elif name == "replan":
            act = (of(state) + noise[t]).clamp(-1, 1)
        else:
            proposals = of(proposed)
            act = (proposals.mean(0) + noise[t]).clamp(-1, 1)
            proposed = proposed + proposals + DRIFT[:, None]
        acts.append(act)
        state = state + act + drift
    return torch.stack(acts), state


@torch.no_grad()
@pytest.mark.parametrize("name", ["replan", "init", "sep", "uni"])
def test_candidates_in_a_batch_are_those_of_a_loop(name):
    of, obs = policy(), observations()
    space = spaces(of)[name].at(obs, [torch.Generator()])
    candidates = 0.3 * torch.randn(B, N, *space.size, generator=torch.Generator().manual_seed(2))
    start = obs.repeat_interleave(P * N, 0).expand(K, -1, -1)
    found = rollout(LinearModel(DRIFT), start, space.controller(candidates, K, P), H, [torch.Generator()])
    acts, last = found.act.view(K, H, B, P, N, A), found.obs[:, -1].view(K, B, P, N, S)
    for k, b, p, n in ((0, 0, 0, 0), (2, 1, 1, 3), (1, 5, 0, 6), (2, 5, 1, 6)):
        expected, state = one(name, of, obs[b], DRIFT[k], candidates[b, n])
        torch.testing.assert_close(acts[k, :, b, p, n], expected)
        torch.testing.assert_close(last[k, b, p, n], state)
        first = space.action(candidates[:, n], obs)[b]
        torch.testing.assert_close(first, expected[0])


def plans(space, decisions=2, momentum=0.1):
    """The actions of some decisions of the cross-entropy method in a space, each from other observations."""
    search = Search(
        space, Objective(LinearModel(DRIFT), 0.9, P, None), Elites(3), Momentum(momentum), 20, 3, 0.01
    )  # fmt: skip
    planner = Planner(search, [torch.Generator().manual_seed(i) for i in range(B)])
    return [planner.plan(observations(seed=i), i == 0).action for i in range(decisions)]


@pytest.mark.parametrize("name", ["replan", "init"])
def test_noise_on_a_policy_of_zeros_is_the_cross_entropy_method(name):
    of = policy()
    with torch.no_grad():
        of.weights.zero_()
    expected = plans(ActionSequences(H, A, narrowed=False))
    for found, action in zip(plans(spaces(of)[name]), expected, strict=True):
        torch.testing.assert_close(found, action)
    assert expected[0].abs().max() < 0.9  # nothing was clamped


def test_one_noise_on_a_layer_is_a_search_among_linear_policies():
    of = policy(hidden=())
    space = WeightNoise(H, A, of, each=False)
    with torch.no_grad():
        of.weights.zero_()
        noise = 0.1 * torch.randn(B, N, 1, S * A + A, generator=torch.Generator().manual_seed(0))
        found = space.controller(noise, K, P)(3, observations(B * P * N).expand(K, -1, -1))
        matrix, bias = noise[4, 5, 0, : S * A].view(S, A), noise[4, 5, 0, S * A :]
        row = (4 * P + 1) * N + 5
        torch.testing.assert_close(found[2, row], torch.tanh(observations(B * P * N)[row] @ matrix + bias))


def test_a_warm_start_goes_on_one_decision_later():
    noise = torch.randn(B, H, A)
    shifted = ActionNoise(H, A, policy()).shift(noise)
    assert torch.equal(shifted[:, :-1], noise[:, 1:]) and not shifted[:, -1].any()
    whole = torch.randn(B, 1, 9)
    assert torch.equal(WeightNoise(H, A, policy(), each=False).shift(whole), whole)


def test_each_plan_draws_from_its_own_stream():
    space = WeightNoise(H, A, policy())
    mean = torch.zeros(B, *space.size)
    drawn = space.draw(mean, mean + 4.0, 50, [torch.Generator().manual_seed(i) for i in range(B)])
    alone = space.draw(mean[2:3], mean[2:3] + 4.0, 50, [torch.Generator().manual_seed(2)])
    assert torch.equal(drawn[2:3], alone) and drawn.std() == pytest.approx(2.0, rel=0.02)


def test_a_proposal_is_the_policy_rolled_out():
    of, obs = policy(), observations()
    space = ProposalNoise(H, A, of, LinearModel(torch.zeros(1))).at(obs, [torch.Generator()])
    state = obs
    with torch.no_grad():
        for t in range(H):
            torch.testing.assert_close(space.proposed[:, t], of(state))
            state = state + of(state)


def test_a_policy_sees_standardised_observations_and_begins_near_zero():
    of, obs = policy(last=0.01), 5 + 3 * torch.randn(100, S)
    assert of(observations()).abs().max() < 0.1
    obs[:, 1] = 7.0
    of.standardise(obs)
    plain = FlatPolicy([S, 8, A], torch.Generator(), "cpu")
    plain.weights = of.weights.detach()
    deviation = obs.std(0, unbiased=False)
    deviation[1] = 1.0
    torch.testing.assert_close(of(obs), plain((obs - obs.mean(0)) / deviation))
