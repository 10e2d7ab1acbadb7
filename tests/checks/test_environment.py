"""`safeloop check env`: it passes environments that keep the contract, and names each deliberate mistake."""

import importlib.util
import json
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete

from safeloop import registry
from safeloop.activity import under_way
from safeloop.checks import driving
from safeloop.checks.environment import check, examine
from safeloop.checks.findings import FAILED, NOT_APPLICABLE, OK
from safeloop.cmdp import Entities, Lidars
from safeloop.errors import UsageError
from tests.checks.toy import EPISODE, SPEC, Fragile, Slider, SliderSimulator, depth, met, progress, with_env
from tests.cli.conftest import main  # noqa: F401  (a fixture)

POINT = registry.find_env("PointGoal1")
WALLSTOP = Path(__file__).parents[1] / "thirdparty" / "wallstop" / "wallstop"
ALWAYS = {"make", "spaces", "episodes", "speed", "observations", "rewards", "info", "costs", "ends", "same seed",
          "other seed", "reset", "arrays", "close"}  # fmt: skip


def states(findings):
    return {finding.name: finding.state for finding in findings}


def failures(spec, **sizes):
    return {f.name: f.detail for f in check(spec, **{"decisions": 300, **sizes}) if f.state == FAILED}


@pytest.mark.parametrize(
    ("name", "options", "apply"),
    [
        ("PointGoal1", {}, {"length", "parts", "batches", "known cost", "known reward", "known event", "simulator"}),
        ("PointGoal1", {"observation": "task", "action_repeat": "20"}, {"length", "parts", "simulator"}),
        ("RCCarDrift", ["observation=path"], {"length", "batches", "known cost", "known reward"}),
        ("Hopper", (), {"clipped", "batches", "known terminated", "simulator"}),
        ("AntVelocity", (), {"simulator"}),
    ],
)
def test_environments_of_the_suite_keep_the_contract(name, options, apply):
    found = states(check(name, options, decisions=100))
    assert {name for name, state in found.items() if state == OK} - {"event bonus"} == ALWAYS | apply
    assert FAILED not in found.values()


def test_every_check_applies_to_the_toy():
    found = check(SPEC, decisions=300)
    assert {finding.state for finding in found} == {OK}
    assert len({finding.name for finding in found}) == len(found) == 24
    assert all(finding.line.isprintable() and finding.detail for finding in found)


@pytest.mark.parametrize("module", ["environment", "pendulum"])
def test_the_environments_in_the_documentation_keep_the_contract(module):
    source = importlib.util.spec_from_file_location(f"checked_{module}", WALLSTOP / f"{module}.py")
    code = importlib.util.module_from_spec(source)
    source.loader.exec_module(code)
    found = states(check(code.family.spec(code.family.names()[0]), decisions=100))
    assert FAILED not in found.values() and found["length"] == OK


def changed(**overridden):
    """A `Slider` with these in place of its own; a method is called with the original first."""

    def method(original, by):
        return lambda self, *a, **k: by(lambda *x, **y: original(self, *x, **y), self, *a, **k)

    body = {name: method(getattr(Slider, name), by) if callable(by) else by
            for name, by in overridden.items()}  # fmt: skip
    return type("Changed", (Slider,), body)


def observed(change):
    return with_env(changed(observe=lambda of, env: change(of())))


def stepped(**results):
    """Step with results replaced: each by a function of (environment, its own result)."""
    places = ("obs", "reward", "terminated", "truncated", "info")

    def step(of, env, action):
        found = dict(zip(places, of(action), strict=True))
        return tuple({**found, **{name: change(env, found[name]) for name, change in results.items()}}.values())

    return with_env(changed(step=step))


def simulated(**changes):
    """A `Slider` whose simulator's results are changed, each by a function of its own result."""

    def method(name):
        return lambda self, *given: changes[name](getattr(SliderSimulator, name)(self, *given))

    wrong = type("Wrong", (SliderSimulator,), {name: method(name) for name in changes})
    return replace(SPEC, simulator=lambda threads: wrong())


def informed(without=(), **values):
    def change(env, info):
        kept = {key: value for key, value in info.items() if key not in without}
        return {**kept, **{key: value(info) if callable(value) else value for key, value in values.items()}}

    return stepped(info=change)


class Global(Slider):
    """Draws from numpy's global generator."""

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.position = np.random.uniform(-0.5, 0.5)
        return self.observe(), {}


class Shared(Slider):
    """Keeps its position where all instances do."""

    where = [0.0]  # noqa: RUF012
    position = property(lambda self: self.where[0], lambda self, value: self.where.__setitem__(0, value))


class Stale(Slider):
    """Does not reset its velocity."""

    velocity_left = 0.0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.velocity = self.velocity_left
        return self.observe(), {}

    def step(self, action):
        found = super().step(action)
        self.velocity_left = self.velocity
        return found


class Once(Slider):
    """Takes a seed at its first reset alone."""

    seeded = False

    def reset(self, *, seed=None, options=None):
        found = super().reset(seed=None if self.seeded else seed)
        self.seeded = True
        return found


class Buffer(Slider):
    """Writes every observation into one array."""

    def __init__(self):
        self.array = np.zeros(4, np.float32)

    def observe(self):
        self.array[:] = super().observe()
        return self.array


def scaling(env, action):
    """Changes its action."""
    action *= 0.5
    return env(action)


def unmake(render_mode=None):
    raise OSError("no licence\nfile")


def fail(*_, **__):
    raise RuntimeError("the device is gone")


def reset_to(change):
    return with_env(changed(reset=lambda of, env, **given: change(*of(**given))))


def spoil(obs, act, next_obs, margin=0.0):
    next_obs -= 1.0
    return depth(obs, act, next_obs + 1.0, margin)


NARROW = Box(-0.1, 0.1, (4,), np.float32)
TWO = Box(-2, 2, (1,), np.float32)
MISTAKES = [
    ("make", replace(SPEC, make=unmake), "EnvSpec.make() raised OSError: no licence file"),
    ("spaces", with_env(changed(observation_space=Dict(x=NARROW))), "expected a Box of shape (n,): wrap the"),
    ("spaces", with_env(changed(action_space=TWO)), "expected -1 to 1: wrap it in gymnasium.wrappers.RescaleAction"),
    ("spaces", with_env(changed(action_space=Discrete(2))), "actions are Discrete(2), expected a Box"),
    ("episodes", with_env(Fragile), "step raised ArithmeticError: the motor burnt out at decision 3 of the episode of"),
    ("episodes", with_env(changed(reset=fail)), "raised RuntimeError: the device is gone"),
    ("episodes", with_env(changed(step=lambda of, env, a: of(a)[:4])), "step returned 4 results at decision 1"),
    ("episodes", reset_to(lambda obs, info: obs), "returned one ndarray, expected (observation, info)"),
    ("observations", observed(lambda obs: obs.astype(np.float64)), "is float64, expected the space's float32"),
    ("observations", observed(lambda obs: obs[:3]), "has shape [3], expected the space's [4]"),
    ("observations", observed(lambda obs: obs.tolist()), "is a list, expected an array [4]"),
    ("observations", observed(lambda obs: np.where(obs > 0.4, np.nan, obs)), "is nan, expected finite"),
    ("observations", with_env(changed(observation_space=NARROW)), "expected -0.1 to 0.1"),
    ("rewards", stepped(reward=lambda env, r: np.array([r])), "(ndarray), expected a finite number: use float(...)"),
    ("rewards", stepped(reward=lambda env, r: np.nan if env.steps > 8 else r), "is nan (float), expected a finite"),
    ("info", stepped(info=lambda env, info: None), "info is a NoneType at decision 1"),
    ("info", informed(without=["cost"]), "info lacks ['cost']; see docs/adding-an-environment.md (at decision 1"),
    ("info", informed(without=["simulator_steps"]), "info lacks ['simulator_steps']"),
    ("info", informed(cost=lambda info: -info["cost"]), "info['cost'] is -2.0 (float) at decision"),
    ("info", informed(cost="none"), "info['cost'] is 'none' (str)"),
    ("info", informed(simulator_steps=1), "simulator_steps'] is 1 (int) at decision 1"),
    ("info", informed(simulator_steps=3), "is 3 (int)"),
    ("info", informed(violations=3), "info['violations'] is 3 (int)"),
    ("info", informed(violations=0.5), "expected a whole number of 0 to 2, the simulator steps that cost"),
    ("info", informed(event=lambda info: int(info["event"])), "(int) at decision 1"),
    ("info", informed(without=["event"]), "but none of"),
    ("info", replace(SPEC, has_events=False), "EnvSpec.has_events is False: set it to True"),
    ("info", informed(diagnostics={"speed": "high"}), "expected finite numbers by name"),
    ("costs", informed(violations=0), "cost 2 and 0 violations at"),
    ("costs", informed(cost=0.0), "expected violations exactly where there is a cost"),
    ("costs", replace(SPEC, budget=None), "expected none, as EnvSpec.budget is None"),
    ("ends", stepped(truncated=lambda env, ended: int(ended)), "truncated is 0 (int) at decision 1"),
    ("ends", stepped(terminated=lambda env, ended: ended or None), "terminated is None (NoneType)"),
    ("ends", replace(SPEC, terminates=False, terminated=None), "EnvSpec.terminates is False: set it to True"),
    ("length", stepped(truncated=lambda env, ended: False), "goes on after 41 simulator steps, expected trunc"),
    ("length", stepped(truncated=lambda env, ended: env.steps >= 30), "after 30 simulator steps, EnvSpec.episode_"),
    ("length", replace(SPEC, episode_steps=EPISODE - 1), "goes on after 40 simulator steps"),
    ("length", informed(simulator_steps=2), "has 42 simulator steps, expected at most EnvSpec.episode_steps = 41"),
    ("same seed", with_env(Global), "the first observation differs between two environments of seed"),
    ("same seed", with_env(Shared), "let environments share nothing that changes"),
    ("reset", with_env(Stale), "the first observation differs after reset(seed="),
    ("reset", with_env(Once), "in mid-episode from the same seed in a new environment"),
    ("reset", reset_to(lambda obs, info: (obs, None)), "the info of reset is a NoneType, expected a dict"),
    ("reset", with_env(changed(reset=lambda of, env, *, seed: of(seed=seed))), "reset() raised TypeError"),
    ("arrays", with_env(Buffer), "step changed the observation handed out before, at decision 1"),
    ("arrays", with_env(changed(step=lambda of, env, a: scaling(of, a))), "step changed the action that step was"),
    ("parts", replace(SPEC, entities=Entities((0, 1), ((2,), (4,)), ("a", "b"))), "name number 4, expected 0 to 3"),
    ("parts", replace(SPEC, entities=Entities((0, 1), ((2,), (1,)), ("a", "b"))), "name number 1 twice"),
    ("parts", replace(SPEC, entities=Entities((0,), ((2,), (3,)), ("a", "b"))), "do not name number 1"),
    ("parts", replace(SPEC, entities=Entities((0, 1), ((2,), (3,)), ("a", "b"), 2)), "entities.goal is 2, expected"),
    ("clipped", replace(SPEC, clipped={4: 1.0}), "clipped names number 4, expected 0 to 3"),
    ("clipped", replace(SPEC, clipped={1: 0.1}), "expected at most its limit, 0.1"),
    ("parts", replace(SPEC, entities=None, lidars=Lidars((0, 1), ((2,), (3,)))), "expected 0 to 1, the closeness"),
    ("event bonus", replace(SPEC, event_bonus=5.0), "correct EnvSpec.event_bonus"),
    ("batches", replace(SPEC, cost=lambda o, a, n, margin=0.0: depth(o, a, n[:, :], margin)), "raised IndexError"),
    ("batches", replace(SPEC, reward=lambda o, a, n: progress(o, a, n)[..., None]), "expected a tensor [15]"),
    ("batches", replace(SPEC, reward=lambda o, a, n: progress(o, a, n).numpy()), "gave a ndarray"),
    ("batches", replace(SPEC, event=lambda o, a, n: met(o, a, n).float()), "gave float32, expected bool"),
    ("batches", replace(SPEC, cost=spoil), "changed the tensors that it was given"),
    ("batches", replace(SPEC, reward=lambda o, a, n: progress(o, a, n) - o[..., 2].mean()), "for one transition"),
    ("known cost", replace(SPEC, cost=lambda o, a, n, margin=0.0: depth(o, a, n, margin) - 0.1), "and at least 0"),
    ("known cost", replace(SPEC, cost=lambda o, a, n, margin=0.0: depth(o, a, n, -margin)), "a margin widens"),
    ("known cost", replace(SPEC, cost=lambda o, a, n: (0.3 - n[..., 3].abs()).clamp(min=0)), "raised TypeError"),
    ("known cost", replace(SPEC, cost=lambda o, a, n, margin=0.0: depth(o, a, n, margin + 0.3)), "reported none, nor"),
    ("known cost", replace(SPEC, cost=lambda o, a, n, margin=0.0: 0 * n[..., 0]), "cost is 0 in all of"),
    ("known reward", replace(SPEC, reward=lambda o, a, n: 1.01 * progress(o, a, n)), "reward differs in"),
    ("known reward", replace(SPEC, reward=lambda o, a, n: progress(o, a, n) / 0), "most inf at decision"),
    ("known reward", replace(POINT, reward=lambda o, a, n: POINT.reward(o, a, n) + 1e-7 * n[..., 25]), "hazard move"),
    ("known terminated", replace(SPEC, terminated=lambda o, a, n: n[..., 0] > 2.0), "terminated differs in"),
    ("known event", replace(SPEC, event=lambda o, a, n: n[..., 2].abs() < 0.2), "where info['event'] is not"),
    ("simulator", simulated(rollout=lambda found: found._replace(reward=1.1 * found.reward)), "rewards of the"),
    ("simulator", simulated(rollout=lambda found: found._replace(cost=found.cost + 1)), "cost of the"),
    ("simulator", simulated(rollout=lambda found: found._replace(event=~found.event)), "event of the"),
    ("simulator", simulated(rollout=lambda found: found._replace(reward=found.reward[0])), "have shapes [[1, "),
    ("simulator", simulated(rollout=lambda found: found._replace(valid=~found.valid)), "is not valid"),
    ("simulator", simulated(rollout=lambda found: found / 0), "rollout raised TypeError"),
    ("simulator", simulated(observe=lambda found: found + 0.1), "observation of the state after decision"),
    ("simulator", replace(SPEC, simulator=lambda threads: 1 / 0), "EnvSpec.simulator(1) raised ZeroDivisionError"),
    ("simulator", with_env(type("Stateless", (Slider,), {"get_state": None})), "get_state() raised TypeError"),
    ("simulator", with_env(changed(get_state=lambda of, env: of().tolist())), "returned no vector of float64"),
    ("close", with_env(type("Stuck", (Slider,), {"close": fail})), "RuntimeError: the device is gone"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "spec", "words"), MISTAKES, ids=lambda value: value if isinstance(value, str) else "")
def test_a_mistake_fails_its_check_and_no_other(name, spec, words):
    found = failures(spec)
    assert list(found) == [name]
    assert words in found[name] and found[name].isprintable()


def test_a_known_termination_that_nothing_uses_is_told():
    spec = replace(stepped(terminated=lambda env, ended: False), terminates=False, episode_steps=EPISODE)
    lasting = replace(spec, make=lambda render_mode=None: Endless())
    assert "so nothing uses it" in failures(lasting)["known terminated"]


class Endless(Slider):
    """Has no edges."""

    def step(self, action):
        self.position = float(np.clip(self.position, -1.0, 1.0))
        return super().step(0.1 * action)


def test_an_environment_without_chance_is_told_but_does_not_fail():
    calm = with_env(changed(reset=lambda of, env, **given: of(seed=1)))
    other = next(f for f in check(calm, decisions=300) if f.name == "other seed")
    assert other.state == NOT_APPLICABLE and "nothing is random, or the seed is not used" in other.detail
    assert not failures(calm)


NOTHING = informed(cost=0.0, violations=0)
CALM = informed(without=["event"])


@pytest.mark.parametrize(
    ("name", "spec", "reason"),
    [
        ("known cost", replace(NOTHING, cost=lambda o, a, n, margin=0.0: 0 * n[..., 0]), "no violation occurred in"),
        ("known cost", replace(NOTHING, cost=None, budget=None), "no cost"),
        ("known reward", informed(event=True), "and none of them can be compared"),
        ("event bonus", informed(event=False), "no event occurred in"),
        ("event bonus", replace(CALM, has_events=False, event=None), "the environment has no events"),
        ("event bonus", replace(SPEC, reward=None, event_bonus=0.0), "none is given"),
        ("parts", replace(SPEC, entities=None), "no entities or lidars"),
        ("clipped", replace(SPEC, clipped={}), "no numbers are said to be clipped"),
        ("simulator", replace(SPEC, simulator=None), "EnvSpec.simulator is None"),
    ],
)
def test_a_check_that_does_not_apply_says_why(name, spec, reason):
    found = next(f for f in check(spec, decisions=300) if f.name == name)
    assert found.state == NOT_APPLICABLE and reason in found.detail


def test_checks_whose_needs_failed_are_not_made():
    found = check(with_env(changed(action_space=TWO)))
    assert states(found)["episodes"] == states(found)["known cost"] == NOT_APPLICABLE
    assert "not checked: spaces has to hold first" in [f.detail for f in found]


def test_a_long_drive_says_how_far_it_is(monkeypatch):
    seen = []
    monkeypatch.setattr(driving, "advance", lambda *given, of=driving.advance: seen.append(under_way()) or of(*given))
    list(examine(SPEC, episodes=1, decisions=30))
    driven = [[one["doing"], one["done"], one["of"]] for _, one, *_ in (each for each in seen if len(each) > 1)]
    assert driven[0] == ["driving", 0, 30] and driven[29] == ["driving", 29, 30]
    assert seen[0][0]["doing"] == "checking episodes" and under_way() == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("PointGaol1",), "unknown environment 'PointGaol1'; nearest: PointGoal1"),
        (("PointGoal1", {"lidar": 1}), "no setting 'lidar'"),
        ((SPEC, {"wear": "yes"}), "a spec has its options already"),
    ],
)
def test_bad_input_is_refused(arguments, message):
    with pytest.raises(UsageError, match=message):
        check(*arguments)
    with pytest.raises(UsageError, match="decisions 0: expected at least 1"):
        check(SPEC, decisions=0)


def test_what_refuses_to_be_made_is_bad_input():
    def refuse(render_mode=None):
        raise UsageError("the simulator is not installed: run `safeloop doctor`")

    with pytest.raises(UsageError, match="is not installed"):
        check(replace(SPEC, make=refuse))


@pytest.fixture
def installed(monkeypatch):
    point = EntryPoint("slider", "tests.checks.toy:family", "safeloop.envs")
    real = registry.installed
    monkeypatch.setattr(registry, "installed", lambda group: [point] if group == "safeloop.envs" else real(group=group))


def test_the_command_prints_a_line_a_check(main, installed):  # noqa: F811
    code, out, errors = main("check", "env", "Slider")
    assert code == 0 and not errors
    *lines, blank, last = out.splitlines()
    assert len(lines) == 24 and all(line.startswith("ok      ") for line in lines)
    assert (blank, last) == ("", "24 ok, 0 failed, 0 not applicable")


def test_an_exception_inside_the_environment_is_one_line_and_exit_code_1(main, installed):  # noqa: F811
    code, out, errors = main("check", "env", "Slider", "--env-set", "wear=yes")
    assert code == 1 and not errors
    failed = [line for line in out.splitlines() if line.startswith("FAILED")]
    assert len(failed) == 1 and "step raised ArithmeticError: the motor burnt out" in failed[0]
    assert out.splitlines()[-1].startswith("3 ok, 1 failed, ")


@pytest.mark.parametrize(("wear", "code"), [("no", 0), ("yes", 1)])
def test_the_command_prints_json(main, installed, wear, code):  # noqa: F811
    found, out, errors = main("check", "env", "Slider", "--env-set", f"wear={wear}", "--json")
    told = json.loads(out)
    assert found == code and not errors
    assert (told["env"], told["options"], told["ok"]) == ("Slider", {"wear": wear}, wear == "no")
    assert told["findings"][0] == {"name": "make", "state": "ok", "detail": "Slider, tests"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["check", "env", "PointGaol1"], "unknown environment 'PointGaol1'; nearest: PointGoal1"),
        (["check", "env", "PointGoal1", "--env-set", "lidar=1"], "no setting 'lidar'"),
        (["check", "env", "PointGoal1", "--env-set", "lidar"], "expected key=value"),
        (["check", "env"], "ENV"),
        (["check", "word"], "word"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(main, arguments, message):  # noqa: F811
    code, out, errors = main(*arguments)
    assert code == 2 and out == ""
    assert errors.startswith("safeloop: error: ") and errors.count("\n") == 1 and message in errors


def test_what_an_environment_prints_is_not_among_the_findings(main, installed, monkeypatch):  # noqa: F811
    monkeypatch.setattr(gymnasium.Env, "close", lambda self: print("bye"))
    code, out, errors = main("check", "env", "Slider", "--json")
    assert code == 0 and json.loads(out)["ok"] and "bye" in errors
