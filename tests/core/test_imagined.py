"""Value expansion and imagined transitions, in a model that is known."""

import math

import pytest
import torch

from safeloop.cmdp import zero_cost
from safeloop.data.replay import Batch, Replay
from safeloop.learners.expansion import expanded
from safeloop.learners.imagined import Penalised, Witness, branch, mixed
from safeloop.learners.targets import Targets
from safeloop.models.ensemble import Ensemble
from safeloop.models.full import Heads
from safeloop.models.trajectories import Outcome, rollout
from safeloop.models.world import World
from safeloop.networks import EnsembleMLP
from tests.core.test_sac import A, S, make


class Counting:
    """Model k adds k + 1 to every number of the state and rewards with the first one; it ends where that reaches 8."""

    ensemble_size, ends = 3, True

    def start(self, start):
        return start, start

    def step(self, carry, act, generators):
        following = self.following(carry)
        ended = (following[..., 0] >= 8).float() if self.ends else None
        return following, following, Outcome(carry[..., 0], torch.zeros_like(carry[..., 0]), ended, None)

    def following(self, obs):
        return obs + torch.arange(1.0, 4.0).view(3, 1, 1)


def sac_with(monkeypatch, temperature=0.5, log_prob=-2.0, gamma=0.9, **settings):
    """SAC whose actor does nothing, with a given log-probability, and whose target critics say 10 s_0."""
    sac = make(discount=gamma, initial_temperature=temperature, **settings)
    sample = lambda obs, generators: (torch.zeros(len(obs), A), torch.full((len(obs),), log_prob))  # noqa: E731
    monkeypatch.setattr(sac.actor, "sample", sample)
    monkeypatch.setattr(sac, "next_value", lambda obs: 10 * obs[:, 0])
    return sac


def states(*first):
    return torch.tensor(first).unsqueeze(1).expand(-1, S).clone()


def real(first, following, reward, terminated=0.0):
    n = len(first)
    zero = torch.zeros(n)
    return Batch(
        states(*first), torch.ones(n, A), torch.tensor(reward), zero, torch.full((n,), terminated), zero,
        states(*following),
    )  # fmt: skip


@pytest.mark.parametrize("entropy", [True, False])
def test_expanded_targets_are_discounted_sums_with_the_value_at_the_end(monkeypatch, entropy):
    model = Counting()
    model.ends = False
    sac, data = sac_with(monkeypatch, backup_entropy=entropy), real([5.0, 6.0], [1.0, 2.0], [0.5, 0.25])
    found = expanded(sac, model, data, horizon=2)
    g, bonus = 0.9, 0.5 * 2.0 * entropy
    # Two transitions for three models: rows 0, 1, 0, in models 0, 1, 2, so that steps are 1, 2 and 3 wide.
    last = [10 * 3.0, 10 * 6.0, 10 * 7.0]
    second = [2 + g * last[0], 4 + g * last[1], 4 + g * last[2]]
    first = [1 + g * (second[0] + bonus), 2 + g * (second[1] + bonus), 1 + g * (second[2] + bonus)]
    here = [r + g * (f + bonus) for r, f in zip([0.5, 0.25, 0.5], first, strict=True)]
    assert torch.allclose(found.target, torch.tensor([*here, *first, *second]))
    assert found.obs[:, 0].tolist() == [5, 6, 5, 1, 2, 1, 2, 4, 4]
    assert found.act[:, 0].tolist() == [1] * 3 + [0] * 6 and found.weight.tolist() == [1] * 9


def test_beyond_a_termination_nothing_is_taught(monkeypatch):
    sac = sac_with(monkeypatch, temperature=1e-6)
    found = expanded(sac, Counting(), real([0.0, 0.0, 0.0], [5.0, 5.0, 5.0], [1.0, 1.0, 1.0]), horizon=2)
    # Model 2 ends at once (5 + 3), model 1 after two steps (5 + 4), model 0 never.
    g = 0.9
    end = [5 + g * (6 + g * 70), 5 + g * 7, 5.0]
    assert torch.allclose(found.target[3:6], torch.tensor(end), atol=1e-3)
    assert torch.allclose(found.target[:3], 1 + g * torch.tensor(end), atol=1e-3)
    assert found.weight.tolist() == [1, 1, 1, 1, 1, 1, 1, 1, 0]
    ended = expanded(sac, Counting(), real([0.0] * 3, [5.0] * 3, [1.0] * 3, terminated=1.0), horizon=1)
    assert ended.target[:3].tolist() == [1, 1, 1] and ended.weight.tolist() == [1] * 3 + [0] * 3


def test_the_loss_leaves_out_what_has_no_weight():
    critic = EnsembleMLP(2, [S + A, 4, 1], torch.relu_, torch.Generator().manual_seed(0))
    data = real([1.0, 2.0], [0.0, 0.0], [3.0, 4.0])
    whole = Targets(data.obs, data.act, data.reward, torch.tensor([1.0, 0.0])).loss(critic)
    one = Targets(data.obs[:1], data.act[:1], data.reward[:1], torch.ones(1)).loss(critic)
    assert whole.item() == pytest.approx(one.item() / 2)


def test_branched_rollouts_stop_where_their_model_ends_and_the_others_are_dealt_anew():
    into, generator = Replay(100, S, A), torch.Generator().manual_seed(0)
    actor = lambda obs, generators: -torch.ones(len(obs), A)  # noqa: E731
    branch(Counting(), actor, states(0.0, 0.0, 4.0, 4.0, 6.0, 6.0, 9.0), 2, generator, into)
    data = into.rows(torch.arange(len(into)))
    # Seven starts are cut to six, two a model: 0 -> 1, 4 -> 6, 6 -> 9 (which ends); then 1, 1, 6 -> 2, 3, 9
    # of the four that go on.
    assert data.obs[:, 0].tolist() == [0, 0, 4, 4, 6, 6, 1, 1, 6]
    assert data.next_obs[:, 0].tolist() == [1, 1, 6, 6, 9, 9, 2, 3, 9]
    assert data.terminated.tolist() == [0, 0, 0, 0, 1, 1, 0, 0, 1]
    assert data.reward.tolist() == data.obs[:, 0].tolist() and (data.act == -1).all()


def test_a_witness_changes_nothing_and_keeps_true_transitions():
    into, model = Replay(40, S, A), Counting()
    witness = Witness(model, 10, into, torch.Generator().manual_seed(0))
    obs, act = torch.randn(3, 11, S), torch.randn(3, 2, 11, A)
    found, plain = (rollout(m, obs, lambda t, _: act[:, t], 2, []) for m in (witness, model))
    assert all(
        a is None or torch.equal(a, b) for a, b in zip((*found[:2], *found[2]), (*plain[:2], *plain[2]), strict=True)
    )
    assert len(into) == 12  # as many of each model
    kept = into.rows(torch.arange(12))
    assert (kept.next_obs - kept.obs)[:, 0].round().tolist() == [1.0] * 4 + [2.0] * 4 + [3.0] * 4
    assert torch.equal(kept.reward, kept.obs[:, 0])
    pairs = torch.cat((plain.obs[:, :-1], plain.act), -1).flatten(0, 2)
    assert all(any(torch.equal(x, pair) for pair in pairs) for x in torch.cat((kept.obs, kept.act), -1))
    rollout(witness, obs, lambda t, _: act[:, t], 2, [], judged=False)
    assert len(into) == 12  # an actor's proposals are no search


def test_a_witness_keeps_nothing_from_beyond_an_imagined_end():
    into, model = Replay(3000, S, A), Counting()
    witness = Witness(model, 900, into, torch.Generator().manual_seed(0))
    start = states(5.0, 7.0).expand(3, -1, -1)  # of the first, model 0 ends at the third step, 2 at the first
    rollout(witness, start, lambda t, obs: torch.zeros(3, 2, A), 3, [])
    kept = into.rows(torch.arange(len(into)))
    assert sorted(set(kept.obs[:, 0].tolist())) == [5, 6, 7] and len(into) < 900
    assert ((kept.next_obs[:, 0] >= 8) == kept.terminated.bool()).all()


def test_what_is_not_finite_is_not_taught(monkeypatch):
    sac, model = sac_with(monkeypatch), Counting()
    following = model.following
    burst = torch.tensor([0.0, 0, math.inf]).view(3, 1, 1)
    monkeypatch.setattr(model, "following", lambda obs: following(obs) + burst)
    found = expanded(sac, model, real([0.0] * 3, [1.0, 1.0, 9.0], [1.0] * 3), horizon=2)
    # Model 2 bursts, and ends there: what came before is taught, what comes after is not.
    assert found.weight.tolist() == [1, 1, 1, 1, 1, 1, 1, 1, 0]
    assert found.target.isfinite().all() and found.loss(sac.critic).isfinite()
    model.ends = False
    found = expanded(sac, model, real([0.0] * 3, [1.0, 1.0, 9.0], [1.0] * 3), horizon=2)
    assert found.weight.tolist() == [1, 1, 0] * 3 and found.loss(sac.critic).isfinite()


def test_a_ring_takes_batches_drops_what_is_not_finite_and_keeps_the_last():
    ring = Replay(4, S, A)
    data = real([1.0, 2.0, 3.0], [0.0, 0.0, 0.0], [1.0, math.nan, 3.0])
    ring.extend(data)
    assert (len(ring), ring.data.obs[:2, 0].tolist()) == (2, [1, 3])
    ring.extend(real([4.0, 5.0, 6.0], [0.0] * 3, [0.0] * 3))
    assert ring.data.obs[:, 0].tolist() == [6, 3, 4, 5] and len(ring) == 4
    ring.extend(real([float(i) for i in range(10, 19)], [0.0] * 9, [0.0] * 9))
    assert sorted(ring.data.obs[:, 0].tolist()) == [15, 16, 17, 18]


def test_mixed_batches_hold_both():
    data, imagined, generator = (
        real([1.0, 4.0, 5.0], [2.0, 6.0, 7.0], [3.0, 8.0, 9.0]),
        Replay(9, S, A),
        torch.Generator(),
    )
    assert mixed(data, None, 0.4, generator) is data and mixed(data, imagined, 0.4, generator) is data
    imagined.extend(real([-1.0, -2.0], [-3.0, -4.0], [-5.0, -6.0]))
    both = mixed(data, imagined, 0.4, generator)
    assert both.reward[0] == 3 and len(both.reward) == 3 and set(both.reward[1:].tolist()) <= {-5.0, -6.0}
    assert both.obs[0, 0] == 1 and (both.obs[1:, 0] == both.reward[1:] + 4).all()


def test_a_penalised_reward_is_less_by_the_largest_doubt_of_any_model():
    k, m = 3, 4
    models = Ensemble(S, A, ensemble_size=k, sizes=[8], heads=Heads(), generator=torch.Generator().manual_seed(0))
    models.delta_std.mul_(0.5)
    world = World(models, cost=zero_cost, noise=False)
    obs, act = torch.randn(k, m, S), torch.rand(k, m, A)
    plain, found = world.step(obs, act, [])[2], Penalised(world, 2.0).step(obs, act, [])
    assert torch.equal(found[1], world.step(obs, act, [])[1])
    for i in range(k):
        for j in range(m):
            lengths = []
            for other in range(k):  # what each model says of this transition
                raw = models.net.transition(
                    models.normalise(obs[i, j].expand(k, 1, S)), act[i, j].expand(k, 1, A), None
                )[1]
                lengths.append(0.5 * models._variance(raw)[other, 0].sqrt().norm().item())
            expected = plain.reward[i, j].item() - 2.0 * max(lengths)
            assert found[2].reward[i, j].item() == pytest.approx(expected, abs=1e-4)
