import io
import math

import pytest
import torch

from safeloop.cmdp import Entities
from safeloop.data.replay import HOLDOUT_EVERY, Batch, Replay
from safeloop.models.ensemble import Ensemble
from safeloop.models.full import Heads
from safeloop.models.points import NEAR_SCALE

K, S, A = 3, 7, 2


def through_a_file(state):
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


ENTITIES = Entities(robot=(4, 0, 6), positions=((1, 2), (3, 5)), kinds=("goal", "hazard"), goal=0)


def make(entities=None, heads=None, seed=0, sizes=(32, 32), obs_dim=S):
    return Ensemble(
        obs_dim, A, ensemble_size=K, sizes=list(sizes), heads=heads or Heads(), parts=entities or ENTITIES,
        factored=entities is not None,
        generator=torch.Generator().manual_seed(seed),
    )  # fmt: skip


def linear_replay(n=1500, seed=0, constant=False, noise=0.0):
    """s' = s + 0.1 s_rolled + B a, reward = s_0 + a_0."""
    g = torch.Generator().manual_seed(seed)
    replay = Replay(4000, S, A)
    b = torch.randn(A, S, generator=g)
    for _ in range(n):
        s, a = torch.randn(S, generator=g), torch.rand(A, generator=g) * 2 - 1
        if constant:
            s[2] = 3.0
        change = 0.1 * s.roll(1) + a @ b + noise * torch.randn(S, generator=g)
        if constant:
            change[2] = 0.0
        replay.add(s.numpy(), a.numpy(), (s[0] + a[0]).item(), False, False, False, (s + change).numpy())
    return replay


@pytest.mark.parametrize("entities", [None, ENTITIES], ids=["full", "factored"])
def test_shapes_are_models_by_rows(entities):
    model = make(entities, Heads(event=True, terminated=True, violated=True))
    obs, act = torch.randn(K, 11, S), torch.randn(K, 11, A)
    next_obs, memory = model.step(obs, act, [torch.Generator()])
    reward, chance = model.judge(obs, act, next_obs, memory)
    assert next_obs.shape == (K, 11, S) and reward.shape == (K, 11)
    assert {n: tuple(c.shape) for n, c in chance.items()} == dict.fromkeys(("event", "terminated", "violated"), (K, 11))


def test_full_dynamics_learn_a_linear_system():
    replay, model = linear_replay(), make()
    steps, before, after = model.fit(replay, 600)
    assert steps == 600 and after < 0.03 * before


def test_predicted_noise_matches_the_data():
    replay, model = linear_replay(noise=0.3), make()
    model.fit(replay, 800)
    batch = replay.rows(torch.arange(400))
    obs, act = batch.obs.expand(K, -1, -1), batch.act.expand(K, -1, -1)
    draws = torch.stack([model.step(obs, act, [torch.Generator().manual_seed(i)])[0] for i in range(30)])
    assert draws.std(0).mean().item() == pytest.approx(0.3, rel=0.25)
    mean, memory = model.step(obs, act, None)
    assert (draws.mean(0) - mean).abs().mean() < 0.1  # 30 draws: 0.3 / sqrt(30) * sqrt(2 / pi) is 0.044
    assert torch.equal(memory, model.step(obs, act, [torch.Generator()])[1])


def test_two_softplus_clamps_equal_the_planning_form():
    model = make()
    raw = torch.linspace(-30, 30, S)
    high, low = model.log_var_max[0, :S], model.log_var_min[0, :S]
    clamped = high - torch.nn.functional.softplus(high - raw)
    clamped = low + torch.nn.functional.softplus(clamped - low)
    assert torch.allclose(model._variance(raw.expand(K, 1, -1)), clamped.exp(), rtol=1e-4)


def test_constant_features_are_left_unscaled():
    model = make()
    model.fit(linear_replay(200, constant=True), 10)
    assert model.obs_std[2] == 1 and model.delta_std[2] == 1
    obs = torch.randn(K, 5, S)
    assert model.normalise(obs).abs().max() < 100


def test_normalisers_are_part_of_the_checkpoint():
    model = make()
    model.fit(linear_replay(300), 20)
    other = make(seed=9)
    other.restore(through_a_file(model.checkpoint()))
    obs, act = torch.randn(K, 5, S), torch.randn(K, 5, A)
    first = model.step(obs, act, [torch.Generator().manual_seed(1)])[0]
    assert torch.equal(first, other.step(obs, act, [torch.Generator().manual_seed(1)])[0])


def test_restored_fits_go_on_exactly():
    replay, model = linear_replay(300), make()
    model.fit(replay, 30)
    other = make(seed=9)
    other.restore(through_a_file(model.checkpoint()))
    assert model.fit(replay, 30) == other.fit(replay, 30)
    for a, b in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)


def test_the_best_weights_are_restored():
    replay, model = linear_replay(400), make()
    model.fit(replay, 400)
    held = replay.rows(replay.split()[1].expand(K, -1))
    good = model._holdout_error(held)
    for group in model.optimizer.param_groups:
        group["lr"] = 3.0  # every further step makes things worse
    _, before, after = model.fit(replay, 50)
    assert torch.equal(model._holdout_error(held), good) and before == after


def test_each_models_variance_bounds_go_with_its_best_weights(monkeypatch):
    model, seen = make(), []
    errors = iter([[1.0, 1.0, 0.2], [0.5, 0.9, 1.0], [0.6, 0.4, 1.0]])  # best: after 50 steps, after 100, at the start

    def error(data):
        seen.append([bound.detach().clone() for bound in (model.log_var_max, model.log_var_min)])
        return torch.tensor(next(errors))

    monkeypatch.setattr(model, "_holdout_error", error)
    model.fit(linear_replay(200), 100)
    for bound, index in ((model.log_var_max, 0), (model.log_var_min, 1)):
        assert not torch.equal(seen[1][index], seen[2][index])
        for k, best in enumerate((1, 2, 0)):
            assert torch.equal(bound[k], seen[best][index][k])


@pytest.mark.parametrize("entities", [None, ENTITIES], ids=["full", "factored"])
@pytest.mark.parametrize("count", [1, 5, 9])
def test_a_few_transitions_are_enough_for_a_fit(count, entities):
    model = make(entities, Heads(event=True))
    steps, before, after = model.fit(linear_replay(count), 60)
    assert steps == 60 and after < before
    replay = linear_replay(count)
    replay.data.event[:] = 1.0  # nothing but events: no other reward to scale by
    assert all(map(math.isfinite, model.fit(replay, 10)))


def test_the_reward_has_a_weight_in_the_loss():
    model, batch = make(), linear_replay(50).rows(torch.arange(50).expand(K, -1))

    def losses(weight):
        model.reward_weight = weight
        return torch.stack((model._loss(batch), model._holdout_error(batch).sum()))

    none, one, three = map(losses, (0.0, 1.0, 3.0))
    assert (one - none).abs().min() > 0.1 and torch.allclose(three - none, 3 * (one - none), rtol=1e-4)


def test_a_learned_cost_has_a_weight_in_the_loss():
    model = make(heads=Heads(violated=1))
    batch = linear_replay(50).rows(torch.arange(50).expand(K, -1))

    def losses(weight):
        model.cost_weight = weight
        return torch.stack((model._loss(batch), model._holdout_error(batch).sum()))

    none, one, three = map(losses, (0.0, 1.0, 3.0))
    assert (one - none).abs().min() > 0.1 and torch.allclose(three - none, 3 * (one - none), rtol=1e-4)


def test_a_fit_has_its_least_passes_over_the_data():
    model = make()
    for group in model.optimizer.param_groups:
        group["lr"] = 0.0  # nothing improves
    # 200 transitions, 180 of which are fitted: 5 passes are 900 / 4 = 225 steps; the next check ends the fit
    assert model.fit(linear_replay(200), 5000, 4, patience=2, epochs=5)[0] == 250
    assert model.fit(linear_replay(200), 10, 4, epochs=5)[0] == 225
    assert model.fit(linear_replay(200), 300, 4, epochs=5)[0] == 300


def test_held_out_transitions_are_never_fitted():
    replay = linear_replay(200)
    train, held = replay.split()
    assert len(held) == 200 // HOLDOUT_EVERY and not set(train.tolist()) & set(held.tolist())
    train_again, _ = linear_replay(300).split()
    assert set(train.tolist()) <= set(train_again.tolist())


def test_patience_ends_a_fit_that_no_longer_improves():
    model = make()
    for group in model.optimizer.param_groups:
        group["lr"] = 0.0
    assert model.fit(linear_replay(200), 5000, patience=2)[0] == 100


def test_small_gains_add_up_before_patience_is_lost(monkeypatch):
    model, errors = make(), iter([1.0, *(0.996**i for i in range(1, 7)), *[0.97] * 20])
    monkeypatch.setattr(model, "_holdout_error", lambda data: torch.full((model.ensemble_size,), next(errors)))
    # Better by 1% than at the start after three checks, by 1% more after six; by less from then on.
    assert model.fit(linear_replay(200), 5000, patience=4)[0] == (6 + 4) * 50


def test_models_are_chosen_by_transitions_from_all_over_the_replay(monkeypatch):
    model, seen = make(), []
    error = model._holdout_error
    monkeypatch.setattr(model, "_holdout_error", lambda data: seen.append(data) or error(data))
    few, replay = linear_replay(1000), Replay(25_000, S, A)
    for _ in range(25):
        replay.extend(few.rows(torch.arange(1000)))
    replay.data.obs[:, 0] = torch.arange(25_000)
    model.fit(replay, 1)
    _, held = replay.split()
    assert torch.equal(seen[0].obs[0], replay.data.obs[held[::3]]) and len(seen[0].obs[0]) == 834


def test_factored_dynamics_share_one_network_over_entities():
    entities = Entities(robot=(0,), positions=((1, 2), (3, 4), (5, 6)), kinds=("goal", "hazard", "hazard"), goal=0)
    model = make(entities)
    obs, act = torch.randn(K, 4, S), torch.randn(K, 4, A)
    swapped = obs[..., [0, 1, 2, 5, 6, 3, 4]]
    mean, raw, _ = model.net.transition(obs, act, model.delta_std)
    mean_swapped, raw_swapped, _ = model.net.transition(swapped, act, model.delta_std)
    assert torch.allclose(mean[..., [0, 1, 2, 5, 6, 3, 4]], mean_swapped, atol=1e-6)
    assert torch.allclose(raw[..., [0, 1, 2, 5, 6, 3, 4]], raw_swapped, atol=1e-6)


def test_factored_prediction_of_an_entity_ignores_the_other_entities():
    model = make(ENTITIES)
    obs, act = torch.randn(K, 4, S), torch.randn(K, 4, A)
    changed = obs.clone()
    changed[..., [3, 5]] += 1.0
    mean, changed_mean = (
        model.net.transition(obs, act, model.delta_std)[0],
        model.net.transition(changed, act, model.delta_std)[0],
    )
    assert torch.allclose(mean[..., [0, 1, 2, 4, 6]], changed_mean[..., [0, 1, 2, 4, 6]])
    assert not torch.allclose(mean[..., [3, 5]], changed_mean[..., [3, 5]])


@pytest.mark.parametrize("entities", [None, ENTITIES], ids=["full", "factored"])
def test_goal_jumps_do_not_train_the_dynamics(entities):
    """Transitions with an event train neither the goal's change nor the progress reward."""
    replay, jumping = Replay(400, S, A), Replay(400, S, A)
    g = torch.Generator().manual_seed(0)
    for i in range(300):
        s, a = torch.randn(S, generator=g), torch.rand(A, generator=g)
        event = i % 7 == 0
        next_s = s + 0.1
        jumped = next_s.clone()
        if event:
            jumped[[1, 2]] = 100 * torch.randn(2, generator=g)
        replay.add(s.numpy(), a.numpy(), 0.2 * a[0].item(), False, False, event, next_s.numpy())
        jumping.add(s.numpy(), a.numpy(), 5.0 if event else 0.2 * a[0].item(), False, False, event, jumped.numpy())
    model = make(entities, Heads(event=True))
    model._fit_normalisers(jumping.rows(jumping.split()[0]))
    assert model.delta_std[[1, 2]].max() <= 1 and model.reward_mean.abs() < 1
    assert model.event_reward == 5.0
    rows = torch.arange(300).expand(K, -1)
    parts = model._parts(jumping.rows(rows))
    mask, calm = parts.mask, parts.calm
    event = jumping.data.event[:300] > 0
    assert (mask[:, event][..., [1, 2]] == 0).all() and (mask[:, ~event] == 1).all()
    assert (calm[:, event] == 0).all()


def test_an_event_pays_what_events_paid():
    model = make(ENTITIES, Heads(event=True))
    model.event_reward.fill_(3.0)
    obs, act = torch.randn(K, 4, S), torch.randn(K, 4, A)
    with torch.no_grad():
        model.net.event_net.biases[-1][:] = 50.0  # the event is certain
    reward, _ = model.judge(obs, act, *model.step(obs, act, [torch.Generator()]))
    assert torch.allclose(reward, torch.full((K, 4), 3.0))


def test_entities_of_one_kind_have_the_same_noise():
    three = Entities(robot=(4,), positions=((1, 2), (3, 5), (0, 6)), kinds=("goal", "hazard", "hazard"), goal=0)
    model, replay = make(three), linear_replay(300, noise=0.3)
    replay.data.next_obs[:, [0, 6]] += 2 * torch.randn(len(replay.data.obs), 2)  # one hazard is seen less well
    model.fit(replay, 200)
    obs, act = torch.randn(K, 11, S), torch.randn(K, 11, A)
    swapped = obs[..., [3, 1, 2, 0, 4, 6, 5]]
    noise, other = (model._variance(model.net.transition(x, act, model.delta_std)[1]) for x in (obs, swapped))
    assert torch.allclose(noise[..., [3, 5]], other[..., [0, 6]], rtol=1e-5)
    assert torch.allclose(noise[..., [1, 2, 4]], other[..., [1, 2, 4]], rtol=1e-5)
    assert model.log_var_max.shape == (K, 1 + 2 * 2 + 1)  # the robot's number, two kinds in the plane, the reward


def test_learned_violation_is_one_minus_the_product_over_entities():
    model = make(ENTITIES, Heads(violated=True))
    obs, act = torch.randn(K, 6, S), torch.randn(K, 6, A)
    x = model.normalise(obs)
    contact = model.net.transition(x, act, model.delta_std)[2]
    entities = model.net.split(x)[1]
    distance = entities.norm(dim=-1, keepdim=True)
    to_goal = (entities - entities[:, :1]).norm(dim=-1, keepdim=True)
    distances = torch.cat((distance, distance, to_goal), -1)
    seen = (entities, entities, distances, torch.tanh(NEAR_SCALE * distances))
    p = torch.sigmoid(model.net.contact_net(contact, torch.cat(seen, -1))[..., 0])
    assert torch.allclose(torch.sigmoid(model.net.violation(contact, x, act, x)), 1 - (1 - p).prod(1), atol=1e-5)


HAZARDS = Entities(
    robot=(0,), positions=tuple((i, i + 1) for i in range(1, 15, 2)), kinds=("goal", *["hazard"] * 6), goal=0
)


def circles(n, seed):
    """A replay of six hazards that cost within 0.25, anywhere in a square of 5, and a goal that never does."""
    g = torch.Generator().manual_seed(seed)
    replay = Replay(n, 15, A)
    for _ in range(n):
        s, a = 5 * torch.rand(15, generator=g) - 2.5, torch.rand(A, generator=g) * 2 - 1
        after = s + 0.05 * a[0]
        violated = bool((after[3:].view(6, 2).norm(dim=1) < 0.25).any())
        replay.add(s.numpy(), a.numpy(), 0.0, violated, False, False, after.numpy())
    return replay


def violation_losses(model, batch):
    """Cross-entropy of the ensemble's mean probability of a violation, and of guessing how often there is one."""
    transition = [x.expand(K, -1, -1) for x in (batch.obs, batch.act, batch.next_obs)]
    _, memory = model.step(*transition[:2], [torch.Generator()])
    chance = model.judge(*transition, memory)[1]["violated"].mean(0).clamp(1e-6, 1 - 1e-6)
    rate = batch.violated.mean().expand(len(chance))
    return [torch.nn.functional.binary_cross_entropy(p, batch.violated).item() for p in (chance, rate)]


def test_a_learned_cost_finds_the_circles_around_hazards():
    model = make(HAZARDS, Heads(violated=True), obs_dim=15)
    model.fit(circles(3000, seed=0), 600)
    loss, guess = violation_losses(model, circles(2000, seed=1).data)
    assert loss < 0.35 * guess


@pytest.mark.parametrize("parts", [None, HAZARDS])
def test_each_of_several_costs_is_learned_by_itself(parts):
    """Hazards cost as above, as a first cost; a second is that of the action, and a third is never had."""
    data, replay = circles(3000, seed=0).data, Replay(3000, 15, A, costs=3)
    for i in range(3000):
        obs, act, _, cost, _, _, following = (x[i].numpy() for x in data)
        costs = [float(cost), float(act[0] > 0.5), 0.0]
        replay.add(obs, act, 0.0, costs, False, False, following)
    model = make(parts, Heads(violated=3), obs_dim=15)
    assert len(model.fit(replay, 800)) == 3
    batch = replay.rows(torch.arange(1000))
    transition = [x.expand(K, -1, -1) for x in (batch.obs, batch.act, batch.next_obs)]
    with torch.no_grad():
        chance = model.judge(*transition, model.step(*transition[:2], [torch.Generator()])[1])[1]["violated"]
    assert chance.shape == (K, 1000, 3) and batch.violated.shape == (1000, 3)
    by_action = chance[..., 1].mean(0)
    assert by_action[batch.act[:, 0] > 0.6].mean() > 0.7 and by_action[batch.act[:, 0] < 0.4].mean() < 0.2
    assert chance[..., 2].mean() < 0.05
    if parts is not None:
        found, there = chance[..., 0].mean(0), batch.violated[:, 0] > 0
        assert found[there].mean() > 4 * found[~there].mean()


"""Two lidars of six bins, the second one stored backwards."""


def test_splitting_and_joining_an_observation_are_inverse():
    net, obs = make(ENTITIES).net, torch.randn(K, 5, S)
    robot, entities = net.split(obs)
    assert torch.equal(robot, obs[..., [4, 0, 6]]) and torch.equal(entities[:, 1], obs[..., [3, 5]])
    assert torch.equal(net.join(robot, entities), obs)


def test_entity_network_modulates_each_entitys_features_by_the_body():
    net = make(ENTITIES).net.entity_net
    modulation, entity = torch.randn(K, 5, 2 * 32), torch.randn(K, 2, 5, 2)
    out = net(modulation, entity)
    for k in range(K):
        for b in range(5):
            scale, shift = modulation[k, b].chunk(2)
            for e in range(2):
                features = entity[k, e, b] @ net.weight[k] + net.by_kind[k, net.kind[e]]
                h = torch.relu(features * scale + shift)
                expected = h @ net.head.weights[0][k] + net.head.biases[0][k, 0]
                assert torch.allclose(out[k, e, b], expected, atol=1e-5)


def test_entities_must_cover_the_observation():
    with pytest.raises(ValueError, match=r"not 0\.\.6"):
        make(Entities(robot=(0, 1), positions=((2, 3),), kinds=("goal",)))


def test_one_step_errors_are_in_deviations_of_changes_and_leave_out_what_jumped(monkeypatch):
    model = make(ENTITIES, Heads(event=True))
    model.delta_std.copy_(torch.arange(1.0, S + 1))
    drift = torch.tensor([1.0, 2.0, 6.0]).view(3, 1, 1)  # the mean over models moves by 3
    monkeypatch.setattr(model, "step", lambda obs, act, generators: (obs[:3] + drift, None))
    obs, zero = torch.randn(4, S), torch.zeros(4)
    batch = Batch(obs, torch.zeros(4, A), zero, zero, zero, torch.tensor([0.0, 1.0, 0.0, 0.0]), obs + 1)
    squares = (2 / model.delta_std).square()
    stays = model.event_mask > 0
    expected = torch.full((4,), squares.mean().item())
    expected[1] = squares[stays].mean()
    assert torch.allclose(model.errors(batch), expected) and expected[1] != expected[0]


def test_weights_that_are_as_good_as_0_are_0_after_a_fit():
    """So that no product is taken with numbers below float32's normal range, which processors are slow at."""
    model = make()
    with torch.no_grad():
        weight = model.net.net.weights[0]
        weight[0, 0, :4] = torch.tensor([3e-39, -1e-21, 1e-19, 0.5])
    for group in model.optimizer.param_groups:
        group["lr"] = 0.0
    model.fit(linear_replay(50), 1)
    assert weight[0, 0, :4].tolist() == pytest.approx([0.0, 0.0, 1e-19, 0.5], rel=1e-6, abs=0)
