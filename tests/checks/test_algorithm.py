"""`safeloop check algorithm`: it passes algorithms that keep the protocol, and names each deliberate mistake."""

import random
import sys
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch

from safeloop import registry
from safeloop.activity import under_way
from safeloop.checks import environment
from safeloop.checks.algorithm import check, examine
from safeloop.checks.findings import FAILED, NOT_APPLICABLE
from safeloop.checks.short_runs import Counting, small
from safeloop.checks.small_task import TASK, Family
from safeloop.errors import UsageError
from safeloop.protocols import Resolved
from safeloop.registry import find_algorithm
from safeloop.settings import flat
from safeloop.training.evaluation import evaluate_when_due
from tests.checks.example import cem

ALWAYS = {"entry point", "methods", "record", "settings", "presets", "meanings", "refusals", "resolve",
          "without a cost", "training", "evaluations", "checkpoint", "same seed", "other seed", "speed", "policy",
          "batch"}  # fmt: skip


def states(findings):
    return {finding.name: finding.state for finding in findings}


def failures(checked):
    return {f.name: f.detail for f in check(checked) if f.state == FAILED}


@pytest.mark.parametrize(
    ("name", "apply"),
    [
        ("sac", {"resume", "explorer", "kept checkpoints"}),
        ("safeloop", {"resume", "explorer", "kept checkpoints"}),
        ("lbpo", {"resume"}),
        ("crr", {"dataset", "resume"}),
    ],
)
def test_algorithms_of_the_suite_keep_the_protocol(name, apply):
    found = check(name)
    assert {f.name for f in found if f.state == "ok"} == ALWAYS | apply, [f.line for f in found]
    assert {f.state for f in found if f.name not in ALWAYS | apply} == {NOT_APPLICABLE}
    assert all(f.line.isprintable() and f.detail for f in found)


def test_the_algorithm_in_the_documentation_keeps_the_protocol():
    found = check(cem.cem_linear)
    assert FAILED not in states(found).values() and states(found)["resume"] == "ok"


def test_the_task_keeps_the_contract_of_environments():
    for cost in ("yes", "no"):
        found = environment.check(Family().spec(TASK, cost), decisions=100)
        assert FAILED not in states(found).values(), [f.line for f in found]


def altered(record=None, **methods):
    """A `CemLinear` with another record and other methods."""
    made = type("Altered", (cem.CemLinear,), methods)()
    made.info = replace(made.info, **(record or {}))
    return made


def trains(change):
    """Train after `change(env, run)`."""

    def train(self, env, run):
        change(env, run)
        cem.CemLinear.train(self, env, run)

    return altered(train=train)


def asks(**changes):
    """Train with other settings of the run."""
    return trains(lambda env, run: setattr(run, "settings", replace(run.settings, **changes)))


def patched(name, by):
    """Train with a method of the run in place of its own, which is `by`'s first argument."""

    def change(env, run):
        own = getattr(run, name)
        setattr(run, name, lambda *given: by(own, *given))

    return trains(change)


def scored(before):
    """Drive each episode after `before(env)`, which is called when it has begun."""

    def score(self, env, policy, budget, penalty):
        own = env.reset
        env.reset = lambda: (own(), before(env))[0]
        try:
            return cem.CemLinear._score(self, env, policy, budget, penalty)
        finally:
            env.reset = own

    return altered(_score=score)


def acts(act, how="load", **record):
    """Act by `act(policy, observations)`."""

    def loaded(self, run, seed):
        policy = cem.CemLinear.load(self, run, seed)
        policy.act = lambda obs: act(cem.LinearPolicy(policy.weights, policy.low, policy.high).act(obs))
        return policy

    return altered(record=record, **{how: loaded})


def beside(env, run):
    """Step an environment of one's own."""
    own = env.safeloop_spec.make()
    own.reset(seed=0)
    own.step(np.zeros(1, np.float32))


def burn(*_):
    raise ArithmeticError("the motor\nburnt out")


def saved_first(self, env, run):
    """Save each checkpoint before the evaluation."""
    asked, save = run.settings, run.save_checkpoint

    def save_and_evaluate(state):
        save(state)
        run.settings = asked
        before = env.simulator_steps - self.info.epoch(cem.Settings(**asked.algo_settings), env.safeloop_spec)
        evaluate_when_due(env, run, before, lambda: cem.CemLinear.load(self, run, 0))
        run.settings = replace(asked, eval_episodes=0)

    run.settings, run.save_checkpoint = replace(asked, eval_episodes=0), save_and_evaluate
    cem.CemLinear.train(self, env, run)


@dataclass
class Loose:
    """Not frozen."""

    population: int = 6


@dataclass(frozen=True)
class Missing:
    """One without a default."""

    population: int


@dataclass(frozen=True)
class Careless(cem.Settings):
    """Settings that refuse no value."""

    def __post_init__(self):
        pass


@dataclass(frozen=True)
class Listed(cem.Settings):
    """With a default that JSON has no word for."""

    widths: tuple = (64, 64)


@dataclass(frozen=True)
class Twice(cem.Settings):
    """Two parts with the same names."""

    inner: cem.Settings = field(default_factory=cem.Settings)


@dataclass(frozen=True)
class Brittle(cem.Settings):
    """Refuses with another error."""

    def __post_init__(self):
        if self.penalty != self.penalty:
            raise KeyError("penalty")


@dataclass(frozen=True)
class Silent:
    """Two without a docstring."""

    population: int = 10
    elites: int = 3
    """The best of them."""
    penalty: float = 10.0


def doubled(self, settings, spec):
    return Resolved(replace(settings, penalty=2 * settings.penalty))


def budgeted(self, settings, spec):
    return Resolved(replace(settings, penalty=settings.penalty + 0 * spec.budget))


def no_costs(data, settings, spec):
    assert len(data.cost) == len(data.reward)


MISTAKES = [
    ("methods", altered({"explores": True}), "there is no method explorer, expected with info.offline=False, explores"),
    ("methods", altered({"offline": True}), "there is no method check"),
    ("methods", altered({"tunable": True}), "no method load_with"),
    ("methods", altered(train_on=burn), "there is train_on with info.offline=False"),
    ("record", altered({"summary": "two\nlines"}), "expected one line"),
    ("record", altered({"default_steps": 0}), "info.default_steps is 0, expected a whole number of at least 1"),
    ("record", altered({"base": "nothing"}), "info.base is 'nothing', expected the name of an algorithm"),
    ("settings", altered({"settings": Loose}), "settings Loose: expected a dataclass(frozen=True)"),
    ("settings", altered({"settings": dict}), "settings dict: expected a dataclass(frozen=True)"),
    ("settings", altered({"settings": Missing}), "settings Missing: population has no default"),
    ("settings", altered({"settings": Listed}), "the default widths=(64, 64) is [64, 64] when it is read from"),
    ("settings", altered({"settings": Twice}), "Twice: two parts have the settings"),
    ("presets", altered({"presets": {"wide": {}}}), "info.presets has wide, expected 'default' among them"),
    ("presets", altered({"presets": {"default": {}, "few": {"population": 1}}}), "preset 'few' can't be built: cem-"),
    ("presets", altered({"presets": {"default": {"populaton": 9}}}), "no setting 'populaton'"),
    ("refusals", altered({"settings": Brittle}), "penalty=nan raised KeyError: 'penalty', expected ValueError from"),
    ("resolve", altered(resolve=lambda self, settings, spec: settings), "resolve gave a Settings, expected Resolved("),
    ("resolve", altered(resolve=lambda self, s, spec: Resolved(flat(s))), "resolve gave settings dict, expected Setti"),
    ("resolve", altered(resolve=lambda self, s, spec: Resolved(s, None)), "gave privileged=None, expected a text"),
    ("resolve", altered(resolve=doubled), "resolve changes what it has resolved: penalty is 40.0 after 20.0"),
    ("without a cost", altered(resolve=budgeted), "in an environment without a cost: raise UsageError"),
    ("dataset", replace(find_algorithm("crr"), check=no_costs), "TypeError: object of type 'NoneType'"),
    ("training", altered(_score=burn), "train raised ArithmeticError: the motor burnt out (test_algorithm.py, line"),
    ("training", altered({"epoch": lambda settings, spec: 0}), "info.epoch gave 0, expected a whole number of"),
    ("training", altered(train=lambda self, env, run: None), "no episode was recorded in 0 simulator steps"),
    ("training", trains(beside), "2 simulator steps were taken in environments beside env"),
    ("training", scored(lambda env: env.env.step(np.zeros(1))), "simulator steps were taken in environments beside"),
    ("training", scored(lambda env: env.unwrapped.step(np.zeros(1))), "has 48 simulator steps, expected 50: step env"),
    ("training", asks(steps=1), "it ends after 300 simulator steps, 300 of them in whole episodes; expected 600, with"),
    ("training", asks(steps=900), "it ends after 900 simulator steps"),
    ("training", altered({"epoch": None}), "it ends after 300 simulator steps, 300 of them in whole episodes; expec"),
    ("evaluations", asks(eval_episodes=0), "evaluations after no steps, expected after [300, 600]: call evaluate_wh"),
    ("evaluations", asks(eval_every=0), "evaluations after [600] steps, expected after [300, 600]"),
    ("evaluations", asks(eval_episodes=1), "2 episodes of 2 evaluations, expected 2 of each"),
    ("checkpoint", patched("save_checkpoint", lambda save, state: None), "there is none: call run.save_checkpoint"),
    ("checkpoint", patched("save_checkpoint", lambda save, state: save({**state, "mean": state["mean"].numpy()})),
     "can't be read without executing what is in it: save tensors"),
    ("same seed", trains(lambda env, run: setattr(run, "settings", replace(run.settings, seed=random.getrandbits(30)))),
     "two runs of one seed differ: episodes.csv, row 1: return is"),
    ("resume", patched("load_checkpoint", lambda load: {**(state := load()), "std": torch.ones_like(state["std"])}),
     "it ends otherwise: episodes.csv, row 7: return is"),
    ("resume", patched("drop_rows_after", lambda drop, steps: None), "it ends otherwise: "),
    ("resume", altered(train=saved_first), "it ends otherwise: evaluations.csv has 3 and 4 rows"),
    ("policy", altered(load=burn), "load raised ArithmeticError: the motor burnt out"),
    ("policy", acts(lambda action: 3 + action), "expected actions within the action space, Box(-1.0, 1.0, (1,), float"),
    ("policy", acts(lambda action: np.nan * action), "act gave [nan], expected finite numbers"),
    ("policy", acts(lambda action: action.reshape(-1, 1)), "gave an array [1, 1] for observations [2], expected an"),
    ("policy", acts(lambda action: action.tolist()), "act gave a list for observations [2]"),
    ("policy", acts(lambda action: action * random.random()), "two policies of one checkpoint and seed act di"),
    ("explorer", acts(lambda action: 3 + action, "explorer", explores=True), "expected actions within the action spac"),
    ("kept checkpoints", altered({"keeps_checkpoints": True}), "checkpoints were kept at no steps, expected [300, 60"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "checked", "words"), MISTAKES, ids=lambda v: v if isinstance(v, str) else "")
def test_a_mistake_fails_its_check_and_no_other(name, checked, words):
    found = failures(checked)
    assert list(found) == [name], found
    assert words in found[name] and found[name].isprintable()


@pytest.mark.parametrize(
    ("name", "checked", "reason"),
    [
        ("meanings", altered({"settings": Silent}), "2 settings of 3 without a docstring below: population, penalty"),
        (
            "refusals",
            altered({"settings": Careless}),
            "nan is taken for penalty: safeloop.settings.check_range refuses it",
        ),
        ("other seed", asks(seed=0), "seeds 0 and 1 record the same"),
        ("resume", altered({"resumable": False}), "info.resumable is False"),
        ("batch", acts(lambda action: action - 0.5 * action.mean()), "depends on how many there are"),
        ("explorer", cem.cem_linear, "info.explores is False"),
        ("kept checkpoints", cem.cem_linear, "info.keeps_checkpoints is False"),
        ("dataset", cem.cem_linear, "it learns while acting"),
    ],
)
def test_a_check_that_does_not_apply_says_why(name, checked, reason):
    found = check(checked)
    assert FAILED not in states(found).values()
    assert next((f.state, reason in f.detail) for f in found if f.name == name) == (NOT_APPLICABLE, True)


def test_checks_whose_needs_failed_are_not_made():
    found = {f.name: f.detail for f in check(altered(_score=burn))}
    assert found["policy"] == "not checked: checkpoint has to hold first"
    assert found["resume"] == "not checked: evaluations has to hold first"


def test_what_an_algorithm_keeps_outside_its_checkpoint_is_lost_in_a_kill():
    def train(self, env, run):
        own = run.load_checkpoint
        run.load_checkpoint = lambda: {**own(), "std": self.kept}
        save = run.save_checkpoint
        run.save_checkpoint = lambda state: (setattr(self, "kept", state["std"]), save({**state, "std": 0}))
        cem.CemLinear.train(self, env, run)

    found = failures(altered(train=train, kept=torch.ones(3, 1)))
    assert list(found) == ["resume"] and "it ends otherwise: episodes.csv" in found["resume"]


def test_small_settings_are_those_that_the_algorithm_has_and_accepts():
    info = cem.CemLinear.info
    assert small(info, {}, {}) == {"elites": 2, "population": 6}
    assert small(info, {}, {"elites": "7"}) == {}  # more than the population would be
    assert small(info, {"population": 4, "elites": 1}, {}) == {}
    assert small(find_algorithm("crr").info, {}, {"hidden": "16"}) == {"batch_size": 8}


def test_settings_asked_for_are_used():
    details = {f.name: f.detail for f in check(cem.cem_linear, settings={"population": 4, "elites": "1"})}
    assert details["training"] == "8 episodes, 400 simulator steps where 300 were asked for"


def test_nothing_is_left_behind(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    path, threads = list(sys.path), torch.get_num_threads()
    check(altered(_score=burn))
    assert (list(tmp_path.iterdir()), sys.path, torch.get_num_threads()) == ([], path, threads)
    with pytest.raises(UsageError, match=f"unknown environment '{TASK}'"):
        registry.find_env(TASK)


def test_what_is_being_checked_and_how_far_a_short_run_is_can_be_seen(monkeypatch):
    seen = []
    step = Counting.step
    monkeypatch.setattr(Counting, "step", lambda *given: seen.append(under_way()) or step(*given))
    list(examine(cem.cem_linear))
    checked = list(dict.fromkeys(outer["doing"] for outer, *_ in seen))
    assert checked == ["checking training", "checking same seed", "checking other seed", "checking resume"]
    inner = [(one[1]["doing"], one[1]["done"], one[1]["unit"]) for one in seen]
    assert inner[:3] == [("training", 0, "steps"), ("training", 2, "steps"), ("training", 4, "steps")]
    assert {one[2]["doing"] for one in seen if len(one) > 2} == {"evaluating"} and under_way() == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("sacc",), "unknown algorithm 'sacc'; nearest: sac"),
        (("sac", "PointGaol1"), "unknown environment 'PointGaol1'; nearest: PointGoal1"),
        (("sac", None, ["hiden=3"]), "no setting 'hiden'; nearest: hidden"),
        (("sac", None, ["hidden=0"]), "sac: hidden=0: expected at least 1"),
        (("cpo", "HalfCheetah"), "keeps a cost within a limit.*--env NAME checks in another environment"),
    ],
)
def test_bad_input_is_refused(arguments, message):
    with pytest.raises(UsageError, match=message):
        check(*arguments)
