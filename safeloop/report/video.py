"""Record the frames of an evaluation in a new file, which appears only when it is complete."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from safeloop.cmdp import EnvSpec
from safeloop.errors import UsageError
from safeloop.files import check_parent

FORMATS = (".mp4", ".gif")


class Video:
    """A video file to be written. Raises `UsageError` at once where it can't be written."""

    def __init__(self, path: Path):
        self.path = path
        if path.suffix not in FORMATS:
            raise UsageError(f"--video {path}: expected a name that ends in {' or '.join(FORMATS)}")
        if path.exists():
            raise UsageError(f"--video {path}: the file exists already; choose another name")
        check_parent(path, "--video")

    @contextmanager
    def open(self, spec: EnvSpec) -> Iterator[Callable[[np.ndarray], None]]:
        """Yield the function that takes the frames; the file appears when the block ends without an error."""
        fps = _check_rendering(spec)
        try:
            import imageio.v2 as imageio
        except ImportError as error:
            raise UsageError(f"--video needs imageio ({error}): `safeloop doctor` shows how to install it") from None
        temporary = self.path.with_name(f".{self.path.stem}.{os.getpid()}{self.path.suffix}")
        gif = self.path.suffix == ".gif"
        options: dict[str, Any] = {"duration": 1000 / fps, "loop": 0} if gif else {"fps": fps, "macro_block_size": 2}
        try:
            writer: Any
            with imageio.get_writer(temporary, **options) as writer:
                yield writer.append_data
            os.link(temporary, self.path)
        except FileExistsError:
            raise UsageError(f"--video {self.path}: the file exists already; choose another name") from None
        finally:
            temporary.unlink(missing_ok=True)


def _check_rendering(spec: EnvSpec) -> float:
    """Return the frames per second. Raises `UsageError` where the environment can't be rendered here."""
    try:
        env = spec.make(render_mode="rgb_array")
        env.reset(seed=0)
        shape = np.asarray(env.render()).shape
        fps = float(env.metadata.get("render_fps") or 10)
        env.close()
    except Exception as error:
        what = " ".join(f"{type(error).__name__}: {error}".split())
        raise UsageError(f"{spec.id} can't be rendered here ({what}): `safeloop doctor` checks rendering") from None
    if len(shape) != 3:
        raise UsageError(f"{spec.id} renders no frames: --video is not possible")
    return fps
