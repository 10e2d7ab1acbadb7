"""The versions of everything that can change a result. Packages are imported only when versions are requested."""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
from pathlib import Path

PACKAGES = (
    "safeloop", "torch", "numpy", "mujoco", "gymnasium", "safety-gymnasium", "omnisafe",
    "stable-baselines3", "sb3-contrib", "d3rlpy", "dm-control", "gymnasium-robotics", "robel",
)  # fmt: skip
"""Packages whose versions are recorded."""
NOT_INSTALLED = "not installed"
"""In place of the version of a package that was not there."""


def processor() -> str:
    """Return the processor's name, as the system reports it."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if "model name" in line]
    return models[0] if models else platform.machine()


def commit() -> str:
    """Return the commit of safeloop's checkout, with `-dirty` where files differ from it; "" outside a checkout."""
    here = ["git", "--no-optional-locks", "-C", str(Path(__file__).parent)]
    try:
        subprocess.run([*here, "ls-files", "--error-unmatch", "versions.py"], capture_output=True, check=True)
        described = subprocess.run(
            [*here, "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"], capture_output=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return described.stdout.decode().strip()


def versions() -> dict[str, str]:
    """Return the versions of everything that can change a result, and the processor."""
    import torch

    from safeloop.networks import bf16_is_fast

    found = {"python": platform.python_version(), "platform": platform.platform()}
    if at := commit():
        found["commit"] = at
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = NOT_INSTALLED
    found["processor"] = processor()
    found["vector instructions"] = torch.backends.cpu.get_cpu_capability()
    found["bfloat16 in hardware"] = str(bf16_is_fast("cpu"))
    return found
