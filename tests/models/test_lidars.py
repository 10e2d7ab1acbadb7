import pytest
import torch

from safeloop.cmdp import Lidars
from safeloop.data.replay import Replay
from safeloop.models.full import Heads
from safeloop.models.lidars import TURN
from tests.models.test_ensemble import make, violation_losses

K, S, A = 3, 7, 2
LIDARS = Lidars(robot=(0, 13), rings=(tuple(range(1, 7)), (12, 11, 10, 9, 8, 7)), goal=1)


def test_lidars_are_seen_bin_by_bin_with_neighbours_around_the_ring():
    model = make(LIDARS, Heads(event=True, violated=True), obs_dim=14)
    sight, obs = model.net.sight, torch.arange(14.0).expand(K, 5, 14)
    robot, raw = model.net.split(obs)
    assert robot[0, 0].tolist() == [0, 13] and raw.shape == (K, 12, 5, 1)
    seen = sight.entity(raw)
    assert seen.shape == (K, 12, 5, sight.entity_size)
    assert seen[1, 0, 3, :5].tolist() == [3, 2, 1, 6, 5]  # bin 0 of the first ring, which reads 1, and its neighbours
    assert seen[1, 6, 3, :5].tolist() == [10, 11, 12, 7, 8]
    assert torch.allclose(seen[0, 8, 0, 5:], torch.tensor([-0.5, 3**0.5 / 2]))  # bin 2 of six looks to 120 degrees
    assert sight.goal(raw)[0, 0].tolist() == [12, 11, 10, 9, 8, 7, 12]
    assert sight.contact(raw, raw).shape == (K, 6, 5, sight.contact_size)
    next_obs, memory = model.step(obs / 14, torch.zeros(K, 5, A), [torch.Generator()])
    reward, chance = model.judge(obs / 14, torch.zeros(K, 5, A), next_obs, memory)
    assert reward.shape == chance["violated"].shape == chance["event"].shape == (K, 5)
    assert model.event_mask.tolist() == [1.0] * 7 + [0.0] * 6 + [1.0]


def test_lidars_turn_with_the_robot():
    sight, raw = make(LIDARS, obs_dim=14).net.sight, torch.rand(K, 12, 5, 1)
    turn = torch.zeros(K, 5, sight.turn_size)
    turn[..., TURN + 1] = 50.0  # by one bin, surely
    by_one = sight.by_ring(raw).roll(1, 2).flatten(1, 2).unsqueeze(-1)
    assert torch.allclose(sight.turned(raw, turn), by_one)
    turn[..., TURN] = 50.0  # half of one bin
    assert torch.allclose(sight.turned(raw, turn), (raw + by_one) / 2)


def test_what_touches_is_judged_alike_in_every_direction_but_for_the_direction():
    """Turning all rings by a bin turns what the contact network sees by a bin."""
    model = make(LIDARS, Heads(violated=True), obs_dim=14)
    sight, raw = model.net.sight, torch.rand(K, 12, 5, 1)
    turned = sight.by_ring(raw).roll(1, 2).flatten(1, 2).unsqueeze(-1)
    one, other = (sight.contact(x, x)[..., :-2] for x in (raw, turned))
    assert torch.equal(one.roll(1, 1), other)


def test_a_learned_cost_finds_what_is_close_in_lidars():
    """The first ring's nearest costs from a closeness of 0.95 on, the goal's never."""
    g, replay = torch.Generator().manual_seed(0), Replay(4000, 14, A)
    for _ in range(4000):
        s, a = torch.rand(14, generator=g) ** 3, torch.rand(A, generator=g) * 2 - 1
        after = s.clone()
        after[1:13] = (s[1:13] + 0.02 * a[0]).clamp(0, 1)
        replay.add(s.numpy(), a.numpy(), 0.0, bool(after[1:7].max() > 0.95), False, False, after.numpy())
    model = make(LIDARS, Heads(violated=True), obs_dim=14)
    model.fit(replay, 600)
    loss, guess = violation_losses(model, replay.rows(replay.split()[1]))
    assert loss < 0.35 * guess


def test_lidars_have_bins_of_one_number():
    with pytest.raises(ValueError, match=r"lidars of \[2, 1\] bins"):
        Lidars(robot=(0,), rings=((1, 2), (3,)))
