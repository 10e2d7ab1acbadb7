from unittest import mock

import numpy as np
import pytest
import torch
from line_env import HIGH, LOW, SMALL, line_spec

import safeloop_baselines
from safeloop.errors import UsageError
from safeloop.recording.run import Run
from safeloop_baselines.frozen_policy import FrozenPolicy, snapshot
from safeloop_baselines.omnisafe_bridge import CMDP
from safeloop_envs import safety_gymnasium

BOTH = pytest.mark.parametrize("name", ["cpo", "ppo-lag"])


class Probe(CMDP):
    """The environment under OmniSafe's action scaling: keeps the action that reaches it."""

    def __init__(self, action_space):
        self._action_space = action_space

    def step(self, action):
        self.action = action

    def reset(self, seed=None, options=None):
        raise AssertionError("not part of these tests")

    set_seed = render = close = reset


def omnisafes_action(run, spec, obs, layers):
    """The action that OmniSafe itself makes of `obs` with the final policy that it saved."""
    from omnisafe.common.normalizer import Normalizer
    from omnisafe.envs.wrapper import ActionScale
    from omnisafe.models.actor.gaussian_learning_actor import GaussianLearningActor

    env = spec.make()
    saved = sorted(run.path.glob("omnisafe/*/*/torch_save/epoch-*.pt"))[-1]
    state = torch.load(saved, weights_only=True)
    actor = GaussianLearningActor(env.observation_space, env.action_space, layers, activation="tanh")
    actor.load_state_dict(state["pi"])
    normaliser = Normalizer(env.observation_space.shape, clip=5)
    normaliser.load_state_dict(state["obs_normalizer"])
    probe = Probe(env.action_space)
    with torch.no_grad(), mock.patch.object(normaliser, "_push"):  # normalise without updating
        action = actor.predict(normaliser.normalize(torch.as_tensor(obs, dtype=torch.float32)), deterministic=True)
        ActionScale(probe, torch.device("cpu"), low=-1.0, high=1.0).step(action)
    return probe.action.numpy()


@BOTH
def test_a_loaded_policy_acts_as_omnisafes_own(train, name):
    run, _ = train(name, steps=300)
    policy = getattr(safeloop_baselines, name.replace("-", "_")).load(Run.open(run.path), seed=1)
    for obs in np.random.default_rng(0).normal(0, 2, (50, 2)):
        expected = np.clip(omnisafes_action(run, line_spec(), obs, [8, 8]), LOW, HIGH)
        policy.reset()
        np.testing.assert_allclose(policy.act(obs), expected, rtol=0, atol=1e-6)


def test_a_policy_draws_no_random_numbers_and_does_not_change(train):
    run, _ = train("cpo")
    policy = safeloop_baselines.cpo.load(run, seed=0)
    obs = np.array([0.3, 1.0])
    first, state = policy.act(obs), torch.get_rng_state()
    for other in np.random.default_rng(0).normal(size=(20, 2)):
        policy.act(other)
    np.testing.assert_array_equal(policy.act(obs), first)
    FrozenPolicy(run.load_checkpoint())
    assert torch.equal(torch.get_rng_state(), state)


def test_a_snapshot_does_not_follow_further_training():
    from omnisafe.common.normalizer import Normalizer
    from omnisafe.models.actor.gaussian_learning_actor import GaussianLearningActor

    env = line_spec().make()
    actor = GaussianLearningActor(env.observation_space, env.action_space, [4], activation="tanh")
    normaliser = Normalizer((2,), clip=5)
    obs = np.array([0.1, 0.2])
    normaliser.normalize(torch.randn(10, 2))
    policy = FrozenPolicy(snapshot(actor, normaliser, env.action_space))
    before = policy.act(obs)
    normaliser.normalize(torch.randn(10, 2) + 5)
    with torch.no_grad():
        for parameter in actor.parameters():
            parameter.add_(1)
    np.testing.assert_array_equal(policy.act(obs), before)


def test_another_algorithms_checkpoint_is_refused(train):
    run, _ = train("cpo", steps=100)
    with pytest.raises(UsageError, match="holds a policy of cpo, not of ppo-lag"):
        safeloop_baselines.ppo_lag.load(run, seed=0)


@BOTH
def test_trains_on_point_goal(train, name):
    spec = safety_gymnasium.spec("PointGoal1")
    changes = SMALL | {"episodes_per_epoch": 1, "hidden_units": 64}
    run, env = train(name, spec, changes, steps=2000, eval_every=1000, eval_episodes=1)
    header = (run.path / "episodes.csv").read_text().splitlines()[0]
    assert (
        header
        == "episode,simulator_steps,decisions,return,cost_return,violations,length,wall_seconds,longest_run,costs"
    )
    assert all(0 <= row.longest_run <= row.violations for row in run.episodes.read())
    assert [(row.simulator_steps, row.decisions) for row in run.episodes.read()] == [(1000, 200), (2000, 400)]
    assert env.simulator_steps == 2000
    assert [row.simulator_steps for row in run.evaluations.read()] == [1000, 2000]
    policy = getattr(safeloop_baselines, name.replace("-", "_")).load(Run.open(run.path), seed=1)
    obs, _ = spec.make().reset(seed=0)
    expected = np.clip(omnisafes_action(run, spec, obs, [64, 64]), -1, 1)
    np.testing.assert_allclose(policy.act(obs), expected, rtol=0, atol=1e-6)
