"""`safeloop doctor`: check an installation, and print the exact command for whatever is missing.

The pins live here as well as in requirements/, so that the commands are complete where only the wheel is
installed. A test compares the two.
"""

from __future__ import annotations

import importlib.metadata
import os
import shlex
import subprocess
import sys
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

PYTHONS = ((3, 10), (3, 13))
"""First and last Python that the packages have versions for; the versions below are 3.11's pinned set."""

ORDINARY = {
    "torch": "2.13.0", "numpy": "1.26.4", "gymnasium": "0.29.1", "mujoco": "3.3.7",
    "pettingzoo": "1.24.3", "xmltodict": "1.0.4", "PyYAML": "6.0.3", "ImageIO": "2.38.1",
    "imageio-ffmpeg": "0.8.1", "Jinja2": "3.1.6", "pandas": "3.0.6", "matplotlib": "3.11.2",
    "seaborn": "0.13.2", "tensorboard": "2.21.0", "wandb": "0.31.0", "moviepy": "2.2.1",
    "gdown": "6.5.1", "typer": "0.29.2", "rich": "15.0.0", "scipy": "1.17.1",
    "numba": "0.68.1", "pillow": "11.3.0", "h5py": "3.16.0", "bokeh": "3.9.2",
}  # fmt: skip
"""The packages that the resolver installs, in the tested versions."""

GYMNASIUMS = (ORDINARY["gymnasium"], "1.4.0")
"""Tested versions of Gymnasium, the default first."""

EVERYWHERE = ("torch", "gymnasium", "mujoco", "pettingzoo")
"""Ordinary packages whose tested version installs on every supported Python; numpy is told apart."""

WITHOUT_DEPENDENCIES = {"safety-gymnasium": "1.0.0", "gymnasium-robotics": "1.2.2", "omnisafe": "0.5.0"}
"""Their own pins exclude one another, so they are installed with --no-deps."""

WITH_UV, UV = {"robel": "0.1.2"}, "0.13.9"
"""Packages whose metadata current pip refuses, so that uv installs them, and its version. Only Claw needs robel."""

RENDER = """
import mujoco
model = mujoco.MjModel.from_xml_string("<mujoco><worldbody><geom size='1'/></worldbody></mujoco>")
renderer = mujoco.Renderer(model, 16, 16)
renderer.update_scene(mujoco.MjData(model))
renderer.render()
"""


@dataclass(frozen=True)
class Finding:
    """One line of the report; `remedy` is the command that repairs it, "" where nothing is to do."""

    name: str
    fine: bool
    text: str
    remedy: str = ""


def pins() -> dict[str, str]:
    """Return requirements of the ordinary packages for this Python, such as `torch==2.13.0`."""
    tested = dict(ORDINARY)
    if sys.version_info >= (3, 13):
        tested["numpy"] = "2.2.6"
    exact = tested if sys.version_info[:2] == (3, 11) else {k: tested[k] for k in (*EVERYWHERE, "numpy")}
    return {name: f"{name}=={exact[name]}" if name in exact else name for name in tested}


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("+", maxsplit=1)[0].split(".")[:3] if part.isdigit())


def _acceptable(name: str, version: str) -> bool:
    if name == "gymnasium":
        return version in GYMNASIUMS
    if name in WITHOUT_DEPENDENCIES:
        return version == WITHOUT_DEPENDENCIES[name]
    if name == "numpy":
        return (1, 26) <= _numbers(version) < (2, 4)
    return name != "torch" or _numbers(version) >= (2, 4)


def _pip(*arguments: str) -> str:
    return shlex.join([sys.executable, "-m", "pip", "install", *arguments])


def with_uv(name: str) -> str:
    """Return the command that installs a package of `WITH_UV`."""
    uv = [sys.executable, "-m", "uv", "pip", "install", "--python", sys.executable, "--no-deps"]
    return f"{_pip(f'uv=={UV}')} && {shlex.join([*uv, f'{name}=={WITH_UV[name]}'])}"


def _requirements() -> Path | None:
    """Return the pinned set for this Python, where safeloop runs from a checkout."""
    name = f"python{sys.version_info[0]}.{sys.version_info[1]}.txt"
    path = Path(__file__).resolve().parents[1] / "requirements" / name
    return path if path.is_file() else None


def _version(name: str) -> str:
    """Return the installed version of a package, "" where there is none."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _repair(pinned: Path) -> str:
    """Return the command that installs the pinned set, and leaves Gymnasium as it is where that is tested too."""
    command = _pip("-r", str(pinned))
    if _version("gymnasium") == GYMNASIUMS[1]:
        command += " && " + _pip("--no-deps", "-r", str(pinned.with_name("gymnasium1.txt")))
    return command


def packages() -> list[Finding]:
    """Whether each package is there, in a version that works."""
    ordinary, pinned = pins(), _requirements()
    found, lacking = [], []
    for name in [*ordinary, *WITHOUT_DEPENDENCIES]:
        version = _version(name)
        fine = version != "" and _acceptable(name, version)
        wanted = {**ORDINARY, **WITHOUT_DEPENDENCIES}[name]
        tested = " and ".join(GYMNASIUMS) if name == "gymnasium" else wanted
        text = version if fine else f"{version or 'not installed'}, tested with {tested}"
        remedy = ""
        if not fine and name in WITHOUT_DEPENDENCIES:
            remedy = _pip("--no-deps", f"{name}=={wanted}")
        elif not fine:
            lacking.append(name)
            remedy = _repair(pinned) if pinned else ""
        found.append(Finding(name, fine, text, remedy))
    if lacking and not pinned:  # one command for all of them
        command = _pip(*(ordinary[name] for name in lacking))
        found = [Finding(f.name, f.fine, f.text, command if f.name in lacking else f.remedy) for f in found]
    for name, wanted in WITH_UV.items():
        version = _version(name)  # an extra: it is fine without
        text = version if version == wanted else f"{version or 'not installed'}; Claw needs {wanted}: {with_uv(name)}"
        found.append(Finding(name, True, text))
    return found


def python() -> Finding:
    """Whether the packages have versions for this Python."""
    fine = PYTHONS[0] <= sys.version_info[:2] <= PYTHONS[1]
    version = ".".join(map(str, sys.version_info[:3]))
    return Finding("python", fine, version, "" if fine else "python3.11 -m venv .venv  # then install safeloop there")


def rendering() -> Finding:
    """Whether frames can be rendered, and with which `MUJOCO_GL`."""
    given = os.environ.get("MUJOCO_GL")
    for backend in dict.fromkeys([given, "egl", "osmesa"]):
        environment = {**os.environ, **({"MUJOCO_GL": backend} if backend else {})}
        try:
            code = subprocess.run(
                [sys.executable, "-c", RENDER], env=environment, capture_output=True, timeout=60, check=False
            ).returncode
        except subprocess.TimeoutExpired:
            continue
        if code == 0 and (backend == given or given is None):
            return Finding("rendering", True, f"works with MUJOCO_GL={backend}" if backend else "works")
        if code == 0:
            text = f"MUJOCO_GL={given} does not work here, {backend} does"
            return Finding("rendering", False, text, f"export MUJOCO_GL={backend}")
    text = "MuJoCo finds no way to render (only --video needs it)"
    return Finding("rendering", False, text, "sudo apt-get install libegl1 libgl1-mesa-dri")


def plugins() -> list[Finding]:
    """Whether every environment family makes an environment, and every algorithm and family of them loads."""
    return [
        _plugin(point, kind, check)
        for kind, group, check in (
            ("environments", "safeloop.envs", _try_family),
            ("algorithm", "safeloop.algorithms", lambda algorithm: algorithm.info.name),
            ("algorithms", "safeloop.algorithm_families", _members),
        )
        for point in entry_points(group=group)
    ]


def _plugin(point: EntryPoint, kind: str, check: Any) -> Finding:
    try:
        with redirect_stdout(sys.stderr):
            text = check(point.load())
    except Exception as error:
        what = " ".join(f"{type(error).__name__}: {error}".split())
        remedy = _pip(point.dist.name) if point.dist and isinstance(error, ModuleNotFoundError) else ""
        return Finding(f"{kind} {point.name}", False, what, remedy)
    return Finding(f"{kind} {point.name}", True, text)


def _try_family(family: Any) -> str:
    names = family.names()
    env = family.spec(names[0]).make()
    env.reset(seed=0)
    env.close()
    return f"{len(names)} found, {names[0]} runs"


def _members(family: Any) -> str:
    """Return how many algorithms a family has; it is fine where their package, an extra, is missing."""
    lacking = family.lacks() if hasattr(family, "lacks") else ""
    return f"{len(family.names())} found" + (f"; to run them {lacking}" if lacking else "")


def examine() -> int:
    """Print what was found; returns 0 where all is fine, 1 otherwise."""
    findings = [python(), *packages(), *plugins(), rendering()]
    width = max(len(f.name) for f in findings)
    for finding in findings:
        print(f"{'ok     ' if finding.fine else 'MISSING'}  {finding.name:<{width}}  {finding.text}")
    remedies = dict.fromkeys(f.remedy for f in findings if f.remedy)
    if remedies:
        print("\nTo repair:")
        for remedy in remedies:
            print(f"  {remedy}")
    bad = sum(not f.fine for f in findings)
    print(f"\n{bad} of {len(findings)} checks failed" if bad else f"\nall {len(findings)} checks passed")
    return 1 if bad else 0
