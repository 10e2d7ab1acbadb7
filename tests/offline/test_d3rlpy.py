"""`d3rlpy:NAME`: the library's algorithms learn, record and resume as ours, and act as the library's own."""

import dataclasses
import importlib.metadata
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

import safeloop
from safeloop import doctor
from safeloop.data.datasets import read
from safeloop.data.episodes import discounted_returns
from safeloop.errors import UsageError
from safeloop.experiments.specify import Request, fitting_env, specify
from safeloop.recording.run import Run
from safeloop.registry import algorithm_names, find_algorithm, find_env
from safeloop.settings import build
from safeloop.training import offline as training
from safeloop_baselines import d3rlpy_agent, d3rlpy_algorithms
from safeloop_baselines.d3rlpy_agent import d3rlpy
from tests.core.test_sac import batch as transitions
from tests.offline.conftest import PENDULUM, killed_at, specified

B, S, A = 6, 5, 3
SMALL = {
    "BC": {"batch_size": 16, "hidden_units": 8},
    "TD3PlusBC": {"batch_size": 16, "hidden_units": 8, "critic_units": 7},
    "IQL": {"batch_size": 16, "hidden_units": 8, "critic_units": 7},
    "CQL": {"batch_size": 16, "hidden_units": 8, "critic_units": 7, "n_action_samples": 3},
    "CRR": {"batch_size": 16, "hidden_units": 8, "critic_units": 7, "target_update_interval": 7},
}
EVERY = pytest.mark.parametrize("name", SMALL)


def settings_of(name, **changes):
    return find_algorithm(f"d3rlpy:{name}").info.settings(**{**SMALL[name], **changes})


def learner(name, seed=0, **changes):
    d3rlpy.seed(seed)
    algorithm = d3rlpy_agent.new_algorithm(name, settings_of(name, **changes), S, A, "cpu")
    return d3rlpy_agent.D3rlpyLearner(algorithm, torch.zeros(S), torch.ones(S))


def asked(dataset, name, seed=0, steps=30, **changes):
    data = read(dataset)
    env, options = fitting_env(data, None, ())
    settings = {**SMALL[name], **changes}
    return specify(Request([f"d3rlpy:{name}"], steps=steps, seeds=[seed], settings=settings, eval_episodes=2),
                   env, options, data)[0]  # fmt: skip


def trained(out, dataset, name, eval_every=0, **changes):
    run = Run.create(out, replace(asked(dataset, name, **changes), eval_every=eval_every))
    find_algorithm(f"d3rlpy:{name}").train_on(read(dataset), run)
    return run


def same(one, other):
    """Compare two checkpoints, all but the seconds."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one if k != "seconds")
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


@pytest.fixture
def agents(monkeypatch):
    """The agents that are made, the latest last."""
    new_agent, made = d3rlpy_agent.new_agent, []
    monkeypatch.setattr(d3rlpy_agent, "new_agent", lambda *given: made.append(new_agent(*given)) or made[-1])
    return made


@EVERY
def test_each_learns_from_the_dataset_and_a_loaded_policy_acts_as_the_librarys_own(
    name, pendulum, tmp_path, agents, monkeypatch, capfd
):
    run = trained(tmp_path, pendulum, name)
    (row,) = run.updates.read()
    assert row.simulator_steps == 30 and len(run.evaluations.read()) == 2 and row.action_error < 1
    assert np.isnan(row.value) == np.isnan(row.data_return) == (name == "BC")
    assert capfd.readouterr() == ("", "") and run.path.parent.name == f"d3rlpy-{name}"
    obs = np.random.default_rng(0).normal(0, 2, (50, 4)).astype(np.float32)
    impl = agents[0].learner.impl
    if name == "CRR":  # the library's draws actions and chooses among them
        expected = impl.policy(torch.from_numpy(obs)).squashed_mu.detach()
    else:
        expected = impl.predict_best_action(torch.from_numpy(obs)).detach()
    for module in ("d3rlpy", "gym"):
        monkeypatch.setitem(sys.modules, module, None)
    policy = safeloop.load(run.path)
    policy.reset(50)
    assert expected.std() > 1e-3
    np.testing.assert_allclose(policy.act(obs), expected.numpy(), rtol=0, atol=2e-6)
    np.testing.assert_allclose(agents[0].learner.act(torch.from_numpy(obs), None), expected, rtol=0, atol=2e-6)


@EVERY
def test_a_killed_run_ends_as_an_uninterrupted_one(name, pendulum, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "CHECKPOINT_EVERY", 10)
    whole = trained(tmp_path / "whole", pendulum, name, eval_every=15)
    run = Run.create(tmp_path / "killed", replace(asked(pendulum, name), eval_every=15))
    algorithm, data = find_algorithm(f"d3rlpy:{name}"), read(pendulum)
    with killed_at(24, monkeypatch):
        algorithm.train_on(data, run)
    assert run.load_checkpoint()["steps"] == 20
    algorithm.train_on(data, run)
    assert run.evaluations.read() == whole.evaluations.read() and len(run.evaluations.read()) == 4
    assert same(run.load_checkpoint(), whole.load_checkpoint())  # parameters, optimisers, random numbers


@EVERY
def test_same_seed_gives_the_same_and_evaluating_changes_nothing(name, pendulum, tmp_path):
    runs = ((3, 10), (3, 0), (4, 0))
    often, again, other = (
        trained(tmp_path / str(i), pendulum, name, seed=seed, eval_every=every) for i, (seed, every) in enumerate(runs)
    )
    assert same(often.load_checkpoint(), again.load_checkpoint())
    assert not same(often.load_checkpoint()["agent"]["weights"], other.load_checkpoint()["agent"]["weights"])
    assert len(often.evaluations.read()) == 6


def test_networks_begin_with_weights_of_the_runs_seed(pendulum):
    made = [
        d3rlpy_agent.new_agent("IQL", settings_of("IQL"), PENDULUM, 4, 1, seed, "cpu", read(pendulum)).checkpoint()
        for seed in (3, 3, 4)
    ]
    assert same(made[0], made[1]) and not same(made[0]["weights"], made[2]["weights"])


@EVERY
def test_a_gradient_step_is_the_librarys_own(name):
    """The same parameters, bit for bit, as those of the library's `update` on the same batches."""
    ours = learner(name, seed=5)
    d3rlpy.seed(5)
    theirs = d3rlpy_agent.new_algorithm(name, settings_of(name), S, A, "cpu")
    data = transitions(B)._replace(terminated=(torch.arange(B) == 2).float())
    given = d3rlpy.dataset.TransitionMiniBatch(
        data.obs.numpy(), data.act.numpy(), data.reward.unsqueeze(1).numpy(), data.next_obs.numpy(),
        data.act.numpy(), data.terminated.unsqueeze(1).numpy(), np.ones((B, 1), np.float32), [],
    )  # fmt: skip
    for algorithm, rows in ((ours, data), (theirs, given)):
        d3rlpy.seed(7)
        for _ in range(16):
            algorithm.update(rows)
    one, other = (x.impl._checkpointer.modules for x in (ours, theirs))
    assert same({k: v.state_dict() for k, v in one.items()}, {k: v.state_dict() for k, v in other.items()})
    assert ours.updates == theirs._grad_step == 16


def test_observations_are_standardised_as_by_the_librarys_scaler(point, tmp_path):
    data = read(point)
    run = trained(tmp_path, point, "TD3PlusBC", steps=10, normalize_obs=True)
    scaler = d3rlpy.preprocessing.StandardObservationScaler(mean=data.obs.mean(0), std=data.obs.std(0))
    state = run.load_checkpoint()["agent"]
    seen = (torch.from_numpy(data.obs) - state["obs_mean"]) / state["obs_std"]
    torch.testing.assert_close(seen, scaler.transform(torch.from_numpy(data.obs)), rtol=1e-4, atol=1e-4)
    assert find_algorithm("d3rlpy:TD3PlusBC").info.presets["paper"] == {"normalize_obs": True}


def test_the_values_reported_are_the_librarys_beside_the_datasets_discounted_returns(pendulum, tmp_path, agents):
    run = trained(tmp_path, pendulum, "IQL", gamma=0.9)
    (row,) = run.updates.read()
    agent, data = agents[0], read(pendulum)
    there = agent.replay.data.obs[agent.watched]
    impl = agent.learner.impl
    expected = impl.predict_value(there, impl.policy(there).squashed_mu).mean().item()
    assert row.value == pytest.approx(expected)
    assert row.data_highest == pytest.approx(discounted_returns(data, 0.9).max())


def test_in_cql_a_learned_alpha_halves_the_conservative_terms_gradient():
    """The page says so: the pass for alpha leaves minus its gradient in the critics', half of it with two critics."""
    found, data = {}, transitions(B)
    for rate in (1e-4, 0.0):
        one = learner("CQL", alpha_learning_rate=rate, gamma=0.0, conservative_weight=1e4)
        optimizer = one.parts["critic_optim"]
        optimizer.step = lambda *_: None
        d3rlpy.seed(1)
        one.update(data)
        found[rate] = torch.cat([p.grad.flatten() for p in one.impl.q_function.parameters()])
    torch.testing.assert_close(found[1e-4], found[0.0] / 2, rtol=1e-2, atol=1e-2 * found[0.0].abs().max().item())


UNSET = {
    "observation_scaler", "action_scaler", "reward_scaler", "optim_factory", "encoder_factory", "actor_optim_factory",
    "critic_optim_factory", "actor_encoder_factory", "critic_encoder_factory", "value_encoder_factory",
    "q_func_factory", "temp_optim_factory", "alpha_optim_factory",
}  # fmt: skip


@EVERY
def test_defaults_are_the_librarys_and_nothing_is_left_out(name):
    config = getattr(d3rlpy.algos, f"{name}Config")()
    expected = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    found = find_algorithm(f"d3rlpy:{name}").info.settings().keywords()
    # BC has no values; no code of CRR reads the interval.
    unread = {"BC": {"gamma"}, "CRR": {"update_actor_interval"}}.get(name, set())
    assert found == {key: value for key, value in expected.items() if key not in UNSET | unread}
    usual = config.create("cpu")
    usual.create_impl((S,), A)
    made = d3rlpy_agent.new_algorithm(name, find_algorithm(f"d3rlpy:{name}").info.settings(), S, A, "cpu")
    assert networks(made) == networks(usual)


def networks(algorithm):
    """The sizes of an algorithm's networks."""
    parts = algorithm.impl._checkpointer.modules
    return {
        (part, name): tuple(p.shape) for part, net in parts.items() if isinstance(net, torch.nn.Module)
        for name, p in net.named_parameters()
    }  # fmt: skip


@EVERY
def test_every_setting_reaches_the_library(name):
    def described(**changes):
        made = d3rlpy_agent.new_algorithm(name, settings_of(name, **changes), S, A, "cpu")
        config = {k: v for k, v in vars(made.config).items() if k not in UNSET}
        return config, networks(made)

    others = {"policy_type": "stochastic", "advantage_type": "max", "weight_type": "binary",
              "target_update_type": "soft"}  # fmt: skip
    kinds = {"bool": lambda v: not v, "int": lambda v: v + 1, "float": lambda v: 0.8 * v + 0.01}
    for field in dataclasses.fields(settings_of(name)):
        if field.name != "normalize_obs":  # ours: see above
            value = getattr(settings_of(name), field.name)
            other = others[field.name] if field.name in others else kinds[field.type](value)
            assert described(**{field.name: other}) != described(), field.name


@pytest.mark.parametrize(
    ("name", "pair", "message"),
    [
        ("IQL", {"expectil": "0.9"}, "d3rlpy:IQL has no setting 'expectil'; nearest: expectile"),
        ("IQL", {"expectile": "1.5"}, "d3rlpy:IQL: expectile=1.5: expected at least 0 and at most 1"),
        ("BC", {"policy_type": "random"}, "policy_type=random: expected one of deterministic, stochastic"),
        ("BC", {"gamma": "0.9"}, "d3rlpy:BC has no setting 'gamma'"),
        ("TD3PlusBC", {"update_actor_interval": "0"}, "update_actor_interval=0: expected at least 1"),
        ("CQL", {"soft_q_backup": "true", "max_q_backup": "true"}, "max_q_backup=true: soft_q_backup is true too"),
        ("CRR", {"batch_size": "0"}, "batch_size=0: expected at least 1"),
    ],
)
def test_unknown_settings_and_values_out_of_range_are_refused(name, pair, message):
    with pytest.raises(UsageError, match=message):
        build(find_algorithm(f"d3rlpy:{name}").info.settings, pair, owner=f"d3rlpy:{name}")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("d3rlpy:iql", "unknown algorithm 'd3rlpy:iql'; nearest: d3rlpy:IQL"),
        ("d3rlpy:AWAC", "unknown algorithm 'd3rlpy:AWAC'; nearest: d3rlpy:"),
        ("TD3PlusBC", "unknown algorithm 'TD3PlusBC'; nearest: d3rlpy:TD3PlusBC"),
    ],
)
def test_other_names_are_refused_with_the_nearest(name, message):
    with pytest.raises(UsageError, match=message):
        find_algorithm(name)


def test_they_learn_from_datasets_alone(pendulum):
    with pytest.raises(UsageError, match=r"d3rlpy:IQL learns from a dataset: use `safeloop offline DATASET"):
        specify(Request(["d3rlpy:IQL"], steps=10), "InvertedPendulum")
    assert find_algorithm("d3rlpy:CQL").info.resumable and specified(pendulum, "bc").algo == "bc"


@pytest.mark.parametrize("version", [None, "2.8.1"])
def test_without_the_extra_the_error_and_doctor_name_the_remedy(version, monkeypatch):
    real = importlib.metadata.version

    def there(name):
        if name != "d3rlpy":
            return real(name)
        if version is None:
            raise importlib.metadata.PackageNotFoundError(name)
        return version

    monkeypatch.setattr(d3rlpy_algorithms.importlib.metadata, "version", there)
    algorithm = find_algorithm("d3rlpy:IQL")
    remedy = f"needs d3rlpy 2.6.1 ({version or 'not installed'}): pip install 'safeloop[d3rlpy]'"
    with pytest.raises(UsageError) as told:
        algorithm.resolve(algorithm.info.settings(), find_env("Hopper"))
    assert str(told.value) == f"d3rlpy:IQL {remedy}"
    (finding,) = (f for f in doctor.plugins() if f.name == "algorithms d3rlpy")
    assert finding.fine and finding.text == f"5 found; to run them {remedy}"


def test_without_the_packages_training_names_the_remedy(pendulum, tmp_path, monkeypatch):
    run = Run.create(tmp_path, asked(pendulum, "IQL"))
    monkeypatch.delitem(sys.modules, "safeloop_baselines.d3rlpy_agent")
    monkeypatch.setitem(sys.modules, "d3rlpy", None)
    with pytest.raises(UsageError, match=r"d3rlpy:IQL needs d3rlpy .*pip install 'safeloop\[d3rlpy\]'"):
        find_algorithm("d3rlpy:IQL").train_on(read(pendulum), run)


def test_another_algorithms_checkpoint_is_refused(pendulum, tmp_path):
    run = trained(tmp_path, pendulum, "BC", steps=1)
    with pytest.raises(UsageError, match="holds a policy of d3rlpy:BC, not of d3rlpy:IQL"):
        find_algorithm("d3rlpy:IQL").load(run, seed=0)


def test_listing_names_them_and_imports_no_library():
    code = (
        "import sys; from safeloop import listing; "
        "assert sum(a['name'].startswith('d3rlpy:') and 'error' not in a for a in listing.algorithms()) == 5; "
        "assert not {'d3rlpy', 'gym', 'torch'} & set(sys.modules)"
    )
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}  # packages of other tests
    subprocess.run([sys.executable, "-c", code], check=True, env=env)
    assert [name for name in algorithm_names() if name.startswith("d3rlpy:")] == [f"d3rlpy:{name}" for name in SMALL]


def test_the_version_is_the_pinned_one():
    assert d3rlpy.__version__ == d3rlpy_algorithms.VERSION
