import io

import pytest
import torch

from safeloop.cmdp import Entities, LidarModel, Lidars
from safeloop.data.replay import Batch, Replay
from safeloop.models.full import Heads
from safeloop.models.lidar_tracks import LidarTracks
from safeloop.models.point_ensemble import PointEnsemble
from safeloop.models.position_tracks import PositionTracks
from safeloop.models.tracks import CERTAIN, KNOWN, POSITION, PRESENT, VELOCITY
from safeloop.models.windows import BLOCK, continuing, starts
from tests.models.lidar_rings import ring_of_points

K, A, N = 3, 2, 3  # models, actions, the robot's numbers
GOAL, HAZARDS = range(2)
LIDARS = Lidars(
    robot=(0, 1, 2), rings=(tuple(range(3, 19)), tuple(range(19, 35))), goal=GOAL,
    sensor=LidarModel(3.0, single=(GOAL,), compass=(1, 2)),
)  # fmt: skip
ENTITIES = Entities(
    robot=(4, 8, 9), positions=((0, 1), (2, 3), (5, 6), (10, 7)), kinds=("hazard", "goal", "hazard", "hazard"), goal=1
)
SHOWN = ["lidars", "positions"]
ALL = Heads(event=True, terminated=True, violated=True)


def make(heads=ALL, seed=0, tracks=4, window=3, horizon=5, shown="lidars", margin=0.0):
    return PointEnsemble(
        LidarTracks(LIDARS, tracks) if shown == "lidars" else PositionTracks(ENTITIES), A, ensemble_size=K,
        sizes=[24, 24], heads=heads, width=16, window=window, horizon=horizon, margin=margin,
        generator=torch.Generator().manual_seed(seed),
    )  # fmt: skip


def show(goal, hazards, act, shown):
    """An observation of a goal `[2]` and three hazards `[3, 2]`, after an action."""
    if shown == "positions":
        obs = torch.zeros(11)
        obs[[4, 8, 9]] = torch.tensor([float(act[0]), 0.0, 0.5])
        obs[[0, 1, 2, 3, 5, 6, 10, 7]] = torch.stack((hazards[0], goal, hazards[1], hazards[2])).flatten()
        return obs
    rings = [*ring_of_points([goal.tolist()]), *ring_of_points(hazards.tolist())]
    return torch.tensor([float(act[0]), 0.0, 0.5, *rings])


def drive(episodes=20, decisions=40, seed=0, moving=0.03, shown="lidars"):
    """A world in which an action moves the robot by a tenth of it, and every hazard goes its own way."""
    g = torch.Generator().manual_seed(seed)
    replay = Replay(4000, 35 if shown == "lidars" else 11, A)

    def place():
        return (2 * torch.rand(2, generator=g) - 1) * 1.2

    for _ in range(episodes):
        goal, hazards, act = place(), torch.stack([place() for _ in range(3)]), torch.zeros(A)
        ways = moving * torch.nn.functional.normalize(torch.randn(3, 2, generator=g), dim=1)

        obs = show(goal, hazards, act, shown)
        for _ in range(decisions):
            act = (0.8 * act + 0.5 * (2 * torch.rand(A, generator=g) - 1)).clamp(-1, 1)
            before = goal.norm()
            goal, hazards = goal - 0.1 * act, hazards - 0.1 * act + ways
            event = bool(goal.norm() < 0.3)
            reward, cost = (before - goal.norm()).item() + event, float((hazards.norm(dim=1) < 0.2).any())
            if event:
                goal = place()
            after = show(goal, hazards, act, shown)
            replay.add(obs.numpy(), act.numpy(), reward, cost, False, event, after.numpy())
            obs = after
    return replay


def everything(replay):
    return replay.rows(torch.arange(len(replay)))


@pytest.fixture(scope="module", params=SHOWN)
def learned(request):
    """A model of the world, its data, and the states that it sees in other data."""
    model = make(Heads(event=True, violated=True), shown=request.param)
    model.fit(drive(shown=request.param), 1200, 256)
    data = everything(drive(6, seed=1, shown=request.param))
    return model, data, *model.states(data)


def test_shapes_are_models_by_rows():
    model, b = make(), 11
    state, act = torch.randn(K, b, model.tracks.size), torch.randn(K, b, A)
    following, memory = model.step(state, act, None)
    reward, chance = model.judge(state, act, following, memory)
    assert following.shape == state.shape and reward.shape == (K, b)
    assert {n: tuple(c.shape) for n, c in chance.items()} == dict.fromkeys(("event", "terminated", "violated"), (K, b))
    assert model.tracks.count == 5 and model.feature_size == N + 3 * 5
    assert model.features(state[0]).shape == (b, model.feature_size)


def test_tracks_that_no_row_has_are_left_out_of_the_products_and_change_nothing():
    model, obs = make(tracks=9), everything(drive(2)).obs[::7]
    state = model.first(obs).expand(K, -1, -1)
    act = torch.rand(K, len(obs), A)
    with torch.no_grad():
        some = model.step(state, act, None)
        assert len(model._shown(model.net.split(state)[1])) < model.tracks.count == 10  # there are four objects
        judged = model.judge(state, act, *some)
    whole = model.step(state, act, None)  # with gradients there are all
    there = model.tracks.split(state)[1][..., PRESENT:CERTAIN]
    for a, b in zip(model.tracks.split(some[0]), model.tracks.split(whole[0].detach()), strict=True):
        torch.testing.assert_close(a * there if a.dim() > 3 else a, b * there if b.dim() > 3 else b)
    every = model.judge(state, act, *whole)
    torch.testing.assert_close(judged[0], every[0].detach())
    for name, chance in judged[1].items():
        torch.testing.assert_close(chance, every[1][name].detach())


def test_violations_are_those_of_any_track_that_is_there(learned):
    model, _, states, _ = learned
    state, act = states[:4].clone().expand(K, -1, -1), torch.zeros(K, 4, A)

    def chance(state):
        with torch.no_grad():
            return model.judge(state, act, *model.step(state, act, None))[1]["violated"]

    robot, tracks = model.tracks.split(state)
    alone = []
    for e in range(model.tracks.count):
        only = torch.zeros_like(tracks)
        only[..., e, :] = tracks[..., e, :]
        only[..., model.tracks.goal, POSITION] = tracks[..., model.tracks.goal, POSITION]  # its place is read by all
        alone.append(chance(model.tracks.join(robot, only)))
    torch.testing.assert_close(chance(state), 1 - (1 - torch.stack(alone)).prod(0), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("shown", SHOWN)
def test_each_of_several_costs_is_learned_by_itself(shown):
    """The first cost is that of hazards, the second is had at all times when the action is large."""
    data = everything(drive(12, shown=shown))
    replay = Replay(len(data.obs), data.obs.shape[1], A, costs=2)
    for obs, act, reward, cost, _, event, following in zip(*data, strict=True):
        costs = [float(cost), float(cost > 0 and act[0] > 0)]
        replay.add(obs.numpy(), act.numpy(), float(reward), costs, False, bool(event), following.numpy())
    model = make(Heads(event=True, violated=2), shown=shown)
    model.fit(replay, 800, 256)
    rows = everything(replay)
    state = model.first(rows.obs).expand(K, -1, -1)
    act = rows.act.expand(K, -1, -1)
    with torch.no_grad():
        following, memory = model.step(state, act, None)
        chance = model.judge(state, act, following, memory)[1]["violated"]
    model.net.asks = False  # as on a CUDA device
    with torch.no_grad():
        torch.testing.assert_close(model.judge(state, act, following, memory)[1]["violated"], chance)
    assert chance.shape == (K, len(data.obs), 2)
    bad, found = rows.violated > 0, chance.mean(0)
    assert found[bad[:, 0], 0].mean() > 4 * found[~bad[:, 0], 0].mean()
    only_first = bad[:, 0] & ~bad[:, 1]
    assert found[bad[:, 1], 1].mean() > 2 * found[only_first, 1].mean()
    assert found[only_first, 0].mean() > 2 * found[only_first, 1].mean()


def test_it_learns_how_objects_move_and_what_follows_several_decisions_ahead(learned):
    model, data, states, _ = learned
    ahead, k = 6, model.ensemble_size
    idle = (data.event.unfold(0, ahead, 1).sum(1) == 0)[: len(data.obs) - ahead]
    inside = ~torch.stack([~continuing(data)[i : len(data.obs) - ahead + i] for i in range(1, ahead + 1)]).any(0)
    start = (idle & inside).nonzero()[:, 0]
    state, cost, reward = states[start].expand(k, -1, -1), 0.0, 0.0
    with torch.no_grad():
        for t in range(ahead):
            act = data.act[start + t].expand(k, -1, -1)
            following, memory = model.step(state, act, None)
            judged = model.judge(state, act, following, memory)
            cost, reward, state = cost + judged[1]["violated"], reward + judged[0], following
    tracks, truth = model.tracks.split(state.mean(0))[1], model.tracks.split(states[start + ahead])[1]
    certain = (tracks[..., CERTAIN] * tracks[..., PRESENT] > 0) & (tracks[..., POSITION].norm(dim=-1) < 1.5)
    known = certain & (tracks[..., KNOWN] > 0)
    gap = (tracks[..., None, POSITION] - truth[..., None, :, POSITION]).norm(dim=-1)
    gap = gap + 9 * ((model.tracks.kind[:, None] != model.tracks.kind) | (truth[..., None, :, PRESENT] == 0))
    assert gap.amin(-1)[known].median() < 0.03  # by then a hazard has moved 0.18 m by itself, the robot up to 0.6 m
    rows = model.tracks.split(states[start])[1][:, model.tracks.many].flatten(0, 1)
    assert rows[rows[:, KNOWN] > 0][:, VELOCITY].norm(dim=-1).median() == pytest.approx(0.03, abs=0.008)
    violated = sum(data.cost[start + t] for t in range(ahead)) > 0
    assert cost.mean(0)[violated].mean() > 4 * cost.mean(0)[~violated].mean()
    rewards = sum(data.reward[start + t] for t in range(ahead))
    assert torch.corrcoef(torch.stack((reward.mean(0), rewards)))[0, 1] > 0.9


def test_states_of_recorded_episodes_are_those_that_a_planner_sees(learned):
    model, data, states, following = learned
    now = model.first(data.obs[:1])
    for t in range(40):  # the first episode
        torch.testing.assert_close(states[t : t + 1], now)
        now = model.follow(now, data.act[t : t + 1], data.next_obs[t : t + 1])
        torch.testing.assert_close(following[t : t + 1], now)
    torch.testing.assert_close(states[40:41], model.first(data.obs[40:41]))
    alone, _ = model.states(Batch(*(x[80:120] for x in data)))
    torch.testing.assert_close(alone, states[80:120])


def test_windows_lie_within_episodes_and_on_one_side_of_the_holdout():
    data = everything(drive(5, 30))
    train, held = starts(data, 4)
    for index in (*train.tolist(), *held.tolist()):
        assert index // 30 == (index + 3) // 30 and index + 3 < 150
        sides = {(index + i) // BLOCK % BLOCK == BLOCK - 1 for i in range(4)}
        assert sides == {index in held}
    assert len(held) == 7 and len(train) == 5 * 27 - 7 - 3  # rows 90 to 99 are held out


@pytest.mark.parametrize("shown", SHOWN)
def test_nothing_is_learned_of_a_goal_that_has_jumped(shown):
    model = make(shown=shown)
    data = everything(drive(1, 3, shown=shown))
    states, following = model.states(data, remember=False)
    windows = [x[None, None].expand(K, 1, *x.shape) for x in (data.act, following, data.reward)]
    event, none = torch.tensor([0.0, 1.0, 0.0]).expand(K, 1, 3), torch.zeros(K, 1, 3)

    def errors(following, reward):
        from safeloop.models.point_ensemble import Windows

        return model._errors(Windows(states[:1].expand(K, 1, -1), windows[0], following, reward, event, none, none))

    moved, paid = windows[1].clone(), windows[2].clone()
    goal = N + 7 * model.tracks.goal
    moved[:, :, 1:, goal : goal + 2] += 0.02
    paid[:, :, 1:] += 5.0
    before, after = errors(windows[1], windows[2]), errors(moved, paid)
    assert torch.equal(before["position"], after["position"]) and torch.equal(before["reward"], after["reward"])
    moved[:, :, 0, goal : goal + 2] += 0.02
    assert not torch.equal(before["position"], errors(moved, paid)["position"])


@pytest.mark.parametrize("shown", SHOWN)
def test_reach_is_the_approach_within_the_horizon_and_the_distance_of_contacts(shown):
    model, replay = make(horizon=5, shown=shown), drive(3, moving=0.0, shown=shown)
    data = everything(replay)
    model._fit_normalisers(data)
    approach = 0.1 * data.act.norm(dim=1).max()  # the robot's way in a decision
    assert 0.15 < model.contact <= 1.5 * 0.2  # a violation is a hazard within 0.2 m after the decision
    assert 3 * approach < model.reach - model.contact <= 5 * approach
    wide = make(horizon=5, shown=shown, margin=0.25)
    wide._fit_normalisers(data)
    assert wide.contact == model.contact and wide.reach - model.reach == pytest.approx(0.25, abs=1e-6)
    model._fit_normalisers(data._replace(cost=torch.zeros_like(data.cost)))
    assert (
        model.reach == (3.0 if shown == "lidars" else torch.inf) and model.contact == torch.inf
    )  # nothing is known of contacts


def test_what_is_beyond_reach_of_contact_violates_nothing(learned):
    model, data, states, _ = learned
    state, act = states[::9].expand(K, -1, -1), data.act[::9].expand(K, -1, -1)
    with torch.no_grad():
        following, memory = model.step(state, act, None)
        chance = model.judge(state, act, following, memory)[1]["violated"]
        nearest = []
        for x in (state, following):
            tracks = model.tracks.split(x)[1]
            nearest.append((tracks[..., POSITION].norm(dim=-1) + 9 * (tracks[..., PRESENT] == 0)).amin(-1))
        far = torch.minimum(*nearest) > model.contact
    assert 0 < far.float().mean() < 1 and chance[far].max() < 1e-5 and chance[~far].max() > 0.9


def test_the_same_seed_fits_the_same_model_and_a_checkpoint_goes_on_alike():
    replay = drive(4)
    one, other = make(), make()
    assert one.fit(replay, 60, 64) == other.fit(replay, 60, 64)
    state = io.BytesIO()
    torch.save(one.checkpoint(), state)
    state.seek(0)
    loaded = make(seed=5)
    loaded.restore(torch.load(state, weights_only=True))
    assert loaded.fit(replay, 60, 64) == other.fit(replay, 60, 64)
    for a, b in zip(loaded.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)


def test_walls_that_no_lidar_shows_follow_from_the_compass_and_single_objects():
    circle = Lidars(robot=(0, 1, 2), rings=(tuple(range(3, 19)),), sensor=LidarModel(3.0, single=(0,), compass=(1, 2)))
    model = PointEnsemble(
        LidarTracks(circle, 4), A, ensemble_size=K, sizes=[24, 24], heads=Heads(violated=True),
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    assert model.net.compass == [1, 2] and make().net.compass is None
    north, place = torch.tensor([0.0, 0.0, 0.5]), torch.tensor([1.0, 0.5])  # ahead is east
    for turn in (0.3, 2.0):
        spin = torch.tensor([[torch.tensor(turn).cos(), torch.tensor(turn).sin()]])
        c, s = spin[0]
        matrix = torch.stack((torch.stack((c, s)), torch.stack((-s, c))))  # into the frame of a robot that has turned
        robot = torch.cat((north[:1], matrix @ north[1:]))
        seen = model.net.turned(robot, matrix @ place)
        straight = model.net.turned(north, place)
        torch.testing.assert_close(seen, straight)
