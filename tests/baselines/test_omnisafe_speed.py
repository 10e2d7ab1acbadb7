"""OmniSafe's own SafeLOOP, which `safeloop speed --against omnisafe` measures."""

import pytest
import torch

from safeloop.errors import UsageError
from safeloop_baselines.speed import own_environments, safeloop_of_omnisafe


def test_its_own_environment_runs_an_episode():
    from omnisafe.envs.safety_gymnasium_modelbased import SafetyGymnasiumModelBased

    with own_environments():
        env = SafetyGymnasiumModelBased("SafetyPointGoal1-v0-modelbased")
    env.reset(seed=0)
    truncated, steps = False, 0
    while not truncated:
        _, _, _, terminated, truncated, _ = env.step(torch.zeros(2))
        assert not terminated
        steps += 1
    assert steps == 1000
    env.close()


def test_an_environment_that_it_lacks_is_told():
    with pytest.raises(UsageError, match="its SafeLOOP has no environment SafetyHopper-v0-modelbased; try PointGoal1"):
        safeloop_of_omnisafe("Hopper")
