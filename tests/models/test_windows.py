import pytest
import torch

from safeloop.cmdp import Entities
from safeloop.data.replay import Batch, Replay
from safeloop.models.ensemble import Ensemble
from safeloop.models.full import Heads, Prediction
from safeloop.models.windows import BLOCK, continuing, inside, sides

K, S, A = 3, 7, 2
ENTITIES = Entities(robot=(4, 0, 6), positions=((1, 2), (3, 5)), kinds=("goal", "hazard"), goal=0)


def make(entities=None, heads=None, window=1):
    return Ensemble(
        S, A, ensemble_size=K, sizes=[32, 32], heads=heads or Heads(), parts=ENTITIES,
        factored=entities is not None, window=window, generator=torch.Generator().manual_seed(0),
    )  # fmt: skip


def test_the_loss_of_two_steps_is_that_of_predictions_from_predictions_by_hand(monkeypatch):
    """The mean change is 0.5 s + a; the second input is the first prediction, and its error counts in full."""
    model = make(window=2, heads=Heads(reward=False))
    model.delta_std.copy_(torch.arange(1.0, S + 1))
    model.delta_mean.fill_(0.25)
    gain = torch.tensor(0.5, requires_grad=True)

    def transition(x, act, scale):
        return (gain * x + act[..., :1]) / scale, torch.zeros_like(x), x[..., :0]

    monkeypatch.setattr(model.net, "transition", transition)
    monkeypatch.setattr(model.net, "outcome", lambda *found: Prediction(None, None, {}))
    monkeypatch.setattr(model, "_variance", torch.ones_like)
    b = 5
    obs, act, zero = torch.randn(K, b, 3, S), torch.randn(K, b, 2, A), torch.zeros(K, b, 2)
    data = Batch(obs[:, :, :2], act, zero, zero, zero, zero, obs[:, :, 1:])
    s, a, c = obs[:, :, 0], act[..., :1], 0.25
    first = 1.5 * s + a[:, :, 0] + c
    second = 1.5 * first + a[:, :, 1] + c
    errors = [(x - obs[:, :, t]) / model.delta_std for t, x in ((1, first), (2, second))]
    expected = sum(error.square().mean((1, 2)) for error in errors) / 2
    bounds = 0.01 * (model.log_var_max.sum() - model.log_var_min.sum())
    loss = model._loss(data)
    torch.testing.assert_close(loss, expected.sum() + bounds)
    torch.testing.assert_close(model._holdout_error(data), expected)
    slopes = s, first + 1.5 * s  # of the predictions in the gain, the second also through the first
    of_each = sum((e * x / model.delta_std).mean((1, 2)) for e, x in zip(errors, slopes, strict=True))
    torch.testing.assert_close(torch.autograd.grad(loss, gain)[0], of_each.sum())


def drive(lengths=(3, 9, 4, 7), seed=0):
    """A replay of episodes of these lengths; the first number is the episode's, and every second one terminates."""
    g, replay = torch.Generator().manual_seed(seed), Replay(400, S, A)
    for episode, length in enumerate(lengths):
        path, act = torch.randn(length + 1, S, generator=g), torch.randn(length, A, generator=g)
        path[:, 0] = episode
        for t in range(length):
            ends = t == length - 1 and episode % 2 == 1
            replay.add(path[t].numpy(), act[t].numpy(), t, t % 3 == 0, ends, False, path[t + 1].numpy())
    return replay


def batches(model, replay, steps, size, monkeypatch):
    """Return the data of each gradient step of a fit."""
    seen, loss = [], model._loss
    monkeypatch.setattr(model, "_loss", lambda data: seen.append(data) or loss(data))
    model.fit(replay, steps, size)
    return seen


def test_windows_of_one_decision_are_the_transitions_that_the_generator_draws(monkeypatch):
    model, replay, generator = make(), drive(), torch.Generator()
    generator.set_state(model.generator.get_state())
    train, _ = replay.split()
    for data in batches(model, replay, 3, 13, monkeypatch):
        drawn = replay.rows(train[torch.randint(len(train), (K, 13), generator=generator)])
        assert all(torch.equal(a, b) for a, b in zip(data, drawn, strict=True))


def test_windows_lie_in_the_order_of_decisions_and_count_within_one_episode(monkeypatch):
    model, replay = make(window=4), drive()
    (data,) = batches(model, replay, 1, 4 * 500, monkeypatch)
    assert data.obs.shape == (K, 500, 4, S)
    there, episode = inside(data) > 0, data.obs[..., 0]
    ends = data.reward[..., :1] + torch.arange(4) >= torch.tensor([3, 9, 4, 7])[episode[..., :1].long()]
    assert torch.equal(there, ~ends) and 0 < ends.float().mean() < 0.5
    assert torch.equal(episode[there], episode[..., :1].expand(K, 500, 4)[there])
    in_order = data.reward[..., :1] + torch.arange(4)  # the reward is the number of decisions before
    assert torch.equal(data.reward[there], in_order[there])


def test_a_terminated_episode_ends_where_the_next_one_begins_with_what_it_ended_with():
    data = drive((5,)).rows(torch.arange(5))
    assert continuing(data).tolist() == [False, True, True, True, True]
    data.terminated[2] = 1.0
    assert continuing(data).tolist() == [False, True, True, False, True]
    assert inside(data).tolist() == [1, 1, 1, 0, 0]


def test_windows_that_are_held_out_share_no_transition_with_those_that_are_fitted():
    for window in range(1, BLOCK + 1):
        train, held = sides(230, window, "cpu")
        fitted, out = (
            {row for start in part.tolist() for row in range(start, start + window)} for part in (train, held)
        )
        assert not fitted & out and {row for row in out if row < 230} == {*range(90, 100), *range(190, 200)}
        assert len(train) == 230 - 20 - 2 * (window - 1) and len(held) == 2 * (BLOCK - window + 1)


@pytest.mark.parametrize(
    ("entities", "heads"),
    [(None, Heads(terminated=True, violated=True)), (ENTITIES, Heads(reward=False, violated=True))],
    ids=["full", "factored"],
)
def test_what_follows_the_end_of_an_episode_counts_for_nothing(entities, heads):
    replay, rows = drive(), torch.tensor([2, 11, 15]).expand(K, -1)  # the last decisions of episodes
    one, two = make(entities, heads), make(entities, heads, window=2)
    windows = replay.rows(rows.unsqueeze(-1) + torch.arange(2))
    bounds = 0.01 * (one.log_var_max.sum() - one.log_var_min.sum())
    torch.testing.assert_close(2 * (two._loss(windows) - bounds), one._loss(replay.rows(rows)) - bounds)
    torch.testing.assert_close(2 * two._holdout_error(windows), one._holdout_error(replay.rows(rows)))


def test_windows_go_on_from_where_an_event_relocated_the_goal(monkeypatch):
    model, replay = make(ENTITIES, Heads(event=True, violated=True), window=3), drive((9,))
    data = replay.rows(torch.arange(6).view(2, 3).expand(K, -1, -1))
    data.event[:, 0, 1] = 1.0
    seen, transition = [], model.net.transition

    def watched(x, act, scale):
        seen.append((x, transition(x, act, scale)))
        return seen[-1][1]

    monkeypatch.setattr(model.net, "transition", watched)
    parts = model._parts(data)
    assert len(seen) == 3 and torch.equal(seen[0][0], data.obs[:, :, 0])
    goal, rest = [1, 2], [0, 3, 4, 5, 6]
    for t in (1, 2):
        x, expected = seen[t][0], seen[t - 1][0] + seen[t - 1][1][0]
        jumped = data.event[:, :, t - 1] > 0
        torch.testing.assert_close(x[..., rest], expected[..., rest])
        torch.testing.assert_close(x[jumped][:, goal], data.next_obs[:, :, t - 1][jumped][:, goal])
        torch.testing.assert_close(x[~jumped][:, goal], expected[~jumped][:, goal])
    mask, calm = parts.mask.unflatten(1, (2, 3)), parts.calm.unflatten(1, (2, 3))
    assert (mask[:, 0, 1, goal] == 0).all() and mask.sum() == mask.numel() - K * len(goal)
    assert (calm[:, 0, 1] == 0).all() and calm.sum() == calm.numel() - K


def test_outcomes_are_read_from_predicted_states_and_do_not_move_them(monkeypatch):
    model, replay = make(ENTITIES, Heads(event=True, violated=True), window=2), drive((9,))
    data, seen = replay.rows(torch.arange(8).view(4, 2).expand(K, -1, -1)), []
    for name in ("outcome", "violation"):
        whole = getattr(model.net, name)
        monkeypatch.setattr(model.net, name, lambda *x, whole=whole: seen.append(x) or whole(*x))
    parts = model._parts(data)
    with torch.no_grad():
        first = model.step(data.obs[:, :, 0], data.act[:, :, 0], None)[0]
        second = model.step(first, data.act[:, :, 1], None)[0]
    for _, before, act, after in seen:
        assert not before.requires_grad and not after.requires_grad
        torch.testing.assert_close(before, torch.stack((data.obs[:, :, 0], first), 2).flatten(1, 2))
        torch.testing.assert_close(after, torch.stack((first, second), 2).flatten(1, 2))
        assert torch.equal(act, data.act.flatten(1, 2))
    assert len(seen) == 2 and parts.target.requires_grad


@pytest.mark.parametrize("count", [1, 2, 9])
def test_a_few_transitions_are_enough_for_a_fit_on_windows(count):
    steps, before, after = make(window=4).fit(drive((count,)), 60)
    assert steps == 60 and after < before
