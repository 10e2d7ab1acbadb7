"""The shim: importing Safety-Gymnasium where plain Python refuses to, and leaving no trace."""

from __future__ import annotations

import subprocess
import sys
import types

import numpy as np
import pytest

from safeloop.errors import UsageError
from safeloop_envs import safety_gymnasium, shim


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_import_restores_what_it_patches() -> None:
    done = run(
        "import dataclasses, safeloop; before = dataclasses.dataclass\n"
        "from farama_notifications import notifications; notices = dict(notifications)\n"
        "from safeloop_envs.shim import import_safety_gymnasium; import_safety_gymnasium()\n"
        "assert dataclasses.dataclass is before\n"
        "assert notifications == notices\n"
    )
    assert done.returncode == 0, done.stderr


def test_import_leaves_no_stand_in_for_a_module_that_gymnasium_lacks() -> None:
    done = run(
        "import sys, gymnasium.wrappers as wrappers; before = set(vars(wrappers))\n"
        "from safeloop_envs.shim import import_safety_gymnasium; import_safety_gymnasium()\n"
        "there = [name for name in sys.modules if name.split('.')[0] == 'gymnasium']\n"
        "assert not [name for name in there if sys.modules[name].__spec__ is None]\n"
        "added = set(vars(wrappers)) - before\n"
        "assert all(f'gymnasium.wrappers.{name}' in there for name in added), added\n"
    )
    assert done.returncode == 0, done.stderr


def test_a_failed_import_leaves_no_stand_in_either() -> None:
    added = {"gymnasium.wrappers.never": types.ModuleType("never")}
    with pytest.raises(ImportError), shim._modules(added):
        assert sys.modules["gymnasium.wrappers.never"] is added["gymnasium.wrappers.never"]
        raise ImportError
    assert "gymnasium.wrappers.never" not in sys.modules


def test_import_prints_nothing() -> None:
    # `import gymnasium` itself loads gymnasium-robotics and its notice: that is not the shim's to silence.
    done = run(
        "import contextlib, io, sys\n"
        "import gymnasium; from safeloop_envs.shim import import_safety_gymnasium\n"
        "out = io.StringIO()\n"
        "with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out): import_safety_gymnasium()\n"
        "sys.exit(len(out.getvalue()))\n"
    )
    assert done.returncode == 0


def test_missing_simulator_is_a_usage_error_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "safety_gymnasium", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Nothing(), *sys.meta_path])
    with pytest.raises(UsageError, match="run `safeloop doctor`") as caught:
        safety_gymnasium.spec("PointGoal1").make()
    assert "\n" not in str(caught.value)


class Nothing:
    """A finder that finds no Safety-Gymnasium."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name == "safety_gymnasium":
            raise ModuleNotFoundError("No module named 'safety_gymnasium'", name=name)


def test_array_defaults_become_one_copy_per_instance() -> None:
    class Coloured:
        colour: np.ndarray = np.zeros(3)
        size: float = 1.0

    made = shim._dataclass_with_arrays(Coloured)
    first, second = made(), made(size=2.0)
    first.colour[0] = 1.0
    assert second.colour.tolist() == [0.0, 0.0, 0.0]
    assert (first.size, second.size) == (1.0, 2.0)
