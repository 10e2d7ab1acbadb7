"""Rings of lidar bins made from the places of objects, by the sensor's law, one object at a time."""

import math


def ring(objects, n=16, reach=3.0, aliased=True):
    """The ring `[n]` that shows objects at these polar places (distance, angle)."""
    found = [0.0] * n
    for distance, angle in objects:
        closeness = max(0.0, 1 - distance / reach)
        place = angle % (2 * math.pi) / (2 * math.pi) * n
        own = int(place)
        for b, part in ((own, 1.0), (own + 1, place - own), (own - 1, 1 - (place - own))):
            if b == own or aliased:
                found[b % n] = max(found[b % n], part * closeness)
    return found


def ring_of_points(points, n=16, reach=3.0):
    """The ring `[n]` that shows objects at these places (x, y)."""
    return ring([(math.hypot(x, y), math.atan2(y, x)) for x, y in points], n, reach)
