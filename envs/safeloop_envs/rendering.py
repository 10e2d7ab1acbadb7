"""Rendering of frames without a display, on MuJoCo 3."""

from __future__ import annotations

import inspect
import os
import sys
from typing import Any

import mujoco
import numpy as np


def choose_backend() -> None:
    """Choose EGL for rendering on Linux without a display, unless `MUJOCO_GL` is set."""
    if sys.platform == "linux" and not os.environ.get("DISPLAY"):
        os.environ.setdefault("MUJOCO_GL", "egl")


def offscreen_viewer(model: mujoco.MjModel, data: mujoco.MjData, size: int) -> Any:
    """Return Gymnasium's renderer of square frames, `size` pixels wide, of the state in `data`."""
    from gymnasium.envs.mujoco.mujoco_rendering import OffScreenViewer

    model.vis.global_.offwidth = model.vis.global_.offheight = size
    told = "width" in inspect.signature(OffScreenViewer).parameters  # since 1.0; before, it reads the model's sizes
    sizes: dict[str, Any] = {"width": size, "height": size} if told else {}
    made: Any = OffScreenViewer(model, data, **sizes)
    made._add_marker_to_scene = lambda marker: add_marker(made.scn, marker)
    return made


def add_marker(scene: Any, marker: dict[str, Any]) -> None:
    """Add a shape (keys `type`, `size`, `pos`, `rgba`, `label`) to `scene`, a `mujoco.MjvScene`.

    This replaces gymnasium 0.29.1's own function, which sets fields of `MjvGeom` that MuJoCo 3 no longer has.
    """
    if scene.ngeom >= scene.maxgeom:
        raise RuntimeError(f"a scene holds at most {scene.maxgeom} shapes")
    geom = scene.geoms[scene.ngeom]
    size, position = np.asarray(marker["size"], np.float64), np.asarray(marker["pos"], np.float64)
    colour = np.asarray(marker["rgba"], np.float32)
    mujoco.mjv_initGeom(geom, marker["type"], size, position, np.eye(3).ravel(), colour)
    geom.category = mujoco.mjtCatBit.mjCAT_DECOR
    geom.label = marker.get("label", "")
    scene.ngeom += 1
