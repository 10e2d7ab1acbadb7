"""Frames of the RC car: path, limit, car, and a trail coloured by sideslip."""

from __future__ import annotations

import math

import numpy as np
from matplotlib import colormaps
from PIL import Image, ImageDraw, ImageFont

from safeloop_envs.rc_car.task import Task
from safeloop_envs.rc_car.vehicle import sideslip

SIZE, LEGEND, FINER = 480, 80, 2
"""Pixels of the square view and of the legend's width; frames are drawn `FINER` times larger, for smooth edges."""
REACH = 1.7
"""Distance from the view's centre to its edge, m."""
CAR = np.array([[0.20, 0.0], [0.13, 0.07], [-0.15, 0.07], [-0.15, -0.07], [0.13, -0.07]])
"""The car's outline with a pointed nose, in its own frame, m."""
MOST = 60.0
"""Sideslip at which the trail's colours end, degrees."""
PATH, LIMIT, BODY, INK = (0, 114, 178), (213, 94, 0), (40, 40, 40), (60, 60, 60)
COLOURS = colormaps["viridis"]


def _colour(sideslip: float) -> tuple[int, ...]:
    return tuple(round(255 * c) for c in COLOURS(min(1.0, abs(math.degrees(sideslip)) / MOST))[:3])


def draw(task: Task, trail: np.ndarray) -> np.ndarray:
    """Draw the last state of `trail [T, 6]` with the states before it; uint8 [480, 560, 3]."""
    image = Image.new("RGB", ((SIZE + LEGEND) * FINER, SIZE * FINER), "white")
    pen = ImageDraw.Draw(image)
    scale = SIZE * FINER / (2 * REACH)
    centre = np.zeros(2) if task.path == "circle" else np.array([trail[-1, 0], 0.0])

    def pixels(points: np.ndarray) -> list[tuple[float, float]]:
        middle = SIZE * FINER / 2
        return [(middle + scale * (x - centre[0]), middle - scale * (y - centre[1])) for x, y in np.atleast_2d(points)]

    for distance, colour in ((0.0, PATH), (task.limit, LIMIT)):
        if task.path == "circle":
            r = distance or task.radius
            (left, top), (right, bottom) = pixels(np.array([[-r, r], [r, -r]]))
            pen.ellipse((left, top, right, bottom), outline=colour, width=2 * FINER)
        else:
            for y in {distance, -distance}:
                pen.line(pixels(centre + np.array([[-REACH, y], [REACH, y]])), fill=colour, width=2 * FINER)
    if len(trail) > 1:
        points = pixels(trail[:, :2])
        for before, after, state in zip(points[:-1], points[1:], trail[1:], strict=True):
            pen.line((before, after), fill=_colour(sideslip(state[3], state[4])), width=4 * FINER)
    x, y, yaw = trail[-1, :3]
    turn = np.array([[math.cos(yaw), math.sin(yaw)], [-math.sin(yaw), math.cos(yaw)]])
    pen.polygon(pixels(CAR @ turn + (x, y)), fill=BODY)

    font = ImageFont.load_default(12 * FINER)
    v_x, v_y = trail[-1, 3:5]
    speed, slip = math.hypot(v_x, v_y), math.degrees(sideslip(v_x, v_y))
    pen.text((8 * FINER, 6 * FINER), f"{speed:.1f} m/s   sideslip {slip:+.0f}°", fill=INK, font=font)
    pen.text((8 * FINER, (SIZE - 22) * FINER), f"path: {task.speed:g} m/s", fill=PATH, font=font)
    pen.text((120 * FINER, (SIZE - 22) * FINER), f"limit: {task.limit:g} m", fill=LIMIT, font=font)
    left, top, bottom = (SIZE + 12) * FINER, 60 * FINER, (SIZE - 60) * FINER
    for row in range(top, bottom):
        angle = MOST * (bottom - row) / (bottom - top)
        pen.line((left, row, left + 14 * FINER, row), fill=_colour(math.radians(angle)))
    pen.text((left, top - 34 * FINER), "|sideslip|", fill=INK, font=font)
    for angle in (0, 20, 40, 60):
        middle = bottom - (bottom - top) * angle / MOST
        pen.text((left + 20 * FINER, middle - 7 * FINER), f"{angle}°", fill=INK, font=font)
    return np.asarray(image.reduce(FINER))
