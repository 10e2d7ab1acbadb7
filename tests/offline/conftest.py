"""Small datasets of random drives, and small agents and runs of them."""

from contextlib import contextmanager

import pytest

from safeloop.agents.offline import OfflineAgent
from safeloop.data.datasets import read
from safeloop.experiments.collect import collect
from safeloop.experiments.specify import Request, fitting_env, specify
from safeloop.recording.run import Run
from safeloop.registry import find_algorithm, find_env
from safeloop.settings import build, kinds

PENDULUM = find_env("InvertedPendulum")
SMALL = {
    "hidden": 16, "batch_size": 16, "ensemble_size": 2, "layers": 1, "width": 16, "fit_steps": 20, "population": 8,
    "horizon": 2, "pretraining": 0.25, "return_horizon": 20,
}  # fmt: skip


@pytest.fixture(scope="session")
def pendulum(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "pendulum-random"
    collect("InvertedPendulum", ["random"], path, episodes=40, quiet=True)
    return path


@pytest.fixture(scope="session")
def point(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "point-random"
    collect("PointGoal1", ["random"], path, episodes=2, quiet=True)
    return path


@contextmanager
def killed_at(update, monkeypatch, watch=lambda agent: None):
    """Expect that training in the block is killed at this update, the first being 0; `watch` sees the agent at each."""
    usual, count = OfflineAgent.update, iter(range(update + 1))

    def stopping(agent):
        watch(agent)
        if next(count) == update:
            raise KeyboardInterrupt
        usual(agent)

    with monkeypatch.context() as patch:
        patch.setattr(OfflineAgent, "update", stopping)
        with pytest.raises(KeyboardInterrupt):
            yield


def small(name, **changes):
    """Small settings of an algorithm, with changes."""
    known = kinds(find_algorithm(name).info.settings)
    return {**{k: v for k, v in SMALL.items() if k in known}, **changes}


def agent(name, dataset, preset="default", steps=10, **changes):
    """An agent of a dataset of the pendulum's."""
    algorithm = find_algorithm(name)
    settings = build(algorithm.info.settings, algorithm.info.presets[preset], changes, owner=name)
    return algorithm.build(settings, PENDULUM, 4, 1, 0, "cpu", dataset, steps)


def specified(dataset, name, steps=30, seed=0, eval_episodes=2, **changes):
    """The settings of a small run."""
    data = read(dataset)
    env, options = fitting_env(data, None, ())
    asked = Request([name], steps=steps, seeds=[seed], settings=small(name, **changes), eval_episodes=eval_episodes)
    return specify(asked, env, options, data)[0]


def trained(out, dataset, name, **asked):
    """A small run, trained in this process."""
    run = Run.create(out, specified(dataset, name, **asked))
    find_algorithm(name).train_on(read(dataset), run)
    return run
