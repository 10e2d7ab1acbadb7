import math

import pytest
import torch

from safeloop.cmdp import LidarModel, Lidars
from safeloop.models.lidar_tracks import LidarTracks
from safeloop.models.perception import Perception
from safeloop.models.tracks import CERTAIN, FAR, KNOWN, NUMBERS, POSITION, PRESENT, VELOCITY
from tests.models.lidar_rings import ring_of_points

BINS = 16
GOAL, HAZARDS, BUTTONS = range(3)
LIDARS = Lidars(
    robot=(49, 0), rings=(tuple(range(1, 17)), tuple(range(17, 33)), tuple(range(48, 32, -1))), goal=GOAL,
    sensor=LidarModel(3.0, single=(GOAL,)),
)  # fmt: skip
"""One goal, several hazards and buttons; the last ring's bins are stored in reverse order."""
TRACKS = LidarTracks(LIDARS, most=3)
OF = {lidar: (TRACKS.kind == lidar).nonzero()[:, 0].tolist() for lidar in (GOAL, HAZARDS, BUTTONS)}


def observe(goal=((1.0, 1.0),), hazards=(), buttons=(), robot=(7.0, 8.0)):
    """An observation `[1, 50]` of objects at these places."""
    rings = [ring_of_points(each) for each in (goal, hazards, buttons)]
    return torch.tensor([[robot[1], *rings[0], *rings[1], *rings[2][::-1], robot[0]]])


def rows(state, lidar=HAZARDS):
    """The tracks of a lidar, `[m, 7]`, of a single state."""
    return TRACKS.split(state)[1][0, OF[lidar]]


def test_the_nearest_objects_of_each_lidar_become_tracks():
    far, near, beside, behind = (0.0, 2.0), (0.5, 0.0), (-1.0, 0.1), (0.3, -1.4)
    state = TRACKS.first(observe(hazards=[far, near, beside, behind], buttons=[(0.0, 1.0)]))
    assert state.shape == (1, TRACKS.size) == (1, 2 + 7 * NUMBERS)
    robot, tracks = TRACKS.split(state)
    assert robot.tolist() == [[7.0, 8.0]] and torch.equal(TRACKS.join(robot, tracks), state)
    assert TRACKS.kind.tolist() == [GOAL] + [HAZARDS] * 3 + [BUTTONS] * 3 and TRACKS.singles == [0] and TRACKS.goal == 0
    torch.testing.assert_close(rows(state)[:, POSITION], torch.tensor([near, beside, behind]), atol=1e-4, rtol=0)
    assert rows(state)[:, [PRESENT, CERTAIN]].eq(1).all() and rows(state)[:, KNOWN].eq(0).all()
    assert rows(state, BUTTONS)[:, PRESENT].tolist() == [1, 0, 0] and rows(state, BUTTONS)[1:].eq(0).all()
    torch.testing.assert_close(rows(state, GOAL)[0, POSITION], torch.tensor([1.0, 1.0]), atol=1e-4, rtol=0)


def test_the_difference_from_the_expected_place_is_a_velocity():
    expected = TRACKS.first(observe(hazards=[(0.5, 0.0), (-1.0, 0.0)]))
    state = TRACKS.follow(expected, observe(goal=[(1.0, 0.6)], hazards=[(0.47, 0.04), (-1.0, 0.3)]))
    moved, jumped = rows(state)[:2]
    assert moved[KNOWN] == 1 and jumped[KNOWN] == 0 and jumped[VELOCITY].eq(0).all()
    torch.testing.assert_close(moved[VELOCITY], torch.tensor([-0.03, 0.04]), atol=1e-4, rtol=0)
    assert rows(state, GOAL)[0, KNOWN] == 0  # 0.4 m are no motion: the goal jumped


def beside(angle):
    """Two places whose bins are neighbours, the second behind the first: the angle of neither is certain."""
    return (0.8 * math.cos(0.3), 0.8 * math.sin(0.3)), (1.0 * math.cos(angle), 1.0 * math.sin(angle))


def test_an_object_whose_angle_is_hidden_takes_the_direction_of_its_track():
    near, other = beside(0.65)
    expected = TRACKS.first(observe(hazards=[other]))
    shown = observe(hazards=[near, other])
    assert rows(TRACKS.first(shown))[1, CERTAIN] == 0
    found = rows(TRACKS.follow(expected, shown))[1]
    torch.testing.assert_close(found[POSITION], torch.tensor(other), atol=1e-3, rtol=0)
    assert found[CERTAIN] == 1 and found[KNOWN] == 0


def test_a_track_goes_on_where_a_nearer_object_hides_it_and_ends_where_it_would_be_seen():
    hidden, nearer, elsewhere = (1.5, 0.3), (0.6, 0.12), (-0.5, -0.5)
    expected = TRACKS.first(observe(hazards=[hidden, elsewhere]))
    state = TRACKS.follow(expected, observe(hazards=[nearer]))
    torch.testing.assert_close(rows(state)[:2, POSITION], torch.tensor([nearer, hidden]), atol=1e-3, rtol=0)
    assert rows(state)[:, PRESENT].tolist() == [1, 1, 0]


def test_tracks_go_on_while_their_whole_lidar_is_blank_but_not_that_of_a_single_object():
    before = TRACKS.first(observe(buttons=[(0.5, 0.0), (-1.0, 0.5)]))
    state = TRACKS.follow(before, observe(goal=(), buttons=()))
    torch.testing.assert_close(rows(state, BUTTONS), rows(before, BUTTONS))
    assert rows(state, GOAL)[0, PRESENT] == 0
    again = TRACKS.follow(state, observe(goal=(), buttons=[(2.0, 2.0)]))
    assert rows(again, BUTTONS)[:, PRESENT].tolist() == [1, 0, 0]


@pytest.mark.parametrize("shape", [(5,), (2, 5)])
def test_many_are_followed_as_each_alone(shape):
    g = torch.Generator().manual_seed(0)
    obs, later = (torch.rand(*shape, 50, generator=g) for _ in range(2))
    expected = TRACKS.first(obs)
    together = TRACKS.follow(expected, later)
    alone = torch.stack(
        [
            TRACKS.follow(e[None], o[None])[0]
            for e, o in zip(expected.view(-1, TRACKS.size), later.view(-1, 50), strict=True)
        ]
    )
    torch.testing.assert_close(together.view(-1, TRACKS.size), alone)


def test_features_are_near_objects_in_the_order_of_their_distance():
    state = TRACKS.first(
        observe(goal=[(2.0, 0.0)], hazards=[(0.5, 0.0), (-1.0, 0.0), (0.0, 1.6)], buttons=[(0.0, 1.0)])
    )
    robot, tracks = TRACKS.split(state.clone())
    tracks[0, OF[HAZARDS][0], POSITION] = torch.tensor([0.0, -1.2])  # it was the nearest, and is the second now
    features = TRACKS.features(TRACKS.within(TRACKS.join(robot, tracks), torch.tensor(1.5)))
    assert features.shape == (1, TRACKS.feature_size)
    expected = [7, 8, 2, 0, 1, -1, 0, 1, 0, -1.2, 1, 0, 0, 0, 0, 1, 1, *[0] * 6]
    torch.testing.assert_close(features[0], torch.tensor(expected, dtype=torch.float), atol=1e-4, rtol=0)
    entities = TRACKS.entities()
    assert entities.goal == 0 and entities.positions[1] == (5, 6, 7) and entities.kinds == ("0", *"111", *"222")
    assert sorted((*entities.robot, *(i for p in entities.positions for i in p))) == list(range(TRACKS.feature_size))


class Moves:
    """A model in which each action `[B, 2]` moves the robot, and so all objects the other way."""

    first, near = staticmethod(TRACKS.first), staticmethod(lambda state: TRACKS.within(state, torch.tensor(FAR)))

    def follow(self, state, act, obs):
        robot, tracks = TRACKS.split(state.clone())
        tracks[..., POSITION] -= act.unsqueeze(-2) * tracks[..., PRESENT : PRESENT + 1]
        return TRACKS.follow(TRACKS.join(robot, tracks), obs)


def test_perception_follows_each_episode_from_its_first_decision():
    perception = Perception(Moves())
    first = torch.cat((observe(hazards=[(0.5, 0.0)]), observe(hazards=[(0.0, 0.5)])))
    assert torch.equal(perception.see(first, True), TRACKS.first(first))
    perception.acted(torch.tensor([[0.1, 0.0], [0.0, 0.2]]))
    second = torch.cat((observe(hazards=[(0.4, 0.05)]), observe(hazards=[(0.0, 0.3)])))
    kept = Perception(Moves())
    kept.load_state_dict(perception.state_dict(), "cpu")
    state = perception.see(second, False)
    velocity = TRACKS.split(state)[1][:, OF[HAZARDS][0], VELOCITY]
    torch.testing.assert_close(velocity, torch.tensor([[0.0, 0.05], [0.0, 0.0]]), atol=1e-3, rtol=0)
    assert torch.equal(kept.see(second, False), state)
    perception.acted(torch.zeros(2, 2))
    perception.keep([1])
    torch.testing.assert_close(perception.see(second[1:], False)[0, :2], state[1, :2])
    assert torch.equal(perception.see(first[:1], True), TRACKS.first(first[:1]))
