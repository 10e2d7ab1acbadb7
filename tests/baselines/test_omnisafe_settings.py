import subprocess
import sys

import pytest
from line_env import flat

import safeloop_baselines
from safeloop.errors import UsageError
from safeloop.registry import find_env
from safeloop.settings import build
from safeloop_baselines import omnisafe_bridge

ALGORITHMS = pytest.mark.parametrize("algorithm", [safeloop_baselines.cpo, safeloop_baselines.ppo_lag])


@ALGORITHMS
def test_defaults_are_omnisafes(algorithm, capsys):
    assert omnisafe_bridge.omnisafe.__version__ == "0.5.0"
    from omnisafe.utils.config import get_default_kwargs_yaml

    theirs = dict(flat(get_default_kwargs_yaml(algorithm.omnisafe_name, "", "on-policy")))
    ours = dict(flat(algorithm.info.settings().omnisafe(25.0)))
    assert ours == {key: theirs[key] for key in ours}


@ALGORITHMS
def test_every_setting_but_the_epoch_reaches_omnisafe(algorithm):
    default = algorithm.info.settings()
    for name in vars(default):
        if name != "episodes_per_epoch":
            value = getattr(default, name)
            other = value + 1 if isinstance(value, int) else 0.9 * value + 0.05
            changed = build(type(default), {name: other}, owner="test")
            assert changed.omnisafe(25.0) != default.omnisafe(25.0), name


@ALGORITHMS
@pytest.mark.parametrize(
    ("key", "value"),
    [("gamma", "1.5"), ("batch_size", "0"), ("critic_lr", "-1"), ("episodes_per_epoch", "0")],
)
def test_values_out_of_range_are_refused_by_name(algorithm, key, value):
    with pytest.raises(UsageError, match=f"{algorithm.info.name}: {key}=.*expected"):
        build(algorithm.info.settings, {key: value}, owner=algorithm.info.name)


@ALGORITHMS
def test_algorithms_are_told_nothing(algorithm):
    assert algorithm.resolve(algorithm.info.settings(), find_env("PointGoal1")).privileged == ""
    assert algorithm.info.resumable
    assert set(algorithm.info.presets) == {"default", "paper"}


def test_importing_and_listing_do_not_import_omnisafe():
    code = (
        "import sys; from safeloop import listing; "
        "assert any(a['name'] == 'omnisafe:SACLag' for a in listing.algorithms()); "
        "assert 'safeloop_baselines' in sys.modules and 'omnisafe' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
