import math

import pytest
import torch

from safeloop.cmdp import LidarModel
from safeloop.models.decoding import SURE, decode
from tests.models.lidar_rings import ring

N, REACH = 16, 3.0
BIN = 2 * math.pi / N


def sightings(*objects, n=N, reach=REACH, aliased=True):
    """The points of one ring, and the places of the objects `[M, 2]`."""
    points = decode(torch.tensor([ring(objects, n, reach, aliased)]), LidarModel(reach, aliased))
    places = torch.tensor([[d * math.cos(angle), d * math.sin(angle)] for d, angle in objects])
    return [x[0] for x in points], places


def gaps(points, places):
    """Distances from points `[P, 2]` to the nearest of places `[M, 2]`."""
    return (points[:, None] - places).norm(dim=-1).amin(1)


@pytest.mark.parametrize("n", [4, 5, 16, 33])
@pytest.mark.parametrize("reach", [1.0, 6.0])
def test_an_object_alone_is_placed_exactly_in_any_ring_of_any_shape(n, reach):
    lead, g = (2, 3, 5), torch.Generator().manual_seed(n)  # two leading dimensions, then the lidars
    distance, angle = 0.95 * reach * torch.rand(lead, generator=g), 2 * math.pi * torch.rand(lead, generator=g)
    seen = zip(distance.flatten().tolist(), angle.flatten().tolist(), strict=True)
    rings = torch.tensor([ring([each], n, reach) for each in seen]).view(*lead, n)
    points = decode(rings, LidarModel(reach))
    assert points.position.shape == (*lead, n, 2) and points.position.dtype == torch.float32
    assert points.present.shape == points.certain.shape == (*lead, n)
    assert (points.present.sum(-1) == 1).all() and torch.equal(points.present, points.certain)
    exact = torch.stack((distance * angle.cos(), distance * angle.sin()), -1)
    torch.testing.assert_close(points.position[points.present], exact.flatten(0, -2), atol=1e-4 * reach, rtol=0)


def test_rings_are_decoded_one_by_one():
    rings = torch.rand(2, 3, 5, N, generator=torch.Generator().manual_seed(0))
    for together, alone in zip(
        decode(rings, LidarModel(REACH)), decode(rings[1, 2, 4], LidarModel(REACH)), strict=True
    ):
        assert torch.equal(together[1, 2, 4], alone)


def test_a_ring_turned_by_a_bin_gives_points_turned_by_a_bin():
    rings = torch.rand(100, N, generator=torch.Generator().manual_seed(0))
    points, turned = (decode(x, LidarModel(REACH)) for x in (rings, rings.roll(1, -1)))
    assert torch.equal(turned.present, points.present.roll(1, -1))
    assert torch.equal(turned.certain, points.certain.roll(1, -1))
    matrix = torch.tensor([[math.cos(BIN), math.sin(BIN)], [-math.sin(BIN), math.cos(BIN)]])
    torch.testing.assert_close(turned.position, points.position.roll(1, -2) @ matrix, atol=1e-5, rtol=0)


@pytest.mark.parametrize("bins", [3, 4, 8])
def test_two_objects_three_bins_apart_or_more_are_both_placed_exactly(bins):
    (position, present, certain), places = sightings((0.5, 0.3 * BIN), (1.8, (bins + 0.6) * BIN))
    assert present.nonzero().flatten().tolist() == certain.nonzero().flatten().tolist() == [0, bins]
    torch.testing.assert_close(position[present], places, atol=1e-4, rtol=0)


@pytest.mark.parametrize("near", [0.1, 0.3, 0.5])
@pytest.mark.parametrize("far", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("side", [1, -1])
def test_two_in_adjacent_bins_with_nothing_around_are_both_placed_but_neither_is_certain(near, far, side):
    (position, present, certain), places = sightings((0.4, side * (2 + near) * BIN), (0.7, side * (3 + far) * BIN))
    assert present.sum() == 2 and not certain.any()
    assert gaps(places, position[present]).max() < 1e-4


@pytest.mark.parametrize("side", [1, -1])
def test_a_nearer_neighbour_does_not_tell_where_an_object_is(side):
    """The third raises the bin behind the second's trace, which alone can tell."""
    objects = ((0.4, 2.4), (0.7, 3.5), (1.5, 6.5))
    (position, present, _), places = sightings(*((distance, side * place * BIN) for distance, place in objects))
    assert gaps(places, position[present]).max() < 1e-4


def test_a_bin_between_two_greater_ones_is_a_trace():
    """Also where neither is alone: each hides another."""
    (_, present, certain), _ = sightings((0.5, 2.2 * BIN), (1.0, 2.9 * BIN), (0.6, 4.7 * BIN), (1.0, 4.1 * BIN))
    assert present.nonzero().flatten().tolist() == [2, 4] and not certain.any()


def test_an_objects_trace_can_outshine_a_farther_one_in_the_next_bin():
    (position, present, certain), places = sightings((0.4, 2.95 * BIN), (0.7, 3.5 * BIN))
    assert present.nonzero().flatten().tolist() == certain.nonzero().flatten().tolist() == [2]
    torch.testing.assert_close(position[present], places[:1], atol=1e-4, rtol=0)


def test_what_is_certain_is_right_among_many_too():
    g, certain_ones = torch.Generator().manual_seed(0), 0
    for _ in range(300):
        distance, angle = 0.05 + 2.5 * torch.rand(8, generator=g), 2 * math.pi * torch.rand(8, generator=g)
        objects = list(zip(distance.tolist(), angle.tolist(), strict=True))
        (position, present, certain), places = sightings(*objects)
        assert (present | ~certain).all() and present[int(angle[distance.argmin()] / BIN)]
        assert (gaps(position[certain], places) < SURE).all()
        certain_ones += int(certain.sum())
    assert certain_ones > 300


def test_an_object_at_the_edge_of_a_bin_is_one_point():
    for edge in range(N):
        for others in ([], [(1.5, (edge - 2.5) * BIN)]):  # another raises the bin behind
            (position, present, certain), places = sightings((1.2, edge * BIN), *others)
            assert present.sum() == len(places) and torch.equal(present, certain)
            assert gaps(places, position[present]).max() < 1e-4


def test_an_object_under_the_robot_is_at_zero_and_one_beyond_reach_is_not_seen():
    (position, present, certain), _ = sightings((0.0, 0.7))
    assert present.sum() == certain.sum() == 1 and position[present].tolist() == [[0.0, 0.0]]
    for distance in (REACH, REACH + 0.1):
        (_, present, certain), _ = sightings((distance, 0.7))
        assert not present.any() and not certain.any()


def test_an_empty_ring_has_no_points_and_no_numbers_that_are_none():
    position, present, certain = decode(torch.zeros(3, 2, N), LidarModel(REACH))
    assert not present.any() and not certain.any() and position.isfinite().all()
    assert position.norm(dim=-1).allclose(torch.tensor(REACH))


def test_without_aliasing_each_bin_shows_an_object_in_its_middle_of_which_none_is_certain():
    (position, present, certain), _ = sightings((1.0, 0.1 * BIN), (2.0, 1.9 * BIN), (1.5, 6.2 * BIN), aliased=False)
    assert present.nonzero().flatten().tolist() == [0, 1, 6] and not certain.any()
    for point, distance, middle in zip(position[present], (1.0, 2.0, 1.5), (0.5, 1.5, 6.5), strict=True):
        expected = [distance * math.cos(middle * BIN), distance * math.sin(middle * BIN)]
        torch.testing.assert_close(point, torch.tensor(expected), atol=1e-5, rtol=0)


def test_an_object_hides_those_behind_it():
    for far in (1.0, 1.5, 2.9):
        (position, present, certain), places = sightings((0.5, 4.4 * BIN), (far, 4.4 * BIN))
        assert present.nonzero().flatten().tolist() == certain.nonzero().flatten().tolist() == [4]
        torch.testing.assert_close(position[present], places[:1], atol=1e-4, rtol=0)


def test_an_object_farther_in_the_same_bin_makes_a_near_one_uncertain_and_its_place_stays_between_the_bounds():
    (position, present, certain), places = sightings((0.5, 4.2 * BIN), (1.0, 4.9 * BIN))
    assert present.nonzero().flatten().tolist() == [4] and not certain.any()
    assert gaps(position[present], places[:1]) < 0.5 * BIN * 0.5  # half of the bin: it is bounded by 0.2 and 0.7
