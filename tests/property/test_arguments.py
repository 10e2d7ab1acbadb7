"""Random and mutated arguments, settings and options: success or one line, and nothing written where refused."""

import json
from dataclasses import asdict

import pytest
from hypothesis import strategies as st

from safeloop.experiments.specify import Request, specify
from safeloop.registry import algorithm_names, env_names, find_algorithm, find_env
from safeloop.settings import build, flat, kinds
from tests.cli.conftest import contents
from tests.property.conftest import refusal, restore, told
from tests.property.mutation import changed_line, edits, numbers, texts, values

RUN = "../out/WallStop/cem-linear/seed-0"
LINES = [
    "run WallStop --algo cem-linear --steps 300 --seeds 2 --out new --set population=6 --eval-every 100",
    "run WallStop --algo safeloop --algo sac --steps sac=300 --seed 3 --out new --budget 2.5 --variant H=4 -q",
    "run Hopper --preset paper --env-set action_repeat=2 --threads 2 --jobs 2 --out new --keep-every 200 --device cpu",
    "run PointGoal1 --algo lbpo --algo omnisafe:SAC --set lbpo.beta=0.1 --out new --eval-episodes 3",
    "offline ../data/wall-random --algo crr --algo loop-crr --steps 50 --out new --eval-episodes 0 --set samples=2",
    "offline ../data/wall-random --env WallStop --env-set wall=1.0 --sweep 2 --out new --preset hopper-medium",
    "collect WallStop --policy random --policy RUN --episodes 2 --out new --seed 4",
    "collect WallStop --policy RUN --replay --out new",
    "eval RUN --episodes 2 --json",
    "eval RUN --episodes 1 --env-set wall=0.5,2 --json",
    "speed act RUN --decisions 3 --json",
    "resume RUN --threads 1 --force-threads -q",
    "resume RUN --from 200",
    "tune WallStop --algo cem-linear --set elites=int(1,3) --trials 2 --seeds 1 --out new --batch 2",
    "plot ../out --diagnostics",
    "report ../out --out page.html --title Runs",
    "watch ../out --once --every 2.5",
    "show RUN",
    "list envs --json",
    "list algos",
]


def test_a_command_line_is_obeyed_or_refused_in_one_line(holds, material, untrained, monkeypatch):
    inside = material / "inside"
    inside.mkdir()
    monkeypatch.chdir(inside)
    before = contents(material)

    def check(line, changes):
        arguments = changed_line(line.replace("RUN", RUN).split(), changes)
        code, out, errors = told(*arguments)
        assert code in (0, 2), (code, errors)
        if code == 2:
            helped = not errors and out.startswith("Usage:")  # a command that says nothing of what to do
            assert helped or (errors.startswith("safeloop: error: ") and errors.count("\n") == 1), errors
            assert errors[:-1].isprintable(), errors
            assert contents(material) == before
        restore(material, before)

    holds(check, line=st.sampled_from(LINES), changes=edits)


OURS = [name for name in algorithm_names() if not name.endswith(":")]
FIELDS = sorted({key for name in OURS for key in kinds(find_algorithm(name).info.settings)})
SPECS = [find_env(name) for name in ("PointGoal1", "AntButton1", "Hopper", "Humanoid", "RCCarDrift")]


def test_settings_are_accepted_as_they_will_be_recorded_or_refused(holds):
    def check(name, preset, given, spec):
        algorithm = find_algorithm(name)
        info = algorithm.info
        preset = info.presets.get(preset, {})

        def accept():
            resolved = algorithm.resolve(build(info.settings, preset, given, owner=name), spec)
            recorded = json.loads(json.dumps(flat(resolved.settings), allow_nan=False))
            again = build(info.settings, recorded, owner=name)
            assert again == resolved.settings and algorithm.resolve(again, spec) == resolved

        known = {key: value for key, value in given.items() if key in kinds(info.settings)}
        given = known or given
        refusal(accept)

    presets = st.sampled_from(["default", "paper", "online", "rc-car", "hopper-medium"])
    given = st.dictionaries(st.sampled_from(FIELDS), values, max_size=3) | st.dictionaries(texts, values, max_size=1)
    holds(check, name=st.sampled_from(OURS), preset=presets, given=given, spec=st.sampled_from(SPECS))


def test_options_of_an_environment_are_accepted_as_they_will_be_recorded_or_refused(holds):
    options = (
        "action_repeat", "observation", "speed", "radius", "limit", "friction", "tyres", "wall", "path", "grip", "mass",
        "action_delay",
    )  # fmt: skip

    def check(name, given):
        def accept():
            spec = find_env(name, given)
            assert find_env(name, json.loads(json.dumps(spec.options, allow_nan=False))).options == spec.options

        refusal(accept)

    names = st.sampled_from([*env_names(), "WallStop"]) | texts
    holds(check, name=names, given=st.dictionaries(st.sampled_from(options) | texts, values, max_size=2))


@pytest.mark.parametrize("env", ["WallStop"])
def test_a_plan_is_made_or_refused(holds, env):
    def check(algos, steps, seeds, budget, device, settings, every, episodes, threads, variant, keep):
        def accept():
            asked = Request(
                algos, steps=steps, seeds=seeds, budget=budget, device=device, settings=settings, eval_every=every,
                eval_episodes=episodes, threads=threads, variant=variant, keep_every=keep,
            )  # fmt: skip
            for each in specify(asked, env):
                json.dumps(asdict(each), allow_nan=False)

        refusal(accept)

    names = st.lists(st.sampled_from(["cem-linear", "sac", "safeloop"]) | texts, max_size=2)
    usual = {"steps": 300, "budget": 2.0, "device": "cpu", "every": 0, "episodes": 1, "threads": 1, "variant": "a"}
    odd = {key: st.just(value) | numbers for key, value in usual.items()}
    holds(
        check, **odd | {"device": st.just("cpu") | texts, "variant": st.just("") | texts}, algos=names,
        seeds=st.lists(numbers, max_size=2) | st.just([0]), keep=st.just(0) | numbers,
        settings=st.dictionaries(st.sampled_from(FIELDS) | texts, values, max_size=2),
    )  # fmt: skip
