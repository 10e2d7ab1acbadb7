import pytest
import torch

from safeloop.cmdp import Entities
from safeloop.models.position_tracks import PositionTracks
from safeloop.models.tracks import CERTAIN, FAR, KNOWN, NUMBERS, POSITION, PRESENT, VELOCITY

ENTITIES = Entities(
    robot=(12, 0, 7), positions=((1, 2), (4, 3), (5, 6), (9, 8), (10, 11)),
    kinds=("button", "hazard", "button", "button", "box"), goal=2,
)  # fmt: skip
"""One of the buttons is the goal; two places are stored y first."""
TRACKS = PositionTracks(ENTITIES)
BUTTON, OTHER, HAZARD, GOAL, BOX = range(5)
"""The tracks, by kind in the order in which these are named; the goal is a kind of its own."""
PLACES = torch.tensor([[0.5, 0.1], [0.0, 2.0], [-3.0, 0.2], [1.0, -1.0], [0.3, 0.4]])
"""Places of the tracks."""


def observe(places=PLACES, robot=(7.0, 8.0, 9.0)):
    """An observation `[1, 13]` of objects at these places `[5, 2]`, in the order of the tracks."""
    obs = torch.zeros(1, 13)
    obs[0, [12, 0, 7]] = torch.tensor(robot)
    obs[0, [1, 2, 9, 8, 4, 3, 5, 6, 10, 11]] = places.flatten()
    return obs


def rows(state):
    """The tracks `[5, 7]` of a single state."""
    return TRACKS.split(state)[1][0]


def test_each_entity_is_a_track_that_is_there_and_certain():
    state = TRACKS.first(observe())
    assert state.shape == (1, TRACKS.size) == (1, 3 + 5 * NUMBERS)
    assert TRACKS.split(state)[0].tolist() == [[7.0, 8.0, 9.0]]
    assert torch.equal(rows(state)[:, POSITION], PLACES)
    assert rows(state)[:, [PRESENT, CERTAIN]].eq(1).all() and rows(state)[:, VELOCITY.start :].eq(0).all()


def test_the_goal_and_kinds_of_one_are_single():
    assert TRACKS.kind.tolist() == [0, 0, 1, 2, 3] and TRACKS.goal == GOAL
    assert TRACKS.singles == [HAZARD, GOAL, BOX] and TRACKS.several == [0]
    assert TRACKS.many.tolist() == [True, True, False, False, False]
    near = rows(TRACKS.within(TRACKS.first(observe()), torch.tensor(1.2)))
    assert near[:, PRESENT].tolist() == [1, 0, 1, 1, 1] and near[OTHER].eq(0).all()
    alone = PositionTracks(Entities((0,), ((1, 2), (3, 4)), ("wall", "wall")))
    assert alone.goal is None and alone.singles == [] and alone.several == [0]


def test_an_entitys_velocity_is_its_place_less_the_expected_one_unless_the_goal_jumped():
    moves = torch.tensor([[0.03, 0.0], [-0.5, 0.0], [0.0, 0.04], [0.02, -0.05], [0.0, 0.0]])
    found = rows(TRACKS.follow(TRACKS.first(observe()), observe(PLACES + moves, (1.0, 2.0, 3.0))))
    torch.testing.assert_close(found[:, VELOCITY], moves)  # that of the other button too, although it is large
    assert found[:, [PRESENT, CERTAIN, KNOWN]].eq(1).all()
    torch.testing.assert_close(found[:, POSITION], PLACES + moves)
    moves[GOAL] = torch.tensor([0.4, 0.0])
    state = TRACKS.follow(TRACKS.first(observe()), observe(PLACES + moves, (1.0, 2.0, 3.0)))
    assert rows(state)[:, KNOWN].tolist() == [1, 1, 1, 0, 1] and rows(state)[GOAL, VELOCITY].eq(0).all()
    assert TRACKS.split(state)[0].tolist() == [[1.0, 2.0, 3.0]]


@pytest.mark.parametrize("shape", [(5,), (2, 5)])
def test_many_are_followed_as_each_alone(shape):
    g = torch.Generator().manual_seed(0)
    obs, later = (torch.randn(*shape, 13, generator=g) / 10 for _ in range(2))
    expected = TRACKS.first(obs)
    together = TRACKS.follow(expected, later).view(-1, TRACKS.size)
    for i, (e, o) in enumerate(zip(expected.view(-1, TRACKS.size), later.view(-1, 13), strict=True)):
        torch.testing.assert_close(TRACKS.follow(e[None], o[None])[0], together[i])
    assert 0 < TRACKS.split(together)[1][:, GOAL, KNOWN].mean() < 1


def test_states_give_observations_back_with_what_was_left_out_far_away():
    obs = torch.randn(4, 3, 13, generator=torch.Generator().manual_seed(0))
    state = TRACKS.first(obs)
    assert torch.equal(TRACKS.observed(state), obs)
    seen = TRACKS.observed(TRACKS.within(TRACKS.first(observe()), torch.tensor(1.2)))
    far = PLACES.clone()
    far[OTHER] = FAR
    assert torch.equal(seen, observe(far))


def test_an_entity_is_matched_with_itself_however_far_it_went():
    tracks, targets = (torch.randn(2, 3, 5, NUMBERS) for _ in range(2))
    before = tracks.clone()
    own, weight = TRACKS.match(tracks, targets)
    assert torch.equal(own, targets) and torch.equal(weight, torch.ones(2, 3, 5))
    weight *= 0
    assert torch.equal(tracks, before)  # the weights are no part of the tracks


def test_the_nearest_of_each_kind():
    found = TRACKS.nearest(torch.cat((observe(), observe(2 * PLACES))))
    alone = PLACES[[BUTTON, HAZARD, GOAL, BOX]].norm(dim=1)
    torch.testing.assert_close(found, torch.stack((alone, 2 * alone)))


def test_features_are_objects_in_the_order_of_their_distance():
    swapped = PLACES.clone()
    swapped[[BUTTON, OTHER]] = PLACES[[OTHER, BUTTON]]
    features = TRACKS.features(TRACKS.first(observe(swapped)))
    expected = torch.cat((torch.tensor([7.0, 8.0, 9.0]), torch.cat((PLACES, torch.ones(5, 1)), 1).flatten()))
    assert torch.equal(features, expected[None])
    entities = TRACKS.entities()
    assert entities.goal == GOAL and entities.kinds == tuple("00123") and entities.positions[1] == (6, 7, 8)
