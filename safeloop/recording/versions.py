"""The versions of everything that can change a result. Imports what it asks only when it is asked."""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
from pathlib import Path


def processor() -> str:
    """The processor's name, as the system tells it."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if "model name" in line]
    return models[0] if models else platform.machine()


def commit() -> str:
    """The commit of the checkout that safeloop runs from, `-dirty` where files differ from it; "" outside of one."""
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
    """Versions of everything that can change a result, and the processor."""
    import torch

    from safeloop.networks import bf16_is_fast

    found = {"python": platform.python_version(), "platform": platform.platform()}
    if at := commit():
        found["commit"] = at
    for name in ("safeloop", "torch", "numpy", "mujoco", "gymnasium", "safety-gymnasium", "omnisafe"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    found["processor"] = processor()
    found["vector instructions"] = torch.backends.cpu.get_cpu_capability()
    found["bfloat16 in hardware"] = str(bf16_is_fast("cpu"))
    return found
